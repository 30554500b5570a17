//! The guard: a game starts, the card is free, the game ends, and everything goes on by itself.

use serde_json::json;
use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tender_base::{Code, JobState};
use tender_node::api::types::{ById, Demand, DemandQuery, Guard, Nothing, Overview, Selling, SubmitInput, Switch};
use tender_tests::{
    Cli, Game, TestNode, pair,
    work::{self, DOLLAR},
};
use x11rb::{
    COPY_DEPTH_FROM_PARENT,
    connection::Connection as _,
    protocol::xproto::{AtomEnum, ConnectionExt as _, CreateWindowAux, PropMode, Window, WindowClass},
    rust_connection::RustConnection,
    wrapper::ConnectionExt as _,
};

/// How long anything is waited for on two loaded cores.
const WAIT: Duration = Duration::from_secs(60);
/// How long the twenty yields of a self-test are waited for.
const SELF_TEST: Duration = Duration::from_secs(240);

async fn guard(node: &TestNode) -> Guard {
    node.ask("guard", &Nothing {}).await
}

async fn selling(node: &TestNode) -> Selling {
    let overview: Overview = node.ask("overview", &Nothing {}).await;
    overview.selling
}

/// Until the sale is in this state.
async fn until(node: &TestNode, state: &str) -> Selling {
    let asked = Instant::now();
    loop {
        let now = selling(node).await;
        if now.state == state {
            return now;
        }
        assert!(asked.elapsed() < WAIT, "{now:?} and not {state}\n{}", node.said());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn present(guard: &Guard) -> Vec<&str> {
    guard.triggers.iter().filter(|trigger| trigger.present).map(|trigger| trigger.name.as_str()).collect()
}

/// Work that is still under way when the game begins, also on a fast adapter; nobody waits for its end.
fn long(work: SubmitInput) -> SubmitInput {
    SubmitInput { deadline_seconds: Some(3600), ..work }
}

/// Ends a job, wherever it is by now.
async fn cancel(node: &TestNode, id: &str) {
    // It may end by itself, or move on, at the same moment.
    let _ = node.api.ask::<_, Nothing>("cancel_job", &ById { id: id.to_owned() }).await;
}

/// A node that yields to one program only, and goes on a second after it.
async fn player(game: &str) -> TestNode {
    let node = TestNode::seller().await;
    node.set("guard.programs", json!(game)).await;
    node.set("guard.resume_seconds", json!(1)).await;
    node
}

#[tokio::test]
async fn a_game_has_the_card_while_it_runs_and_the_sale_goes_on_without_a_click() {
    let (seller, buyer) = (player("tt-doom").await, TestNode::buyer().await);
    pair(&seller, &buyer, DOLLAR).await;
    let id = buyer.submit(&long(work::for_peers(work::wgsl(4000, 50_000)))).await;
    seller.events().first(|seen| seen.moved_to("running")).await;
    assert_eq!(selling(&seller).await.state, "busy");
    let workers = seller.children();
    assert_eq!(workers.len(), 1, "{workers:?}");

    let game = Game::start("tt-doom");
    seller.events().first(|seen| seen.moved_to("handed_back")).await;
    let now = until(&seller, "yielding").await;
    assert!(now.reason.contains("game in foreground (tt-doom)") && now.reason.contains("1 s after it ends"), "{now:?}");
    assert_eq!((now.on, now.trigger.as_deref(), now.resumes_at), (true, Some("game"), None));
    // What it notes down is done.
    let (asked, mut seen) = (Instant::now(), guard(&seller).await);
    while seen.yields.is_empty() {
        assert!(asked.elapsed() < WAIT, "{seen:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        seen = guard(&seller).await;
    }
    assert!(!Path::new(&format!("/proc/{}", workers[0])).exists(), "the worker still runs");
    assert_eq!(seller.children(), [0_u32; 0]);

    assert_eq!(present(&seen), ["game"]);
    let last = &seen.yields[0];
    assert_eq!((last.trigger.as_str(), last.jobs_handed_back, &last.resumed_at), ("game", 1, &None));
    assert!(last.memory_measured && last.freed_bytes.is_some_and(|bytes| bytes > 1 << 20), "{last:?}");
    assert!(last.freed_ms.is_some_and(|ms| ms > 0.0), "{last:?}");
    // Killed and started again in the middle of it: it neither forgets nor sells meanwhile.
    let seller = seller.restart().await;
    until(&seller, "yielding").await;
    assert_eq!(guard(&seller).await.yields.iter().filter(|of| of.jobs_handed_back == 1).count(), 1);

    drop(game);
    until(&seller, "idle").await;
    let seen = guard(&seller).await;
    assert!(present(&seen).is_empty() && seen.yields[0].resumed_at.is_some(), "{:?}", seen.yields);
    // The job that was handed back found its way: to the same seller, once it could.
    cancel(&buyer, &id).await;
    let bought = buyer.buy(&work::for_peers(work::wgsl(4, 100))).await;
    assert_eq!(bought.summary.state, Some(JobState::Completed));
}

#[tokio::test]
async fn own_jobs_wait_for_the_game_and_are_done_after_it() {
    let node = player("tt-quake").await;
    // Seconds on two loaded cores, and done in the end.
    let running = node.submit(&work::for_anyone(work::wgsl(4000, 20_000))).await;
    let asked = Instant::now();
    while node.job(&running).await.summary.progress.is_none_or(|progress| progress.done == 0) {
        assert!(asked.elapsed() < WAIT);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let game = Game::start("tt-quake");
    until(&node, "yielding").await;
    let asked = Instant::now();
    while !node.children().is_empty() {
        assert!(asked.elapsed() < WAIT, "a worker still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // One that comes meanwhile is taken and waits, too.
    let later = node.submit(&work::for_anyone(work::gemm(16))).await;
    // Also one whose result would be checked here.
    let checked = node.submit(&work::for_anyone(work::wgsl(4, 100))).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    for id in [&running, &later, &checked] {
        let job = node.job(id).await.summary;
        assert!(matches!(job.state, Some(JobState::Queued | JobState::Running)), "{job:?}");
        assert!(job.reason.contains("Waits: game in foreground (tt-quake)"), "{job:?}");
    }
    let said = Cli::on(node.dir()).run(&["doctor"]).out;
    assert!(said.contains("in use by you: game in foreground"), "{said}");
    assert_eq!(node.children(), [0_u32; 0]);
    drop(game);
    for id in [&later, &checked] {
        assert_eq!(node.ended(id).await.summary.state, Some(JobState::Completed));
    }
    assert_eq!(node.ended(&running).await.summary.state, Some(JobState::Completed), "it begins anew");
}

#[tokio::test]
async fn nothing_is_awarded_that_could_not_be_checked_while_the_game_runs() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    buyer.set("guard.programs", json!("tt-hexen")).await;
    buyer.set("guard.resume_seconds", json!(1)).await;
    pair(&seller, &buyer, DOLLAR).await;
    let game = Game::start("tt-hexen");
    let checked = buyer.submit(&work::for_peers(work::wgsl(4, 100))).await;
    let asked = Instant::now();
    let says = "Waits: it would have to be checked here, and the guard has the card (game in foreground (tt-hexen))";
    while buyer.job(&checked).await.summary.reason != says {
        let job = buyer.job(&checked).await;
        assert!(job.contracts.is_empty(), "awarded while nobody could check it: {job:?}");
        assert!(asked.elapsed() < WAIT, "{job:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A product is checked without the card.
    assert_eq!(buyer.buy(&work::for_peers(work::gemm(8))).await.summary.state, Some(JobState::Completed));
    // Now and then it looks for somebody whose work needs no check.
    let asked = Instant::now();
    while buyer.job(&checked).await.summary.reason != says {
        assert!(asked.elapsed() < WAIT);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(buyer.job(&checked).await.summary.state, Some(JobState::Queued));
    drop(game);
    let done = buyer.ended(&checked).await;
    assert_eq!(done.summary.state, Some(JobState::Completed), "{done:?}");
}

#[tokio::test]
async fn the_owner_lets_what_runs_finish_and_then_has_a_pause() {
    let (seller, buyer) = (TestNode::seller().await, TestNode::buyer().await);
    pair(&seller, &buyer, DOLLAR).await;
    let id = buyer.submit(&work::for_peers(work::wgsl(4000, 20_000))).await;
    seller.events().first(|seen| seen.moved_to("running")).await;
    let draining: Selling = seller.ask("finish_then_pause", &Switch { on: true }).await;
    assert_eq!(draining.state, "draining", "{draining:?}");
    assert_eq!(buyer.ended(&id).await.summary.state, Some(JobState::Completed));
    until(&seller, "paused").await;
    let none = buyer.submit(&work::for_peers(work::gemm(8))).await;
    assert_eq!(buyer.ended(&none).await.summary.state, Some(JobState::Failed));
    // Called for once a round, and one job all the same.
    let demand: Demand = seller.ask("demand", &DemandQuery { days: None }).await;
    let refused: Vec<(&str, u64)> = demand.refused.iter().map(|of| (of.why.as_str(), of.count)).collect();
    assert_eq!((demand.seen, demand.quoted, refused), (2, 1, vec![("paused", 1)]));
    let resumed: Selling = seller.ask("finish_then_pause", &Switch { on: false }).await;
    assert_eq!(resumed.state, "idle");
    assert!(Cli::on(seller.dir()).run(&["sell", "finish"]).ok);
    assert_eq!(selling(&seller).await.state, "paused");
    seller.sell(true).await;
    assert_eq!(selling(&seller).await.state, "idle");
}

#[tokio::test]
async fn an_own_job_in_the_middle_of_a_self_test_is_done_after_it() {
    let node = TestNode::seller().await;
    let begun: Guard = node.ask("test_guard", &Nothing {}).await;
    assert!(begun.testing.is_some(), "{begun:?}");
    assert_eq!(node.refuses("test_guard", &Nothing {}).await.code, Code::Conflict);
    let id = node.submit(&work::for_anyone(work::gemm(16))).await;
    let (begun, mut after) = (Instant::now(), guard(&node).await);
    while after.testing.is_some() {
        assert!(begun.elapsed() < SELF_TEST, "{after:?}");
        assert_ne!(node.job(&id).await.summary.state, Some(JobState::Failed), "{}", node.said());
        tokio::time::sleep(Duration::from_millis(200)).await;
        after = guard(&node).await;
    }
    assert_eq!(node.ended(&id).await.summary.state, Some(JobState::Completed));
    assert!(after.promise_ms.is_some() && after.test_problem.is_none(), "{after:?}");
}

#[tokio::test]
async fn the_self_test_measures_with_real_work_and_says_so() {
    let node = TestNode::seller().await;
    assert_eq!(guard(&node).await.promise_ms, None);
    let measured = Cli::on(node.dir()).json(&["guard", "--test"]);
    assert_eq!((measured["tests"].as_u64(), &measured["testing"]), (Some(20), &json!(null)));
    let test = &measured["test"];
    let ms = |name: &str| test[name].as_f64().unwrap();
    assert!(ms("p50_ms") > 0.0 && ms("p50_ms") <= ms("max_ms"), "{test}");
    assert!(measured["promise_ms"].as_f64().unwrap() >= ms("max_ms") && test["memory_measured"] == true, "{measured}");
    // A test is no yield to its owner, and the sale goes on at once.
    assert_eq!(measured["yields"], json!([]));
    assert_eq!(selling(&node).await.state, "idle");
    let said = Cli::on(node.dir()).run(&["doctor"]).out;
    assert!(said.contains("Time to give back") && said.contains("the longest of 20"), "{said}");

    // Not while somebody's job would be interrupted for it.
    let buyer = TestNode::buyer().await;
    pair(&node, &buyer, DOLLAR).await;
    let id = buyer.submit(&long(work::for_peers(work::wgsl(4000, 50_000)))).await;
    node.events().first(|seen| seen.moved_to("running")).await;
    assert_eq!(node.refuses("test_guard", &Nothing {}).await.code, Code::Conflict);
    cancel(&buyer, &id).await;
    // What was measured survives a restart.
    let node = node.restart().await;
    assert!(guard(&node).await.promise_ms.is_some());
}

/// A screen that nobody sees; it ends with this.
struct Display(Child, String);

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Display {
    fn start() -> Self {
        let mut command = Command::new("Xvfb");
        command.args(["-displayfd", "1", "-screen", "0", "640x480x24", "-nolisten", "tcp"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut number = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut number).unwrap();
        Self(child, format!(":{}", number.trim()))
    }
}

/// A window as a game opens it and as a window manager marks it.
struct FullScreen {
    connection: RustConnection,
    root: Window,
    window: Window,
}

impl FullScreen {
    fn open(display: &str, class: &str) -> Self {
        let (connection, screen) = x11rb::connect(Some(display)).unwrap();
        let root = connection.setup().roots[screen].root;
        let window = connection.generate_id().unwrap();
        let aux = CreateWindowAux::new();
        let kind = WindowClass::INPUT_OUTPUT;
        connection.create_window(COPY_DEPTH_FROM_PARENT, window, root, 0, 0, 640, 480, 0, kind, 0, &aux).unwrap();
        let names = format!("{}\0{class}\0", class.to_lowercase());
        connection
            .change_property8(PropMode::REPLACE, window, AtomEnum::WM_CLASS, AtomEnum::STRING, names.as_bytes())
            .unwrap();
        connection.map_window(window).unwrap();
        let opened = Self { connection, root, window };
        opened.in_front(true);
        opened
    }

    fn atom(&self, name: &str) -> u32 {
        self.connection.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom
    }

    /// Fills the screen, or is an ordinary window.
    fn fills(&self, screen: bool) {
        let states = if screen { vec![self.atom("_NET_WM_STATE_FULLSCREEN")] } else { Vec::new() };
        let state = self.atom("_NET_WM_STATE");
        self.connection.change_property32(PropMode::REPLACE, self.window, state, AtomEnum::ATOM, &states).unwrap();
        self.connection.flush().unwrap();
    }

    /// Has the focus, or another window has.
    fn in_front(&self, front: bool) {
        let (active, window) = (self.atom("_NET_ACTIVE_WINDOW"), if front { self.window } else { 0 });
        self.connection.change_property32(PropMode::REPLACE, self.root, active, AtomEnum::WINDOW, &[window]).unwrap();
        self.connection.flush().unwrap();
    }
}

#[tokio::test]
async fn a_window_that_fills_the_screen_is_a_game_unless_its_owner_says_otherwise() {
    let display = Display::start();
    let node = TestNode::start_with(|launch| launch.env("DISPLAY", &display.1).env("WAYLAND_DISPLAY", "")).await;
    node.set("guard.resume_seconds", json!(1)).await;
    node.sell(true).await;
    until(&node, "idle").await;
    let window = FullScreen::open(&display.1, "Doom");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(selling(&node).await.state, "idle", "a window is no game");
    window.fills(true);
    let now = until(&node, "yielding").await;
    assert!(now.reason.contains("game in foreground (Doom)"), "{now:?}");
    window.in_front(false);
    until(&node, "idle").await;
    window.in_front(true);
    until(&node, "yielding").await;
    node.set("guard.ignored", json!("Doom")).await;
    until(&node, "idle").await;
    node.set("guard.ignored", json!("")).await;
    until(&node, "yielding").await;
    drop(window);
    until(&node, "idle").await;

    // Nobody has touched keyboard or mouse since the screen was made: only for a minute.
    node.set("guard.activity_minutes", json!(240)).await;
    let now = until(&node, "yielding").await;
    assert_eq!(now.trigger.as_deref(), Some("activity"));
    node.set("guard.activity_minutes", json!(0)).await;
    until(&node, "idle").await;

    // A screen that goes away stops nothing, and is said.
    drop(display);
    let asked = Instant::now();
    loop {
        let seen = guard(&node).await;
        let game = seen.triggers.iter().find(|trigger| trigger.name == "game").unwrap();
        if game.detail.contains("Misses some") {
            break;
        }
        assert!(asked.elapsed() < WAIT, "{game:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(selling(&node).await.state, "idle");
}

#[tokio::test]
async fn outside_its_hours_a_node_sells_nothing_and_says_when_it_will() {
    let node = TestNode::seller().await;
    // An hour that is not now.
    let minute = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 60 % 1440;
    let clock = |minute: u64| format!("{:02}:{:02}", minute % 1440 / 60, minute % 60);
    node.set("guard.hours", json!(format!("{}-{}", clock(minute + 120), clock(minute + 180)))).await;
    let now = until(&node, "yielding").await;
    assert_eq!(now.trigger.as_deref(), Some("schedule"));
    assert!(now.reason.contains("outside your hours") && now.resumes_at.is_some(), "{now:?}");
    assert_eq!(
        node.refuses("set_setting", &json!({"key": "guard.hours", "value": "at night"})).await.code,
        Code::Invalid
    );
    node.set("guard.resume_seconds", json!(1)).await;
    node.set("guard.hours", json!("")).await;
    until(&node, "idle").await;
}
