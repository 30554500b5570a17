//! Payments made outside the app, recorded by both sides: what was owed is then settled.

use crate::{
    api::types::{Paid, PayInput},
    node::Node,
};
use std::collections::BTreeMap;
use tender_base::{
    Book, Code, ContractState, Did, MicroUsd, Problem, Role, Signed,
    documents::{Message, Payment, PaymentConfirmation},
    ids::{ContractId, PaymentId},
    ledger::Entry,
};
use tender_market::{
    checks,
    contract::{self, Amounts, Step},
};
use tender_store::{ContractFilter, ContractRecord, Event, PeerRecord};

/// Contracts cleared by one payment at most; the rest waits for the next.
const MAX_CONTRACTS: u32 = 500;
/// Longest description of a payment.
const MAX_METHOD_CHARS: usize = 120;

impl Node {
    /// Records that everything owed to a peer was paid, and has the peer confirm it. Who holds an API key only buys and
    /// signs nothing: that it paid is this node's word.
    ///
    /// # Errors
    /// [`Code::NotFound`] when nothing is owed, [`Code::Lost`] when the peer does not answer (nothing is recorded
    /// then), and what the peer refuses.
    pub(crate) async fn pay(&self, input: PayInput) -> Result<Paid, Problem> {
        let holder = match input.did.parse() {
            Ok(did) => self.store.peer(&did).await.map_err(|e| e.problem())?.filter(|peer| peer.by_key),
            Err(_) => None,
        };
        let peer = match holder {
            // What a key that was taken back owes can still be paid.
            Some(holder) => holder,
            None => self.peer_named(&input.did).await?,
        };
        let method = input.method.trim();
        if method.is_empty() || method.chars().count() > MAX_METHOD_CHARS || method.chars().any(char::is_control) {
            return Err(Problem::new(
                Code::Invalid,
                format!("method must have 1 to {MAX_METHOD_CHARS} printable characters"),
                "say how it was paid, such as: bank transfer 2026-11-21",
            ));
        }
        let book = input.book.unwrap_or(Book::Real);
        if peer.by_key {
            return self.received(&peer, book, method).await;
        }
        if let Some(payment) = self.unanswered_payment(&peer.did).await {
            return self.send_payment(&peer, payment).await;
        }
        let owed = self.owed(Role::Client, book, &peer.did).await?;
        if owed.is_empty() {
            return Err(Problem::new(Code::NotFound, format!("nothing is owed to {}", peer.name), ""));
        }
        let amounts: BTreeMap<ContractId, MicroUsd> = owed.iter().map(|(r, amount)| (r.id, *amount)).collect();
        let payment = Payment {
            payment: PaymentId::new(self.clock.as_ref(), self.entropy.as_ref()),
            payer: self.did(),
            payee: peer.did,
            book,
            contracts: amounts.keys().copied().collect(),
            amount: amounts.values().copied().sum(),
            method: method.to_owned(),
            paid_at: self.now(),
        };
        let payment = Signed::new(payment, self.identity.signer.as_ref());
        let unanswered = serde_json::to_value(&payment).unwrap_or_default();
        let event = Event::SettingChanged { key: unanswered_key(&peer.did), value: unanswered, at: self.now() };
        self.apply(vec![event], Vec::new()).await?;
        self.send_payment(&peer, payment).await
    }

    /// Everything that the holder of an API key owes was paid.
    async fn received(&self, peer: &PeerRecord, book: Book, method: &str) -> Result<Paid, Problem> {
        let owed = self.owed(Role::Contractor, book, &peer.did).await?;
        if owed.is_empty() {
            return Err(Problem::new(Code::NotFound, format!("nothing is owed by {}", peer.name), ""));
        }
        let now = self.now();
        let payment = Payment {
            payment: PaymentId::new(self.clock.as_ref(), self.entropy.as_ref()),
            payer: peer.did,
            payee: self.did(),
            book,
            contracts: owed.iter().map(|(record, _)| record.id).collect(),
            amount: owed.iter().map(|(_, amount)| *amount).sum(),
            method: method.to_owned(),
            paid_at: now,
        };
        let payment = Signed::new(payment, self.identity.signer.as_ref());
        let said = &payment.document;
        let confirmation = PaymentConfirmation {
            payment: said.payment,
            payee: said.payee,
            payer: said.payer,
            hash: payment.hash(),
            confirmed_at: now,
        };
        let paid = Paid {
            payment: said.payment.to_string(),
            amount_micro_usd: said.amount.0,
            contracts: u32::try_from(said.contracts.len()).unwrap_or(u32::MAX),
        };
        let recorded = Event::PaymentRecorded {
            entries: settlements(Role::Contractor, book, peer.did, &owed),
            payment,
            confirmation: Some(Signed::new(confirmation, self.identity.signer.as_ref())),
            role: Role::Contractor,
            at: now,
        };
        self.apply(vec![recorded], Vec::new()).await?;
        Ok(paid)
    }

    /// A payment that was sent and whose answer was never heard: it is sent again as it was, so that the payee, who may
    /// have booked it, recognises it.
    async fn unanswered_payment(&self, peer: &Did) -> Option<Signed<Payment>> {
        let stored = self.store.setting(&unanswered_key(peer)).await.ok().flatten()?;
        serde_json::from_value(stored).ok()
    }

