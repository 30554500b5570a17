use super::*;
use crate::{
    identity::{Identity, IdentityStore},
    node::Config,
};
use std::time::Instant;
use tempfile::TempDir;
use tender_base::{Book, Work, signed::KeySigner};
use tender_host::{Process, SensorError};
use tender_store::Store;

/// A card that always draws the same, and counts it.
pub(crate) struct Steady {
    watts: f64,
    utilisation: f64,
    since: Instant,
}

impl Steady {
    pub(crate) fn meter(watts: f64, utilisation: f64) -> CardMeter {
        CardMeter::new(Box::new(Self { watts, utilisation, since: Instant::now() }))
    }
}

impl Sensor for Steady {
    fn read(&self) -> Result<Reading, SensorError> {
        let at = Instant::now();
        let energy_joules = Some(self.watts * (at - self.since).as_secs_f64());
        Ok(Reading { energy_joules, utilisation: Some(self.utilisation), ..Reading::empty(at) })
    }
    fn processes(&self) -> Result<Vec<Process>, SensorError> {
        Ok(Vec::new())
    }
    fn name(&self) -> &str {
        "Steady"
    }
    fn address(&self) -> &str {
        "0000:01:00.0"
    }
    fn may_be(&self, adapter: &str) -> bool {
        adapter == "Steady"
    }
}

pub(crate) async fn node(dir: &TempDir) -> Node {
    let config = Config {
        data_dir: dir.path().to_owned(),
        a2a: ([127, 0, 0, 1], 0).into(),
        api: None,
        public_address: None,
        identity: None,
        book: Book::Real,
    };
    let signer = Arc::new(KeySigner::from_seed(&[7; 32]));
    let identity =
        Identity { signer, store: IdentityStore::File, secrets: None, created: false, successions: Vec::new() };
    let store = Store::open(dir.path()).await.unwrap();
    Node::assemble(config, store, identity, String::new(), None).await.unwrap()
}

/// Work on a card from now on.
pub(crate) fn started(card: &CardMeter) -> WorkMeter {
    WorkMeter::Running(Some((key(card.sensor()), card.start())))
}

/// Half a second of work on a card.
async fn work(card: &CardMeter) -> WorkMeter {
    let work = started(card);
    tokio::time::sleep(Duration::from_millis(500)).await;
    work
}

#[tokio::test]
async fn idle_power_is_measured_kept_and_taken_off() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    let cards: Cards = Arc::new(vec![Steady::meter(20.0, 0.0)]);
    let meter = node.metered(JobKind::Gemm, work(&cards[0]).await, 480).await.meter;
    assert!(meter.measured && meter.idle_watts.is_none() && meter.wall_ms == 480, "not known yet: {meter:?}");
    assert!(meter.energy_joules.unwrap() >= 10.0, "{meter:?}");

    assert!(node.measure_idle(&cards, Duration::from_millis(20)).await);
    let idle = node.idle_powers().await["Steady at 0000:01:00.0"];
    assert!((idle.power.watts - 20.0).abs() < 1e-6 && idle.at <= node.now(), "{idle:?}");
    let stored = node.store.setting(IDLE).await.unwrap().unwrap();
    assert!(stored["Steady at 0000:01:00.0"]["watts"].is_f64(), "{stored}");

    let meter = node.metered(JobKind::Gemm, work(&cards[0]).await, 480).await.meter;
    assert_eq!(meter.idle_watts, Some(idle.power.watts));
    assert!(meter.measured && meter.energy_joules.unwrap() < 1e-6, "it drew no more than idle: {meter:?}");
    assert!(meter.uncertainty_joules.unwrap() > 0.0, "{meter:?}");
}

#[tokio::test]
async fn a_card_in_use_gives_no_idle_power() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    let soon = Duration::from_millis(1);
    let played: Cards = Arc::new(vec![Steady::meter(200.0, 0.7)]);
    assert!(!node.measure_idle(&played, soon).await);
    let working: Cards = Arc::new(vec![Steady::meter(200.0, 0.0)]);
    let job = working[0].start();
    assert!(!node.measure_idle(&working, soon).await);
    drop(job);
    assert!(node.idle_powers().await.is_empty());
    assert!(node.measure_idle(&Arc::default(), soon).await, "without a card there is nothing to be known");
}

#[tokio::test]
async fn measured_watts_and_the_wall_meter_make_the_local_cost() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    let gemm = Work::Gemm { m: 1000, k: 1000, n: 1000, precision: tender_base::job::Precision::F32 };
    let watts = async || {
        let cost = node.estimate(&gemm, None).await.unwrap();
        cost.energy_joules.unwrap() / cost.seconds
    };
    // The rest of the machine's 80 W, less 13 W at rest, over a power supply of 90 %.
    let wall = |card: f64| (card + 80.0 - 13.0) / 0.9;
    assert!((watts().await - wall(320.0)).abs() < 1e-6, "what is assumed");
    node.set("card_watts", 300.into()).await.unwrap();
    assert!((watts().await - wall(300.0)).abs() < 1e-6, "what the owner stated");

    let card = Steady::meter(250.0, 1.0);
    node.metered(JobKind::Gemm, work(&card).await, 500).await;
    assert!((watts().await - wall(250.0)).abs() < 0.1, "what was measured");
    assert!((node.card_watts(JobKind::Gemm).await.unwrap() - 250.0).abs() < 0.1);
    assert_eq!(node.card_watts(JobKind::Embed).await, None);
    let hot = Steady::meter(290.0, 1.0);
    node.metered(JobKind::Gemm, work(&hot).await, 500).await;
    assert!((watts().await - wall(260.0)).abs() < 0.1, "a quarter of the way");

    node.set("wall_meter", "10:70, 210:320".into()).await.unwrap();
    assert!((watts().await - 247.0 * 1.25).abs() < 0.2, "the machine's own 57.5 W are drawn anyway");
    let cards: Cards = Arc::new(vec![Steady::meter(20.0, 0.0)]);
    assert!(node.measure_idle(&cards, Duration::from_millis(20)).await);
    assert!((watts().await - 240.0 * 1.25).abs() < 0.2, "and so are the 20 W that the card was seen to draw at rest");
}

#[tokio::test]
async fn work_without_a_sensor_says_that_it_was_not_measured() {
    let dir = tempfile::tempdir().unwrap();
    let node = node(&dir).await;
    // No worker was ever opened, so no card can be the one that works.
    let mut waiting = WorkMeter::new();
    waiting.start(&node).await;
    assert!(matches!(waiting, WorkMeter::Running(None)));
    assert_eq!(node.metered(JobKind::Gemm, waiting, 7).await, Metered::without_sensor(7));
    assert_eq!(
        node.metered(JobKind::Gemm, WorkMeter::new(), 7).await,
        Metered::without_sensor(7),
        "too short to start"
    );
    assert_eq!(node.card_watts(JobKind::Gemm).await, None);
}
