//! The card of a real node: what is known is on it, and nothing else.

use reqwest::Client;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tender_a2a::card::{self, Availability, MAX_CARD_BYTES, Terms};
use tender_tests::{TestNode, work};

async fn read(node: &TestNode) -> (Vec<u8>, Value, Terms) {
    let http = Client::builder().no_proxy().build().unwrap();
    let answer = http.get(format!("{}/.well-known/agent-card.json", node.a2a)).send().await.unwrap();
    let bytes = answer.bytes().await.unwrap().to_vec();
    let card = card::verify(&bytes, &node.did).unwrap();
    let terms = Terms::of(&card).unwrap().unwrap();
    (bytes.clone(), serde_json::from_slice(&bytes).unwrap(), terms)
}

/// Waits until the card says something.
async fn until(node: &TestNode, what: &str, holds: impl Fn(&Terms) -> bool) -> Terms {
    let started = Instant::now();
    loop {
        let (_, card, terms) = read(node).await;
        if holds(&terms) {
            return terms;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {card:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn the_card_says_what_is_built_sold_and_measured() {
    let node = TestNode::start().await;
    let (_, card, terms) = read(&node).await;
    assert_eq!((terms.offer, terms.prices), (card::Offer::default(), Vec::new()), "nothing is for sale");
    assert_eq!(card["capabilities"]["pushNotifications"], json!(true));
    let schemes = card["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["did", "key"]);

    node.sell(true).await;
    let terms = until(&node, "it sells", |terms| terms.offer.availability == Some(Availability::Always)).await;
    assert!(terms.offer.benchmarks.is_empty() && terms.offer.resources.is_empty(), "nothing was measured: {terms:#?}");
    assert_eq!(terms.receipt_key, Some(node.did));
    assert_eq!(terms.offer.max_quote_seconds, Some(30));
    let skill = |name: &str| terms.offer.skills.iter().find(|skill| skill.skill == name).unwrap();
    assert_eq!(skill("kernel").kernels, tender_base::kernel::Kernel::ALL);
    assert!(skill("gemm").software.iter().any(|software| software.name == "tender"));
    let (_, card, _) = read(&node).await;
    for skill in &terms.offer.skills {
        let ids = card["skills"].as_array().unwrap().iter();
        assert!(ids.into_iter().any(|known| known["id"] == json!(skill.skill)), "{} is no skill", skill.skill);
    }

    // Work on it, long enough to be timed: then the hardware is known, and how fast it is.
    let before = tender_base::Clock::now(&tender_base::time::SystemClock);
    for n in 1..=2 {
        let detail = node.buy(&work::for_anyone(work::gemm(512))).await;
        assert!(detail.contracts.is_empty(), "on the own card: {detail:#?}");
        until(&node, "the run is counted", |terms| terms.offer.benchmarks.first().is_some_and(|b| b.n == n)).await;
    }
    let (bytes, _, terms) = read(&node).await;
    let [resource] = terms.offer.resources.as_slice() else { panic!("{terms:#?}") };
    assert!(!resource.class.is_empty() && !resource.api.is_empty(), "{resource:?}");
    assert_eq!(resource.measured, resource.memory_bytes.is_some());
    let [benchmark] = terms.offer.benchmarks.as_slice() else { panic!("{terms:#?}") };
    assert_eq!((benchmark.name.as_str(), benchmark.unit.as_str()), ("gemm", "flop/s"));
    assert!(benchmark.value > 0.0 && benchmark.measured_at >= before, "{benchmark:?}");
    assert!(bytes.len() < MAX_CARD_BYTES, "{} bytes", bytes.len());

    // What was measured survives a restart, and a pause says when it ends.
    let node = node.restart().await;
    let (_, _, again) = read(&node).await;
    assert_eq!(again.offer, terms.offer);
    node.set("paused_until", json!("2100-01-01T00:00:00.000Z")).await;
    let paused = until(&node, "it pauses", |terms| terms.prices.is_empty()).await;
    let until = tender_base::Timestamp::parse("2100-01-01T00:00:00.000Z").unwrap();
    assert_eq!(paused.offer.availability, Some(Availability::From(until)), "{paused:#?}");
    assert!(paused.offer.resources.is_empty() && paused.offer.benchmarks.is_empty(), "{paused:#?}");
}
