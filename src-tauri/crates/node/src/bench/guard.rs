//! `tender bench guard`: from the start of a game to the card's memory free, with sold work on the card.
//!
//! A real node sells real work to another; a real process appears whose name is on the guard's list. The time counts
//! from the return of the system call that started it, so that the wait for the guard's look is part of it.

use super::{BenchReport, Figure};
use crate::{
    api::types::{AddPeerInput, InviteInput, SubmitBuffer, SubmitWork},
    demo::throw_away,
    node::Running,
};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tender_base::{
    Book, Code, ContractState, JobState, MicroUsd, Problem,
    job::{Constraints, Privacy},
};

/// Yields: enough for a 99th percentile that is not the longest.
const ROUNDS: usize = 200;
/// What the game is called: a program that nobody else runs, no longer than the kernel keeps names.
const GAME: &str = "tender-bench-gm";
/// Longest wait for anything: a loaded machine with a CPU adapter.
const PATIENCE: Duration = Duration::from_secs(120);

/// Measures under `dir`, which the caller deletes.
///
/// # Errors
/// The first thing that failed.
pub async fn guard(dir: &Path, worker: Option<&Path>) -> Result<BenchReport, Problem> {
    let client = throw_away(&dir.join("client"), worker).await?;
    client.node.set("use_own_gpu", false.into()).await?;
    let seller = throw_away(&dir.join("seller"), worker).await?;
    for (key, value) in [
        ("selling", true.into()),
        ("guard.programs", GAME.into()),
        ("guard.resume_seconds", 1.into()),
        // Only the game that is measured.
        ("guard.full_screen", false.into()),
    ] {
        seller.node.set(key, value).await?;
    }
    let input = InviteInput { credit_limit_micro_usd: 1_000_000_000_000, valid_minutes: None };
    let link = seller.node.invite(input).await?.link;
    client.node.add_peer(AddPeerInput { link, credit_limit_micro_usd: None }).await?;

    let game = dir.join(GAME);
    fs::copy("/bin/sleep", &game)
        .map_err(|e| failed(format!("/bin/sleep cannot be copied to {}: {e}", game.display())))?;
    let (mut to_free, mut to_look, mut to_hand_back, mut to_resume) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut freed_bytes, mut measured) = (Vec::new(), true);
    for _ in 0..ROUNDS {
        let round = round(&client, &seller, &game).await?;
        to_free.push(round.to_free);
        to_look.push(round.to_look);
        to_hand_back.push(round.to_hand_back);
        to_resume.push(round.to_resume);
        freed_bytes.extend(round.freed_mib);
        measured &= round.measured;
    }
    let in_main_memory = seller.node.engine.uses_main_memory() == Some(true);
    let info = seller.node.engine.info();
    client.stop().await;
    seller.stop().await;
    let read = match (measured, in_main_memory) {
        (false, _) => "not measured each time",
        (true, true) => "its process gone each time",
        (true, false) => "read back each time",
    };
    let figures = vec![
        Figure::of("game_to_memory_free", "ms", to_free)
            .because(format!("from a started process to the worker's memory free ({read}), a sold kernel at work")),
        Figure::of("look_to_memory_free", "ms", to_look).because("of that, from the beginning of the look that saw it"),
        Figure::of("game_to_handback", "ms", to_hand_back).because("until the client has stored the signed handback"),
        Figure::of("end_to_resume", "ms", to_resume)
            .because("from the game's end to selling again, of which 1000 ms are the stated delay"),
        Figure::of("memory_freed", "MiB", freed_bytes),
    ];
    Ok(BenchReport::new("guard", info, figures))
}

struct Round {
    to_free: f64,
    to_look: f64,
    to_hand_back: f64,
    to_resume: f64,
    freed_mib: Option<f64>,
    measured: bool,
}

async fn round(client: &Running, seller: &Running, game: &Path) -> Result<Round, Problem> {
    let yields = seller.node.lookout.count();
    let job = client.node.submit_in(Book::Demo, kernel(), constraints(client), true).await?;
    let contract = wait(client, "the work did not begin", async || {
        let contracts = client.node.contracts_of(job).await?;
        if let Some(reason) = client.node.job_record(job).await?.reason {
            return Err(reason);
        }
        Ok(contracts.iter().find(|record| record.state == ContractState::Running).map(|record| record.id))
    })
    .await?;
    // Anywhere between two looks.
    let [drawn, ..] = seller.node.entropy.draw32();
    tokio::time::sleep(Duration::from_millis(100 + u64::from(drawn))).await;
    let mut game = Game::start(game)?;
    let started = Instant::now();
    let (yielded, freed_at) =
        wait(seller, "the guard did not yield", async || Ok(seller.node.lookout.since(yields))).await?;
    let handed_back = wait(client, "nothing was handed back", async || {
        let record = client.node.record(contract).await?;
        Ok((record.state == ContractState::HandedBack).then(Instant::now))
    })
    .await?;
    if seller.node.engine.is_running() || seller.node.willing(seller.node.now()).is_ok() {
        return Err(failed("a worker runs, or calls are taken, while the game runs"));
    }
    game.end();
    let ended = Instant::now();
    // Who handed it back would be awarded it again.
    if client.node.job_record(job).await?.state != JobState::Cancelled {
        client.node.cancel_job(job).await?;
    }
    let resumed = wait(seller, "selling did not go on", async || {
        Ok(seller.node.willing(seller.node.now()).is_ok().then(Instant::now))
    })
    .await?;
    let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    Ok(Round {
        to_free: ms(started, freed_at),
        to_look: yielded.freed_ms.ok_or_else(|| failed("there was nothing to free"))?,
        to_hand_back: ms(started, handed_back),
        to_resume: ms(ended, resumed),
        freed_mib: yielded.freed_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20)),
        measured: yielded.memory_measured,
    })
}

/// A process that is there until it is ended.
struct Game(Child);

impl Game {
    fn start(program: &Path) -> Result<Self, Problem> {
        let mut command = Command::new(program);
        command.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(|e| failed(format!("{} does not start: {e}", program.display())))
    }

    fn end(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Game {
    fn drop(&mut self) {
        self.end();
    }
}

/// What `look` finds, waited for.
async fn wait<T>(
    node: &Running,
    otherwise: &str,
    look: impl AsyncFn() -> Result<Option<T>, Problem>,
) -> Result<T, Problem> {
    let mut ticks = node.node.live.watch();
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= until {
            return Err(failed(format!("{otherwise} within {} s", PATIENCE.as_secs())));
        }
        let _ = tokio::time::timeout(Duration::from_millis(20), ticks.changed()).await;
    }
}

/// A kernel that works for minutes on a CPU adapter, in slices as every other.
fn kernel() -> SubmitWork {
    let source = "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    var x = id.x;
    for (var i = 0u; i < 50000u; i++) { x = x * 1664525u + 1013904223u; }
    out[id.x] = x;
}
";
    SubmitWork::Wgsl {
        source: source.to_owned(),
        entry: "main".to_owned(),
        workgroups: 16_384,
        workgroup_size: 64,
        fuel: 50_001,
        element: "u32".to_owned(),
        buffers: vec![SubmitBuffer { binding: 0, bytes: 16_384 * 64 * 4, data_base64: None }],
    }
}

fn constraints(client: &Running) -> Constraints {
    Constraints {
        budget: MicroUsd(1_000_000_000),
        deadline: client.node.now().after(Duration::from_secs(6 * 3600)),
        privacy: Privacy::Peers,
    }
}

fn failed(what: impl Into<String>) -> Problem {
    Problem::new(Code::WorkFailed, what, "run it again on a machine with less to do")
}
