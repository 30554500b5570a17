//! The operations, one function each, in the order of the list.

use super::{
    decisions::{decision, decisions},
    demand::demand,
    earnings::{earnings, earnings_lines},
    economics::{api_prices, breakeven, breakeven_presets, breakeven_usage},
    guard::{finish_then_pause, guard, test_guard, watch_guard},
    machine::watch_machine,
    simulation::{simulate, simulation_presets, simulation_progress, simulation_report, stop_simulation},
    types::*,
    views, with_operations,
};
use crate::{
    client::Decided, economics::EXPECTED, node::Node, runtimes::Attached, serve::card::on_processor, settings,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tender_base::{Code, Problem, Role, documents::WorkerInfo, ids::ContractId, ids::JobId};
use tender_host::Places;
use tender_market::price::CloudPrice;
use tender_store::{ContractFilter, Event, JobFilter};

/// Jobs on a page when nothing else is said, and at most.
const PAGE: u32 = 200;
const MAX_PAGE: u32 = 1000;
/// Longest pause, a week.
const MAX_PAUSE_MINUTES: u32 = 7 * 24 * 60;

type Answer<T> = Result<T, Problem>;

macro_rules! dispatcher {
    ($($name:ident: $kind:ident, $input:ident => $output:ident;)*) => {
        /// Runs the operation `name`. A subscription answers with its snapshot of this moment.
        ///
        /// # Errors
        /// [`Code::NotFound`] for an unknown name, [`Code::Invalid`] for input of the wrong form, and the
        /// operation's own.
        pub(crate) async fn dispatch(node: &Arc<Node>, name: &str, input: Value) -> Answer<Value> {
            match name {
                $(stringify!($name) => {
                    let input: $input = serde_path_to_error::deserialize(input).map_err(|e| {
                        // The path says which field; at the top there is none.
                        let at = if e.path().iter().len() == 0 { String::new() } else { format!("{}: ", e.path()) };
                        let message = format!("{name}: {at}{}", e.inner());
                        Problem::new(Code::Invalid, message, "see the API's types for this operation")
                    })?;
                    let output: $output = $name(node, input).await?;
                    serde_json::to_value(output)
                        .map_err(|e| Problem::new(Code::Internal, format!("{name}: {e}"), ""))
                })*
                _ => Err(Problem::new(Code::NotFound, format!("there is no operation {name}"), "")),
            }
        }
    };
}
with_operations!(dispatcher);

async fn overview(node: &Arc<Node>, _: Nothing) -> Answer<Overview> {
    views::overview(node).await
}

async fn jobs(node: &Arc<Node>, query: JobsQuery) -> Answer<JobPage> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, MAX_PAGE);
    let before = query.before.as_deref();
    let mut page = Vec::new();
    if query.role != Some(Role::Contractor) {
        let filter = JobFilter { before: before.map(parse_job).transpose()?, limit, ..JobFilter::default() };
        for job in node.store.jobs(filter).await.map_err(|e| e.problem())? {
            page.push(views::bought(node, &job).await?);
        }
    }
    if query.role != Some(Role::Client) {
        let filter = ContractFilter {
            role: Some(Role::Contractor),
            before: before.map(parse_contract).transpose()?,
            limit,
            ..ContractFilter::default()
        };
        for record in node.contracts(filter).await? {
            page.push(views::sold(node, &record).await?);
        }
    }
    // Both kinds of id begin with their time (UUIDv7), so they sort together.
    page.sort_by(|a, b| b.id.cmp(&a.id));
    let more = page.len() > limit as usize || page.len() == limit as usize;
    page.truncate(limit as usize);
    let next = page.last().map(|job| job.id.clone()).filter(|_| more);
    Ok(JobPage { jobs: page, next })
}

async fn job(node: &Arc<Node>, by: ById) -> Answer<JobDetail> {
    views::detail(node, &by.id).await
}

