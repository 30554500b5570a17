//! What was earned and spent by day and hour, and what earning it cost.

use super::{types::*, views};
use crate::node::Node;
use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
};
use tender_base::{Book, ContractState, Did, JobKind, MicroUsd, Problem, Role, Timestamp, ledger::Account};
use tender_market::cost::here::Machine;
use tender_store::{LoggedWork, Place, TradeLine, WorkRecord};
use uuid::Uuid;

/// Days when nothing else is said, and at most.
const DAYS: u32 = 30;
const MAX_DAYS: u32 = 366;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// The first day of 1970 was a Thursday, the fourth of a week.
const FIRST_WEEKDAY: i64 = 3;

/// What a piece of sold work cost, in dollars.
#[derive(Clone, Copy)]
struct Cost {
    /// None for a rented machine, whose rent contains it.
    electricity: Option<f64>,
    /// Capital and maintenance, or the rent.
    wear: f64,
    /// A sensor measured the draw.
    measured: bool,
}

/// A contract that was sold, beside what it took.
struct Sold {
    line: TradeLine,
    work: Option<WorkRecord>,
    cost: Option<Cost>,
    /// Price less cost of the estimated time, dollars.
    predicted: Option<f64>,
}

pub(super) async fn earnings(node: &Arc<Node>, query: EarningsQuery) -> Result<Earnings, Problem> {
    let (book, days, from) = asked(node, query);
    let to = Timestamp::from_millis(node.now().start_of_day().millis() + DAY_MS);
    let by_day = async |role| -> Result<HashMap<Timestamp, tender_store::DayRow>, Problem> {
        let rows = node.store.earnings(book, role, from, to).await.map_err(|e| e.problem())?;
        Ok(rows.into_iter().map(|row| (row.day, row)).collect())
    };
    let (sold, bought) = (by_day(Role::Contractor).await?, by_day(Role::Client).await?);
    let (lines, truncated) = node.store.trade_lines(book, from).await.map_err(|e| e.problem())?;
    let lines = costed(node, lines.into_iter().filter(|line| line.role == Role::Contractor).collect()).await?;
    let mut by_booking: HashMap<Timestamp, Vec<&Sold>> = HashMap::new();
    for sold in &lines {
        if let Some(at) = booked(&sold.line) {
            by_booking.entry(at.start_of_day()).or_default().push(sold);
        }
    }
    let row = |offset: u32| {
        let day = Timestamp::from_millis(from.millis() + i64::from(offset) * DAY_MS);
        let (s, b) = (sold.get(&day), bought.get(&day));
        let accepted =
            |row: Option<&tender_store::DayRow>| row.map_or(0, |r| u32::try_from(r.accepted_count).unwrap_or(u32::MAX));
        let earned = s.map_or(0, |r| r.owed.0);
        let costs = costs_of(by_booking.get(&day).into_iter().flatten().copied());
        EarningsDay {
            day: day.to_string()[..10].to_owned(),
            earned_micro_usd: earned,
            spent_micro_usd: b.map_or(0, |r| r.owed.0),
            jobs_sold: accepted(s),
            jobs_bought: accepted(b),
            electricity_micro_usd: costs.electricity.map(micro),
            wear_micro_usd: costs.wear.map(micro),
            net_micro_usd: costs
                .wear
                .zip(costs.electricity_or_rent)
                .map(|(wear, electricity)| earned - micro(wear) - micro(electricity)),
            predicted_micro_usd: costs.predicted.map(micro),
            measured: costs.measured,
        }
    };
    let in_state = async |role, wanted| -> Result<i64, Problem> {
        let totals = node.store.contract_totals(book, role).await.map_err(|e| e.problem())?;
        Ok(totals.iter().filter(|total| total.state == wanted).map(|total| total.amount.0).sum())
    };
    let balances = peer_balances(node, book).await?;
    let offset = node.settings().machine.tariff.utc_offset_minutes;
    Ok(Earnings {
        book,
        days: (0..days).map(row).collect(),
        hours: hours(&lines, offset),
        truncated,
        owed_to_us_micro_usd: balances.values().map(|b| b.owes_us.0).sum(),
        owed_by_us_micro_usd: balances.values().map(|b| b.we_owe.0).sum(),
        delivered_micro_usd: in_state(Role::Contractor, ContractState::Delivered).await?,
        paid_to_us_micro_usd: in_state(Role::Contractor, ContractState::Settled).await?,
        paid_by_us_micro_usd: in_state(Role::Client, ContractState::Settled).await?,
        by_peer: named_balances(node, balances).await,
        ledger_balances: node.store.ledger_balances().await.map_err(|e| e.problem())?,
    })
}

