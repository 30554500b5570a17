//! What was told once never changes, whatever comes later.

use super::*;
use tender_base::{
    Book, Clock, Code, Did, Entropy, JobSpec, MicroUsd, Rate, Role, Signed, Signer, Unit, Work,
    documents::{
        Acceptance, Award, CallForProposals, Countersignature, Delivery, Handback, HandbackReason, Payment,
        PaymentConfirmation, Proposal, WorkerInfo,
    },
    ids::{ContractId, PaymentId},
    job::{Constraints, Precision, Privacy},
    ledger::{Account, Entry},
    signed::KeySigner,
    units::Meter,
};
use tender_store::{Event, Store};

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        at(0)
    }
}

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millis(1_795_262_400_000 + ms)
}

/// One contract of the seller's, and what it is told as.
struct Sale {
    _dir: tempfile::TempDir,
    store: Store,
    buyer: KeySigner,
    seller: KeySigner,
    contract: ContractId,
    told: Vec<Record>,
}

impl Sale {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).await.unwrap();
        let (buyer, seller) = (KeySigner::from_seed(&[1; 32]), KeySigner::from_seed(&[2; 32]));
        let contract = ContractId::new(&Fixed, &Fixed);
        let sale = Self { _dir: dir, store, buyer, seller, contract, told: Vec::new() };
        let (call, proposal) = sale.offer();
        let opened = Event::ContractOpened {
            contract,
            role: Role::Contractor,
            book: Book::Real,
            peer: sale.buyer.did(),
            job: None,
            state: ContractState::Proposed,
            call,
            proposal: Some(proposal),
            expires_at: None,
            at: at(0),
        };
        sale.store.apply(vec![opened], vec![]).await.unwrap();
        sale
    }

    fn sides(&self) -> (ContractId, Did, Did) {
        (self.contract, self.buyer.did(), self.seller.did())
    }

    fn offer(&self) -> (Signed<CallForProposals>, Signed<Proposal>) {
        let (contract, client, contractor) = self.sides();
        let call = CallForProposals {
            contract,
            client,
            contractor,
            book: Book::Real,
            job: JobSpec {
                work: Work::Gemm { m: 1, k: 1, n: 1, precision: Precision::F32 },
                input: BlobRef::of(&[0; 8]),
                constraints: Constraints { budget: MicroUsd(9), deadline: at(9_000_000), privacy: Privacy::Peers },
            },
            called_at: at(0),
            respond_by: at(1),
        };
        let call = Signed::new(call, &self.buyer);
        let proposal = Proposal {
            contract,
            contractor,
            client,
            call: call.hash(),
            rate: Rate { micro_usd: 5, per_units: 2, unit: Unit::Flop },
            prompt_rate: None,
            units: 2,
            amount: MicroUsd(5),
            valid_until: at(1),
            estimated_ms: 1,
            adapter: String::new(),
        };
        let proposal = Signed::new(proposal, &self.seller);
        (call, proposal)
    }

    fn award(&self) -> Signed<Award> {
        let (contract, client, contractor) = self.sides();
        let award = Award {
            contract,
            client,
            contractor,
            proposal: self.offer().1.hash(),
            nonce_sha256: Sha256::of(b"n"),
            review_seconds: 1,
            awarded_at: at(1),
            deadline: at(9_000_000),
        };
        Signed::new(award, &self.buyer)
    }

    fn delivery(&self) -> Signed<Delivery> {
        let (contract, client, contractor) = self.sides();
        let delivery = Delivery {
            contract,
            contractor,
            client,
            award: self.award().hash(),
            output: BlobRef::of(b"output"),
            units: 2,
            amount: MicroUsd(5),
            meter: Meter::without_sensor(1),
            worker: WorkerInfo {
                adapter: String::new(),
                driver: String::new(),
                backend: String::new(),
                version: String::new(),
                runtime: None,
            },
            delivered_at: at(3),
        };
        Signed::new(delivery, &self.seller)
    }

    fn receipt(&self) -> Vec<Message> {
        let (contract, client, contractor) = self.sides();
        let acceptance = Acceptance {
            contract,
            client,
            contractor,
            delivery: self.delivery().hash(),
            nonce: Sha256::of(b"n"),
            evidence: Vec::new(),
            amount: MicroUsd(5),
            accepted_at: at(4),
        };
        let acceptance = Signed::new(acceptance, &self.buyer);
        let counter = Countersignature {
            contract,
            contractor,
            client,
            acceptance: acceptance.hash(),
            amount: MicroUsd(5),
            signed_at: at(4),
        };
        vec![Message::Acceptance(acceptance), Message::Countersignature(Signed::new(counter, &self.seller))]
    }

    /// Applies an event; what was told before is still told so. Returns the state of the task.
    async fn then(&mut self, event: Event) -> WireState {
        self.store.apply(vec![event], vec![]).await.unwrap();
        let owner = self.buyer.did().to_string();
        let task = self.store.task(&owner, &self.contract.to_string()).await.unwrap().unwrap();
        let changed_at = task.changed_at;
        let logged = logged(task).unwrap();
        assert_eq!(logged.changed_at(), changed_at, "the list's order is that of the statuses");
        assert_eq!(logged.records[..self.told.len()], self.told[..]);
        assert!(logged.records.iter().zip(1..).all(|(record, version)| record.version == version));
        let state = logged.state();
        self.told = logged.records;
        state
    }

    fn moved(&self, from: ContractState, to: ContractState, ms: i64, documents: Vec<Message>) -> Event {
        let accepted = to == ContractState::Accepted;
        let owed = || {
            let owes = Account::Receivable(self.buyer.did());
            Entry::transfer(Book::Real, Some(self.contract), owes, Account::Income, MicroUsd(5))
        };
        Event::ContractMoved {
            contract: self.contract,
            from,
            to,
            documents,
            entries: accepted.then(owed).into_iter().collect(),
            reason: (to == ContractState::Failed).then(|| Problem::new(Code::Expired, "late", "")),
            expires_at: None,
            at: at(ms),
        }
    }

    async fn until_delivered(&mut self) {
        use ContractState as S;
        let award = self.moved(S::Proposed, S::Awarded, 1, vec![Message::Award(self.award())]);
        assert_eq!(self.then(award).await, WireState::Submitted);
        assert_eq!(self.then(self.moved(S::Awarded, S::Running, 2, vec![])).await, WireState::Working);
        let delivered = self.moved(S::Running, S::Delivered, 3, vec![Message::Delivery(self.delivery())]);
        assert_eq!(self.then(delivered).await, WireState::InputRequired);
        assert_eq!(self.told.len(), 4, "the output comes before the status that delivers it");
    }

    /// The document of the newest status.
    fn document(&self) -> Option<Message> {
        let Some(Change::Status { message: Some(message), .. }) = self.told.last().map(|record| &record.change) else {
            return None;
        };
        contract::unwrap(message.clone()).unwrap().map(|envelope| envelope.document)
    }

    async fn pay(&mut self) -> WireState {
        let (contract, payer, payee) = self.sides();
        let payment = Payment {
            payment: PaymentId::new(&Fixed, &Fixed),
            payer,
            payee,
            book: Book::Real,
            contracts: vec![contract],
            amount: MicroUsd(5),
            method: "cash".to_owned(),
            paid_at: at(8),
        };
        let payment = Signed::new(payment, &self.buyer);
        let confirmation = PaymentConfirmation {
            payment: payment.document.payment,
            payee,
            payer,
            hash: payment.hash(),
            confirmed_at: at(8),
        };
        let confirmation = Some(Signed::new(confirmation, &self.seller));
        let owed = Account::Receivable(payer);
        let entries = vec![Entry::transfer(Book::Real, None, Account::External, owed, MicroUsd(5))];
        self.then(Event::PaymentRecorded { payment, confirmation, role: Role::Contractor, entries, at: at(8) }).await
    }
}

