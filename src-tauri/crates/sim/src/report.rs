//! One page about a simulation: the paper, its authors' code and ours side by side, with plots, their tables, and what
//! the parameters do. A single file without external resources, readable in light and dark.

use crate::{
    Going, Options, Policy, Preset, coalesce, coalesce_rows, market_rows, not_stopped,
    output::{Output, Row, Spread},
    play::Knobs,
    plot::{Plot, Series, cell, number, table},
    scenario::TABLE,
    simulate_while,
};
use std::fmt::Write as _;
use tender_base::Problem;
use tender_market::explore;

/// Runs per point of the sensitivity sweep: its curves need no more, and the page stays within seconds.
const SWEEP_RUNS: u32 = 5;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1a1d21; --soft: #5a636e; --line: #d5dae0; --page: #ffffff; --band: #f4f6f8;
  --s0: #5a636e; --s1: #9a5b13; --s2: #1f5fbf; --s3: #1b7a3d; --s4: #a33a2e; --s5: #6b3fa0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a3adb8; --line: #39424d; --page: #14181d;
  --band: #1c2229; --s0: #a3adb8; --s1: #e0a458; --s2: #6ea8fe; --s3: #63c384; --s4: #f08a7c; --s5: #b794f0; } }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1rem 4rem; background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; }
p, li { max-width: 44rem; } .soft { color: var(--soft); }
figure { margin: 1rem 0; } figcaption { color: var(--soft); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; color: var(--soft); padding: .3rem 0; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } thead th { background: var(--band); }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--soft); font: 11px system-ui, sans-serif; }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.f0 { fill: var(--s0); } .f1 { fill: var(--s1); } .f2 { fill: var(--s2); }
.f3 { fill: var(--s3); } .f4 { fill: var(--s4); } .f5 { fill: var(--s5); }
.key { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; padding: 0; color: var(--soft); }
.key svg { width: .8rem; height: .8rem; display: inline-block; vertical-align: -.05rem; }
";

/// Writes the page for `output`, which `options` gave. It runs the other presets for comparison.
///
/// # Errors
/// As [`crate::simulate`].
pub fn report(options: &Options, output: &Output) -> Result<String, Problem> {
    report_while(options, output, &|| true)
}

/// The same for as long as `going` says so.
///
/// # Errors
/// As [`simulate_while`].
pub fn report_while(options: &Options, output: &Output, going: &Going<'_>) -> Result<String, Problem> {
    let other = |preset: Preset, runs: u32| -> Result<Vec<Row>, Problem> {
        let plain = Options { preset, runs: options.runs.min(runs), seed: options.seed, policy: None, trace: None };
        if plain == *options {
            Ok(output.rows.clone())
        } else {
            simulate_while(&plain, going).map(|output| output.rows)
        }
    };
    let mut page = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page.push_str(
        "<meta name=\"viewport\" content=\"width=device-width\">\n<title>Tender: simulation report</title>\n",
    );
    let _ = write!(page, "<style>{STYLE}</style></head><body>\n<h1>Tender: simulation report</h1>\n");
    let policy = options.policy();
    let trace = if options.trace.is_some() { ", arrivals of a recorded trace" } else { "" };
    let _ = writeln!(
        page,
        "<p>Preset <b>{}</b>, policy <b>{policy}</b>, {} runs per scenario, seed {}{trace}. The same seed gives the same \
         page.</p>",
        options.preset.name(),
        options.runs,
        options.seed
    );
    page.push_str(
        "<p class=\"soft\"><b>Saving</b> is 1 − what was spent/what all-local would have spent, losses counted. \
         <b>Cost reduction</b> is the paper's figure: gains of outsourced tasks, losses left out, over the cost of local \
         tasks only. The <b>oracle</b> knows every contractor's true parameters, not the draw of the noise. \
         <b>Cheapest</b> always takes the lowest bill.</p>\n",
    );
    this(&mut page, output);
    side_by_side(&mut page, &other(Preset::CoalescePaper, 20)?, &other(Preset::CoalesceFixed, 20)?);
    let hostile = [Preset::Tender, Preset::Lies, Preset::Bait, Preset::Outages, Preset::Shocks, Preset::Churn];
    // As many runs each, so that the markets can be compared.
    let worlds = hostile.map(|preset| other(preset, SWEEP_RUNS).map(|rows| (preset, rows)));
    let mut compared = Vec::new();
    for world in worlds {
        compared.push(world?);
    }
    markets(&mut page, &compared);
    contention(&mut page, &other(Preset::Contention, 20)?);
    sweep(&mut page, options, going);
    not_stopped(going)?;
    sources(&mut page);
    page.push_str("</body></html>\n");
    Ok(page)
}

