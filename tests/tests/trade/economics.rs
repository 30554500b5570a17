//! What work costs here, what experience says about it, what is asked for it, and when an own card pays.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};
use std::time::Duration;
use tender_base::{JobKind, JobState, text::Generation};
use tender_node::api::types::{
    ById, Doctor, Explanation, JobDetail, JobOutput, LogAnswer, LogQuery, Nothing, PriceRate, Prices, PricesQuery,
    ReceiptFile,
};
use tender_tests::{
    TestNode, pair,
    work::{self, DOLLAR},
};

async fn done(node: &TestNode, input: &tender_node::api::types::SubmitInput) -> JobDetail {
    let detail = node.buy(input).await;
    assert_eq!(detail.summary.state, Some(JobState::Completed), "{detail:#?}");
    detail
}

async fn explained(node: &TestNode, id: &str) -> Explanation {
    node.ask("explain", &ById { id: id.to_owned() }).await
}

/// The why of that name among the explanation's.
fn why<'a>(explanation: &'a Explanation, name: &str) -> &'a Value {
    let found = explanation.whys.iter().find(|why| why["name"].as_str().is_some_and(|known| known.starts_with(name)));
    found.unwrap_or_else(|| panic!("no {name} in {:#?}", explanation.whys))
}

fn input<'a>(why: &'a Value, name: &str) -> &'a Value {
    let inputs = why["inputs"].as_array().unwrap();
    inputs.iter().find(|input| input["name"] == name).unwrap_or_else(|| panic!("no {name} in {why:#}"))
}

/// The newest value of an internal setting whose name ends so.
fn learned(node: &TestNode, ending: &str) -> Option<Value> {
    let events = node.events().all();
    let settings = events.iter().rev().filter(|seen| seen.name() == "setting_changed");
    settings
        .map(|seen| &seen.what)
        .find(|what| what["key"].as_str().unwrap().ends_with(ending))
        .map(|what| what["value"].clone())
}

