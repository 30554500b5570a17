//! Prints the rows of a preset beside what the paper and its authors' code say:
//! `cargo run -p tender-sim --release --example table -- tender 20 1 greedy report.html trace.csv`; `-` leaves one out.

use std::time::Instant;
use tender_base::{Code, Problem};
use tender_sim::{Options, arrivals, output::Spread, scenario::TABLE, simulate};

fn main() -> Result<(), Problem> {
    let mut words = std::env::args().skip(1);
    let mut options = Options::new(words.next().as_deref().unwrap_or("tender").parse()?);
    let number = |word: Option<String>, otherwise: u64| word.and_then(|word| word.parse().ok()).unwrap_or(otherwise);
    options.runs = u32::try_from(number(words.next(), 20)).unwrap_or(20);
    options.seed = number(words.next(), 1);
    options.policy = words.next().filter(|word| word != "-").map(|word| word.parse()).transpose()?;
    let report = words.next().filter(|word| word != "-");
    if let Some(file) = words.next() {
        let text = std::fs::read_to_string(&file)
            .map_err(|error| Problem::new(Code::NotFound, format!("{file}: {error}"), "give a trace that exists"))?;
        options.trace = Some(arrivals::read(&text)?);
    }
    let start = Instant::now();
    let output = simulate(&options)?;
    let took = start.elapsed();
    let spread = |s: Option<Spread>| s.map_or("-".into(), |s| format!("{:.1}±{:.1}", s.mean, s.sd.unwrap_or(0.0)));
    let number = |n: Option<f64>| n.map_or("-".into(), |n| format!("{n:.1}"));
    println!(
        "id       ok  decisions  cost          time         outs.  topsis  honest  cheap  oracle  of it  won l/p/c       | paper cost, peer cost, honest, oracle"
    );
    for row in &output.rows {
        let known = TABLE.iter().find(|scenario| scenario.id == row.id);
        let won = row.won_pct.unwrap_or_default();
        println!(
            "{:<8} {:>2} {:>8.0}   {:<12}  {:<12} {:>5}  {:>6}  {:>6} {:>7} {:>6} {:>6}  {:>4.1}/{:.1}/{:.1}   | {}",
            row.id,
            row.runs_ok,
            row.decisions,
            spread(row.cost_reduction_pct),
            spread(row.time_savings_pct),
            number(row.outsourced_pct),
            row.topsis_mean.map_or("-".into(), |t| format!("{t:.3}")),
            number(row.honest_saving_pct),
            number(row.cheapest_saving_pct),
            number(row.oracle_saving_pct),
            number(row.honest_saving_pct.zip(row.oracle_saving_pct).map(|(h, o)| 100.0 * h / o)),
            won.local,
            won.peer,
            won.cloud,
            known.map_or(String::new(), |k| format!(
                "{:.1}±{:.1} {:.1}±{:.1} {} {}",
                k.paper_cost.0, k.paper_cost.1, k.peer_cost.0, k.peer_cost.1, k.peer_honest, k.peer_oracle
            )),
        );
    }
    println!("{:.3} s", took.as_secs_f64());
    if let Some(file) = report {
        std::fs::write(&file, tender_sim::report::report(&options, &output)?)
            .map_err(|error| Problem::new(Code::Storage, format!("{file}: {error}"), "give another file"))?;
    }
    Ok(())
}
