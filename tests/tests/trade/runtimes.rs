//! Attached runtimes: they write for their owner and for clients, who judge what comes, and clouds are bought from.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tender_base::{Code, ContractState, JobState, catalogue::SMOLLM2, text::Generation};
use tender_node::api::types::{
    AttachRuntimeInput, ById, ByRuntime, Doctor, Explanation, JobDetail, JobOutput, Nothing, Overview, ReceiptFile,
    Runtimes, SubmitInput,
};
use tender_tests::{
    Game, Runtime, Says, TestNode, pair,
    work::{self, DOLLAR},
};

const QUESTION: &str = "What is the capital of France?";
const KEY: &str = "sk-of-this-test";

/// The job, and what the model itself writes for it.
async fn true_text() -> Says {
    let node = TestNode::start().await;
    let detail = node.buy(&work::for_anyone(question())).await;
    assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}");
    let output: JobOutput = node.ask("output", &ById { id: detail.summary.id.clone() }).await;
    let text: Generation = serde_json::from_slice(&BASE64.decode(output.data_base64).unwrap()).unwrap();
    let explained: Explanation = node.ask("explain", &ById { id: detail.summary.id }).await;
    let prompt_tokens = explained.decision["question"]["situation"]["job"]["work"]["prompt_tokens"].as_u64().unwrap();
    Says { prompt_tokens: prompt_tokens as u32, text }
}

fn question() -> tender_node::api::types::SubmitWork {
    work::generate(QUESTION, 24)
}

fn here(runtime: &Runtime) -> AttachRuntimeInput {
    AttachRuntimeInput {
        name: "vllm".to_owned(),
        address: runtime.address.clone(),
        model: None,
        serves: Some(SMOLLM2.name.to_owned()),
        slots: None,
        key: None,
        prompt_micro_usd_per_million: None,
        text_micro_usd_per_million: None,
    }
}

async fn failed(node: &TestNode, input: &SubmitInput) -> JobDetail {
    let id = node.submit(input).await;
    let detail = node.ended(&id).await;
    assert_eq!(detail.summary.state, Some(JobState::Failed), "{detail:#?}");
    detail
}

#[tokio::test]
async fn a_peers_runtime_writes_is_judged_and_named_in_the_receipt() {
    let says = true_text().await;
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, DOLLAR).await;
    let runtime = Runtime::here();
    runtime.says(says.clone());
    let attached: Runtimes = seller.ask("attach_runtime", &here(&runtime)).await;
    let [row] = &attached.runtimes[..] else { panic!("{attached:?}") };
    assert!(row.state == "connected" && row.for_sale && row.engine.as_deref() == Some("vLLM"), "{row:?}");

    let detail = buyer.buy(&work::for_peers(question())).await;
    assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}");
    let verification = detail.verification.clone().unwrap();
    assert!(verification.contains("judged") && verification.contains("passed"), "{verification}");
    let receipt: ReceiptFile = buyer.ask("receipt", &ById { id: detail.summary.id }).await;
    let worker = find(&receipt.receipt, "runtime").unwrap_or_else(|| panic!("{:#}", receipt.receipt));
    assert!(receipt.valid);
    assert_eq!((&worker["engine"], &worker["model"]), (&json!("vLLM"), &json!("the-model")));
    assert_eq!(worker["hash_checked"], false);

    // The same runtime with another text: the client's own model finds out, and nothing is paid.
    let mut lie = says;
    let tokens = lie.text.tokens.as_mut().unwrap();
    let middle = tokens.len() / 2;
    tokens.swap(1, middle);
    runtime.says(lie);
    let before = buyer.earnings().await.days;
    let detail = failed(&buyer, &work::for_peers(question())).await;
    assert!(detail.contracts.iter().any(|contract| contract.state == ContractState::Rejected), "{detail:#?}");
    assert_eq!(buyer.earnings().await.days, before);

    // With an honest one beside it, which is dearer: the job is bought there, and the liar is asked once.
    let honest = TestNode::seller().await;
    honest.set("price.generate.micro_usd", json!(1000)).await;
    pair(&honest, &buyer, DOLLAR).await;
    let detail = buyer.buy(&work::for_peers(question())).await;
    let count = |state| detail.contracts.iter().filter(|contract| contract.state == state).count();
    assert_eq!((count(ContractState::Rejected), count(ContractState::Accepted)), (1, 1), "{detail:#?}");
    honest.sell(false).await;

    // Detached, the own worker writes again; it is not asked any more.
    let asked = runtime.seen().len();
    let left: Runtimes = seller.ask("detach_runtime", &ByRuntime { name: "vllm".to_owned() }).await;
    assert!(left.runtimes.is_empty());
    let detail = buyer.buy(&work::for_peers(question())).await;
    assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}");
    assert_eq!(runtime.seen().len(), asked);
}

