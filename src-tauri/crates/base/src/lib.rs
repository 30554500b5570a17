//! What all parts of Tender speak of: money, units, identifiers, jobs, worker frames and signed documents.
//!
//! This crate does no I/O, reads no clock and draws no random number: [`time::Clock`] and
//! [`entropy::Entropy`] come in from the outside, so that everything built on it can be replayed.

pub mod catalogue;
pub mod contract;
pub mod did;
pub mod documents;
pub mod entropy;
pub mod frames;
pub mod hash;
pub mod ids;
pub mod job;
pub mod kernel;
pub mod ledger;
pub mod money;
pub mod problem;
pub mod signed;
pub mod text;
pub mod time;
pub mod units;

pub use contract::{Book, ContractState, Role};
pub use did::Did;
pub use entropy::Entropy;
pub use hash::{BlobRef, Sha256};
pub use job::{JobKind, JobSpec, JobState, Work};
pub use money::{MicroUsd, Rate, Unit};
pub use problem::{Code, Problem};
pub use signed::{Document, Signed, Signer};
pub use time::{Clock, Timestamp};
