//! The simulator for a screen: one simulation at a time, off the runtime's own threads, and ended when nobody waits for
//! it any more.

use super::types::*;
use crate::node::Node;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU32, Ordering},
};
use tender_base::{Code, Problem};
use tender_sim::{
    Going, MAX_RUNS, Options, Preset,
    output::Output,
    report::report_while,
    scenario::{Published, TABLE},
    simulate_while,
};

/// Ways of deciding, with the ε of the paper for the one that takes a number.
const POLICIES: [&str; 7] = ["greedy", "epsilon=0.1", "graduated", "ucb1", "thompson", "cheapest", "oracle"];
const PAPER: &str = "paper";

type Answer<T> = Result<T, Problem>;

/// The simulation that runs, if one does.
#[derive(Default)]
pub(crate) struct Simulating(Mutex<Option<Arc<Run>>>);

struct Run {
    stopped: AtomicBool,
    begun: AtomicU32,
    total: Option<u32>,
}

impl Simulating {
    fn now(&self) -> Option<Arc<Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn begin(&self, total: Option<u32>) -> Answer<Arc<Run>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_some() {
            return Err(Problem::new(Code::TooMany, "a simulation runs already", "wait for its end, or stop it"));
        }
        let run = Arc::new(Run { stopped: AtomicBool::new(false), begun: AtomicU32::new(0), total });
        *slot = Some(run.clone());
        Ok(run)
    }

    fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Frees the place of the simulation, also when it panics.
struct Place(Arc<Node>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.simulating.end();
    }
}

/// Stops a simulation when the one who asked has gone.
struct Asker(Arc<Run>);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Relaxed);
    }
}

async fn run<T: Send + 'static>(
    node: &Arc<Node>,
    total: Option<u32>,
    work: impl FnOnce(&Going<'_>) -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let run = node.simulating.begin(total)?;
    let (place, asker) = (Place(node.clone()), Asker(run.clone()));
    let done = tokio::task::spawn_blocking(move || {
        // Held to the end, however that comes.
        let _place = place;
        work(&|| {
            run.begun.fetch_add(1, Ordering::Relaxed);
            !run.stopped.load(Ordering::Relaxed)
        })
    });
    let done = done.await;
    drop(asker);
    done.unwrap_or_else(|error| Err(Problem::new(Code::Internal, format!("the simulation failed: {error}"), "")))
}

pub(super) async fn simulation_presets(_: &Arc<Node>, _: Nothing) -> Answer<SimulationPresets> {
    let presets = Preset::ALL.map(|preset| {
        let policies: Vec<&str> = match preset {
            Preset::Contention => Vec::new(),
            Preset::CoalescePaper => [&[PAPER][..], &POLICIES].concat(),
            Preset::CoalesceFixed => [&POLICIES[..], &[PAPER]].concat(),
            _ => POLICIES.to_vec(),
        };
        let policies = policies.into_iter().map(str::to_owned).collect();
        SimulationPreset { name: preset.name().to_owned(), about: preset.about().to_owned(), policies }
    });
    Ok(SimulationPresets { presets: presets.into(), max_runs: MAX_RUNS })
}

fn options(input: &SimulationInput) -> Answer<Options> {
    let preset: Preset = input.preset.parse()?;
    let policy = input.policy.as_deref().map(str::parse).transpose()?;
    Ok(Options { preset, policy, runs: input.runs, seed: input.seed, trace: None })
}

pub(super) async fn simulate(node: &Arc<Node>, input: SimulationInput) -> Answer<Simulation> {
    let options = options(&input)?;
    let rows = if options.preset == Preset::Contention { 1 } else { TABLE.len() as u32 };
    let total = options.runs.saturating_mul(rows);
    let preset = options.preset;
    let output = run(node, Some(total), move |going| simulate_while(&options, going)).await?;
    shown(preset, &output)
}

pub(super) async fn simulation_report(node: &Arc<Node>, input: SimulationInput) -> Answer<SimulationReport> {
    let options = options(&input)?;
    let page = run(node, None, move |going| report_while(&options, &simulate_while(&options, going)?, going)).await?;
    Ok(SimulationReport { page })
}

