//! What the screens ask for beside the trade itself: decisions as tables, the machine, the benchmark, a job once more.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use futures::{Stream, StreamExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{pin::Pin, time::Duration};
use tender_base::{Code, JobKind, JobState, Problem};
use tender_node::api::types::{
    Benchmark, BenchmarkInput, ById, DecisionQuery, DecisionView, Decisions, DecisionsQuery, JobOutput, Machine,
    Nothing, Prices, PricesQuery, Submitted,
};
use tender_tests::{TestNode, work};

async fn snapshot<T: DeserializeOwned>(events: &mut Pin<Box<impl Stream<Item = Result<(u64, Value), Problem>>>>) -> T {
    let next = tokio::time::timeout(Duration::from_secs(60), events.next()).await.unwrap();
    serde_json::from_value(next.unwrap().unwrap().1).unwrap()
}

#[tokio::test]
async fn a_job_shows_its_input_and_its_decision_and_runs_again() {
    let node = TestNode::start().await;
    let first = node.buy(&work::for_anyone(work::gemm(16))).await;
    assert_eq!(first.summary.state, Some(JobState::Completed), "{first:#?}");
    let id = || ById { id: first.summary.id.clone() };
    let input: JobOutput = node.ask("job_input", &id()).await;
    assert_eq!(input.data_base64, BASE64.encode(work::gemm_input(16)));

    let again: Submitted = node.ask("run_again", &id()).await;
    let second = node.ended(&again.job.unwrap()).await;
    assert_eq!(second.summary.state, Some(JobState::Completed), "{second:#?}");
    assert_ne!(second.summary.id, first.summary.id);
    assert_eq!((second.output_sha256, second.input_bytes), (first.output_sha256.clone(), first.input_bytes));

    let listed: Decisions = node.ask("decisions", &DecisionsQuery { limit: None, before: None }).await;
    let jobs: Vec<&str> = listed.decisions.iter().map(|decision| decision.job.as_str()).collect();
    assert_eq!(jobs, [second.summary.id.as_str(), first.summary.id.as_str()], "newest first");
    let query = DecisionQuery { job: first.summary.id.clone(), policy: Some("cheapest".to_owned()) };
    let view: DecisionView = node.ask("decision", &query).await;
    assert_eq!((view.chosen.as_deref(), view.same_bits), (Some("this machine"), Some(true)));
    assert!(view.actual.is_some() && view.instead.is_some_and(|instead| instead.same));
    let unknown = DecisionQuery { policy: Some("luck".to_owned()), ..query };
    assert_eq!(node.refuses("decision", &unknown).await.code, Code::Invalid);
}

#[tokio::test]
async fn a_benchmark_teaches_the_prices_and_the_machine_is_seen_meanwhile() {
    let node = TestNode::start().await;
    let prices = || async {
        let prices: Prices =
            node.ask("prices", &PricesQuery { kind: None, margin: None, cap_micro_usd_per_unit: None }).await;
        prices.rows.into_iter().map(|row| (row.kind, row.suggested.is_some())).collect::<Vec<_>>()
    };
    assert!(prices().await.iter().all(|(_, suggested)| !suggested), "nothing was measured yet");
    let kinds = vec![JobKind::Kernel, JobKind::Gemm, JobKind::Wgsl];
    let mut machine = Box::pin(node.api.subscribe("watch_machine", 0).await.unwrap());
    let begun: Benchmark = node.ask("run_benchmark", &BenchmarkInput { kinds: Some(kinds) }).await;
    assert_eq!((begun.state.as_str(), begun.steps.len()), ("running", 3));
    assert!(begun.remaining_ms.is_some());
    let ended = async {
        let mut events = Box::pin(node.api.subscribe("watch_benchmark", 0).await.unwrap());
        loop {
            let shown: Benchmark = snapshot(&mut events).await;
            if shown.state != "running" {
                return shown;
            }
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(180), ended).await.unwrap();
    assert_eq!(done.state, "done", "{done:#?}");
    for step in &done.steps {
        assert!(step.units_per_second.is_some_and(|rate| rate > 0.0) && step.runs > 0, "{step:#?}");
    }
    for (kind, suggested) in prices().await {
        assert_eq!(suggested, matches!(kind, JobKind::Gemm | JobKind::Kernel | JobKind::Wgsl), "{kind:?}");
    }
    let mut seen: Machine = snapshot(&mut machine).await;
    while seen.samples.is_empty() {
        seen = snapshot(&mut machine).await;
    }
    assert!(seen.cards.len() <= 16 && seen.host.memory_total_bytes.is_some(), "{seen:#?}");

    node.set("stopped", json!(true)).await;
    assert_eq!(node.refuses("run_benchmark", &BenchmarkInput { kinds: None }).await.code, Code::Unavailable);
    let _: Benchmark = node.ask("stop_benchmark", &Nothing {}).await;
}
