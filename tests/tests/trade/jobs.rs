//! Jobs from the call to the payment.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::{fs, time::Duration};
use tender_base::{Code, ContractState, JobState};
use tender_node::api::types::{
    ById, Earnings, Explanation, JobDetail, JobOutput, JobPage, JobsQuery, Nothing, Overview, Paid, PayInput, Peers,
    ReceiptFile, SubmitInput, Submitted,
};
use tender_tests::{
    Cli, TestNode, pair,
    work::{self, DOLLAR},
};

async fn output(node: &TestNode, id: &str) -> Vec<u8> {
    let output: JobOutput = node.ask("output", &ById { id: id.to_owned() }).await;
    BASE64.decode(output.data_base64).unwrap()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The receipt of a job, which the countersignature completes a moment after the job.
async fn receipt(node: &TestNode, id: &str) -> ReceiptFile {
    for _ in 0..100 {
        if let Ok(receipt) = node.api.ask("receipt", &ById { id: id.to_owned() }).await {
            return receipt;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.ask("receipt", &ById { id: id.to_owned() }).await
}

/// The whole way: three kinds of work are bought, delivered, checked, explained, proven, owed and paid.
#[tokio::test]
async fn three_jobs_are_bought_checked_proven_and_paid() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    // Each job costs something that can be told from the others.
    for (kind, micro_usd, per_units) in [("embed", 1000, 10), ("gemm", 7, 1000), ("wgsl", 3, 1000)] {
        seller.set(&format!("price.{kind}.micro_usd"), json!(micro_usd)).await;
        seller.set(&format!("price.{kind}.per_units"), json!(per_units)).await;
    }
    pair(&seller, &buyer, DOLLAR).await;

    let mut charged = 0;
    let mut ids = Vec::new();
    for submitted in [work::embed(), work::gemm(64), work::wgsl(4, 100)] {
        let detail = buyer.buy(&work::for_peers(submitted)).await;
        let id = detail.summary.id.clone();
        let amount = detail.summary.amount_micro_usd.unwrap();
        assert!(amount > 0, "{detail:#?}");
        charged += amount;
        assert_eq!(detail.contracts[0].state, ContractState::Accepted, "{detail:#?}");
        assert!(detail.verification.as_ref().is_some_and(|v| v.contains("passed")), "{detail:#?}");
        let steps: Vec<ContractState> = detail.contracts[0].steps.iter().map(|s| s.state).collect();
        use ContractState::{Accepted, Awarded, Delivered, Proposed, Running};
        assert_eq!(steps, [Proposed, Awarded, Running, Delivered, Accepted]);
        ids.push(id);
    }

    let vectors = floats(&output(&buyer, &ids[0]).await);
    let cosine = |i: usize, j: usize| -> f32 { (0..384).map(|k| vectors[i * 384 + k] * vectors[j * 384 + k]).sum() };
    assert_eq!(vectors.len(), 3 * 384);
    assert!(cosine(0, 1) > 0.8 && cosine(0, 2) < 0.3 && (cosine(2, 2) - 1.0).abs() < 1e-4);
    let product = output(&buyer, &ids[1]).await;
    assert_eq!(floats(&product), floats(&work::gemm_input(64)[..64 * 64 * 4]));
    assert_eq!(output(&buyer, &ids[2]).await, work::wgsl_output(4));
    // 2 · 64³ operations at 7 micro-USD per 1,000, rounded up once.
    assert_eq!(buyer.job(&ids[1]).await.summary.amount_micro_usd, Some(3671));

    for id in &ids {
        let found = receipt(&buyer, id).await;
        assert!(found.valid && found.problem.is_none());
        let file = buyer.dir().join("receipt.json");
        fs::write(&file, serde_json::to_vec(&found.receipt).unwrap()).unwrap();
        let path = file.to_str().unwrap();
        assert_eq!(Cli::on(buyer.dir()).json(&["verify", path])["valid"], true);
        // The seller holds the very same proof.
        let contract = &buyer.job(id).await.contracts[0].id;
        assert_eq!(receipt(&seller, contract).await.receipt, found.receipt);
        every_changed_byte_is_noticed(&buyer, &found.receipt);

        let explanation: Explanation = buyer.ask("explain", &ById { id: id.clone() }).await;
        let name = &buyer.ask::<_, Peers>("peers", &Nothing {}).await.peers[0].name;
        assert!(explanation.text.contains(name.as_str()), "{}", explanation.text);
        assert!(explanation.text.contains("this machine"), "{}", explanation.text);
    }

    let (earned, spent) = (seller.earnings().await, buyer.earnings().await);
    assert_eq!((earned.owed_to_us_micro_usd, earned.owed_by_us_micro_usd), (charged, 0));
    assert_eq!((spent.owed_to_us_micro_usd, spent.owed_by_us_micro_usd), (0, charged));
    assert_eq!((earned.days[0].earned_micro_usd, earned.days[0].jobs_sold), (charged, 3));
    assert_eq!((spent.days[0].spent_micro_usd, spent.days[0].jobs_bought), (charged, 3));
    assert_eq!(buyer.ask::<_, Overview>("overview", &Nothing {}).await.reserved_micro_usd, 0);

    let pay = PayInput { did: seller.did.to_string(), method: "cash".to_owned(), book: None };
    let paid: Paid = buyer.ask("record_payment", &pay).await;
    assert_eq!((paid.amount_micro_usd, paid.contracts), (charged, 3));
    let (earned, spent): (Earnings, Earnings) = (seller.earnings().await, buyer.earnings().await);
    assert_eq!((earned.owed_to_us_micro_usd, earned.paid_to_us_micro_usd), (0, charged));
    assert_eq!((spent.owed_by_us_micro_usd, spent.paid_by_us_micro_usd), (0, charged));
    assert_eq!(buyer.refuses("record_payment", &pay).await.code, Code::NotFound, "nothing is paid twice");
    for id in &ids {
        assert_eq!(buyer.job(id).await.contracts[0].state, ContractState::Settled);
    }
}

/// Changes one character at many places of a receipt: none of them may still verify. Values only: the names of
/// members are no content, and a changed one no longer reads as a receipt at all.
fn every_changed_byte_is_noticed(node: &TestNode, receipt: &Value) {
    let text = serde_json::to_string(receipt).unwrap();
    let file = node.dir().join("changed.json");
    let signature = text.find("\"signature\":\"").unwrap() + 20;
    let amount = text.rfind("\"amount\":").unwrap() + 9;
    let hash = text.find("\"sha256\":\"").unwrap() + 15;
    for place in [signature, amount, hash] {
        let mut bytes = text.clone().into_bytes();
        bytes[place] = match bytes[place] {
            b'1' => b'2',
            b'A' => b'B',
            digit @ b'0'..=b'9' => {
                if digit == b'9' {
                    b'8'
                } else {
                    digit + 1
                }
            }
            b'f' => b'e',
            _ => b'1',
        };
        fs::write(&file, &bytes).unwrap();
        let said = Cli::on(node.dir()).fails(&["verify", file.to_str().unwrap()]);
        assert!(said.starts_with("tender: ") && said.len() > 20, "{said}");
    }
}

/// Two alternatives that both can: the own card when it is cheaper, the peer when that is.
#[tokio::test]
async fn the_cheapest_feasible_alternative_runs_the_job() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::start().await);
    pair(&seller, &buyer, DOLLAR).await;

    seller.set("price.gemm.micro_usd", json!(100_000)).await;
    seller.set("price.gemm.per_units", json!(100_000)).await;
    let own = buyer.buy(&work::for_anyone(work::gemm(64))).await;
    assert_eq!(own.summary.with.as_deref(), Some("this machine"), "{own:#?}");
    assert!(own.contracts.iter().all(|c| c.state == ContractState::Lapsed), "{own:#?}");
    assert_eq!(output(&buyer, &own.summary.id).await, work::gemm_input(64)[..64 * 64 * 4]);
    let earnings = buyer.earnings().await;
    assert_eq!(earnings.owed_by_us_micro_usd, 0);
    let explanation: Explanation = buyer.ask("explain", &ById { id: own.summary.id.clone() }).await;
    assert!(explanation.text.contains("not 2 % below the own card"), "{}", explanation.text);

    seller.set("price.gemm.micro_usd", json!(0)).await;
    let bought = buyer.buy(&work::for_anyone(work::gemm(64))).await;
    assert_eq!(bought.contracts[0].state, ContractState::Accepted, "{bought:#?}");
    assert_eq!(bought.summary.amount_micro_usd, Some(0));
    seller.earnings().await;
}