/// Book, days and the first of them.
fn asked(node: &Node, query: EarningsQuery) -> (Book, u32, Timestamp) {
    let days = query.days.unwrap_or(DAYS).clamp(1, MAX_DAYS);
    let from = node.now().start_of_day().millis() - i64::from(days - 1) * DAY_MS;
    (query.book.unwrap_or(Book::Real), days, Timestamp::from_millis(from))
}

/// The day that a contract counts for: that of its acceptance, as its income does. A delivery that was rejected brings
/// nothing and still cost something; what still waits for a verdict counts for no day yet.
fn booked(line: &TradeLine) -> Option<Timestamp> {
    let waits = matches!(line.state, ContractState::Delivered);
    line.accepted_at.or(Some(line.delivered_at).filter(|_| !waits))
}

/// Contracts that were sold, with what they cost.
async fn costed(node: &Arc<Node>, lines: Vec<TradeLine>) -> Result<Vec<Sold>, Problem> {
    let Some(oldest) = lines.iter().map(|line| line.delivered_at).min() else { return Ok(Vec::new()) };
    // What ran at the same time began at most a day before: no job here takes longer.
    let since = Timestamp::from_millis(oldest.millis() - DAY_MS);
    let worked = node.store.work_since(since).await.map_err(|e| e.problem())?;
    let shares = shares(&worked);
    let works: HashMap<Uuid, &WorkRecord> =
        worked.iter().filter(|l| l.work.place == Place::Sold).map(|l| (l.work.id, &l.work)).collect();
    let mut machines: HashMap<JobKind, Machine> = HashMap::new();
    for kind in JobKind::ALL {
        machines.insert(kind, node.machine(kind).await);
    }
    let mut sold = Vec::with_capacity(lines.len());
    for line in lines {
        let work = works.get(&line.contract.uuid()).map(|work| (*work).clone());
        let Some(machine) = machines.get(&line.kind) else { continue };
        let share = |work: &WorkRecord| shares.get(&work.id).copied().unwrap_or(1.0);
        let cost = work.as_ref().map(|work| cost(machine, work, share(work))).transpose()?;
        let predicted = line.proposed.zip(line.estimated_ms).map(|(price, ms)| {
            let expected = machine.cost(ms as f64 / 1000.0, line.opened_at, &[])?;
            Ok::<_, Problem>(price.as_usd() - expected.total_usd())
        });
        sold.push(Sold { predicted: predicted.transpose()?, line, work, cost });
    }
    Ok(sold)
}

/// What a piece of work cost that had such a share of the machine's time.
fn cost(machine: &Machine, work: &WorkRecord, share: f64) -> Result<Cost, Problem> {
    let watts = work.milliwatts.map(|milliwatts| milliwatts as f64 / 1000.0).filter(|watts| *watts > 0.0);
    let machine = watts.map_or_else(|| machine.clone(), |watts| machine.clone().at_work(watts));
    let spent = machine.cost(work.wall_ms as f64 / 1000.0, began(work), &[])?;
    Ok(Cost {
        electricity: spent.energy_joules.map(|_| spent.energy_usd * share),
        wear: (spent.rent_usd + spent.depreciation_usd + spent.maintenance_usd) * share,
        measured: watts.is_some(),
    })
}

fn began(work: &WorkRecord) -> Timestamp {
    let took = i64::try_from(work.wall_ms).unwrap_or(i64::MAX);
    Timestamp::from_millis(work.ended_at.millis().saturating_sub(took))
}