async fn explain(node: &Arc<Node>, by: ById) -> Answer<Explanation> {
    let job = node.job_record(parse_job(&by.id)?).await?;
    let decided = Decided::of(&job)?.ok_or_else(|| {
        Problem::new(Code::NotFound, "nothing is decided about this job yet", "ask again when it runs")
    })?;
    let mut explanation = decided.explanation()?;
    explanation.text.push_str(&views::attempts(node, job.id).await?);
    let expected = job.decision.as_ref().and_then(|decision| decision.get(EXPECTED)?.as_array());
    explanation.whys.extend(expected.into_iter().flatten().cloned());
    Ok(explanation)
}

async fn job_input(node: &Arc<Node>, by: ById) -> Answer<JobOutput> {
    // What a client sent is the client's to read.
    let job = node.job_record(parse_job(&by.id)?).await?;
    let data_base64 = BASE64.encode(node.kept_input(&job).await?);
    let layout = views::input_layout(&job.spec.work).to_owned();
    Ok(JobOutput { data_base64, sha256: job.spec.input.sha256.to_string(), layout })
}

async fn output(node: &Arc<Node>, by: ById) -> Answer<JobOutput> {
    let missing = || Problem::new(Code::NotFound, "there is no output", "wait until the job is completed");
    let (work, blob) = match node.store.job(parse_job(&by.id)?).await.map_err(|e| e.problem())? {
        Some(job) => (job.spec.work, job.output.ok_or_else(missing)?),
        None => {
            let record = node.record(parse_contract(&by.id)?).await?;
            let call = record.call().ok_or_else(missing)?;
            (call.document.job.work.clone(), record.output.ok_or_else(missing)?)
        }
    };
    let bytes = node.stored_blob(&blob).await?;
    Ok(JobOutput { data_base64: BASE64.encode(bytes), sha256: blob.sha256.to_string(), layout: views::layout(&work) })
}

async fn receipt(node: &Arc<Node>, by: ById) -> Answer<ReceiptFile> {
    let id = match node.store.job(parse_job(&by.id)?).await.map_err(|e| e.problem())? {
        Some(job) => views::chosen_contract(&node.contracts_of(job.id).await?).map(|record| record.id),
        None => Some(parse_contract(&by.id)?),
    };
    let missing =
        || Problem::new(Code::NotFound, "there is no complete receipt", "it is made when a delivery is accepted");
    let receipt = node.store.receipt(id.ok_or_else(missing)?).await.map_err(|e| e.problem())?.ok_or_else(missing)?;
    let verdict = receipt.verify();
    Ok(ReceiptFile {
        receipt: serde_json::to_value(&receipt).unwrap_or_default(),
        valid: verdict.is_ok(),
        problem: verdict.err().map(ApiProblem::from),
    })
}

async fn peers(node: &Arc<Node>, _: Nothing) -> Answer<Peers> {
    let mut peers = Vec::new();
    for record in node.circle().await? {
        peers.push(views::peer(node, &record).await?);
    }
    peers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Peers { peers })
}

async fn settings(node: &Arc<Node>, _: Nothing) -> Answer<Settings> {
    let stored = node.store.settings().await.map_err(|e| e.problem())?;
    let settings = settings::KNOWN.iter().map(|known| Setting {
        key: known.key.to_owned(),
        value: settings::current(&stored, known.key),
        default: (known.default)(),
        about: known.about.to_owned(),
    });
    Ok(Settings { settings: settings.collect() })
}

async fn doctor(node: &Arc<Node>, _: Nothing) -> Answer<Doctor> {
    examined(node, node.lookout.cause()).await
}