fn ids(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| row.id.clone()).collect()
}

fn column(name: &'static str, rows: &[Row], of: fn(&Row) -> Option<f64>) -> Series {
    Series { name, values: rows.iter().map(of).collect() }
}

fn savings(rows: &[Row]) -> Vec<Series> {
    vec![
        column("honest", rows, |row| row.honest_saving_pct),
        column("cheapest", rows, |row| row.cheapest_saving_pct),
        column("oracle", rows, |row| row.oracle_saving_pct),
    ]
}

fn spread(of: Option<Spread>) -> String {
    of.map_or_else(|| "–".to_owned(), |spread| published((spread.mean, spread.sd.unwrap_or(f64::NAN))))
}

fn published((mean, sd): (f64, f64)) -> String {
    if sd.is_nan() { cell(mean) } else { format!("{} ± {}", cell(mean), cell(sd)) }
}

/// The simulation that was asked for.
fn this(page: &mut String, output: &Output) {
    page.push_str("<h2>This simulation</h2>\n");
    let rows = &output.rows;
    Plot { title: "Saving in per cent", categories: ids(rows), series: savings(rows), range: (-50.0, 100.0) }
        .draw(page);
    let head = [
        "row",
        "clients",
        "contractors",
        "days",
        "runs ok",
        "decisions",
        "honest %",
        "cheapest %",
        "oracle %",
        "cost reduction %",
        "time savings %",
        "outsourced %",
        "closeness",
        "local %",
        "peer %",
        "cloud %",
        "explored %",
    ];
    let body = rows.iter().map(|row| {
        let won = |of: fn(crate::output::Won) -> f64| number(row.won_pct.map(of));
        vec![
            row.id.clone(),
            row.clients.to_string(),
            row.contractors.to_string(),
            row.days.to_string(),
            format!("{} of {}", row.runs_ok, row.runs),
            format!("{:.0}", row.decisions),
            number(row.honest_saving_pct),
            number(row.cheapest_saving_pct),
            number(row.oracle_saving_pct),
            spread(row.cost_reduction_pct),
            spread(row.time_savings_pct),
            number(row.outsourced_pct),
            row.topsis_mean.map_or_else(|| "–".to_owned(), |closeness| format!("{closeness:.3}")),
            won(|won| won.local),
            won(|won| won.peer),
            won(|won| won.cloud),
            number(row.explored_pct),
        ]
    });
    table(page, "Every figure of this simulation", &head, body);
}

fn side_by_side(page: &mut String, ours: &[Row], fixed: &[Row]) {
    page.push_str("<h2>The paper, its authors' code, and ours</h2>\n");
    let known = |name: &'static str, of: fn(usize) -> f64| Series {
        name,
        values: (0..TABLE.len()).map(|i| Some(of(i))).collect(),
    };
    let series = vec![
        known("paper", |i| TABLE[i].paper_cost.0),
        known("peer re-run", |i| TABLE[i].peer_cost.0),
        column("ours, compatible", ours, |row| row.cost_reduction_pct.map(|spread| spread.mean)),
    ];
    let title = "Cost reduction in per cent, as the paper counts it";
    Plot { title, categories: ids(ours), series, range: (0.0, 100.0) }.draw(page);
    let title = "The same decisions, counted honestly: saving in per cent";
    Plot { title, categories: ids(ours), series: savings(ours), range: (0.0, 100.0) }.draw(page);
    let head = [
        "row",
        "paper",
        "peer re-run",
        "ours, compatible",
        "peer honest",
        "ours honest",
        "cheapest",
        "peer oracle",
        "our oracle",
        "oracle, units corrected",
    ];
    let body = TABLE.iter().zip(ours).zip(fixed).map(|((known, row), fixed)| {
        vec![
            row.id.clone(),
            published(known.paper_cost),
            published(known.peer_cost),
            spread(row.cost_reduction_pct),
            cell(known.peer_honest),
            number(row.honest_saving_pct),
            number(row.cheapest_saving_pct),
            cell(known.peer_oracle),
            number(row.oracle_saving_pct),
            number(fixed.oracle_saving_pct),
        ]
    });
    table(page, "Table I of the paper, in per cent", &head, body);
    page.push_str(
        "<p>The paper's saving is an error of units: seconds of computing are charged as hours. With them corrected, \
         running a task on the client's own card costs some cents and the cheapest contractor tens of dollars, so that \
         the oracle saves nothing in the paper's own scenario.</p>\n",
    );
}

