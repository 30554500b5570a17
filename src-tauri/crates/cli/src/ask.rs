//! Commands that look at a running node or change it. Without a running node, looking commands read the database
//! of a node that is started for them only in memory of this process: they start none.

use crate::{
    args::{Command, OnOff, PeersCommand, SellState, SettingsCommand},
    print,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{fs, path::Path, time::Duration};
use tender_base::{Book, Code, Problem};
use tender_node::{api::types::*, attach::Attached};

/// How often a self-test is asked how far it is.
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);

/// Where a command gets its answers: the running node, or the database opened for looking only.
pub(crate) enum Source {
    Node(Attached),
    Database(Box<tender_node::Looking>),
}

impl Source {
    /// The running node; without one, the database for commands that only look.
    pub(crate) async fn of(dir: &Path, looks: bool) -> Result<Self, Problem> {
        if let Some(node) = Attached::find(dir).await {
            return Ok(Self::Node(node));
        }
        if looks {
            return tender_node::Looking::at(dir).await.map(|looking| Self::Database(Box::new(looking)));
        }
        Err(Problem::new(
            Code::Unavailable,
            format!("no node runs in {}", dir.display()),
            "start one with `tender serve`, or open the app",
        ))
    }

    pub(crate) async fn ask<I: Serialize, O: DeserializeOwned>(&self, name: &str, input: &I) -> Result<O, Problem> {
        match self {
            Self::Node(node) => node.ask(name, input).await,
            Self::Database(database) => {
                let foreign = |e: serde_json::Error| Problem::new(Code::Internal, format!("{name}: {e}"), "");
                let input = serde_json::to_value(input).map_err(foreign)?;
                serde_json::from_value(database.ask(name, input).await?).map_err(foreign)
            }
        }
    }
}

pub(crate) async fn run(dir: &Path, command: Command, json: bool) -> Result<(), Problem> {
    let looks = matches!(
        command,
        Command::Jobs { .. }
            | Command::Earnings { .. }
            | Command::Explain { .. }
            | Command::Settings { command: None | Some(SettingsCommand::Get { .. }) }
            | Command::Peers { command: None }
            | Command::Guard { test: false }
    );
    if let Command::Doctor = command {
        return doctor(dir, json).await;
    }
    if let Command::Support { file } = command {
        return support(dir, file.as_deref(), json).await;
    }
    let source = Source::of(dir, looks).await?;
    match command {
        Command::Sell { state } => {
            let selling: Selling = match state {
                SellState::Finish => source.ask("finish_then_pause", &Switch { on: true }).await?,
                state => source.ask("sell", &Switch { on: state == SellState::On }).await?,
            };
            print::answer(json, &selling, |s| format!("Selling is {}. {}", s.state, s.reason));
        }
        Command::Guard { test } => guard(&source, test, json).await?,
        Command::Stop { state } => {
            let overview: Overview = source.ask("stop_everything", &Switch { on: state == OnOff::On }).await?;
            print::answer(json, &overview, |o| {
                if o.stopped { "Everything is stopped.".to_owned() } else { "The stop has ended.".to_owned() }
            });
        }
        Command::Settings { command } => {
            settings(&source, command.unwrap_or(SettingsCommand::Get { key: None }), json).await?
        }
        Command::Peers { command } => peers(&source, command, json).await?,
        Command::Jobs { id: None, .. } => {
            let page: JobPage = source.ask("jobs", &JobsQuery { role: None, limit: None, before: None }).await?;
            print::answer(json, &page, print::jobs);
        }
        Command::Jobs { id: Some(id), output, receipt } => {
            let by = ById { id };
            if let Some(file) = output {
                let found: JobOutput = source.ask("output", &by).await?;
                write(&file, &BASE64.decode(&found.data_base64).unwrap_or_default())?;
            }
            if let Some(file) = receipt {
                let found: ReceiptFile = source.ask("receipt", &by).await?;
                write(&file, &serde_json::to_vec_pretty(&found.receipt).unwrap_or_default())?;
            }
            let detail: JobDetail = source.ask("job", &by).await?;
            print::answer(json, &detail, print::job);
        }
        Command::Cancel { id } => {
            let Nothing {} = source.ask("cancel_job", &ById { id }).await?;
            print::answer(json, &Nothing {}, |_| "Cancelled. Nothing is owed.".to_owned());
        }
        Command::Earnings { days, demo } => {
            let book = Some(if demo { Book::Demo } else { Book::Real });
            let earnings: Earnings = source.ask("earnings", &EarningsQuery { book, days: Some(days) }).await?;
            print::answer(json, &earnings, print::earnings);
        }
        Command::Explain { job } => {
            let explanation: Explanation = source.ask("explain", &ById { id: job }).await?;
            print::answer(json, &explanation, |e| e.text.trim_end().to_owned());
        }
        // `main` sends the others elsewhere.
        _ => {}
    }
    Ok(())
}

async fn settings(source: &Source, command: SettingsCommand, json: bool) -> Result<(), Problem> {
    let (settings, key): (Settings, _) = match command {
        SettingsCommand::Get { key } => (source.ask("settings", &Nothing {}).await?, key),
        SettingsCommand::Set { key, value } => {
            let value = match value.as_str() {
                "default" => Value::Null,
                text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
            };
            (source.ask("set_setting", &SetSettingInput { key: key.clone(), value }).await?, Some(key))
        }
    };
    match key {
        None => {
            print::answer(json, &settings, |all| all.settings.iter().map(print::setting).collect::<Vec<_>>().join("\n"))
        }
        Some(key) => {
            let one = settings.settings.into_iter().find(|setting| setting.key == key).ok_or_else(|| {
                Problem::new(Code::NotFound, format!("there is no setting {key}"), "`tender settings get` lists them")
            })?;
            print::answer(json, &one, print::setting);
        }
    }
    Ok(())
}

