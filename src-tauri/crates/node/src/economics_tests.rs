use super::*;
use crate::metering::{WorkMeter, tests as cards};
use std::time::Duration;
use tender_base::{
    Sha256,
    documents::WorkerInfo,
    job::{GenerateWork, Precision, Sampling},
};
use tender_market::why::Origin;

fn text(name: &str, sha256: Sha256) -> Work {
    let model = ModelRef { name: name.to_owned(), sha256 };
    Work::Generate(GenerateWork {
        model,
        prompt_tokens: 100,
        max_tokens: 900,
        sampling: Sampling::GREEDY,
        stop: Vec::new(),
    })
}

fn output(units: u64, wall_ms: u64) -> Output {
    let word = || "test".to_owned();
    let worker = WorkerInfo { adapter: word(), driver: word(), backend: word(), version: word(), runtime: None };
    Output { bytes: Vec::new().into(), units, prompt_tokens: None, wall_ms, worker }
}

fn ended<'a>(work: &'a Work, estimate: &'a LocalCost, output: &'a Output, metered: &'a Metered) -> Ended<'a> {
    Ended { id: Uuid::nil(), book: Book::Real, work, runtime: None, place: Place::Own, estimate, output, metered }
}

#[tokio::test]
async fn a_processor_is_no_card_that_wears_unless_its_owner_states_a_price() {
    let dir = tempfile::tempdir().unwrap();
    let node = crate::metering::tests::node(&dir).await;
    let wear = async || {
        let machine = node.machine(JobKind::Gemm).await;
        (machine.running(node.now(), 0.0).unwrap().wear_usd_per_hour, machine.origin("price_usd"))
    };
    node.works_with("NVIDIA H200");
    let (of_card, assumed) = wear().await;
    assert!(of_card > 0.0 && assumed == Origin::Assumed);
    node.works_with("llvmpipe (LLVM 15.0.6, 256 bits)");
    assert_eq!(wear().await, (0.0, Origin::Computed));
    assert!(node.machine_with_card(JobKind::Gemm).await.card.price_usd > 0.0, "what buying one would come to");
    node.set("card.price_usd", 1_000.into()).await.unwrap();
    let (stated, origin) = wear().await;
    assert!(stated > 0.0 && origin == Origin::Stated);
}

fn record(spent: &Spent) -> &WorkRecord {
    let Event::WorkDone { work } = &spent.done else { panic!("{:?}", spent.done) };
    work
}

#[tokio::test]
async fn what_runs_at_once_shares_the_machine_and_its_watts_are_the_cards() {
    let dir = tempfile::tempdir().unwrap();
    let node = cards::node(&dir).await;
    let work = text("any", Sha256::of(b"weights"));
    node.learn(&work, None, 1000, 1000).await;
    let card = cards::Steady::meter(300.0, 1.0);
    let meters: Vec<WorkMeter> = (0..4).map(|_| cards::started(&card)).collect();
    tokio::time::sleep(Duration::from_millis(400)).await;
    // Long enough that rounding up to a micro-USD is nothing.
    let output = output(1000, 3_600_000);
    let (mut together, mut shares) = (0, 0.0);
    let estimate = node.estimate(&work, None).await.unwrap();
    for meter in meters {
        let metered = node.metered(work.kind(), meter, output.wall_ms).await;
        let spent = node.spent(ended(&work, &estimate, &output, &metered)).await.unwrap();
        let milliwatts = record(&spent).milliwatts.unwrap();
        assert!(milliwatts.abs_diff(300_000) < 300, "{milliwatts}");
        assert_eq!(spent.lessons.len(), 2, "time and cost");
        together += spent.cost.0;
        shares += metered.share;
    }
    let alone = Metered { card_watts: Some(300.0), ..Metered::without_sensor(output.wall_ms) };
    let alone = node.spent(ended(&work, &estimate, &output, &alone)).await.unwrap().cost.0;
    assert!((0.99..1.2).contains(&shares), "the last ones to end had the card for themselves: {shares}");
    assert!((together as f64 / alone as f64 - shares).abs() < 0.01, "{together} for {shares} of {alone}");
}

#[tokio::test]
async fn a_model_is_called_as_it_is_here_and_no_name_makes_a_setting() {
    let dir = tempfile::tempdir().unwrap();
    let node = cards::node(&dir).await;
    let listed = tender_base::catalogue::MODELS.iter().find(|model| model.kind == ModelKind::Text).unwrap();
    let (work, unknown) = (text("false name", listed.weights().sha256), text("false name", Sha256::of(b"others")));
    assert_eq!(node.listed_name(&work).as_deref(), Some(listed.name));
    assert_eq!(node.listed_name(&unknown), Some(Sha256::of(b"others").to_string()));
    assert_eq!(node.listed_name(&Work::Gemm { m: 1, k: 1, n: 1, precision: Precision::F32 }), None);
    let key = |name| calibration_of("own", &text(name, Sha256::of(b"weights")), "time");
    assert_eq!(key("one"), key("other"));
    assert_ne!(key("one"), calibration_of("own", &unknown, "time"));
}

#[tokio::test]
async fn a_short_text_is_no_promise_kept_early_and_nobody_is_expected_before_he_promises() {
    let dir = tempfile::tempdir().unwrap();
    let node = cards::node(&dir).await;
    let (peer, work) = (node.did(), text("any", Sha256::of(b"weights")));
    // Half of what it might have been, in half the time.
    let kept = Node::promise_kept(&peer, &work, 10_000, 500, 5_000);
    assert_eq!((kept[0].estimate, kept[0].actual), (5.0, 5.0));
    assert!(Node::promise_kept(&peer, &work, 1_000, 150, 500).is_empty(), "0.15 s teach nothing");
    let teach = async |took| {
        for _ in 0..20 {
            let lessons = Node::promise_kept(&peer, &work, 10_000, 1000, took);
            node.apply_learning(Vec::new(), Vec::new(), lessons).await.unwrap();
        }
        node.expected_ms(&peer, &work, 10_000).await
    };
    assert_eq!(teach(1_000).await, 10_000, "it may say that it will be late, and then it is believed");
    assert!(teach(20_000).await > 15_000);
}

#[tokio::test]
async fn jobs_that_end_together_all_teach() {
    let dir = tempfile::tempdir().unwrap();
    let node = std::sync::Arc::new(cards::node(&dir).await);
    let (peer, work) = (node.did(), text("any", Sha256::of(b"weights")));
    let mut ends = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (node, lessons) = (node.clone(), Node::promise_kept(&peer, &work, 1_000, 1000, 1_000));
        ends.spawn(async move { node.apply_learning(Vec::new(), Vec::new(), lessons).await });
    }
    while let Some(end) = ends.join_next().await {
        end.unwrap().unwrap();
    }
    let factor: Factor = node.recall(&calibration_of(&peer.to_string(), &work, "time")).await;
    assert_eq!(factor.jobs, 8);
    // An end without a lesson waits for nobody who learns.
    let _learning = node.learning.lock().await;
    let end = node.apply_learning(Vec::new(), Vec::new(), Vec::new());
    tokio::time::timeout(Duration::from_secs(10), end).await.unwrap().unwrap();
}
