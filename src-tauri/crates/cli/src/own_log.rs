//! `tender breakeven --log`: buy or outsource, from this node's own job log.

use crate::{
    args::{Log, OnOff},
    ask::Source,
    breakeven::{comparison, one, whys},
    print,
};
use std::path::Path;
use tender_base::{Code, Problem};
use tender_market::{
    breakeven::{Output, comparison::Comparison},
    why::Why,
};
use tender_node::api::types::*;

pub(crate) async fn run(dir: &Path, options: &Log, json: bool) -> Result<(), Problem> {
    let node = Source::of(dir, options.rule.is_none()).await?;
    if options.rule == Some(OnOff::Off) {
        let nothing: Nothing = node.ask("drop_breakeven", &Nothing {}).await?;
        if options.api_model.is_none() {
            print::answer(json, &nothing, |_| "The rule is off.".to_owned());
            return Ok(());
        }
    }
    let Some(api_model) = options.api_model.clone() else {
        return Err(Problem::new(Code::Invalid, "api-model is missing", "name the model of the API to compare with"));
    };
    let query = LogQuery { api_model, days: options.days, busy_hours: None, seed: None };
    let operation = if options.rule == Some(OnOff::On) { "use_breakeven" } else { "breakeven_log" };
    let answer: LogAnswer = node.ask(operation, &query).await?;
    let text = text(&answer)?;
    print::answer(json, &answer, |_| text);
    Ok(())
}

fn text(answer: &LogAnswer) -> Result<String, Problem> {
    let unread = |e| Problem::new(Code::Internal, format!("the node's answer does not read: {e}"), "");
    let usd = |micro_usd: u64| micro_usd as f64 / 1e6;
    let api = &answer.api;
    let mut out = format!(
        "{} text jobs of the card and {} of your own. {} asks ${} for a million tokens of prompt and ${} of text for {} \
         ({}, as of {}).",
        answer.card_jobs,
        answer.own_jobs,
        api.provider,
        usd(api.prompt_micro_usd_per_million),
        usd(api.text_micro_usd_per_million),
        api.model,
        api.source,
        api.taken_on
    );
    if let Some(unknown) = &answer.unknown {
        out.push_str(&format!("\n\n{unknown}."));
    }
    if !answer.evidence.is_empty() {
        let evidence = answer.evidence.iter().cloned().map(serde_json::from_value::<Why>);
        let evidence = evidence.collect::<Result<Vec<_>, _>>().map_err(unread)?;
        out.push_str(&format!("\n\n{}", whys(&evidence)));
    }
    if let Some(output) = &answer.breakeven {
        let output: Output = serde_json::from_value(output.clone()).map_err(unread)?;
        out.push_str(&format!("\n\n{}", one(&output)));
    }
    if let Some(found) = &answer.comparison {
        let found: Comparison = serde_json::from_value(found.clone()).map_err(unread)?;
        out.push_str(&format!("\n\n{}", comparison(&found)));
    }
    if let Some(rule) = &answer.rule {
        out.push_str(&format!(
            "\n\nThe rule is on: from {:.0} tokens of text a day on, texts go to the own card; today there were {}. \
             Computed {}.",
            rule.tokens_per_day, rule.today, rule.computed_at
        ));
    }
    Ok(out)
}