/// What `doctor` finds, when this is told of what the card is given back for.
async fn examined(node: &Arc<Node>, cause: Option<String>) -> Answer<Doctor> {
    let settings = node.settings();
    let places = Places {
        data_dir: node.config.data_dir.clone(),
        worker: tender_engine::find_worker(settings.worker.as_deref()),
        sandbox: node.engine.sandbox().await,
    };
    // Looks at the file system and may load a driver: not on the runtime's own threads.
    let found = tokio::task::spawn_blocking(move || tender_host::checks(&places)).await;
    let mut checks: Vec<DoctorCheck> = found.unwrap_or_default().into_iter().map(crate::looking::shown).collect();
    let opened = node.engine.open().await;
    checks.push(match (opened, cause) {
        // That its owner needs it is no fault.
        (Err(_), Some(cause)) => views::check("GPU", Ok(format!("in use by you: {cause}"))),
        (Ok(worker), _) if on_processor(&worker.adapter) => DoctorCheck {
            name: "GPU".to_owned(),
            state: "warning".to_owned(),
            message: format!("no GPU was found: the processor does the work, slowly ({})", worker.adapter),
            remedy: "if there is a card, install its driver".to_owned(),
        },
        (opened, _) => {
            let passed = |worker: WorkerInfo| {
                format!("{} ({}, {}), test kernel passed", worker.adapter, worker.backend, worker.driver)
            };
            views::check("GPU", opened.map(passed))
        }
    });
    checks.extend(crate::models::checks(&node.models().await));
    checks.extend(crate::runtimes::checks(&node.list_runtimes()));
    checks.extend(crate::agents::checks(&node.list_agents()));
    checks.extend(super::guard::checks(node));
    checks.push(node.exploration().await?);
    let kept = node.identity.store.describe(&node.config.data_dir);
    checks.push(views::check("Identity", Ok(format!("{kept}; {}", node.did()))));
    let balanced = node.store.ledger_balances().await.map_err(|e| e.problem())?;
    checks.push(views::check(
        "Ledger",
        if balanced {
            Ok("every entry and the whole ledger balance".to_owned())
        } else {
            Err(Problem::new(Code::Storage, "the ledger does not balance", "restore the last backup and report this"))
        },
    ));
    Ok(Doctor { checks })
}

async fn support_bundle(node: &Arc<Node>, _: Nothing) -> Answer<SupportBundle> {
    // Without the name of the owner's game.
    let cause = node.lookout.kind_of_cause().map(str::to_owned);
    let checks = examined(node, cause).await?.checks;
    let text = node.support_text(&checks).await?;
    let day = &node.now().to_string()[..10];
    Ok(SupportBundle { name: format!("tender-support-{day}.txt"), text })
}

async fn write_backup(node: &Arc<Node>, input: BackupInput) -> Answer<Backup> {
    let to = std::path::PathBuf::from(&input.path);
    if !to.is_absolute() {
        let message = format!("path is {}, but must be absolute", input.path);
        return Err(Problem::new(Code::Invalid, message, "name a new folder, such as one on another disk"));
    }
    let made = crate::backup::make(&node.config.data_dir, &to).await?;
    Ok(Backup { path: input.path, bytes: made.bytes, identity_included: made.identity_included })
}

async fn prices(node: &Arc<Node>, query: PricesQuery) -> Answer<Prices> {
    node.prices(query).await
}

async fn set_price(node: &Arc<Node>, input: SetPriceInput) -> Answer<Prices> {
    let kind = Some(input.kind);
    node.set_price(input).await?;
    node.prices(PricesQuery { kind, margin: None, cap_micro_usd_per_unit: None }).await
}

async fn breakeven_log(node: &Arc<Node>, query: LogQuery) -> Answer<LogAnswer> {
    node.breakeven_log(query, false).await
}

async fn use_breakeven(node: &Arc<Node>, query: LogQuery) -> Answer<LogAnswer> {
    node.breakeven_log(query, true).await
}

async fn drop_breakeven(node: &Arc<Node>, _: Nothing) -> Answer<Nothing> {
    node.forget_rule().await?;
    Ok(Nothing {})
}

async fn models(node: &Arc<Node>, _: Nothing) -> Answer<Models> {
    Ok(node.models().await)
}

async fn watch_models(node: &Arc<Node>, _: Nothing) -> Answer<Models> {
    Ok(node.models().await)
}

async fn download_model(node: &Arc<Node>, by: ByModel) -> Answer<Models> {
    node.download_model(&by.name)?;
    Ok(node.models().await)
}

async fn cancel_download(node: &Arc<Node>, by: ByModel) -> Answer<Models> {
    node.cancel_download(&by.name)?;
    Ok(node.models().await)
}

