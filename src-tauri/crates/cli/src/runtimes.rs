//! `tender runtimes`.

use crate::{
    args::{AttachArgs, RuntimesCommand},
    ask::Source,
    print,
};
use std::{io::Read as _, path::Path};
use tender_base::{Code, Problem};
use tender_node::api::types::*;
use zeroize::Zeroizing;

pub(crate) async fn run(dir: &Path, command: Option<RuntimesCommand>, json: bool) -> Result<(), Problem> {
    let node = Source::of(dir, command.is_none()).await?;
    let runtimes: Runtimes = match command {
        None => node.ask("runtimes", &Nothing {}).await?,
        Some(RuntimesCommand::Attach(args)) => node.ask("attach_runtime", &attach(args)?).await?,
        Some(RuntimesCommand::Detach { name }) => node.ask("detach_runtime", &ByRuntime { name }).await?,
    };
    print::answer(json, &runtimes, list);
    Ok(())
}

fn attach(args: AttachArgs) -> Result<AttachRuntimeInput, Problem> {
    let AttachArgs { name, address, model, serves, slots, key_stdin, prompt_price, text_price } = args;
    Ok(AttachRuntimeInput {
        name,
        address,
        model,
        serves,
        slots,
        key: if key_stdin { Some(read_key()?.to_string()) } else { None },
        prompt_micro_usd_per_million: prompt_price.map(|price| micro_usd("--prompt-price", price)).transpose()?,
        text_micro_usd_per_million: text_price.map(|price| micro_usd("--text-price", price)).transpose()?,
    })
}

/// A key on the command line would stand in the shell's history and in the list of processes.
pub(crate) fn read_key() -> Result<Zeroizing<String>, Problem> {
    let mut key = Zeroizing::new(String::new());
    std::io::stdin().take(8192).read_to_string(&mut key).map_err(|e| {
        Problem::new(
            Code::Invalid,
            format!("no key on standard input: {e}"),
            "pipe it in, or type it and end with Ctrl-D",
        )
    })?;
    Ok(key)
}

fn micro_usd(option: &str, usd: f64) -> Result<u64, Problem> {
    if !(0.0..=10_000.0).contains(&usd) {
        let hint = "state USD per million tokens, such as 0.15";
        return Err(Problem::new(Code::Invalid, format!("{option} is {usd}, but must be between 0 and 10000"), hint));
    }
    Ok((usd * 1e6).round() as u64)
}

fn list(runtimes: &Runtimes) -> String {
    if runtimes.runtimes.is_empty() {
        return "No runtime is attached. `tender runtimes attach --help` shows how.".to_owned();
    }
    runtimes.runtimes.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(row: &RuntimeRow) -> String {
    let said = [row.engine.as_deref(), row.build.as_deref(), row.model.as_deref(), row.quantisation.as_deref()];
    let said = said.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let mut out = format!("{}  {}, {}  {said}\n  {}", row.name, row.state, row.address, row.about);
    if let (Some(prompt), Some(text)) = (row.prompt_micro_usd_per_million, row.text_micro_usd_per_million) {
        let usd = |micro: u64| micro as f64 / 1e6;
        out.push_str(&format!("\n  ${} per million tokens of prompt, ${} of text", usd(prompt), usd(text)));
    }
    if let Some(problem) = &row.problem {
        out.push_str(&format!("\n  Problem: {} ({})", problem.message, problem.hint));
    }
    out
}