/// Which part of its own time each piece of work here had the machine for itself: what ran at once shares each moment
/// alike.
fn shares(worked: &[LoggedWork]) -> HashMap<Uuid, f64> {
    let here = worked.iter().map(|logged| &logged.work).filter(|work| work.place != Place::Bought);
    let mut edges: BTreeMap<i64, (Vec<Uuid>, Vec<Uuid>)> = BTreeMap::new();
    let mut had: HashMap<Uuid, (f64, f64)> = HashMap::new();
    for work in here.filter(|work| work.wall_ms > 0) {
        edges.entry(began(work).millis()).or_default().0.push(work.id);
        edges.entry(work.ended_at.millis()).or_default().1.push(work.id);
        had.insert(work.id, (0.0, work.wall_ms as f64));
    }
    let (mut running, mut last) = (Vec::<Uuid>::new(), 0);
    for (at, (begin, end)) in edges {
        let each = (at - last) as f64 / running.len().max(1) as f64;
        for id in &running {
            if let Some((own, _)) = had.get_mut(id) {
                *own += each;
            }
        }
        running.retain(|id| !end.contains(id));
        running.extend(begin);
        last = at;
    }
    had.into_iter().map(|(id, (own, all))| (id, (own / all).clamp(0.0, 1.0))).collect()
}

/// The costs of a day, in dollars.
struct Costs {
    electricity: Option<f64>,
    /// The same, nothing for a rented machine.
    electricity_or_rent: Option<f64>,
    wear: Option<f64>,
    predicted: Option<f64>,
    measured: bool,
}

fn costs_of<'a>(sold: impl Iterator<Item = &'a Sold> + Clone) -> Costs {
    // One that is not known makes the sum unknown.
    let sum = |of: fn(&Sold) -> Option<f64>| sold.clone().map(of).sum::<Option<f64>>();
    Costs {
        electricity: sum(|sold| sold.cost?.electricity),
        electricity_or_rent: sum(|sold| Some(sold.cost?.electricity.unwrap_or(0.0))),
        wear: sum(|sold| Some(sold.cost?.wear)),
        predicted: sum(|sold| sold.predicted),
        // Of a day without a sale nothing was measured.
        measured: sold.clone().next().is_some() && sold.clone().all(|sold| sold.cost.is_some_and(|cost| cost.measured)),
    }
}

fn micro(usd: f64) -> i64 {
    (usd * 1e6).round() as i64
}

/// What was earned in each hour of the week, by when the work ended.
fn hours(sold: &[Sold], utc_offset_minutes: i32) -> Vec<EarningsHour> {
    let mut hours: Vec<EarningsHour> = (0..7)
        .flat_map(|weekday| (0..24).map(move |hour| EarningsHour { weekday, hour, earned_micro_usd: 0, jobs: 0 }))
        .collect();
    for sold in sold.iter().filter(|sold| sold.line.accepted_at.is_some()) {
        let ended = sold.work.as_ref().map_or(sold.line.delivered_at, |work| work.ended_at);
        let local = (ended.millis() + i64::from(utc_offset_minutes) * 60_000).div_euclid(HOUR_MS);
        let at = (local + FIRST_WEEKDAY * 24).rem_euclid(7 * 24);
        if let Some(hour) = usize::try_from(at).ok().and_then(|at| hours.get_mut(at)) {
            hour.earned_micro_usd += sold.line.amount.map_or(0, |amount| amount.0);
            hour.jobs += 1;
        }
    }
    hours
}