/// A dry run asks, decides, and leaves no trace: no job, no contract, no slot held.
#[tokio::test]
async fn a_dry_run_runs_nothing_and_frees_what_was_held() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, DOLLAR).await;
    let dry = SubmitInput { dry_run: Some(true), ..work::for_peers(work::gemm(32)) };
    // One slot, two holds per peer: a third call would be refused if a hold stayed.
    for _ in 0..4 {
        let seen = seller.events().count();
        let submitted: Submitted = buyer.ask("submit", &dry).await;
        let explanation = submitted.explanation.unwrap();
        assert!(submitted.job.is_none());
        assert!(!explanation.decision["choice"].is_null(), "{}", explanation.text);
        let lapsed = seller.events().after(seen, |e| e.moved_to("lapsed")).await;
        assert!(!lapsed.contract().is_empty());
    }
    let page: JobPage = buyer.ask("jobs", &JobsQuery { role: None, limit: None, before: None }).await;
    assert!(page.jobs.is_empty(), "{page:#?}");
    assert!(!seller.events().all().iter().any(|e| e.moved_to("awarded")));
    for node in [&seller, &buyer] {
        node.owes_and_is_owed_nothing().await;
    }
    buyer.buy(&work::for_peers(work::gemm(32))).await;
}

/// A private job is done here or not at all; no peer hears of it.
#[tokio::test]
async fn a_private_job_never_leaves() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::start().await);
    pair(&seller, &buyer, DOLLAR).await;
    seller.set("price.gemm.micro_usd", json!(0)).await;
    let before = seller.events().count();
    let private = SubmitInput { private: Some(true), ..work::for_anyone(work::gemm(64)) };
    let detail = buyer.buy(&private).await;
    assert!(detail.contracts.is_empty(), "{detail:#?}");

    buyer.set("use_own_gpu", json!(false)).await;
    let id = buyer.submit(&private).await;
    let detail = buyer.ended(&id).await;
    assert_eq!(detail.summary.state, Some(JobState::Failed), "{detail:#?}");
    assert!(detail.problem.is_some());
    assert_eq!(seller.events().count(), before, "{:#?}", seller.events().all());
}