#[tokio::test]
async fn a_cloud_is_bought_from_when_it_is_cheapest_and_booked_as_it_bills() {
    let dir = TempDir::with_prefix("tender-cloud-").unwrap();
    let (cloud, authority) = Runtime::cloud(dir.path());
    let node = TestNode::start_with(|launch| launch.env("SSL_CERT_FILE", &authority)).await;
    node.set("use_own_gpu", json!(false)).await;
    let says = true_text().await;
    cloud.says(says.clone());
    let input = AttachRuntimeInput {
        name: "cloud".to_owned(),
        serves: None,
        key: Some(KEY.to_owned()),
        // $0.50 and $2.00.
        prompt_micro_usd_per_million: Some(500_000),
        text_micro_usd_per_million: Some(2_000_000),
        ..here(&cloud)
    };
    let attached: Runtimes = node.ask("attach_runtime", &input).await;
    assert!(attached.runtimes[0].state == "connected" && !attached.runtimes[0].for_sale, "{attached:?}");
    let file = node.dir().join("runtime-cloud.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let detail = node.buy(&work::for_anyone(question())).await;
    assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}");
    let tokens = says.text.tokens.as_ref().unwrap().len() as i64;
    let bill = (i64::from(says.prompt_tokens) * 500_000 + tokens * 2_000_000 + 999_999) / 1_000_000;
    assert_eq!(detail.summary.amount_micro_usd, Some(bill), "{detail:#?}");
    assert_eq!(spent(&node).await, bill, "what was set aside is put right");
    let explained: Explanation = node.ask("explain", &ById { id: detail.summary.id.clone() }).await;
    assert!(explained.text.contains("cloud"), "{}", explained.text);
    assert!(cloud.seen().iter().any(|head| head.contains(&format!("Bearer {KEY}"))), "{:?}", cloud.seen());

    // The owner's game needs his card, which is not the cloud's.
    const GAME: &str = "tt-cloud-game";
    node.set("guard.programs", json!(GAME)).await;
    node.set("guard.resume_seconds", json!(1)).await;
    node.sell(true).await;
    let game = Game::start(GAME);
    let asked = Instant::now();
    loop {
        let overview: Overview = node.ask("overview", &Nothing {}).await;
        if overview.selling.state == "yielding" {
            break;
        }
        assert!(asked.elapsed() < Duration::from_secs(60), "{}", node.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.buy(&work::for_anyone(question())).await;
    assert_eq!(spent(&node).await, 2 * bill);
    let bill = 2 * bill;
    drop(game);
    node.sell(false).await;

    // A restart finds the key again, and what is private never goes there.
    let node = node.restart().await;
    wait_connected(&node).await;
    let asked = cloud.seen().len();
    let private = SubmitInput { private: Some(true), ..work::for_anyone(question()) };
    failed(&node, &private).await;
    let dear = SubmitInput { budget_micro_usd: 10, ..work::for_anyone(question()) };
    assert!(failed(&node, &dear).await.summary.reason.contains("budget"));
    assert_eq!(cloud.seen().len(), asked, "nobody was asked");
    cloud.fails(Some(500));
    failed(&node, &work::for_anyone(question())).await;
    assert_eq!(spent(&node).await, bill, "a refusal costs nothing");
    cloud.fails(None);
    wait_connected(&node).await;
    let asked = cloud.seen().len();
    node.set("daily_spend_cap_micro_usd", json!(bill)).await;
    let detail = failed(&node, &work::for_anyone(question())).await;
    assert!(detail.summary.reason.contains("cap"), "the cap counts clouds: {detail:#?}");
    assert_eq!((spent(&node).await, cloud.seen().len()), (bill, asked));

    let doctor: Doctor = node.ask("doctor", &Nothing {}).await;
    let line = doctor.checks.iter().find(|check| check.name == "Runtime cloud").unwrap();
    assert_eq!(line.state, "ok", "{line:?}");
    let _: Runtimes = node.ask("detach_runtime", &ByRuntime { name: "cloud".to_owned() }).await;
    assert!(!file.exists());
}

#[tokio::test]
async fn what_cannot_be_attached_says_why_and_leaves_nothing() {
    let node = TestNode::start().await;
    let runtime = Runtime::here();
    let refused = async |change: fn(&mut AttachRuntimeInput)| {
        let mut input = here(&runtime);
        change(&mut input);
        node.refuses("attach_runtime", &input).await
    };
    assert!(refused(|i| i.name = "../x".to_owned()).await.message.contains("name"));
    assert!(refused(|i| i.serves = None).await.message.contains("serves"));
    assert_eq!(refused(|i| i.serves = Some("no such".to_owned())).await.code, Code::NotFound);
    assert!(refused(|i| i.slots = Some(0)).await.message.contains("slots"));
    assert!(refused(|i| i.text_micro_usd_per_million = Some(1)).await.message.contains("two prices"));
    assert_eq!(refused(|i| i.address = "192.0.2.7:80".to_owned()).await.code, Code::Invalid);
    assert_eq!(refused(|i| i.address = "127.0.0.1:1".to_owned()).await.code, Code::Unavailable);
    assert_eq!(refused(|i| i.key = Some(String::new())).await.code, Code::Invalid);
    let left: Runtimes = node.ask("runtimes", &Nothing {}).await;
    assert!(left.runtimes.is_empty());
    let _: Runtimes = node.ask("attach_runtime", &here(&runtime)).await;
    assert_eq!(refused(|_| {}).await.code, Code::Conflict);
}

async fn wait_connected(node: &TestNode) {
    for _ in 0..200 {
        let found: Runtimes = node.ask("runtimes", &Nothing {}).await;
        if found.runtimes.iter().all(|row| row.state == "connected") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the runtime does not come back");
}

async fn spent(node: &TestNode) -> i64 {
    node.earnings().await.days.iter().map(|day| day.spent_micro_usd).sum()
}

/// The first object under a name, wherever it is.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(map) => map.get(name).or_else(|| map.values().find_map(|inner| find(inner, name))),
        Value::Array(list) => list.iter().find_map(|inner| find(inner, name)),
        _ => None,
    }
}