use ContractState as S;

#[tokio::test]
async fn an_accepted_contract_ends_with_its_countersignature() {
    let mut sale = Sale::open().await;
    sale.until_delivered().await;
    let accepted = sale.moved(S::Delivered, S::Accepted, 5, sale.receipt());
    assert_eq!(sale.then(accepted).await, WireState::Completed);
    assert!(matches!(sale.document(), Some(Message::Countersignature(_))));
    let told = sale.told.len();
    assert_eq!(sale.pay().await, WireState::Completed);
    assert_eq!(sale.told.len(), told, "who pays when is no longer the task's");
}

#[tokio::test]
async fn a_receipt_that_comes_after_silence_changes_nothing_that_was_told() {
    let mut sale = Sale::open().await;
    sale.until_delivered().await;
    assert_eq!(sale.then(sale.moved(S::Delivered, S::Accepted, 5, vec![])).await, WireState::Completed);
    assert!(matches!(sale.document(), Some(Message::Delivery(_))));
    for document in sale.receipt() {
        sale.then(Event::ContractDocumented { contract: sale.contract, document, at: at(6) }).await;
    }
    assert!(matches!(sale.document(), Some(Message::Delivery(_))));
    assert_eq!(sale.pay().await, WireState::Completed);
}

#[tokio::test]
async fn a_dispute_ends_the_task_however_it_goes_on() {
    let mut sale = Sale::open().await;
    sale.until_delivered().await;
    assert_eq!(sale.then(sale.moved(S::Delivered, S::Rejected, 5, vec![])).await, WireState::Failed);
    let told = sale.told.len();
    let accepted = sale.moved(S::Rejected, S::Accepted, 6, sale.receipt());
    assert_eq!(sale.then(accepted).await, WireState::Failed);
    assert_eq!(sale.told.len(), told);
}

#[tokio::test]
async fn a_handback_is_told_as_the_document_and_ends_the_task() {
    let mut sale = Sale::open().await;
    let award = sale.moved(S::Proposed, S::Awarded, 1, vec![Message::Award(sale.award())]);
    sale.then(award).await;
    let (contract, client, contractor) = sale.sides();
    let handback = Handback {
        contract,
        contractor,
        client,
        award: sale.award().hash(),
        reason: HandbackReason::Game,
        units: 0,
        meter: Meter::without_sensor(0),
        handed_back_at: at(2),
    };
    let document = Message::Handback(Signed::new(handback, &sale.seller));
    let moved = sale.moved(S::Awarded, S::HandedBack, 2, vec![document.clone()]);
    assert_eq!(sale.then(moved).await, WireState::Failed);
    assert_eq!(sale.document(), Some(document));
}

#[tokio::test]
async fn a_failure_is_told_with_the_same_message_every_time() {
    let mut sale = Sale::open().await;
    let award = sale.moved(S::Proposed, S::Awarded, 1, vec![Message::Award(sale.award())]);
    sale.then(award).await;
    assert_eq!(sale.then(sale.moved(S::Awarded, S::Failed, 2, vec![])).await, WireState::Failed);
    assert!(matches!(sale.document(), Some(Message::Refusal(problem)) if problem.message == "late"));
    let event = Event::SettingChanged { key: "x".to_owned(), value: serde_json::json!(1), at: at(3) };
    sale.then(event).await;
}