async fn peers(source: &Source, command: Option<PeersCommand>, json: bool) -> Result<(), Problem> {
    match command {
        None => {
            let peers: Peers = source.ask("peers", &Nothing {}).await?;
            print::answer(json, &peers, print::peers);
        }
        Some(PeersCommand::Invite { credit, valid }) => {
            let input = InviteInput { credit_limit_micro_usd: dollars(&credit)?, valid_minutes: Some(valid) };
            let invitation: Invitation = source.ask("invite", &input).await?;
            if ["//127.", "//[::1]"].iter().any(|loopback| invitation.link.contains(loopback)) {
                eprintln!(
                    "Only this machine can reach this address; for others start `tender serve --a2a` with yours."
                );
            }
            print::answer(json, &invitation, |i| i.link.clone());
        }
        Some(PeersCommand::Key { name, limit }) => {
            let input = KeyInput { name, credit_limit_micro_usd: dollars(&limit)? };
            let issued: IssuedKey = source.ask("issue_key", &input).await?;
            print::answer(json, &issued, |issued| issued.key.clone());
        }
        Some(PeersCommand::Add { link, credit }) => {
            let input = AddPeerInput { link, credit_limit_micro_usd: Some(dollars(&credit)?) };
            let peer: Peer = source.ask("add_peer", &input).await?;
            print::answer(json, &peer, |p| format!("Paired with {} ({})", p.name, p.did));
        }
        Some(PeersCommand::Credit { did, usd }) => {
            let input = ChangePeerInput { did, credit_limit_micro_usd: dollars(&usd)? };
            let peer: Peer = source.ask("change_peer", &input).await?;
            print::answer(json, &peer, |p| {
                format!("{} may owe you {}", p.name, tender_base::MicroUsd(p.credit_limit_micro_usd))
            });
        }
        Some(PeersCommand::Paid { did, method }) => {
            let paid: Paid = source.ask("record_payment", &PayInput { did, method, book: None }).await?;
            print::answer(json, &paid, |p| {
                format!("{} recorded for {} contracts", tender_base::MicroUsd(p.amount_micro_usd), p.contracts)
            });
        }
        Some(PeersCommand::Remove { did }) => {
            let Nothing {} = source.ask("remove_peer", &ByDid { did }).await?;
            print::answer(json, &Nothing {}, |_| "Removed. Old contracts and what is owed stay.".to_owned());
        }
    }
    Ok(())
}

async fn support(dir: &Path, file: Option<&Path>, json: bool) -> Result<(), Problem> {
    let report: SupportBundle = Source::of(dir, true).await?.ask("support_bundle", &Nothing {}).await?;
    if let Some(file) = file {
        let cannot = |e| Problem::new(Code::Storage, format!("cannot write {}: {e}", file.display()), "");
        fs::write(file, &report.text).map_err(cannot)?;
    }
    print::answer(json, &report, |report| match file {
        Some(file) => format!("Written to {}. Read it before you send it.", file.display()),
        None => report.text.clone(),
    });
    Ok(())
}

/// Asks the running node; without one, looks at the machine alone.
async fn doctor(dir: &Path, json: bool) -> Result<(), Problem> {
    let report: Doctor = match Attached::find(dir).await {
        Some(node) => node.ask("doctor", &Nothing {}).await?,
        None => tender_node::doctor(dir).await,
    };
    let faults = report.checks.iter().filter(|check| check.state == "fault").count();
    print::answer(json, &report, print::doctor);
    if faults == 0 {
        Ok(())
    } else {
        Err(Problem::new(
            Code::Unavailable,
            format!("{faults} of the checks found a fault"),
            "each line says what to do",
        ))
    }
}

/// US dollars as typed, exact to the micro-dollar.
pub(crate) fn dollars(text: &str) -> Result<i64, Problem> {
    let wrong = || Problem::new(Code::Invalid, format!("{text} is no amount in US dollars"), "write 12 or 0.0005");
    let text_plain = text.trim().trim_start_matches('$');
    let (whole, fraction) = text_plain.split_once('.').unwrap_or((text_plain, ""));
    if fraction.len() > 6 || (whole.is_empty() && fraction.is_empty()) || !fraction.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(wrong());
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse::<u32>().map_err(|_| wrong())?.into() };
    let micro: i64 = format!("{fraction:0<6}").parse().map_err(|_| wrong())?;
    Ok(whole * 1_000_000 + micro)
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), Problem> {
    fs::write(file, bytes).map_err(|e| Problem::new(Code::Storage, format!("cannot write {}: {e}", file.display()), ""))
}

async fn guard(source: &Source, test: bool, json: bool) -> Result<(), Problem> {
    let mut guard: Guard =
        if test { source.ask("test_guard", &Nothing {}).await? } else { source.ask("guard", &Nothing {}).await? };
    while test && guard.testing.is_some() {
        tokio::time::sleep(BETWEEN_LOOKS).await;
        guard = source.ask("guard", &Nothing {}).await?;
    }
    if let Some(problem) = guard.test_problem.as_ref().filter(|_| test) {
        return Err(Problem::new(Code::WorkFailed, problem.message.clone(), problem.hint.clone()));
    }
    print::answer(json, &guard, print::guard);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::dollars;

    #[test]
    fn dollars_are_exact() {
        for (text, micro) in [("1", 1_000_000), ("0.000001", 1), (".5", 500_000), ("$12.34", 12_340_000)] {
            assert_eq!(dollars(text).unwrap(), micro);
        }
        for text in ["", ".", "-1", "1e3", "0.0000001", "1,5"] {
            assert!(dollars(text).is_err(), "{text}");
        }
    }
}
