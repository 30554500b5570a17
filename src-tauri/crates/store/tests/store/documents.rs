//! A trade's documents, and the events that they come in.

use std::sync::atomic::{AtomicU64, Ordering};
use tender_base::{
    BlobRef, Book, Clock, ContractState, Did, Entropy, JobSpec, MicroUsd, Rate, Role, Sha256, Signed, Signer,
    Timestamp, Unit, Work,
    documents::{
        Acceptance, Award, CallForProposals, Countersignature, Delivery, Message, Payment, PaymentConfirmation,
        Proposal, WorkerInfo,
    },
    ids::{ContractId, JobId, PaymentId},
    job::{Constraints, Privacy},
    ledger::{Account, Entry},
    signed::KeySigner,
    units::Meter,
};
use tender_store::Event;

/// Noon of some day.
pub const NOON: i64 = 1_795_262_400_000;

/// Counts, so that identifiers differ and sort as they were made.
pub struct Counting;

static NEXT: AtomicU64 = AtomicU64::new(1);

impl Clock for Counting {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOON + i64::try_from(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap())
    }
}

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let number = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let digest = Sha256::of_parts(&[&number, &std::process::id().to_be_bytes()]);
        for (byte, drawn) in bytes.iter_mut().zip(digest.bytes().iter().cycle()) {
            *byte = *drawn;
        }
    }
}

pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(NOON + ms)
}

pub fn client() -> KeySigner {
    KeySigner::from_seed(&[1; 32])
}

pub fn contractor() -> KeySigner {
    KeySigner::from_seed(&[2; 32])
}

pub fn spec() -> JobSpec {
    JobSpec {
        work: Work::Gemm { m: 4, k: 4, n: 4, precision: tender_base::job::Precision::F32 },
        input: BlobRef::of(&[7; 128]),
        constraints: Constraints { budget: MicroUsd(1_000_000), deadline: at(600_000), privacy: Privacy::Peers },
    }
}

/// One trade seen from one side; `amount` is its bill.
#[derive(Clone)]
pub struct Trade {
    pub role: Role,
    pub book: Book,
    pub job: Option<JobId>,
    pub contract: ContractId,
    pub amount: MicroUsd,
    pub call: Signed<CallForProposals>,
    pub proposal: Signed<Proposal>,
    pub award: Signed<Award>,
    pub delivery: Signed<Delivery>,
    pub acceptance: Signed<Acceptance>,
    pub countersignature: Signed<Countersignature>,
}

impl Trade {
    pub fn new(role: Role, job: Option<JobId>, amount: u32) -> Self {
        let contract = ContractId::new(&Counting, &Counting);
        let (buyer, seller) = (client(), contractor());
        let (client, contractor) = (buyer.did(), seller.did());
        let job_spec = spec();
        let units = job_spec.work.units();
        let rate = Rate { micro_usd: u64::from(amount), per_units: units, unit: Unit::Flop };
        let amount = rate.amount(units).unwrap();
        let nonce = Sha256::of(contract.to_string().as_bytes());
        let call = Signed::new(
            CallForProposals {
                contract,
                client,
                contractor,
                book: Book::Real,
                job: job_spec,
                called_at: at(0),
                respond_by: at(1000),
            },
            &buyer,
        );
        let proposal = Signed::new(
            Proposal {
                contract,
                contractor,
                client,
                call: call.hash(),
                rate,
                prompt_rate: None,
                units,
                amount,
                valid_until: at(30_000),
                estimated_ms: 12,
                adapter: "llvmpipe".to_owned(),
            },
            &seller,
        );
        let award = Signed::new(
            Award {
                contract,
                client,
                contractor,
                proposal: proposal.hash(),
                nonce_sha256: Sha256::of(nonce.bytes()),
                review_seconds: 600,
                awarded_at: at(10),
                deadline: at(600_000),
            },
            &buyer,
        );
        let delivery = Signed::new(
            Delivery {
                contract,
                contractor,
                client,
                award: award.hash(),
                output: BlobRef::of(contract.to_string().as_bytes()),
                units,
                amount,
                // A float whose shortest text must read back to the same bits, or signatures break.
                meter: Meter { energy_joules: Some(0.1 + 0.2), measured: true, ..Meter::without_sensor(12) },
                worker: WorkerInfo {
                    adapter: "llvmpipe".to_owned(),
                    driver: "Mesa".to_owned(),
                    backend: "vulkan".to_owned(),
                    version: "0.1.0".to_owned(),
                    runtime: None,
                },
                delivered_at: at(20),
            },
            &seller,
        );
        let acceptance = Signed::new(
            Acceptance {
                contract,
                client,
                contractor,
                delivery: delivery.hash(),
                nonce,
                evidence: Vec::new(),
                amount,
                accepted_at: at(30),
            },
            &buyer,
        );
        let countersignature = Signed::new(
            Countersignature { contract, contractor, client, acceptance: acceptance.hash(), amount, signed_at: at(40) },
            &seller,
        );
        let book = Book::Real;
        Self { role, book, job, contract, amount, call, proposal, award, delivery, acceptance, countersignature }
    }

