//! Work that the closed gate refuses.

use super::*;
use tender_base::{
    Book, JobSpec, Rate, Role, Sha256, Signer as _, Unit,
    documents::{Award, CallForProposals, Proposal},
    job::{Constraints, Precision, Privacy},
    signed::KeySigner,
};
use tender_engine::Closed;

/// A contract that was awarded to this node a moment ago.
async fn awarded(node: &Node) -> ContractId {
    let client_key = KeySigner::from_seed(&[1; 32]);
    let (client, contractor) = (client_key.did(), node.did());
    let contract = ContractId::new(node.clock.as_ref(), node.entropy.as_ref());
    let now = node.now();
    let deadline = now.after(Duration::from_secs(600));
    let job = JobSpec {
        work: Work::Gemm { m: 1, k: 1, n: 1, precision: Precision::F32 },
        input: node.store.put_blob(&[0; 8]).await.unwrap(),
        constraints: Constraints { budget: MicroUsd(9), deadline, privacy: Privacy::Peers },
    };
    let call =
        CallForProposals { contract, client, contractor, book: Book::Real, job, called_at: now, respond_by: deadline };
    let call = Signed::new(call, &client_key);
    let proposal = Proposal {
        contract,
        contractor,
        client,
        call: call.hash(),
        rate: Rate { micro_usd: 5, per_units: 2, unit: Unit::Flop },
        prompt_rate: None,
        units: 2,
        amount: MicroUsd(5),
        valid_until: deadline,
        estimated_ms: 1,
        adapter: String::new(),
    };
    let proposal = Signed::new(proposal, node.identity.signer.as_ref());
    let award = Award {
        contract,
        client,
        contractor,
        proposal: proposal.hash(),
        nonce_sha256: Sha256::of(b"n"),
        review_seconds: 1,
        awarded_at: now,
        deadline,
    };
    let award = Message::Award(Signed::new(award, &client_key));
    let opened = Event::ContractOpened {
        contract,
        role: Role::Contractor,
        book: Book::Real,
        peer: client,
        job: None,
        state: ContractState::Proposed,
        call,
        proposal: Some(proposal),
        expires_at: None,
        at: now,
    };
    node.apply(vec![opened], Vec::new()).await.unwrap();
    let record = node.record(contract).await.unwrap();
    node.move_contract(&record, Step::Award, vec![award], MicroUsd::ZERO, None).await.unwrap();
    contract
}

#[tokio::test]
async fn work_that_the_gate_refuses_before_it_is_said_for_what_is_handed_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = Arc::new(crate::metering::tests::node(&dir).await);
    let id = awarded(&node).await;
    // A look that was fresh a moment ago; since then a game was seen, and what is held is still being read.
    node.engine.close(Some(Closed::All));
    let (guard, runs) = (node.clone(), node.clone().run_contract(id));
    let says = async {
        tokio::time::sleep(Duration::from_millis(3300)).await;
        assert_eq!(guard.record(id).await.unwrap().state, ContractState::Awarded, "it waits for the reason");
        guard.yield_all_sold(HandbackReason::Game);
    };
    tokio::join!(runs, says);
    let record = node.record(id).await.unwrap();
    assert_eq!(record.state, ContractState::HandedBack, "{:?}", record.reason);
}
