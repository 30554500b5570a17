//! Identifiers: UUIDv7, one type each, so that a contract is never mistaken for a job.

use crate::{Clock, Entropy};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

macro_rules! new_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new identifier: 48 bits of time, 74 random bits (RFC 9562, version 7).
            #[must_use]
            pub fn new(clock: &dyn Clock, entropy: &dyn Entropy) -> Self {
                let mut random = [0; 10];
                entropy.fill(&mut random);
                let millis = u64::try_from(clock.now().millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// The bare UUID.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

new_id!(
    /// One job of a client.
    JobId
);
new_id!(
    /// One conversation between a client and one contractor about a job, from the call to the settlement.
    /// It doubles as the A2A context id, and as the task id once the contract is awarded.
    ContractId
);
impl JobId {
    /// The same identifier in the place of a contract's, in the ledger, for what is bought for a job without a contract.
    #[must_use]
    pub fn hire(self) -> ContractId {
        ContractId(self.0)
    }
}

new_id!(
    /// A payment recorded by both sides.
    PaymentId
);
new_id!(
    /// One-time permission to become a peer.
    InvitationId
);
new_id!(
    /// A data directory: names its secret in the keyring.
    DataId
);