    pub fn peer(&self) -> Did {
        match self.role {
            Role::Client => contractor().did(),
            Role::Contractor => client().did(),
        }
    }

    /// Proposed already.
    pub fn opened(&self) -> Event {
        Event::ContractOpened {
            contract: self.contract,
            role: self.role,
            book: self.book,
            peer: self.peer(),
            job: self.job,
            state: ContractState::Proposed,
            call: self.call.clone(),
            proposal: Some(self.proposal.clone()),
            expires_at: Some(at(30_000)),
            at: at(5),
        }
    }

    pub fn moved(&self, from: ContractState, to: ContractState) -> Event {
        use ContractState as S;
        let documents = match to {
            S::Awarded => vec![Message::Award(self.award.clone())],
            S::Delivered => vec![Message::Delivery(self.delivery.clone())],
            S::Accepted => vec![Message::Acceptance(self.acceptance.clone())],
            _ => Vec::new(),
        };
        let transfer = |debit, credit| Entry::transfer(self.book, Some(self.contract), debit, credit, self.amount);
        let entries = match (self.role, from, to) {
            (Role::Client, _, S::Awarded) => vec![transfer(Account::Reserved, Account::Unreserved)],
            (Role::Client, S::Awarded | S::Running | S::Delivered, S::Failed | S::Abandoned | S::HandedBack) => {
                vec![transfer(Account::Unreserved, Account::Reserved)]
            }
            (Role::Client, _, S::Accepted) => vec![
                transfer(Account::Unreserved, Account::Reserved),
                transfer(Account::Expense, Account::Payable(self.peer())),
            ],
            (Role::Contractor, _, S::Accepted) => vec![transfer(Account::Receivable(self.peer()), Account::Income)],
            _ => Vec::new(),
        };
        Event::ContractMoved {
            contract: self.contract,
            from,
            to,
            documents,
            entries,
            reason: None,
            expires_at: None,
            at: at(50),
        }
    }

    /// From opening to acceptance.
    pub fn until_accepted(&self) -> Vec<Event> {
        use ContractState as S;
        vec![
            self.opened(),
            self.moved(S::Proposed, S::Awarded),
            self.moved(S::Awarded, S::Running),
            self.moved(S::Running, S::Delivered),
            self.moved(S::Delivered, S::Accepted),
        ]
    }

    pub fn countersigned(&self) -> Event {
        let document = Message::Countersignature(self.countersignature.clone());
        Event::ContractDocumented { contract: self.contract, document, at: at(60) }
    }
}

/// A payment of `trades`, all of one role, and its confirmation.
pub fn payment(trades: &[&Trade], amount: MicroUsd) -> (Signed<Payment>, Signed<PaymentConfirmation>) {
    let (payer, payee) = (client(), contractor());
    let payment = Signed::new(
        Payment {
            payment: PaymentId::new(&Counting, &Counting),
            payer: payer.did(),
            payee: payee.did(),
            book: Book::Real,
            contracts: trades.iter().map(|trade| trade.contract).collect(),
            amount,
            method: "bank".to_owned(),
            paid_at: at(100),
        },
        &payer,
    );
    let confirmation = Signed::new(
        PaymentConfirmation {
            payment: payment.document.payment,
            payee: payee.did(),
            payer: payer.did(),
            hash: payment.hash(),
            confirmed_at: at(101),
        },
        &payee,
    );
    (payment, confirmation)
}

pub fn paid(role: Role, payment: &Signed<Payment>, confirmation: Option<&Signed<PaymentConfirmation>>) -> Event {
    let amount = payment.document.amount;
    let entry = match role {
        Role::Client => {
            let payee = Account::Payable(payment.document.payee);
            Entry::transfer(Book::Real, None, payee, Account::External, amount)
        }
        Role::Contractor => {
            let payer = Account::Receivable(payment.document.payer);
            Entry::transfer(Book::Real, None, Account::External, payer, amount)
        }
    };
    Event::PaymentRecorded {
        payment: payment.clone(),
        confirmation: confirmation.cloned(),
        role,
        entries: vec![entry],
        at: at(110),
    }
}