/// What is learned a moment after a job's end.
async fn learned_soon(node: &TestNode, ending: &str, jobs: u64) -> Value {
    for _ in 0..200 {
        if let Some(factor) = learned(node, ending).filter(|factor| factor["jobs"].as_u64().unwrap() >= jobs) {
            return factor;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{ending} was not learned from {jobs} jobs: {:?}", learned(node, ending));
}

#[tokio::test]
async fn a_rented_machine_costs_its_rent_and_an_owned_one_energy_and_wear() {
    let node = TestNode::start().await;
    node.set("rent_usd_per_hour", json!(1000.0)).await;
    let rented = done(&node, &work::for_anyone(work::gemm(512))).await;
    let explanation = explained(&node, &rented.summary.id).await;
    let actual = &explanation.decision["actual"];
    let wall_ms = actual["wall_ms"].as_f64().unwrap();
    assert!(wall_ms > 0.0, "{actual}");
    assert_eq!(actual["charged"].as_i64().unwrap(), (wall_ms / 1000.0 / 3600.0 * 1000.0 * 1e6).ceil() as i64);
    assert_eq!(input(why(&explanation, "rent of an hour"), "rent")["origin"], "stated");
    assert_eq!(input(why(&explanation, "time here"), "throughput")["origin"], "assumed", "the first job");

    node.set("rent_usd_per_hour", json!(0)).await;
    node.set("card.price_usd", json!(0)).await;
    node.set("tariff_windows", json!("00:00-24:00 1.0")).await;
    let owned = done(&node, &work::for_anyone(work::gemm(512))).await;
    let explanation = explained(&node, &owned.summary.id).await;
    let actual = &explanation.decision["actual"];
    // Energy alone: 387 W over a power supply of 90 % at a dollar per kWh, whatever the price outside the windows.
    let kwh = 0.43 * actual["wall_ms"].as_f64().unwrap() / 3.6e6;
    assert_eq!(actual["charged"].as_i64().unwrap(), (kwh * 1e6).ceil() as i64);
    assert_eq!(why(&explanation, "tariff of this hour")["value"], 1.0);
    let draw = why(&explanation, "draw at the wall");
    assert_eq!(
        (draw["value"].as_f64().unwrap().round(), &input(draw, "gpu_watts")["origin"]),
        (430.0, &json!("assumed"))
    );
    let wear = why(&explanation, "wear of an hour");
    assert_eq!((&wear["value"], &input(wear, "price_usd")["origin"]), (&json!(0.0), &json!("stated")));
    assert_eq!(input(why(&explanation, "time here"), "throughput")["origin"], "measured");
}

/// A kernel that takes the machine of the test about so long, by what a short one took.
async fn about_a_second(seller: &TestNode, buyer: &TestNode) -> tender_node::api::types::SubmitWork {
    const SPIN: u32 = 40_000;
    let mut workgroups = 64;
    loop {
        let short = done(buyer, &work::for_peers(work::wgsl(workgroups, SPIN))).await;
        let ended = seller.events().all().into_iter().rev().find(|seen| seen.name() == "work_done").unwrap();
        let took = ended.what["work"]["wall_ms"].as_u64().unwrap();
        assert_eq!(short.summary.state, Some(JobState::Completed));
        if took >= 300 {
            return work::wgsl(workgroups, SPIN);
        }
        workgroups *= 4;
    }
}

#[tokio::test]
async fn both_sides_learn_from_how_estimates_and_promises_were_kept() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    seller.set("sell_unconfined_kernels", json!(true)).await;
    pair(&seller, &buyer, DOLLAR).await;
    let kernel = about_a_second(&seller, &buyer).await;
    // What its last job taught is stored by then.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let time = format!("measured.calibration/{}/wgsl//time", seller.did);
    let before = learned(&buyer, &time).map_or(0, |factor| factor["jobs"].as_u64().unwrap());
    let last = done(&buyer, &work::for_peers(kernel)).await;
    let own = learned_soon(&seller, "/own/wgsl//time", 1).await;
    assert!((0.05..10.0).contains(&own["ratio"].as_f64().unwrap()), "{own}");
    assert!(learned(&seller, "/own/wgsl//cost").is_some());
    let promised = learned_soon(&buyer, &time, before + 1).await;
    assert_eq!(promised["jobs"].as_u64().unwrap(), before + 1, "{promised}");

    // Where an estimate comes from is told with the next decision.
    let next = done(&buyer, &work::for_peers(work::wgsl(2, 50))).await;
    assert_ne!(next.summary.id, last.summary.id);
    let explanation = explained(&buyer, &next.summary.id).await;
    let expected = why(&explanation, "time that");
    assert_eq!(input(expected, "jobs")["value"].as_f64().unwrap() as u64, before + 1);
    let (ratio, estimate) = (&input(expected, "ratio")["value"], &input(expected, "estimate")["value"]);
    assert_eq!(ratio, &promised["ratio"]);
    let (value, ratio) = (expected["value"].as_f64().unwrap(), ratio.as_f64().unwrap());
    // Never sooner than promised.
    assert!((value - ratio.max(1.0) * estimate.as_f64().unwrap()).abs() < 1e-9 * value);
    let offered = &explanation.decision["question"]["situation"]["alternatives"];
    let peer = offered.as_array().unwrap().iter().find(|row| row["source"]["source"] == "peer").unwrap();
    assert_eq!(peer["outcome"]["estimated_ms"].as_f64().unwrap(), value.ceil(), "{peer:#}");
}

#[tokio::test]
async fn a_price_is_suggested_with_its_reasons_and_asked_only_when_the_owner_sets_it() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, DOLLAR).await;
    let asked = async |margin| -> Prices {
        let query = PricesQuery { kind: Some(JobKind::Gemm), margin, cap_micro_usd_per_unit: None };
        seller.ask("prices", &query).await
    };
    let unknown = asked(None).await;
    let row = &unknown.rows[0];
    let said = row.unknown.as_ref().unwrap();
    assert!(row.suggested.is_none() && said.starts_with("no matrix product was done here"), "{row:?}");
    assert!(unknown.paid_hours.unknown.as_ref().unwrap().contains("offered on"), "{:?}", unknown.paid_hours);

    done(&seller, &work::for_anyone(work::gemm(128))).await;
    let plain = asked(Some(2.0)).await.rows[0].suggested.clone().unwrap();
    // Nothing is wanted and all is free: half of three floors.
    assert_eq!((plain.held.as_str(), plain.margin_usd_per_day), ("free", None));
    let price = &plain.why[0];
    assert_eq!(price["value"].as_f64().unwrap(), plain.floor_micro_usd_per_unit * 3.0 * 0.5, "{price:#}");
    assert_eq!(
        (&input(price, "margin")["origin"], &input(price, "speed")["origin"]),
        (&json!("stated"), &json!("measured"))
    );
    let wear = input(price, "wear");
    let doctor: Doctor = seller.ask("doctor", &Nothing {}).await;
    let gpu = doctor.checks.iter().find(|check| check.name == "GPU").unwrap();
    let on_processor = gpu.state == "warning" && gpu.message.contains("no GPU was found");
    let expected = if on_processor { (true, "computed") } else { (false, "assumed") };
    assert_eq!((wear["value"] == 0.0, wear["origin"].as_str().unwrap()), expected, "a processor is no card that wears");
    let held = asked(None).await.rows[0].suggested.clone().unwrap();
    assert_eq!(held.held, "at_floor", "an idle card asks what a unit costs, and no less");
    assert!(seller.refuses("prices", &json!({"kind": "gemm", "margin": -1.0})).await.message.contains("margin"));

    // The command line sets what it shows, both parts of it at once.
    let before: Prices = asked(None).await;
    let set = seller.cli().json(&["price", "gemm", "--margin", "9", "--set"]);
    let rate: PriceRate = serde_json::from_value(set["rows"][0]["suggested"]["rate"].clone()).unwrap();
    assert_eq!(set["rows"][0]["asked"], json!(rate));
    assert_ne!(before.rows[0].asked, rate);
    let bought = done(&buyer, &work::for_peers(work::gemm(64))).await;
    let bill = (2u64 * 64 * 64 * 64 * rate.micro_usd).div_ceil(rate.per_units);
    assert_eq!(bought.summary.amount_micro_usd, Some(i64::try_from(bill).unwrap()));
    let text = seller.cli().run(&["price", "gemm", "--why"]).out;
    assert!(text.contains("Paid hours a day: unknown") && text.contains("price to ask ="), "{text}");
}