async fn add_model(node: &Arc<Node>, input: AddModelInput) -> Answer<Models> {
    node.add_model(&input.path, input.name.as_deref()).await?;
    Ok(node.models().await)
}

async fn remove_model(node: &Arc<Node>, input: RemoveModelInput) -> Answer<Models> {
    node.remove_model(&input.name, input.delete_files == Some(true)).await?;
    Ok(node.models().await)
}

async fn runtimes(node: &Arc<Node>, _: Nothing) -> Answer<Runtimes> {
    Ok(node.list_runtimes())
}

async fn watch_runtimes(node: &Arc<Node>, _: Nothing) -> Answer<Runtimes> {
    Ok(node.list_runtimes())
}

async fn attach_runtime(node: &Arc<Node>, input: AttachRuntimeInput) -> Answer<Runtimes> {
    let AttachRuntimeInput { name, address, model, serves, slots, key, .. } = input;
    let cloud = match (input.prompt_micro_usd_per_million, input.text_micro_usd_per_million) {
        (None, None) => None,
        (Some(prompt), Some(text)) => {
            Some(CloudPrice { prompt_micro_usd_per_million: prompt, text_micro_usd_per_million: text })
        }
        _ => {
            return Err(Problem::new(
                Code::Invalid,
                "a cloud has two prices: prompt_micro_usd_per_million and text_micro_usd_per_million",
                "state both, or none for a runtime on this machine",
            ));
        }
    };
    let serves = serves.map(|serves| crate::models::text_model(&node.settings(), Some(&serves))).transpose()?;
    let attached = Attached { name, address, model, serves, slots, has_key: key.is_some(), cloud };
    node.attach_runtime(attached, key).await?;
    Ok(node.list_runtimes())
}

async fn detach_runtime(node: &Arc<Node>, by: ByRuntime) -> Answer<Runtimes> {
    node.detach_runtime(&by.name).await?;
    Ok(node.list_runtimes())
}

async fn agents(node: &Arc<Node>, _: Nothing) -> Answer<Agents> {
    Ok(node.list_agents())
}

async fn watch_agents(node: &Arc<Node>, _: Nothing) -> Answer<Agents> {
    Ok(node.list_agents())
}

async fn add_agent(node: &Arc<Node>, input: AddAgentInput) -> Answer<Agents> {
    node.add_agent(input).await
}

async fn remove_agent(node: &Arc<Node>, by: ByAgent) -> Answer<Agents> {
    node.remove_agent(&by.name).await
}

async fn submit(node: &Arc<Node>, input: SubmitInput) -> Answer<Submitted> {
    node.submit(input).await
}

async fn cancel_job(node: &Arc<Node>, by: ById) -> Answer<Nothing> {
    node.cancel_job(parse_job(&by.id)?).await?;
    Ok(Nothing {})
}

async fn run_again(node: &Arc<Node>, by: ById) -> Answer<Submitted> {
    let job = node.run_again(parse_job(&by.id)?).await?;
    Ok(Submitted { job: Some(job.to_string()), explanation: None })
}

async fn run_benchmark(node: &Arc<Node>, input: BenchmarkInput) -> Answer<Benchmark> {
    node.start_benchmark(input.kinds.unwrap_or_default()).await
}

async fn stop_benchmark(node: &Arc<Node>, _: Nothing) -> Answer<Benchmark> {
    Ok(node.stop_benchmark().await)
}

async fn watch_benchmark(node: &Arc<Node>, _: Nothing) -> Answer<Benchmark> {
    Ok(node.benchmark.shown())
}

async fn sell(node: &Arc<Node>, switch: Switch) -> Answer<Selling> {
    if switch.on && node.settings().stopped {
        return Err(Problem::new(
            Code::Conflict,
            "everything is stopped",
            "end the stop first (`tender stop off`), then sell",
        ));
    }
    let switched = [("selling", switch.on.into()), ("paused_until", Value::Null), ("finish_then_pause", Value::Null)];
    node.set_all(switched.map(|(key, value)| (key.to_owned(), value)).into()).await?;
    views::selling(node).await
}