fn markets(page: &mut String, worlds: &[(Preset, Vec<Row>)]) {
    page.push_str("<h2>A realistic market, and hostile ones</h2>\n");
    page.push_str(
        "<p>Cards with measured throughput, dated cloud prices, asking prices over each contractor's marginal cost, \
         arrivals fitted to public traces. Speed and reliability of a contractor are hidden from the policy.</p>\n",
    );
    let share = |row: &Row| row.honest_saving_pct.zip(row.oracle_saving_pct).map(|(ours, best)| 100.0 * ours / best);
    let series =
        worlds.iter().map(|(preset, rows)| Series { name: preset.name(), values: rows.iter().map(share).collect() });
    let categories = worlds.first().map_or_else(Vec::new, |(_, rows)| ids(rows));
    let title = "Honest saving as a share of the oracle's, in per cent";
    Plot { title, categories, series: series.collect(), range: (0.0, 100.0) }.draw(page);
    let head = ["row", "market", "honest %", "cheapest %", "oracle %", "of oracle %", "local %", "peer %", "cloud %"];
    let body = worlds.iter().flat_map(|(preset, rows)| {
        rows.iter().map(move |row| {
            let won = row.won_pct.unwrap_or_default();
            vec![
                row.id.clone(),
                preset.name().to_owned(),
                number(row.honest_saving_pct),
                number(row.cheapest_saving_pct),
                number(row.oracle_saving_pct),
                number(share(row)),
                cell(won.local),
                cell(won.peer),
                cell(won.cloud),
            ]
        })
    });
    let runs = worlds.first().and_then(|(_, rows)| rows.first()).map_or(0, |row| row.runs);
    let caption = format!("Policy greedy, no random exploration; {runs} runs per row");
    table(page, &caption, &head, body);
}

fn contention(page: &mut String, rows: &[Row]) {
    page.push_str("<h2>500 agents before one pool</h2>\n");
    let head = ["rule", "value of time saved %", "waiting saved %", "pool in use %"];
    let body = rows.iter().map(|row| {
        vec![row.id.clone(), spread(row.cost_reduction_pct), spread(row.time_savings_pct), number(row.utilisation_pct)]
    });
    table(page, "Against first come, first served", &head, body);
}

/// A point of the sweep: the value, the paper's figure and the honest saving in the paper's world, ours in a market.
struct Point {
    parameter: &'static str,
    value: f64,
    rows: [Option<Vec<Row>>; 2],
}

fn points(options: &Options, going: &Going<'_>) -> Vec<Point> {
    let runs = options.runs.min(SWEEP_RUNS);
    let plain = |preset| Options { preset, runs, seed: options.seed, policy: None, trace: None };
    let paper =
        |parameters: coalesce::Parameters| Some(coalesce_rows(&plain(Preset::CoalescePaper), parameters, going));
    let market = |knobs: Knobs, policy: Option<Policy>| {
        Some(market_rows(&Options { policy, ..plain(Preset::Tender) }, &knobs, going))
    };
    let (known, knobs) = (coalesce::Parameters::default(), Knobs::default());
    let mut points = Vec::new();
    let mut add = |parameter, value, rows| points.push(Point { parameter, value, rows });
    for epsilon in [0.0, 0.05, 0.1, 0.25] {
        let policy = Some(Policy::Engine(explore::Policy::Epsilon(epsilon)));
        add("ε", epsilon, [paper(coalesce::Parameters { epsilon, ..known }), market(knobs, policy)]);
    }
    for theta in [0.5, 0.6, 0.7, 0.8, 0.9] {
        add("θ", theta, [paper(coalesce::Parameters { theta, ..known }), market(Knobs { theta, ..knobs }, None)]);
    }
    for beta in [0.5, 0.7, 0.9] {
        add("β", beta, [None, market(Knobs { beta, ..knobs }, None)]);
    }
    for alpha in [0.0, 0.2, 0.3, 0.4] {
        let rules = tender_market::choice::Rules { correlation_penalty: alpha, ..knobs.rules };
        add("α", alpha, [None, market(Knobs { rules, ..knobs }, None)]);
    }
    points
}