#[tokio::test]
async fn a_prompt_with_a_price_of_its_own_is_billed_apart_on_both_sides() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    // A thousand micro-USD for a token of text, one for a token of prompt: the bill's digits tell how many there were.
    for (key, value) in [("generate", 1000), ("generate_prompt", 1)] {
        seller.set(&format!("price.{key}.micro_usd"), json!(value)).await;
        seller.set(&format!("price.{key}.per_units"), json!(1)).await;
    }
    pair(&seller, &buyer, DOLLAR).await;
    let bought = done(&buyer, &work::for_peers(work::generate("What is the capital of France?", 40))).await;
    let output: JobOutput = buyer.ask("output", &ById { id: bought.summary.id.clone() }).await;
    let text: Generation = serde_json::from_slice(&BASE64.decode(output.data_base64).unwrap()).unwrap();
    let (charged, tokens) = (bought.summary.amount_micro_usd.unwrap(), text.tokens.unwrap().len() as i64);
    let prompt = charged - 1000 * tokens;
    assert!(tokens < 40 && (10..60).contains(&prompt), "{charged} for {tokens} tokens");
    let most = prompt + 40 * 1000;
    assert!(bought.decision.iter().any(|row| row.cost_micro_usd == Some(most)), "{:?}", bought.decision);
    let receipt = loop {
        match buyer.api.ask::<_, ReceiptFile>("receipt", &ById { id: bought.summary.id.clone() }).await {
            Ok(receipt) => break receipt,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let offer = &receipt.receipt["proposal"]["document"];
    assert!(receipt.valid && offer["prompt_rate"]["micro_usd"] == 1 && offer["amount"] == most, "{offer:#}");
    assert_eq!(seller.earnings().await.owed_to_us_micro_usd, charged);
    assert_eq!(buyer.earnings().await.owed_by_us_micro_usd, charged);
}

#[tokio::test]
async fn the_own_log_says_whether_a_card_pays_and_is_unknown_while_it_is_short() {
    let node = TestNode::start().await;
    let query = LogQuery { api_model: "openai/gpt-4o-mini".to_owned(), days: None, busy_hours: None, seed: None };
    for i in 0..20u32 {
        if i == 19 {
            let thin: LogAnswer = node.ask("breakeven_log", &query).await;
            assert_eq!((thin.card_jobs, thin.own_jobs, thin.comparison), (19, 19, None));
            assert!(thin.unknown.unwrap().contains("20 are needed"));
            assert!(node.refuses("use_breakeven", &query).await.message.contains("unknown"));
        }
        let question = "Count the words of this. ".repeat(1 + i as usize % 5);
        done(&node, &work::for_anyone(work::generate(&question, 1 + i % 7))).await;
    }
    let answer: LogAnswer = node.ask("breakeven_log", &query).await;
    assert_eq!((answer.card_jobs, answer.api.taken_on.as_str()), (20, "2026-11-21"), "{answer:#?}");
    let named = |name: &str| answer.evidence.iter().find(|why| why["name"] == name).unwrap();
    assert!(named("speed of writing")["value"].as_f64().unwrap() > 0.0);
    assert!((0.0..=1.0).contains(&named("occupancy")["value"].as_f64().unwrap()));
    assert!(answer.evidence.iter().all(|why| why["name"] != "draw at work"), "no sensor, no watts");
    let comparison = answer.comparison.unwrap();
    assert_eq!((&comparison["days"], comparison["alternatives"].as_array().unwrap().len()), (&json!(1), 5));
    assert!(comparison["interval_unknown"].is_string() && comparison["months"][0]["regret_usd"].is_number());
    let unknown = json!({"api_model": "nobody/nothing"});
    assert!(node.refuses("breakeven_log", &unknown).await.message.contains("nobody/nothing"));

    // A card that costs nothing to have and to run pays from the first token on.
    for key in ["card.price_usd", "tariff_usd_per_kwh"] {
        node.set(key, json!(0)).await;
    }
    let said = node.cli().run(&["breakeven", "--log", "--api-model", "openai/gpt-4o-mini", "--rule", "on"]).out;
    assert!(said.contains("20 text jobs of the card") && said.contains("The rule is on: from 0 tokens"), "{said}");
    let on: LogAnswer = node.ask("breakeven_log", &query).await;
    let rule = on.rule.unwrap();
    assert!(rule.tokens_per_day == 0.0 && rule.today >= 20, "{rule:?}");
    let off = node.cli().run(&["breakeven", "--log", "--api-model", "openai/gpt-4o-mini", "--rule", "off"]).out;
    assert!(!off.contains("The rule is on"), "{off}");
}
