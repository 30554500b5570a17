//! Answers as text or JSON.

use serde::Serialize;
use std::{fmt::Write as _, io::Write as _};
use tender_base::{MicroUsd, Problem, Role};
use tender_node::api::types::*;

/// Prints an answer: as one JSON document, or as text.
pub(crate) fn answer<T: Serialize>(json: bool, value: &T, text: impl FnOnce(&T) -> String) {
    let line = if json { serde_json::to_string(value).unwrap_or_default() } else { harmless(&text(value)) };
    // A reader that has seen enough (`tender jobs | head`) is no fault.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints an error on standard error.
pub(crate) fn problem(json: bool, problem: &Problem) {
    let line = if json {
        serde_json::to_string(problem).unwrap_or_default()
    } else {
        format!("tender: {}", harmless(&problem.to_string()))
    };
    eprintln!("{line}");
}

/// Prints more of a text that is being written, and after its last piece an empty line.
pub(crate) fn piece(more: &str, last: bool) {
    let mut out = std::io::stdout();
    // As above: a reader that is gone is no fault.
    let _ = write!(out, "{}{}", harmless(more), if last { "\n\n" } else { "" }).and_then(|()| out.flush());
}

/// Names, messages and texts of others go to a terminal: no control characters but line breaks and tabs.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// Lines of cells as columns: the first to the left, the others to the right. Every line has as many cells as the first.
pub(crate) fn columns(lines: &[Vec<String>]) -> String {
    let width = |c: usize| lines.iter().filter_map(|line| line.get(c)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).filter_map(width).collect();
    let line = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).enumerate();
        let cells =
            cells.map(|(c, (cell, &width))| if c == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") });
        cells.collect::<Vec<_>>().join("  ")
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn money(micro_usd: i64) -> String {
    MicroUsd(micro_usd).to_string()
}

fn state(job: &JobSummary) -> &'static str {
    match (job.state, job.contract_state) {
        (Some(state), _) => state.name(),
        (None, Some(state)) => state.name(),
        (None, None) => "-",
    }
}

pub(crate) fn jobs(page: &JobPage) -> String {
    if page.jobs.is_empty() {
        return "No jobs yet. Run one with `tender submit`, or see a trade with `tender demo`.".to_owned();
    }
    let mut out = format!("{:<36}  {:<6}  {:<8}  {:<9}  {:>11}  what", "id", "side", "kind", "state", "amount");
    for job in &page.jobs {
        let side = if job.role == Role::Client { "bought" } else { "sold" };
        let amount = job.amount_micro_usd.map(money).unwrap_or_default();
        let play = if job.book == tender_base::Book::Demo { " (demonstration)" } else { "" };
        let _ = write!(
            out,
            "\n{}  {side:<6}  {:<8}  {:<9}  {amount:>11}  {}: {}{play}",
            job.id,
            job.kind.name(),
            state(job),
            job.title,
            job.reason,
        );
    }
    out
}

pub(crate) fn job(detail: &JobDetail) -> String {
    let job = &detail.summary;
    let mut out = format!("{} {}: {} ({})\n{}", job.kind.name(), job.title, state(job), job.id, job.reason);
    if let Some(amount) = job.amount_micro_usd {
        let _ = write!(out, "\nAmount: {}", money(amount));
    }
    if let Some(why) = &detail.decision_summary {
        let _ = write!(out, "\nDecision: {why}");
    }
    if let Some(verification) = &detail.verification {
        let _ = write!(out, "\nChecked: {verification}");
    }
    for contract in &detail.contracts {
        let steps: Vec<&str> = contract.steps.iter().map(|step| step.state.name()).collect();
        let _ = write!(out, "\nWith {}: {}. {}", contract.with, steps.join(" → "), contract.waits_for);
    }
    if let (Some(bytes), Some(hash)) = (detail.output_bytes, &detail.output_sha256) {
        let _ = write!(out, "\nOutput: {bytes} bytes, SHA-256 {hash}");
    }
    if let Some(problem) = &detail.problem {
        let _ = write!(out, "\nProblem: {} ({})", problem.message, problem.hint);
    }
    out
}

pub(crate) fn earnings(earnings: &Earnings) -> String {
    let mut out = String::new();
    for day in earnings
        .days
        .iter()
        .filter(|day| day.jobs_sold + day.jobs_bought > 0 || day.earned_micro_usd + day.spent_micro_usd > 0)
    {
        let _ = writeln!(
            out,
            "{}  earned {:>12} ({} jobs)  spent {:>12} ({} jobs)",
            day.day,
            money(day.earned_micro_usd),
            day.jobs_sold,
            money(day.spent_micro_usd),
            day.jobs_bought
        );
    }
    let _ = write!(
        out,
        "Delivered, not accepted yet: {}\nOwed to you: {}\nPaid to you: {}\nYou owe: {}\nYou paid: {}",
        money(earnings.delivered_micro_usd),
        money(earnings.owed_to_us_micro_usd),
        money(earnings.paid_to_us_micro_usd),
        money(earnings.owed_by_us_micro_usd),
        money(earnings.paid_by_us_micro_usd),
    );
    if !earnings.ledger_balances {
        out.push_str("\nThe ledger does not balance. Run `tender doctor`.");
    }
    out
}

pub(crate) fn peers(peers: &Peers) -> String {
    if peers.peers.is_empty() {
        return "No peers yet. `tender peers invite` prints a line to paste on the other machine.".to_owned();
    }
    let line = |peer: &Peer| {
        format!(
            "{}  {}\n  {}  may owe you {}, owes you {}, you owe {}, {} trades",
            peer.name,
            peer.did,
            if peer.by_key { "holds an API key" } else { peer.address.as_deref().unwrap_or("only buys") },
            money(peer.credit_limit_micro_usd),
            money(peer.owes_us_micro_usd),
            money(peer.we_owe_micro_usd),
            peer.trades
        )
    };
    peers.peers.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(crate) fn setting(setting: &Setting) -> String {
    format!("{} = {}\n  {} Default: {}.", setting.key, setting.value, setting.about, setting.default)
}

pub(crate) fn doctor(report: &Doctor) -> String {
    let line = |check: &DoctorCheck| {
        let mark = match check.state.as_str() {
            "ok" => "ok   ",
            "warning" => "warn ",
            _ => "FAULT",
        };
        let remedy = if check.remedy.is_empty() { String::new() } else { format!("\n        → {}", check.remedy) };
        format!("{mark} {}: {}{remedy}", check.name, check.message)
    };
    report.checks.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(crate) fn guard(guard: &Guard) -> String {
    let mut lines: Vec<String> = guard
        .triggers
        .iter()
        .map(|trigger| {
            let state = match (trigger.on, trigger.present, &trigger.unavailable_why) {
                (false, ..) => "off",
                (true, true, _) => "there",
                (true, false, None) => "not there",
                (true, false, Some(_)) => "not seen",
            };
            let detail = trigger.unavailable_why.as_deref().unwrap_or(&trigger.detail);
            format!("{:<14} {state:<10} {detail}", trigger.name)
        })
        .collect();
    lines.push(match &guard.test {
        Some(test) => format!(
            "\nGives back within {} ms: the longest of {} ({:.0} ms, median {:.0} ms; {}, {})",
            guard.promise_ms.unwrap_or_default(),
            test.n,
            test.max_ms,
            test.p50_ms,
            test.adapter,
            if test.memory_measured { "memory read back" } else { "memory not measured" }
        ),
        None => "\nHow long it takes to give the machine back is not measured: tender guard --test".to_owned(),
    });
    lines.extend(guard.yields.iter().map(|of| {
        let freed = of.freed_ms.map_or_else(String::new, |ms| format!(", free after {ms:.0} ms"));
        format!("{}  {}{freed}, {} handed back", of.at, of.reason, of.jobs_handed_back)
    }));
    lines.join("\n")
}
