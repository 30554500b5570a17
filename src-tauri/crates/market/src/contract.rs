//! The life of a contract: which step may follow which state, and what each step posts to the ledger.
//!
//! | from | step | to |
//! |---|---|---|
//! | announced | propose | proposed |
//! | announced, proposed | lapse | lapsed |
//! | proposed | award | awarded |
//! | awarded | start | running |
//! | awarded, running | deliver | delivered |
//! | awarded, running | fail | failed |
//! | awarded, running | abandon | abandoned |
//! | awarded, running | hand back | handed back |
//! | delivered, as contractor only | abandon | abandoned |
//! | delivered | accept, accept by silence | accepted |
//! | delivered | reject | rejected |
//! | rejected | accept (the dispute ended for the contractor) | accepted |
//! | rejected | fail (the dispute ended for the client, or ran out) | failed |
//! | accepted | settle | settled |
//!
//! A client never abandons what it has seen delivered: it accepts or rejects. The contractor's row exists because
//! an abandonment and a delivery may cross on the wire, and then the client owes nothing for what it never took.

use serde::{Deserialize, Serialize};
use tender_base::{
    Book, Code, ContractState, Did, MicroUsd, Problem, Role,
    ids::ContractId,
    ledger::{Account, Entry},
};

/// Seconds of silence after a delivery that count as acceptance, unless the award says otherwise: long enough for a
/// client's own check of the largest job on a CPU, short enough that a contractor is paid the same hour.
pub const REVIEW_SECONDS: u32 = 600;

/// Something that happens to a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The contractor made a binding offer.
    Propose,
    /// The client took it.
    Award,
    /// The contractor reported its first progress.
    Start,
    /// The contractor delivered.
    Deliver,
    /// The client accepted, or a dispute ended for the contractor.
    Accept,
    /// The client said nothing for as long as the award agreed to.
    AcceptBySilence,
    /// The client rejected.
    Reject,
    /// Both sides recorded the payment.
    Settle,
    /// The offer ran out, was refused, declined, or never came.
    Lapse,
    /// The contractor could not do it, the deadline passed, or a dispute ended for the client.
    Fail,
    /// The client gave the award up.
    Abandon,
    /// The contractor gave the award back.
    HandBack,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 12] = [
        Self::Propose,
        Self::Award,
        Self::Start,
        Self::Deliver,
        Self::Accept,
        Self::AcceptBySilence,
        Self::Reject,
        Self::Settle,
        Self::Lapse,
        Self::Fail,
        Self::Abandon,
        Self::HandBack,
    ];

    /// The name in events and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Propose => "propose",
            Self::Award => "award",
            Self::Start => "start",
            Self::Deliver => "deliver",
            Self::Accept => "accept",
            Self::AcceptBySilence => "accept by silence",
            Self::Reject => "reject",
            Self::Settle => "settle",
            Self::Lapse => "lapse",
            Self::Fail => "fail",
            Self::Abandon => "abandon",
            Self::HandBack => "hand back",
        }
    }
}

/// Where `step` leads from `from`, seen from the side `role`.
///
/// # Errors
/// [`Code::Conflict`], naming the state and the step, when the table of this module has no such row. A step that was
/// already taken is a conflict too: who may receive a message twice compares it with the stored one first.
pub fn advance(role: Role, from: ContractState, step: Step) -> Result<ContractState, Problem> {
    use ContractState as S;
    Ok(match (from, step) {
        (S::Announced, Step::Propose) => S::Proposed,
        (S::Announced | S::Proposed, Step::Lapse) => S::Lapsed,
        (S::Proposed, Step::Award) => S::Awarded,
        (S::Awarded, Step::Start) => S::Running,
        (S::Awarded | S::Running, Step::Deliver) => S::Delivered,
        (S::Awarded | S::Running | S::Rejected, Step::Fail) => S::Failed,
        (S::Awarded | S::Running, Step::Abandon) => S::Abandoned,
        (S::Awarded | S::Running, Step::HandBack) => S::HandedBack,
        (S::Delivered, Step::Abandon) if role == Role::Contractor => S::Abandoned,
        (S::Delivered, Step::Accept | Step::AcceptBySilence) | (S::Rejected, Step::Accept) => S::Accepted,
        (S::Delivered, Step::Reject) => S::Rejected,
        (S::Accepted, Step::Settle) => S::Settled,
        _ => {
            return Err(Problem::new(
                Code::Conflict,
                format!("the contract is {}, which does not allow to {} it", from.name(), step.name()),
                "ask for the contract's present state and act on that",
            ));
        }
    })
}

/// The money a step is about. Not negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amounts {
    /// What the client set aside with the award: the proposal's amount.
    pub reserved: MicroUsd,
    /// What the delivery bills; at most `reserved`. Read by the steps from the acceptance on.
    pub charged: MicroUsd,
}

