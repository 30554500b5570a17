//! What the nodes of a market remember, compared with each other after they have ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use tender_base::{Book, ContractState, Did, JobState, MicroUsd, Role, ledger::Account};
use tender_store::{ContractFilter, ContractRecord, JobFilter, Store};
use tender_tests::work;

/// Asserts that the database opens, balances, and follows from its events.
async fn open(dir: &Path) -> Store {
    let store = Store::open(dir).await.unwrap();
    assert!(store.ledger_balances().await.unwrap(), "{}: the ledger does not balance", dir.display());
    let empty = tempfile::tempdir().unwrap();
    let folded = store.replay_into(empty.path()).await.unwrap();
    assert_eq!(
        store.table_digests().await.unwrap(),
        folded.table_digests().await.unwrap(),
        "{}: the tables do not follow from the events",
        dir.display()
    );
    folded.close().await.unwrap();
    store
}

fn is_owed(contract: &&ContractRecord) -> bool {
    matches!(contract.state, ContractState::Accepted | ContractState::Settled)
}

/// Asserts that client and contractors agree, and that every job of `acknowledged` has ended, completed where it
/// must be.
pub(crate) async fn compare(
    client: &(Did, &Path),
    contractors: &[(Did, &Path)],
    acknowledged: &BTreeMap<String, bool>,
) {
    let buyer = open(client.1).await;
    let bought =
        buyer.contracts(ContractFilter { role: Some(Role::Client), ..ContractFilter::default() }).await.unwrap();
    check_jobs(&buyer, &bought, acknowledged).await;
    assert_eq!(buyer.balance(Book::Real, &Account::Reserved).await.unwrap(), MicroUsd::ZERO, "still reserved");
    let mut sold_ids = BTreeSet::new();
    for (did, dir) in contractors {
        let seller = open(dir).await;
        let payable = buyer.balance(Book::Real, &Account::Payable(*did)).await.unwrap();
        let receivable = seller.balance(Book::Real, &Account::Receivable(client.0)).await.unwrap();
        assert_eq!(payable.negated(), receivable, "what is owed and what is expected differ");
        let sold = seller
            .contracts(ContractFilter { role: Some(Role::Contractor), ..ContractFilter::default() })
            .await
            .unwrap();
        for contract in sold.iter().filter(is_owed) {
            assert!(sold_ids.insert(contract.id));
            let same = bought.iter().find(|bought| bought.id == contract.id).unwrap();
            assert_eq!((same.state, same.amount, same.output), (contract.state, contract.amount, contract.output));
            let receipt = seller.receipt(contract.id).await.unwrap().unwrap();
            receipt.verify().unwrap();
            assert_eq!(buyer.receipt(contract.id).await.unwrap().as_ref(), Some(&receipt), "{}", contract.id);
        }
        seller.close().await.unwrap();
    }
    for contract in bought.iter().filter(is_owed) {
        assert!(sold_ids.contains(&contract.id), "{} is paid for, but nobody sold it", contract.id);
    }
    buyer.close().await.unwrap();
}

async fn check_jobs(buyer: &Store, bought: &[ContractRecord], acknowledged: &BTreeMap<String, bool>) {
    let jobs = buyer.jobs(JobFilter::default()).await.unwrap();
    for job in &jobs {
        assert!(job.state.is_final(), "{job:#?}");
        let accepted = bought.iter().filter(is_owed).filter(|contract| contract.job == Some(job.id)).count();
        assert!(accepted <= 1, "job {} was paid {accepted} times", job.id);
        match job.state {
            JobState::Completed => {
                assert_eq!(accepted, 1, "job {} was completed without a contract", job.id);
                let output = buyer.blob(&job.output.unwrap()).await.unwrap().unwrap();
                assert!(output == work::wgsl_output(crate::market::WORKGROUPS), "job {}: wrong output", job.id);
            }
            _ => assert!(job.reason.is_some(), "job {} ended without a reason", job.id),
        }
    }
    for (id, must_complete) in acknowledged {
        let job = jobs.iter().find(|job| job.id.to_string() == *id);
        let job = job.unwrap_or_else(|| panic!("the acknowledged job {id} is lost"));
        assert!(!must_complete || job.state == JobState::Completed, "{job:#?}");
    }
}
