//! Text: streamed while it is written, judged by the buyer's own model, billed for what it has.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;
use std::time::Duration;
use tender_base::{
    Code, JobState,
    text::{Finish, Generation},
};
use tender_node::api::types::{ById, JobOutput, SubmitMessage, SubmitWork};
use tender_tests::{
    TestNode, pair,
    work::{self, DOLLAR},
};

async fn generation(node: &TestNode, id: &str) -> Generation {
    let output: JobOutput = node.ask("output", &ById { id: id.to_owned() }).await;
    serde_json::from_slice(&BASE64.decode(output.data_base64).unwrap()).unwrap()
}

#[tokio::test]
async fn a_text_streams_from_a_peer_is_judged_and_billed_for_what_it_has() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    seller.set("price.generate.micro_usd", json!(1000)).await;
    seller.set("price.generate.per_units", json!(10)).await;
    pair(&seller, &buyer, DOLLAR).await;

    let id = buyer.submit(&work::for_peers(work::generate("What is the capital of France?", 40))).await;
    let mut seen = Vec::new();
    loop {
        let detail = buyer.job(&id).await;
        if let Some(text) = detail.text.filter(|text| seen.last() != Some(text)) {
            seen.push(text);
        }
        if detail.summary.state.is_some_and(JobState::is_final) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let detail = buyer.job(&id).await;
    assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}");
    let written = generation(&buyer, &id).await;
    assert!(written.text.contains("Paris"), "{written:?}");
    assert_eq!(written.finish, Finish::Stop, "the answer is a sentence");
    assert!(seen.len() > 1, "the text came at once: {seen:?}");
    assert!(seen.windows(2).all(|pair| pair[1].starts_with(&pair[0])), "{seen:?}");
    assert!(written.text.starts_with(seen[0].as_str()), "{seen:?} is not how {:?} begins", written.text);
    let verification = detail.verification.unwrap();
    assert!(verification.contains("judged") && verification.contains("passed"), "{verification}");

    // 1,000 micro-USD per ten tokens: the bill tells how many there were, and it is less than was reserved.
    let tokens = written.tokens.unwrap().len() as i64;
    let charged = detail.summary.amount_micro_usd.unwrap();
    let prompt = charged / 100 - tokens;
    assert!(tokens < 40 && (10..60).contains(&prompt), "{charged} for {tokens} tokens");
    let quoted = (prompt + 40) * 100;
    assert!(detail.decision.iter().any(|row| row.cost_micro_usd == Some(quoted)), "{:?}", detail.decision);
    let receipt: tender_node::api::types::ReceiptFile = loop {
        match buyer.api.ask("receipt", &ById { id: id.clone() }).await {
            Ok(receipt) => break receipt,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    assert!(receipt.valid, "{:?}", receipt.problem);
}

/// Five prompts that nobody has calibrated on: honest work passes.
#[tokio::test]
async fn fresh_prompts_pass_the_check() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, DOLLAR).await;
    let fresh = [
        "Describe a lighthouse to someone who has never seen the sea.",
        "Which is heavier, a kilogram of feathers or a kilogram of iron?",
        "Write an e-mail that asks for a day off.",
        "Schreibe einen Satz über den Herbst.",
        "def fibonacci(n):",
    ];
    for prompt in fresh {
        let detail = buyer.buy(&work::for_peers(work::generate(prompt, 32))).await;
        let verification = detail.verification.unwrap_or_default();
        assert!(verification.contains("judged") && verification.contains("passed"), "{prompt}: {verification}");
    }
}

#[tokio::test]
async fn texts_written_together_are_those_written_alone() {
    let node = TestNode::buyer().await;
    node.set("use_own_gpu", json!(true)).await;
    let ask = |text: &str| work::for_anyone(work::generate(text, 12));
    let questions = ["Name a colour.", "Count to five.", "What do cows drink?", "Say hello in French."];
    let mut alone = Vec::new();
    for question in questions {
        let id = node.submit(&ask(question)).await;
        node.ended(&id).await;
        alone.push(generation(&node, &id).await);
    }
    let mut ids = Vec::new();
    for question in questions {
        ids.push(node.submit(&ask(question)).await);
    }
    for (id, alone) in ids.iter().zip(&alone) {
        let detail = node.ended(id).await;
        assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}");
        assert_eq!(&generation(&node, id).await, alone);
    }
}

#[tokio::test]
async fn what_cannot_be_written_is_refused_with_its_reason() {
    let node = TestNode::buyer().await;
    node.set("use_own_gpu", json!(true)).await;
    let wrong = |change: Change| {
        let mut work = work::generate("Hello", 8);
        change(&mut work);
        work::for_anyone(work)
    };
    let cases: [(Change, Code, &str); 6] = [
        (|w| set(w, |g| *g.0 = Some("no-such-model".into())), Code::NotFound, "no-such-model"),
        (|w| set(w, |g| *g.1 = Some(Vec::new())), Code::Invalid, "messages has 0"),
        (|w| set(w, |g| *g.1 = None), Code::Invalid, "either messages or prompt"),
        (|w| set(w, |g| g.1.as_mut().unwrap()[0].role = "root".into()), Code::Invalid, "role is root"),
        (|w| set(w, |g| *g.2 = Some(0)), Code::Invalid, "max_tokens is 0"),
        (|w| set(w, |g| *g.3 = Some(f64::from(3))), Code::Invalid, "temperature is 3"),
    ];
    for (change, code, named) in cases {
        let refused = node.refuses("submit", &wrong(change)).await;
        assert!(refused.code == code && refused.message.contains(named) && !refused.hint.is_empty(), "{refused}");
    }
    // More than the model's context.
    let refused = node.refuses("submit", &work::for_anyone(work::generate(&"word ".repeat(9000), 8))).await;
    assert!(refused.message.contains("context") && refused.message.contains("8192"), "{refused}");
}

type Change = fn(&mut SubmitWork);
type Fields<'a> =
    (&'a mut Option<String>, &'a mut Option<Vec<SubmitMessage>>, &'a mut Option<u32>, &'a mut Option<f64>);

fn set(work: &mut SubmitWork, change: impl Fn(Fields<'_>)) {
    if let SubmitWork::Generate { model, messages, max_tokens, temperature, .. } = work {
        change((model, messages, max_tokens, temperature));
    }
}