pub(super) async fn simulation_progress(node: &Arc<Node>, _: Nothing) -> Answer<SimulationProgress> {
    Ok(match node.simulating.now() {
        None => SimulationProgress { running: false, begun: 0, total: None },
        Some(run) => {
            let begun = run.begun.load(Ordering::Relaxed);
            let begun = run.total.map_or(begun, |total| begun.min(total));
            SimulationProgress { running: true, begun, total: run.total }
        }
    })
}

pub(super) async fn stop_simulation(node: &Arc<Node>, _: Nothing) -> Answer<Nothing> {
    if let Some(run) = node.simulating.now() {
        run.stopped.store(true, Ordering::Relaxed);
    }
    Ok(Nothing {})
}

/// The output with what is published about the same scenarios.
fn shown(preset: Preset, output: &Output) -> Answer<Simulation> {
    let paper = matches!(preset, Preset::CoalescePaper | Preset::CoalesceFixed);
    let spread = |(mean, sd): Published| Spread { mean, sd: Some(sd) };
    let rows = output.rows.iter().map(|row| {
        let known = TABLE.iter().find(|known| paper && known.id == row.id);
        let published = known.map(|known| PublishedRow {
            paper_cost: spread(known.paper_cost),
            paper_time: spread(known.paper_time),
            peer_cost: spread(known.peer_cost),
            peer_time: spread(known.peer_time),
            peer_honest: known.peer_honest,
            peer_oracle: known.peer_oracle,
        });
        Ok(SimulationRow { published, ..same(row)? })
    });
    Ok(Simulation { rows: rows.collect::<Answer<_>>()? })
}

/// The same document under its other type: here with TypeScript, there with its arithmetic.
pub(super) fn same<T: DeserializeOwned>(value: impl Serialize) -> Answer<T> {
    let same = serde_json::to_value(value).and_then(serde_json::from_value);
    same.map_err(|error| Problem::new(Code::Internal, format!("a document has two forms: {error}"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(preset: &str, policy: Option<&str>) -> SimulationInput {
        SimulationInput { preset: preset.to_owned(), policy: policy.map(str::to_owned), runs: 1, seed: 1 }
    }

    #[test]
    fn the_papers_rows_stand_beside_ours_in_its_own_world_only() {
        for (preset, published) in [("coalesce-paper", 13), ("coalesce-fixed", 13), ("tender", 0), ("contention", 0)] {
            let options = options(&input(preset, None)).unwrap();
            let output = tender_sim::simulate(&options).unwrap();
            let found = shown(options.preset, &output).unwrap();
            assert_eq!(found.rows.len(), output.rows.len());
            assert_eq!(found.rows.iter().filter(|row| row.published.is_some()).count(), published, "{preset}");
        }
    }

    #[test]
    fn every_policy_that_is_offered_can_be_followed() {
        let node: Vec<(Preset, Vec<&str>)> =
            vec![(Preset::CoalescePaper, [&[PAPER][..], &POLICIES].concat()), (Preset::Lies, POLICIES.to_vec())];
        for (preset, policies) in node {
            for policy in policies {
                let options = options(&input(preset.name(), Some(policy))).unwrap();
                tender_sim::simulate(&options).unwrap();
            }
        }
        let problem = options(&input("tender", Some("luck"))).unwrap_err();
        assert!(problem.message.contains("luck"), "{problem}");
        assert!(options(&input("nowhere", None)).unwrap_err().hint.contains("coalesce-paper"));
    }

    #[test]
    fn one_simulation_runs_at_a_time() {
        let simulating = Simulating::default();
        let run = simulating.begin(Some(13)).unwrap();
        assert_eq!(simulating.begin(None).err().map(|problem| problem.code), Some(Code::TooMany));
        drop(Asker(run.clone()));
        assert!(run.stopped.load(Ordering::Relaxed), "who hangs up ends it");
        simulating.end();
        assert!(simulating.now().is_none() && simulating.begin(None).is_ok());
    }
}