fn sweep(page: &mut String, options: &Options, going: &Going<'_>) {
    page.push_str("<h2>What the parameters do</h2>\n");
    let mean = |rows: &Option<Vec<Row>>, of: fn(&Row) -> Option<f64>| {
        let values: Vec<f64> = rows.iter().flatten().filter_map(of).collect();
        Spread::of(&values).map(|spread| spread.mean)
    };
    let points = points(options, going);
    let series = |name, of: &dyn Fn(&Point) -> Option<f64>| Series { name, values: points.iter().map(of).collect() };
    let paper = |p: &Point| mean(&p.rows[0], |row| row.cost_reduction_pct.map(|spread| spread.mean));
    let honest = |p: &Point| mean(&p.rows[0], |row| row.honest_saving_pct);
    let market = |p: &Point| mean(&p.rows[1], |row| row.honest_saving_pct);
    let plot = Plot {
        title: "Mean over the thirteen rows, in per cent",
        categories: points.iter().map(|point| format!("{} {}", point.parameter, point.value)).collect(),
        series: vec![
            series("paper's world, as the paper counts", &paper),
            series("paper's world, honest", &honest),
            series("realistic market, honest", &market),
        ],
        range: (0.0, 100.0),
    };
    plot.draw(page);
    let head = ["parameter", "value", "paper's world, as the paper counts", "paper's world, honest", "market, honest"];
    let body = points.iter().map(|p| {
        vec![p.parameter.to_owned(), p.value.to_string(), number(paper(p)), number(honest(p)), number(market(p))]
    });
    table(
        page,
        "ε explores at random, θ is the least skill compatibility, β the market's share of the weights, α the \
         correlation penalty; the authors' code has neither β nor α",
        &head,
        body,
    );
}

fn sources(page: &mut String) {
    page.push_str(
        "<h2>Sources</h2>\n<ul>\n\
         <li>Paper: Bhatt et al., COALESCE, Table I. Peer: its authors' code at commit 6928e5e, seeded from outside, 20 \
         runs per row. In its row agt_02 a run's honest saving has a standard deviation of 16 points: 242 further runs \
         give 32.9 ± 1.0 where the 20 gave 36.3.</li>\n\
         <li>Throughput: llama.cpp, Llama 3 8B Q4_K_M, XiongjieDai/GPU-Benchmarks-on-LLM-Inference, May 2024. Watts: the \
         makers' board power.</li>\n\
         <li>Cloud prices: Llama 3.1 8B in LiteLLM's price map 1.109.1, read on 2026-11-21.</li>\n\
         <li>Arrivals: fitted to the Azure LLM inference traces 2023 (CC-BY-4.0, Azure/AzurePublicDataset; Patel et al., \
         Splitwise, ISCA 2024).</li>\n\
         <li>Assumed, not measured: the clouds' speed and reliability, asking margins of 10 to 60 %, a value of time of \
         $0.01 to 0.10 per hour, where data may go.</li>\n</ul>\n",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate;

    #[test]
    fn the_page_holds_every_column_and_nothing_from_outside() {
        let options = Options { runs: 1, ..Options::new(Preset::Tender) };
        let output = simulate(&options).unwrap();
        let page = report(&options, &output).unwrap();
        for said in ["peer re-run", "ours, compatible", "ours honest", "cheapest", "oracle", "agt_08", "θ 0.9", "quota"]
        {
            assert!(page.contains(said), "{said}");
        }
        assert!(page.contains("prefers-color-scheme: dark") && page.matches("<svg").count() >= 5);
        for outside in ["http", "src=", "@import", "url(", "<script", "NaN", "inf"] {
            let shown = page.replace("Inference", "").replace("inference", "");
            assert!(!shown.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<table").count(), page.matches("</table>").count());
        assert_eq!(page, report(&options, &output).unwrap(), "the same bytes");
    }
}