pub(super) async fn earnings_lines(node: &Arc<Node>, query: EarningsQuery) -> Result<EarningsLines, Problem> {
    let (book, _, from) = asked(node, query);
    let (all, truncated) = node.store.trade_lines(book, from).await.map_err(|e| e.problem())?;
    let (sold, bought): (Vec<_>, Vec<_>) = all.into_iter().partition(|line| line.role == Role::Contractor);
    let mut lines = costed(node, sold).await?;
    lines.extend(bought.into_iter().map(|line| Sold { line, work: None, cost: None, predicted: None }));
    lines.sort_by_key(|sold| (sold.line.delivered_at, sold.line.contract));
    let mut names: HashMap<Did, String> = HashMap::new();
    for sold in &lines {
        if let Entry::Vacant(unknown) = names.entry(sold.line.peer) {
            unknown.insert(views::name_of(node, &sold.line.peer).await);
        }
    }
    let mut csv = String::from(
        "contract,role,peer,kind,state,called_at,delivered_at,accepted_at,amount_usd,units,model,wall_seconds,mean_watts,\
         electricity_usd,wear_usd,net_usd,predicted_net_usd,promised_seconds\n",
    );
    for sold in &lines {
        csv.push_str(&line(sold, names.get(&sold.line.peer).map_or("", String::as_str)).join(","));
        csv.push('\n');
    }
    Ok(EarningsLines { csv, lines: views::count(lines.len()), truncated })
}

fn line(Sold { line, work, cost, predicted }: &Sold, peer: &str) -> [String; 18] {
    let told = |value: Option<String>| value.unwrap_or_default();
    let usd = |value: Option<f64>| told(value.map(|usd| format!("{usd:.8}")));
    let seconds = |ms: Option<u64>| told(ms.map(|ms| format!("{}", ms as f64 / 1000.0)));
    let amount = line.amount.filter(|_| line.accepted_at.is_some()).map(MicroUsd::as_usd);
    let electricity = cost.and_then(|cost| cost.electricity);
    let net = cost.map(|cost| amount.unwrap_or(0.0) - cost.wear - cost.electricity.unwrap_or(0.0));
    let work = work.as_ref();
    [
        line.contract.to_string(),
        if line.role == Role::Contractor { "sold" } else { "bought" }.to_owned(),
        cell(peer),
        line.kind.name().to_owned(),
        line.state.name().to_owned(),
        line.opened_at.to_string(),
        line.delivered_at.to_string(),
        told(line.accepted_at.map(|at| at.to_string())),
        usd(amount),
        told(work.map(|work| work.units.to_string())),
        cell(work.and_then(|work| work.model.as_deref()).unwrap_or_default()),
        seconds(work.map(|work| work.wall_ms)),
        told(work.and_then(|work| work.milliwatts).map(|milliwatts| format!("{}", milliwatts as f64 / 1000.0))),
        usd(electricity),
        usd(cost.map(|cost| cost.wear)),
        usd(net),
        usd(*predicted),
        seconds(line.estimated_ms),
    ]
}

/// A text of others as a cell: quoted, and never a formula of the program that opens it.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = format!("{}{text}", if formula { "'" } else { "" });
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[derive(Default)]
struct Balance {
    owes_us: MicroUsd,
    we_owe: MicroUsd,
}

async fn peer_balances(node: &Arc<Node>, book: Book) -> Result<HashMap<Did, Balance>, Problem> {
    let mut balances: HashMap<Did, Balance> = HashMap::new();
    for (account, amount) in node.store.balances(book).await.map_err(|e| e.problem())? {
        match account {
            Account::Receivable(peer) => balances.entry(peer).or_default().owes_us = amount,
            Account::Payable(peer) => balances.entry(peer).or_default().we_owe = amount.negated(),
            _ => {}
        }
    }
    balances.retain(|_, b| b.owes_us != MicroUsd::ZERO || b.we_owe != MicroUsd::ZERO);
    Ok(balances)
}

async fn named_balances(node: &Arc<Node>, balances: HashMap<Did, Balance>) -> Vec<PeerBalance> {
    let mut named = Vec::new();
    for (did, balance) in balances {
        named.push(PeerBalance {
            name: views::name_of(node, &did).await,
            did: did.to_string(),
            owes_us_micro_usd: balance.owes_us.0,
            we_owe_micro_usd: balance.we_owe.0,
        });
    }
    named.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.did.cmp(&b.did)));
    named
}

#[cfg(test)]
#[path = "earnings_tests.rs"]
mod tests;