/// Cancelling gives the award up on both sides; the contractor stops, nothing is owed, and its slot is free.
#[tokio::test]
async fn a_cancelled_job_stops_and_costs_nothing() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    // Seven and a half billion steps: eight cents.
    seller.set("price.wgsl.per_units", json!(1_000_000)).await;
    pair(&seller, &buyer, DOLLAR).await;
    let id = buyer.submit(&work::for_peers(long())).await;
    seller.events().first(|e| e.moved_to("awarded")).await;
    assert!(buyer.ask::<_, Overview>("overview", &Nothing {}).await.reserved_micro_usd > 0);
    let Nothing {} = buyer.ask("cancel_job", &ById { id: id.clone() }).await;
    let detail: JobDetail = buyer.job(&id).await;
    assert_eq!(detail.summary.state, Some(JobState::Cancelled));
    assert_eq!(detail.contracts[0].state, ContractState::Abandoned);
    seller.events().first(|e| e.moved_to("abandoned")).await;
    for node in [&seller, &buyer] {
        node.owes_and_is_owed_nothing().await;
    }
    assert_eq!(buyer.refuses("cancel_job", &ById { id }).await.code, Code::Conflict);
    // The slot and the worker are free again at once.
    buyer.buy(&work::for_peers(work::gemm(16))).await;
}

/// A kernel that takes lavapipe several seconds.
fn long() -> tender_node::api::types::SubmitWork {
    work::wgsl(2000, 59_000)
}

/// After ten valid results in a row most deliveries are taken on trust: still accepted, receipted and owed.
#[tokio::test]
async fn a_contractor_that_was_right_ten_times_is_trusted() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, DOLLAR).await;
    let mut trusted = None;
    // Nine of ten are trusted from the eleventh on: twenty more without one happen once in 10^20.
    for bought in 0..30 {
        let detail = buyer.buy(&work::for_peers(work::embed())).await;
        let verification = detail.verification.unwrap();
        if verification.contains("taken on trust") {
            trusted = Some((bought, detail.summary.id));
            break;
        }
        assert!(verification.contains("passed"), "{verification}");
    }
    let (bought, id) = trusted.unwrap();
    assert!(bought >= 10, "trusted after {bought} results");
    let found = receipt(&buyer, &id).await;
    assert!(found.valid && found.problem.is_none());
    let contract = &buyer.job(&id).await.contracts[0].id;
    assert_eq!(receipt(&seller, contract).await.receipt, found.receipt);
}
