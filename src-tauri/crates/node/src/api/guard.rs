//! The guard's operations, and what it shows.

use super::{types::*, views};
use crate::{
    guard::{Tested, Yielded},
    node::Node,
};
use std::sync::Arc;
use tender_base::Problem;
use tender_host::guard::{Reach, Seen, Trigger};

type Answer<T> = Result<T, Problem>;

pub(super) async fn guard(node: &Arc<Node>, _: Nothing) -> Answer<Guard> {
    let (look, looking, yields, test) = node.lookout.shown();
    let seen = |trigger| look.0.iter().find(|seen| seen.trigger == trigger).cloned();
    // The self-test's own is shown as such.
    let triggers = Trigger::ALL.into_iter().filter(|trigger| *trigger != Trigger::Test);
    let last = test.last.as_ref();
    Ok(Guard {
        looking,
        triggers: triggers.map(|t| row(t, seen(t).unwrap_or_else(|| unseen(node, t)), looking)).collect(),
        yields: yields.into_iter().map(yielded).collect(),
        promise_ms: node.promise_ms(),
        tested_at: last.map(|tested| tested.at.to_string()),
        tests: last.map_or(0, |tested| tested.n),
        test: test.last.map(tested),
        testing: test.running.map(|(done, total)| Progress { done, total }),
        test_problem: test.problem.map(ApiProblem::from),
    })
}

pub(super) async fn watch_guard(node: &Arc<Node>, input: Nothing) -> Answer<Guard> {
    guard(node, input).await
}

pub(super) async fn test_guard(node: &Arc<Node>, input: Nothing) -> Answer<Guard> {
    node.test_guard()?;
    guard(node, input).await
}

/// What the guard cannot see any more.
pub(super) fn lost(node: &Node) -> Vec<GuardLost> {
    let shown = |(trigger, why): (Trigger, String)| GuardLost {
        trigger: trigger.name().to_owned(),
        what: trigger.words().to_owned(),
        why,
    };
    node.lookout.lost().into_iter().map(shown).collect()
}

pub(super) async fn finish_then_pause(node: &Arc<Node>, switch: Switch) -> Answer<Selling> {
    node.set("finish_then_pause", switch.on.into()).await?;
    views::selling(node).await
}

/// A trigger that was not looked for yet: nobody looks while nothing is sold or runs.
fn unseen(node: &Node, trigger: Trigger) -> Seen {
    let rules = node.settings().guard;
    let on = match trigger {
        Trigger::Game => rules.limits.full_screen || !rules.limits.programs.is_empty(),
        Trigger::OtherProgram => rules.limits.program_bytes > 0,
        Trigger::Temperature => rules.limits.temperature_c > 0.0,
        Trigger::Power => rules.limits.card_watts > 0.0,
        Trigger::Battery => rules.limits.battery,
        Trigger::Activity => !rules.limits.activity.is_zero(),
        Trigger::Schedule => rules.hours.are_set(),
        Trigger::Metered => rules.limits.metered,
        Trigger::Test => false,
    };
    Seen { on, ..Seen::off(trigger) }
}

fn row(trigger: Trigger, seen: Seen, looking: bool) -> GuardTrigger {
    let detail = match (seen.on, looking, &seen.present) {
        (false, ..) => "Not looked for.".to_owned(),
        (true, false, _) => "Looked for while selling is on, or work runs.".to_owned(),
        (true, true, Some(detail)) if !detail.is_empty() => format!("Now: {detail}."),
        _ => seen.detail,
    };
    GuardTrigger {
        name: trigger.name().to_owned(),
        on: seen.on,
        available: seen.unavailable.is_none(),
        unavailable_why: seen.unavailable,
        present: seen.present.is_some(),
        detail,
        stops_own_jobs: trigger.reach() == Reach::All,
        settings: settings(trigger).iter().map(|key| (*key).to_owned()).collect(),
    }
}

fn settings(trigger: Trigger) -> &'static [&'static str] {
    match trigger {
        Trigger::Game => &["guard.full_screen", "guard.programs", "guard.ignored"],
        Trigger::OtherProgram => &["guard.program_mib", "guard.ignored"],
        Trigger::Temperature => &["guard.temperature_c"],
        Trigger::Power => &["guard.card_watts"],
        Trigger::Battery => &["guard.battery"],
        Trigger::Activity => &["guard.activity_minutes"],
        Trigger::Schedule => &["guard.hours", "utc_offset_minutes"],
        Trigger::Metered => &["guard.metered"],
        Trigger::Test => &[],
    }
}

fn yielded(of: Yielded) -> GuardYield {
    GuardYield {
        at: of.at.to_string(),
        trigger: of.trigger,
        reason: of.reason,
        freed_ms: of.freed_ms,
        freed_bytes: of.freed_bytes,
        memory_measured: of.memory_measured,
        jobs_handed_back: of.jobs_handed_back,
        resumed_at: of.resumed_at.map(|at| at.to_string()),
    }
}

fn tested(of: Tested) -> GuardTest {
    GuardTest {
        n: of.n,
        p50_ms: of.p50_ms,
        max_ms: of.max_ms,
        adapter: of.adapter,
        driver: of.driver,
        memory_measured: of.memory_measured,
        at: of.at.to_string(),
    }
}

/// What `doctor` says of the guard.
pub(super) fn checks(node: &Node) -> Vec<DoctorCheck> {
    let (look, looking, _, test) = node.lookout.shown();
    let blind: Vec<String> = look
        .0
        .iter()
        .filter(|seen| seen.on)
        .filter_map(|seen| Some(format!("{}: {}", seen.trigger.name(), seen.unavailable.as_ref()?)))
        .collect();
    let line = |name: &str, state: &str, message: String, remedy: &str| DoctorCheck {
        name: name.to_owned(),
        state: state.to_owned(),
        message,
        remedy: remedy.to_owned(),
    };
    let watch = match (looking, blind.is_empty()) {
        (false, _) => line("Guard", "ok", "looks while selling is on, or work runs".to_owned(), ""),
        (true, true) => line("Guard", "ok", "sees everything that it is told to look for".to_owned(), ""),
        (true, false) => line(
            "Guard",
            "warning",
            format!("cannot see {}", blind.join("; ")),
            "sell on all the same, or switch what cannot be seen off in the settings (guard.…)",
        ),
    };
    let promise = match test.last {
        Some(tested) if node.promise_ms().is_none() => line(
            "Time to give back",
            "warning",
            format!("measured on {} ({}), which is not what works now", tested.adapter, tested.driver),
            "measure it again: `tender guard --test`",
        ),
        Some(tested) => line(
            "Time to give back",
            "ok",
            format!(
                "{} ms: the longest of {} (median {:.0} ms, {})",
                tested.promise_ms(),
                tested.n,
                tested.p50_ms,
                tested.adapter
            ),
            "",
        ),
        None => line("Time to give back", "warning", "not measured".to_owned(), "measure it: tender guard --test"),
    };
    vec![watch, promise]
}
