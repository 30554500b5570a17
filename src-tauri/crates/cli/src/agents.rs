//! `tender agents`.

use crate::{
    args::{AddAgentArgs, AgentsCommand},
    ask::Source,
    print,
    runtimes::read_key,
};
use std::path::Path;
use tender_base::{Code, Problem};
use tender_node::api::types::*;

pub(crate) async fn run(dir: &Path, command: Option<AgentsCommand>, json: bool) -> Result<(), Problem> {
    let looking = matches!(command, None | Some(AgentsCommand::List));
    let node = Source::of(dir, looking).await?;
    let agents: Agents = match command {
        None | Some(AgentsCommand::List) => node.ask("agents", &Nothing {}).await?,
        Some(AgentsCommand::Add(args)) => node.ask("add_agent", &add(args)?).await?,
        Some(AgentsCommand::Remove { name }) => node.ask("remove_agent", &ByAgent { name }).await?,
    };
    print::answer(json, &agents, list);
    Ok(())
}

fn add(args: AddAgentArgs) -> Result<AddAgentInput, Problem> {
    let AddAgentArgs { url, name, price, did, key_stdin } = args;
    Ok(AddAgentInput {
        url,
        name,
        price_micro_usd: price.map(micro_usd).transpose()?,
        did,
        key: if key_stdin { Some(read_key()?.to_string()) } else { None },
    })
}

fn micro_usd(usd: f64) -> Result<i64, Problem> {
    if !(0.0..=1_000.0).contains(&usd) {
        let message = format!("--price is {usd}, but must be between 0 and 1000");
        return Err(Problem::new(Code::Invalid, message, "state USD for one text, such as 0.002"));
    }
    Ok((usd * 1e6).round() as i64)
}

fn list(agents: &Agents) -> String {
    if agents.agents.is_empty() {
        return "No agent was added. `tender agents add --help` shows how.".to_owned();
    }
    agents.agents.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(row: &AgentRow) -> String {
    let usd = |micro: i64| micro as f64 / 1e6;
    let price = match (row.price_micro_usd, row.price_micro_usd_per_million) {
        (Some(text), _) => format!("${} per text at most", usd(text)),
        (None, Some(million)) => match row.prompt_micro_usd_per_million {
            Some(prompt) => {
                format!("${} per million tokens of text and ${} of prompt at most", usd(million), usd(prompt))
            }
            None => format!("${} per million tokens at most", usd(million)),
        },
        (None, None) => "without a price".to_owned(),
    };
    let of = if row.price_of == "card" { "as its card says" } else { "as you entered" };
    let signed = if row.signed { "signed" } else { "unsigned" };
    let key = if row.has_key { ", with a key" } else { "" };
    let mut out = format!("{}  {signed}, {}{key}\n  {price}, {of}", row.name, row.url);
    if let Some(about) = &row.about {
        out.push_str(&format!("\n  {about}"));
    }
    if let Some(problem) = &row.problem {
        out.push_str(&format!("\n  Problem: {} ({})", problem.message, problem.hint));
    }
    out
}