/// What a legal `step` posts in the books of the side `role`, `peer` being the other side. Nothing for steps that
/// move no money, and no lines of zero.
#[must_use]
pub fn entries(role: Role, book: Book, contract: ContractId, peer: Did, step: Step, amounts: Amounts) -> Vec<Entry> {
    let transfer = |debit, credit, amount: MicroUsd| {
        (amount.0 != 0).then(|| Entry::transfer(book, Some(contract), debit, credit, amount))
    };
    let release = || transfer(Account::Unreserved, Account::Reserved, amounts.reserved);
    let lines = match (role, step) {
        (Role::Client, Step::Award) => vec![transfer(Account::Reserved, Account::Unreserved, amounts.reserved)],
        (Role::Client, Step::Accept | Step::AcceptBySilence) => {
            vec![release(), transfer(Account::Expense, Account::Payable(peer), amounts.charged)]
        }
        (Role::Client, Step::Fail | Step::Abandon | Step::HandBack) => vec![release()],
        (Role::Client, Step::Settle) => vec![transfer(Account::Payable(peer), Account::External, amounts.charged)],
        (Role::Contractor, Step::Accept | Step::AcceptBySilence) => {
            vec![transfer(Account::Receivable(peer), Account::Income, amounts.charged)]
        }
        (Role::Contractor, Step::Settle) => {
            vec![transfer(Account::External, Account::Receivable(peer), amounts.charged)]
        }
        (_, Step::Propose | Step::Start | Step::Deliver | Step::Reject | Step::Lapse)
        | (Role::Contractor, Step::Award | Step::Fail | Step::Abandon | Step::HandBack) => Vec::new(),
    };
    lines.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use tender_base::signed::{KeySigner, Signer};

    fn did(seed: u8) -> Did {
        KeySigner::from_seed(&[seed; 32]).did()
    }

    fn contract() -> ContractId {
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap()
    }

    #[derive(Default)]
    struct Books(HashMap<Account, i64>);

    impl Books {
        fn post(&mut self, entries: &[Entry]) {
            for entry in entries {
                assert!(entry.balances(), "{entry:?}");
                for line in &entry.postings {
                    *self.0.entry(line.account).or_default() += line.amount.0;
                }
            }
        }

        fn of(&self, account: Account) -> i64 {
            self.0.get(&account).copied().unwrap_or(0)
        }
    }

    const ALL_STATES: [ContractState; 12] = [
        ContractState::Announced,
        ContractState::Proposed,
        ContractState::Awarded,
        ContractState::Running,
        ContractState::Delivered,
        ContractState::Accepted,
        ContractState::Settled,
        ContractState::Rejected,
        ContractState::Lapsed,
        ContractState::Failed,
        ContractState::Abandoned,
        ContractState::HandedBack,
    ];

    #[test]
    fn nothing_follows_a_final_state_and_something_follows_every_other() {
        for role in [Role::Client, Role::Contractor] {
            for from in ALL_STATES {
                let next = Step::ALL.iter().filter(|step| advance(role, from, **step).is_ok()).count();
                assert_eq!(next == 0, from.is_final(), "{role:?} {from:?}");
            }
        }
    }

    #[test]
    fn an_illegal_step_names_the_state_and_the_step() {
        let problem = advance(Role::Client, ContractState::Delivered, Step::Abandon).unwrap_err();
        assert_eq!(problem.code, Code::Conflict);
        assert!(problem.message.contains("delivered") && problem.message.contains("abandon"), "{problem}");
        assert_eq!(
            advance(Role::Contractor, ContractState::Delivered, Step::Abandon),
            Ok(ContractState::Abandoned),
            "an abandonment that crossed the delivery ends the contract for the contractor"
        );
        assert!(advance(Role::Contractor, ContractState::Accepted, Step::Accept).is_err(), "paid twice");
        assert!(advance(Role::Client, ContractState::Abandoned, Step::Deliver).is_err(), "late delivery");
        for role in [Role::Client, Role::Contractor] {
            assert!(
                advance(role, ContractState::Delivered, Step::HandBack).is_err(),
                "what is delivered is not taken back"
            );
            assert!(advance(role, ContractState::HandedBack, Step::Deliver).is_err(), "handed back and delivered");
        }
    }

    proptest! {
        /// Both sides walk the same legal path; every prefix keeps the books straight.
        #[test]
        fn money_is_reserved_released_and_owed_exactly_once(
            choices in proptest::collection::vec(0..Step::ALL.len(), 1..80),
            reserved in 0..1_000_000_000i64,
            share in 0..=100i64,
        ) {
            let (client, contractor) = (did(1), did(2));
            let amounts = Amounts { reserved: MicroUsd(reserved), charged: MicroUsd(reserved * share / 100) };
            let (mut state, mut clients, mut contractors) = (ContractState::Announced, Books::default(), Books::default());
            for choice in choices {
                let step = Step::ALL[choice];
                let Ok(next) = advance(Role::Client, state, step) else { continue };
                prop_assert_eq!(advance(Role::Contractor, state, step), Ok(next), "the sides disagree");
                clients.post(&entries(Role::Client, Book::Real, contract(), contractor, step, amounts));
                contractors.post(&entries(Role::Contractor, Book::Real, contract(), client, step, amounts));
                state = next;

                use ContractState as S;
                let is_reserved = matches!(state, S::Awarded | S::Running | S::Delivered | S::Rejected);
                prop_assert_eq!(clients.of(Account::Reserved), if is_reserved { reserved } else { 0 });
                prop_assert_eq!(clients.of(Account::Reserved), -clients.of(Account::Unreserved));
                let owed = if state == S::Accepted { amounts.charged.0 } else { 0 };
                prop_assert_eq!(clients.of(Account::Payable(contractor)), -owed);
                prop_assert_eq!(contractors.of(Account::Receivable(client)), owed);
                let earned = if matches!(state, S::Accepted | S::Settled) { amounts.charged.0 } else { 0 };
                prop_assert_eq!(clients.of(Account::Expense), earned);
                prop_assert_eq!(contractors.of(Account::Income), -earned);
                prop_assert_eq!(clients.of(Account::External), -contractors.of(Account::External));
            }
        }
    }
}
