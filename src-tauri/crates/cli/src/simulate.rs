//! `tender simulate`.

use crate::{args::Simulate, files, print};
use std::fs;
use tender_base::{Code, Problem};
use tender_sim::{
    Options, Preset, arrivals,
    output::{Output, Row, Spread},
    report::report,
    scenario::{Published, TABLE},
    simulate,
};

/// Longest trace that is read: the longer of the two public ones has 1 MB.
const MAX_TRACE_BYTES: u64 = 100 << 20;

pub(crate) fn run(options: &Simulate, json: bool) -> Result<(), Problem> {
    let asked = Options {
        preset: options.preset.parse()?,
        runs: options.runs,
        seed: options.seed,
        policy: options.policy.as_deref().map(str::parse).transpose()?,
        trace: options
            .trace
            .as_deref()
            .map(|file| files::text(file, MAX_TRACE_BYTES).and_then(|text| arrivals::read(&text)))
            .transpose()?,
    };
    let output = simulate(&asked)?;
    if let Some(file) = &options.report {
        fs::write(file, report(&asked, &output)?).map_err(|error| {
            let message = format!("cannot write {}: {error}", file.display());
            Problem::new(Code::Storage, message, "name a file in a folder that can be written")
        })?;
    }
    print::answer(json, &output, |output| table(asked.preset, output));
    Ok(())
}

/// A line per scenario, in per cent but for runs, decisions and closeness; in the paper's world what the paper and its
/// authors' code say beside it.
fn table(preset: Preset, output: &Output) -> String {
    let published = matches!(preset, Preset::CoalescePaper | Preset::CoalesceFixed);
    let mut head = vec![
        "row",
        "runs ok",
        "decisions",
        "cost",
        "time",
        "bought",
        "closeness",
        "honest",
        "cheapest",
        "oracle",
        "of it",
        "local/peer/cloud",
    ];
    if published {
        head.extend(["paper: cost", "its code: cost", "honest", "oracle"]);
    }
    if preset == Preset::Contention {
        head.push("pool used");
    }
    let mut lines = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    lines.extend(output.rows.iter().map(|row| {
        let mut line = figures(row);
        if published {
            let known = TABLE.iter().find(|scenario| scenario.id == row.id);
            line.extend(known.map_or_else(
                || ["–"; 4].map(str::to_owned),
                |known| {
                    let per_cent = |value: f64| format!("{value:.1}");
                    let spread = |(mean, sd): Published| format!("{mean:.1} ± {sd:.1}");
                    [
                        spread(known.paper_cost),
                        spread(known.peer_cost),
                        per_cent(known.peer_honest),
                        per_cent(known.peer_oracle),
                    ]
                },
            ));
        }
        if preset == Preset::Contention {
            line.push(number(row.utilisation_pct));
        }
        line
    }));
    let against =
        if preset == Preset::Contention { "first come, first served" } else { "what all-local would have spent" };
    format!(
        "{}\n\nPer cent, but for runs, decisions and closeness. cost, time: as the paper counts, losses left out. honest: \
         1 − what was\nspent/{against}, losses counted; cheapest and oracle: the same for the lowest \
         bill and for\nknowing every true parameter; of it: honest as a share of the oracle's.",
        print::columns(&lines)
    )
}

fn figures(row: &Row) -> Vec<String> {
    let spread = |spread: Option<Spread>| {
        spread.map_or_else(
            || "–".to_owned(),
            |Spread { mean, sd }| sd.map_or_else(|| format!("{mean:.1}"), |sd| format!("{mean:.1} ± {sd:.1}")),
        )
    };
    let share = row.honest_saving_pct.zip(row.oracle_saving_pct).filter(|(_, oracle)| *oracle > 0.0);
    vec![
        row.id.clone(),
        format!("{}/{}", row.runs_ok, row.runs),
        format!("{:.0}", row.decisions),
        spread(row.cost_reduction_pct),
        spread(row.time_savings_pct),
        number(row.outsourced_pct),
        row.topsis_mean.map_or_else(|| "–".to_owned(), |closeness| format!("{closeness:.3}")),
        number(row.honest_saving_pct),
        number(row.cheapest_saving_pct),
        number(row.oracle_saving_pct),
        number(share.map(|(honest, oracle)| 100.0 * honest / oracle)),
        row.won_pct.map_or_else(|| "–".to_owned(), |won| format!("{:.0}/{:.0}/{:.0}", won.local, won.peer, won.cloud)),
    ]
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}