    async fn send_payment(&self, peer: &PeerRecord, payment: Signed<Payment>) -> Result<Paid, Problem> {
        let said = &payment.document;
        let book = said.book;
        let paid = Paid {
            payment: said.payment.to_string(),
            amount_micro_usd: said.amount.0,
            contracts: u32::try_from(said.contracts.len()).unwrap_or(u32::MAX),
        };
        let answered =
            Event::SettingChanged { key: unanswered_key(&peer.did), value: serde_json::Value::Null, at: self.now() };
        let client = self.client_of(peer).await?;
        let confirmation = match client.exchange(Message::Payment(payment.clone())).await {
            Ok(Message::PaymentConfirmation(confirmation)) => confirmation,
            Ok(_) => return Err(Problem::new(Code::Forged, "the peer answers the payment with something else", "")),
            Err(problem) => {
                self.clients.failed(&peer.did, &problem).await;
                // Refused: nothing was booked over there, so a corrected payment may follow.
                if !matches!(problem.code, Code::Lost | Code::Unavailable | Code::TooMany | Code::Storage) {
                    self.apply(vec![answered], Vec::new()).await?;
                }
                return Err(problem);
            }
        };
        checks::check_payment_confirmation(&confirmation, &payment)?;
        let mut cleared = Vec::new();
        for contract in &said.contracts {
            let record = self.record(*contract).await?;
            cleared.push((record.amount.unwrap_or(MicroUsd::ZERO), record));
        }
        let cleared: Vec<(ContractRecord, MicroUsd)> = cleared.into_iter().map(|(a, r)| (r, a)).collect();
        let recorded = Event::PaymentRecorded {
            entries: settlements(Role::Client, book, peer.did, &cleared),
            payment,
            confirmation: Some(confirmation),
            role: Role::Client,
            at: self.now(),
        };
        self.apply(vec![recorded, answered], Vec::new()).await?;
        Ok(paid)
    }

    /// The payee's side. The holder of an API key cannot clear its own debt: nobody but the owner of this node says that
    /// it paid, since its key was given to it to buy with.
    pub(crate) async fn on_payment(
        &self,
        caller: Did,
        payment: Signed<Payment>,
    ) -> Result<Signed<PaymentConfirmation>, Problem> {
        let peer = self.store.peer(&caller).await.map_err(|e| e.problem())?;
        if peer.is_some_and(|peer| peer.by_key) {
            let message = "payments of the holder of an API key are recorded by the owner of this node";
            return Err(Problem::new(Code::Forbidden, message, "tell the owner how you paid"));
        }
        let id = payment.document.payment;
        if let Some(known) = self.store.payment(id).await.map_err(|e| e.problem())? {
            return match known.confirmation {
                Some(confirmation) if known.payment.hash() == payment.hash() => Ok(confirmation),
                _ => Err(Problem::new(Code::Conflict, format!("the payment {id} was recorded differently"), "")),
            };
        }
        let book = payment.document.book;
        let owed = self.owed(Role::Contractor, book, &caller).await?;
        let amounts: BTreeMap<ContractId, MicroUsd> = owed.iter().map(|(r, amount)| (r.id, *amount)).collect();
        checks::check_payment(&payment, &caller, &self.did(), &amounts, self.now())?;
        let cleared: Vec<(ContractRecord, MicroUsd)> =
            owed.into_iter().filter(|(record, _)| payment.document.contracts.contains(&record.id)).collect();
        let confirmation = PaymentConfirmation {
            payment: id,
            payee: self.did(),
            payer: caller,
            hash: payment.hash(),
            confirmed_at: self.now(),
        };
        let confirmation = Signed::new(confirmation, self.identity.signer.as_ref());
        let recorded = Event::PaymentRecorded {
            entries: settlements(Role::Contractor, book, caller, &cleared),
            payment,
            confirmation: Some(confirmation.clone()),
            role: Role::Contractor,
            at: self.now(),
        };
        self.apply(vec![recorded], Vec::new()).await?;
        Ok(confirmation)
    }

    /// Accepted contracts with a peer and what each is owed.
    async fn owed(&self, role: Role, book: Book, peer: &Did) -> Result<Vec<(ContractRecord, MicroUsd)>, Problem> {
        let filter = ContractFilter {
            role: Some(role),
            states: vec![ContractState::Accepted],
            peer: Some(*peer),
            book: Some(book),
            limit: MAX_CONTRACTS,
            ..ContractFilter::default()
        };
        let records = self.store.contracts(filter).await.map_err(|e| e.problem())?;
        let billed = |record: ContractRecord| (record.amount.unwrap_or(MicroUsd::ZERO), record);
        Ok(records.into_iter().map(billed).map(|(amount, record)| (record, amount)).collect())
    }
}

/// Internal setting that keeps a payment until it is answered.
fn unanswered_key(peer: &Did) -> String {
    format!("payment.unanswered.{peer}")
}

fn settlements(role: Role, book: Book, peer: Did, contracts: &[(ContractRecord, MicroUsd)]) -> Vec<Entry> {
    let entries = contracts.iter().flat_map(|(record, charged)| {
        let amounts = Amounts { reserved: MicroUsd::ZERO, charged: *charged };
        contract::entries(role, book, record.id, peer, Step::Settle, amounts)
    });
    entries.collect()
}
