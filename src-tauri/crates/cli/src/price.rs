//! `tender price`: what to ask for work on the own card. It suggests; `--set` asks it.

use crate::{args::Price, ask::Source, print};
use std::path::Path;
use tender_base::{Code, JobKind, Problem};
use tender_market::why::Why;
use tender_node::api::types::*;

pub(crate) async fn run(dir: &Path, options: Price, json: bool) -> Result<(), Problem> {
    let node = Source::of(dir, !options.set).await?;
    let kind = options.kind.map(Into::into);
    let query = PricesQuery { kind, margin: options.margin, cap_micro_usd_per_unit: options.cap };
    let mut prices: Prices = node.ask("prices", &query).await?;
    if options.set {
        for row in &mut prices.rows {
            let Some(suggested) = &row.suggested else {
                let why = row.unknown.clone().unwrap_or_default();
                return Err(Problem::new(Code::Unavailable, why, "set the price by `tender settings set`"));
            };
            // What is suggested is one price for prompt and text.
            let both = (row.kind == JobKind::Generate).then_some(PriceRate { micro_usd: 0, per_units: 0 });
            let input = SetPriceInput { kind: row.kind, rate: suggested.rate.clone(), prompt: both };
            let set: Prices = node.ask("set_price", &input).await?;
            if let Some(now) = set.rows.into_iter().next() {
                (row.asked, row.asked_prompt, row.warning) = (now.asked, now.asked_prompt, now.warning);
            }
        }
    }
    print::answer(json, &prices, |prices| text(prices, options.why));
    Ok(())
}

fn text(prices: &Prices, why: bool) -> String {
    let mut lines = vec![
        ["", "asked", "suggested", "floor", "a second of the card", "a day beyond the floor"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let (mut notes, mut reasons) = (Vec::new(), Vec::new());
    for row in &prices.rows {
        let name = row.kind.name();
        let prompt = row.asked_prompt.as_ref().map(|prompt| format!(", prompt {}", rate(prompt, &row.unit)));
        let mut line = vec![name.to_owned(), rate(&row.asked, &row.unit) + &prompt.unwrap_or_default()];
        if let Some(suggested) = &row.suggested {
            let day = suggested.margin_usd_per_day.as_deref();
            let day = match day {
                Some([mean, low, high]) => format!("${mean:.4} (${low:.4} to ${high:.4})"),
                _ => "unknown".to_owned(),
            };
            line.push(format!("{} ({})", rate(&suggested.rate, &row.unit), suggested.held.replace('_', " ")));
            line.push(format!("{:.3e} micro-USD per {}", suggested.floor_micro_usd_per_unit, row.unit));
            line.push(format!("${:.3e}", suggested.usd_per_gpu_second));
            line.push(day);
            reasons.extend(suggested.why.iter().cloned());
        } else {
            line.push("unknown".to_owned());
        }
        lines.push(line);
        notes.extend(row.unknown.iter().chain(&row.warning).map(|note| format!("{name}: {note}.")));
    }
    let hours = &prices.paid_hours;
    notes.push(match (hours.mean, hours.low, hours.high) {
        (Some(mean), Some(low), Some(high)) => format!("Paid hours a day: {mean:.2}, 95 % from {low:.2} to {high:.2}."),
        _ => format!("Paid hours a day: unknown; {}.", hours.unknown.as_deref().unwrap_or("nothing was sold yet")),
    });
    let mut out = format!("{}\n\n{}", print::columns(&lines), notes.join("\n"));
    if why {
        reasons.extend(hours.why.iter().cloned());
        for reason in reasons.into_iter().filter_map(|reason| serde_json::from_value::<Why>(reason).ok()) {
            out.push_str(&format!("\n\n{}", reason.render().trim_end()));
        }
    }
    out
}

fn rate(rate: &PriceRate, unit: &str) -> String {
    format!("{} micro-USD per {} {unit}s", rate.micro_usd, rate.per_units)
}
