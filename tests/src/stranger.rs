//! A peer that is not one of our nodes: it has a key of its own and says what a test wants it to say.

use std::{sync::Arc, time::Duration};
use tender_a2a::Client;
use tender_base::{
    Book, Clock, Did, Entropy, MicroUsd, Problem, Sha256, Signed, Signer, Timestamp,
    documents::{Award, CallForProposals, Message, PairingRequest, Proposal},
    hash::BlobRef,
    ids::ContractId,
    job::{Constraints, JobSpec, Privacy, Work},
    signed::KeySigner,
    time::SystemClock,
};

/// Draws from the operating system's source through the standard library's random hash keys.
struct HashEntropy;

impl Entropy for HashEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        use std::hash::{BuildHasher, RandomState};
        for (i, chunk) in bytes.chunks_mut(8).enumerate() {
            let word = RandomState::new().hash_one(i).to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// A key and the documents it signs.
pub struct Stranger {
    /// Its key.
    pub signer: Arc<KeySigner>,
}

impl Stranger {
    /// With the key of this seed.
    #[must_use]
    pub fn new(seed: u8) -> Self {
        Self { signer: Arc::new(KeySigner::from_seed(&[seed; 32])) }
    }

    /// Who it is.
    #[must_use]
    pub fn did(&self) -> Did {
        self.signer.did()
    }

    /// A connection to a node.
    ///
    /// # Errors
    /// What the connection meets.
    pub async fn connect(&self, address: &str, node: Did) -> Result<Client, Problem> {
        Client::connect(address, node, self.signer.clone(), Arc::new(SystemClock)).await
    }

    /// Answers an invitation by hand.
    ///
    /// # Errors
    /// What the connection meets; a refusal is an answer.
    pub async fn answer(&self, client: &Client, inviter: Did, secret: &str) -> Result<Message, Problem> {
        let request = PairingRequest {
            invitee: self.did(),
            inviter,
            secret: secret.to_owned(),
            name: "stranger".to_owned(),
            address: None,
            sent_at: SystemClock.now(),
        };
        client.exchange(Message::PairingRequest(Signed::new(request, self.signer.as_ref()))).await
    }

    /// A call for a small matrix product, and the bytes it is about.
    #[must_use]
    pub fn call(&self, contractor: Did) -> (CallForProposals, Vec<u8>) {
        let side = 16;
        let input = crate::work::gemm_input(side);
        let now = SystemClock.now();
        let call = CallForProposals {
            contract: ContractId::new(&SystemClock, &HashEntropy),
            client: self.did(),
            contractor,
            book: Book::Real,
            job: JobSpec {
                work: Work::Gemm { m: side, k: side, n: side, precision: tender_base::job::Precision::F32 },
                input: BlobRef::of(&input),
                constraints: Constraints {
                    budget: MicroUsd(1_000_000),
                    deadline: now.after(Duration::from_secs(60)),
                    privacy: Privacy::Peers,
                },
            },
            called_at: now,
            respond_by: now.after(Duration::from_secs(5)),
        };
        (call, input)
    }

    /// Signs a call.
    #[must_use]
    pub fn sign_call(&self, call: CallForProposals) -> Signed<CallForProposals> {
        Signed::new(call, self.signer.as_ref())
    }

    /// The award that takes a proposal; change what should be wrong, then sign it.
    #[must_use]
    pub fn award(&self, call: &CallForProposals, proposal: &Signed<Proposal>) -> Award {
        Award {
            contract: call.contract,
            client: self.did(),
            contractor: call.contractor,
            proposal: proposal.hash(),
            nonce_sha256: Sha256::of(NONCE.bytes()),
            review_seconds: 600,
            awarded_at: SystemClock.now(),
            deadline: call.job.constraints.deadline,
        }
    }

    /// Now, as documents state it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

/// The nonce of every award here: nothing depends on its being unpredictable.
pub const NONCE: Sha256 = Sha256::from_bytes([9; 32]);