async fn pause(node: &Arc<Node>, input: PauseInput) -> Answer<Selling> {
    if input.minutes > MAX_PAUSE_MINUTES {
        return Err(Problem::new(Code::Invalid, format!("minutes is {}", input.minutes), "pause for a week at most"));
    }
    let until = node.now().after(Duration::from_secs(u64::from(input.minutes) * 60));
    let value = if input.minutes == 0 { Value::Null } else { until.to_string().into() };
    node.set("paused_until", value).await?;
    views::selling(node).await
}

async fn stop_everything(node: &Arc<Node>, switch: Switch) -> Answer<Overview> {
    node.set("stopped", switch.on.into()).await?;
    if switch.on {
        node.stop_work().await?;
    }
    views::overview(node).await
}

async fn set_setting(node: &Arc<Node>, input: SetSettingInput) -> Answer<Settings> {
    settings::check(&input.key, &input.value)?;
    match (input.key.as_str(), input.value.as_bool()) {
        ("stopped", Some(on)) => drop(stop_everything(node, Switch { on }).await?),
        _ => node.set(&input.key, input.value).await?,
    }
    settings(node, Nothing {}).await
}

async fn invite(node: &Arc<Node>, input: InviteInput) -> Answer<Invitation> {
    node.invite(input).await
}

async fn issue_key(node: &Arc<Node>, input: KeyInput) -> Answer<IssuedKey> {
    node.issue_key(input).await
}

async fn add_peer(node: &Arc<Node>, input: AddPeerInput) -> Answer<Peer> {
    let record = node.add_peer(input).await?;
    views::peer(node, &record).await
}

async fn change_peer(node: &Arc<Node>, input: ChangePeerInput) -> Answer<Peer> {
    let record = node.peer_named(&input.did).await?;
    let limit = crate::peers::credit("credit_limit_micro_usd", input.credit_limit_micro_usd)?;
    let changed = Event::PeerChanged { did: record.did, credit_limit: Some(limit), address: None, name: None };
    node.apply(vec![changed], Vec::new()).await?;
    views::peer(node, &node.peer_named(&input.did).await?).await
}

async fn remove_peer(node: &Arc<Node>, by: ByDid) -> Answer<Nothing> {
    let record = node.peer_named(&by.did).await?;
    let between = views::peer(node, &record).await?;
    // A key may have got into other hands: taking it back waits for nobody. What it owes stays.
    if !record.by_key && (between.owes_us_micro_usd != 0 || between.we_owe_micro_usd != 0) {
        return Err(Problem::new(
            Code::Conflict,
            format!("something is still owed between you and {}", record.name),
            "record its payment first; a credit limit of 0 ends the trade at once",
        ));
    }
    node.clients.forget(&record.did).await;
    node.apply(vec![Event::PeerRemoved { did: record.did, at: node.now() }], Vec::new()).await?;
    Ok(Nothing {})
}

async fn record_payment(node: &Arc<Node>, input: PayInput) -> Answer<Paid> {
    node.pay(input).await
}

async fn start_first_trade(node: &Arc<Node>, _: Nothing) -> Answer<FirstTrade> {
    node.start_first_trade().await
}

async fn watch_overview(node: &Arc<Node>, _: Nothing) -> Answer<Overview> {
    views::overview(node).await
}

async fn watch_jobs(node: &Arc<Node>, _: Nothing) -> Answer<JobPage> {
    jobs(node, JobsQuery { role: None, limit: None, before: None }).await
}

async fn watch_first_trade(node: &Arc<Node>, _: Nothing) -> Answer<FirstTrade> {
    Ok(node.first_trade())
}

pub(super) fn parse_job(id: &str) -> Answer<JobId> {
    id.parse().map_err(|_| Problem::new(Code::Invalid, format!("{id} is no job id"), "copy it from `tender jobs`"))
}

pub(super) fn parse_contract(id: &str) -> Answer<ContractId> {
    id.parse().map_err(|_| Problem::new(Code::Invalid, format!("{id} is no contract id"), "copy it from `tender jobs`"))
}
