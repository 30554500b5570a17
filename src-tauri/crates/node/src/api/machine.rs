//! What the machine is doing, with the jobs on the same axis.

use super::{types::*, views};
use crate::{
    client::Decided,
    node::Node,
    samples::{CardNow, EVERY, KEPT, Sample, Unread},
};
use std::{collections::HashMap, sync::Arc};
use tender_base::{ContractState, JobState, Problem, Role, Timestamp};
use tender_market::decision::Source;
use tender_store::{ContractFilter, JobFilter, JobRecord, Place, WorkRecord};

/// Most pieces of ended work on the axis, the latest: more would not be told apart on a screen.
const MAX_ENDED: usize = 100;

pub(super) async fn watch_machine(node: &Arc<Node>, _: Nothing) -> Result<Machine, Problem> {
    node.sample();
    let now = node.now();
    let seen = node.samples.seen(now);
    Ok(Machine {
        now: now.to_string(),
        every_ms: u64::try_from(EVERY.as_millis()).unwrap_or(u64::MAX),
        span_ms: u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX),
        cards: seen.cards.into_iter().map(card).collect(),
        host: MachineHost {
            cpu_utilisation: seen.samples.back().and_then(|sample| sample.cpu_utilisation),
            memory_used_bytes: seen.memory.map(|memory| memory.used_bytes),
            memory_total_bytes: seen.memory.map(|memory| memory.total_bytes),
        },
        samples: seen.samples.into_iter().map(shown).collect(),
        jobs: jobs(node, now).await?,
    })
}

fn card(CardNow { name, address, reading, unread }: CardNow) -> MachineCard {
    let slowed = reading.and_then(|reading| reading.throttle).map(tender_host::Throttle::words);
    MachineCard {
        name,
        address,
        power_watts: reading.and_then(|reading| reading.power_watts),
        power_limit_watts: reading.and_then(|reading| reading.power_limit_watts),
        temperature_c: reading.and_then(|reading| reading.temperature_c),
        memory_used_bytes: reading.and_then(|reading| reading.memory_used_bytes),
        memory_total_bytes: reading.and_then(|reading| reading.memory_total_bytes),
        utilisation: reading.and_then(|reading| reading.utilisation),
        slowed_by: slowed.unwrap_or_default().into_iter().map(str::to_owned).collect(),
        unread: unread.map(|Unread { at_ms, why }| UnreadCard { at: Timestamp::from_millis(at_ms).to_string(), why }),
    }
}

fn shown(sample: Sample) -> MachineSample {
    MachineSample {
        at: Timestamp::from_millis(sample.at_ms).to_string(),
        power_watts: sample.power_watts,
        temperature_c: sample.temperature_c,
        memory_used_bytes: sample.memory_used_bytes,
        utilisation: sample.utilisation,
        cpu_utilisation: sample.cpu_utilisation,
    }
}

/// What ran here within the span, and what runs.
async fn jobs(node: &Arc<Node>, now: Timestamp) -> Result<Vec<MachineJob>, Problem> {
    let span = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
    let worked = node.store.work_since(Timestamp::from_millis(now.millis() - span)).await.map_err(|e| e.problem())?;
    let here = worked.iter().map(|logged| &logged.work).filter(|work| work.place != Place::Bought);
    let known = node.samples.titles().clone();
    let mut titles = HashMap::new();
    let mut jobs = Vec::new();
    for work in here.rev().take(MAX_ENDED) {
        let role = if work.place == Place::Own { Role::Client } else { Role::Contractor };
        let title = match known.get(&work.id) {
            Some(title) => title.clone(),
            None => title(node, work, role).await?.unwrap_or_else(|| work.kind.name().to_owned()),
        };
        titles.insert(work.id, title.clone());
        let took = i64::try_from(work.wall_ms).unwrap_or(i64::MAX);
        let from = Timestamp::from_millis(work.ended_at.millis().saturating_sub(took));
        jobs.push(MachineJob {
            id: work.id.to_string(),
            title,
            role,
            from: from.to_string(),
            until: Some(work.ended_at.to_string()),
        });
    }
    *node.samples.titles() = titles;
    jobs.extend(running(node).await?);
    jobs.sort_by(|a, b| a.from.cmp(&b.from).then_with(|| a.id.cmp(&b.id)));
    Ok(jobs)
}

async fn title(node: &Arc<Node>, work: &WorkRecord, role: Role) -> Result<Option<String>, Problem> {
    let id = work.id.to_string();
    Ok(match role {
        Role::Client => {
            let job = node.store.job(super::handlers::parse_job(&id)?).await.map_err(|e| e.problem())?;
            job.map(|job| views::title(&job.spec.work))
        }
        Role::Contractor => {
            let record = node.store.contract(super::handlers::parse_contract(&id)?).await.map_err(|e| e.problem())?;
            record.and_then(|record| Some(views::title(&record.call()?.document.job.work)))
        }
    })
}

async fn running(node: &Arc<Node>) -> Result<Vec<MachineJob>, Problem> {
    let mut jobs = Vec::new();
    let filter = JobFilter { states: vec![JobState::Running], ..JobFilter::default() };
    for job in node.store.jobs(filter).await.map_err(|e| e.problem())?.iter().filter(|job| is_here(job)) {
        let began = job.times.iter().rev().find(|(state, _)| *state == JobState::Running);
        jobs.push(MachineJob {
            id: job.id.to_string(),
            title: views::title(&job.spec.work),
            role: Role::Client,
            from: began.map_or(job.changed_at, |(_, at)| *at).to_string(),
            until: None,
        });
    }
    let filter = ContractFilter {
        role: Some(Role::Contractor),
        states: vec![ContractState::Running],
        ..ContractFilter::default()
    };
    for record in node.contracts(filter).await? {
        let began = record.times.iter().rev().find(|(state, _)| *state == ContractState::Running);
        if let (Some((_, from)), Some(call)) = (began, record.call()) {
            jobs.push(MachineJob {
                id: record.id.to_string(),
                title: views::title(&call.document.job.work),
                role: Role::Contractor,
                from: from.to_string(),
                until: None,
            });
        }
    }
    Ok(jobs)
}

/// Whether an own job that runs does so on this machine.
fn is_here(job: &JobRecord) -> bool {
    let Ok(Some(decided)) = Decided::of(job) else { return false };
    let chosen = decided.chosen().and_then(|i| decided.alternatives().get(i));
    job.hired.is_none() && chosen.is_some_and(|chosen| chosen.source == Source::Local)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use tender_base::{Book, JobKind};
    use tender_host::{Reading, Throttle};
    use tender_store::Event;
    use uuid::Uuid;

    #[tokio::test]
    async fn ended_work_of_this_machine_lies_on_the_axis_and_what_was_bought_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let node = Arc::new(crate::metering::tests::node(&dir).await);
        let work = |place, ended_ago: i64| Event::WorkDone {
            work: WorkRecord {
                id: Uuid::now_v7(),
                place,
                book: Book::Real,
                kind: JobKind::Gemm,
                model: None,
                runtime: None,
                units: 1,
                prompt_tokens: None,
                wall_ms: 4_000,
                milliwatts: None,
                ended_at: Timestamp::from_millis(node.now().millis() - ended_ago),
            },
        };
        let done = [(Place::Sold, 10_000), (Place::Own, 60_000), (Place::Bought, 5_000), (Place::Sold, 700_000)];
        node.apply(done.map(|(place, ago)| work(place, ago)).into(), Vec::new()).await.unwrap();
        let machine = watch_machine(&node, Nothing {}).await.unwrap();
        let roles: Vec<Role> = machine.jobs.iter().map(|job| job.role).collect();
        assert_eq!(roles, [Role::Client, Role::Contractor], "oldest first");
        for job in &machine.jobs {
            let at = |text: &str| Timestamp::parse(text).unwrap();
            assert_eq!(at(job.until.as_ref().unwrap()).since(at(&job.from)).as_millis(), 4_000);
        }
        assert_eq!((machine.every_ms, machine.span_ms), (2_000, 600_000));
    }

    #[test]
    fn what_a_card_does_not_tell_is_absent() {
        let reading = Reading { throttle: Some(Throttle::HEAT), ..Reading::empty(Instant::now()) };
        let now =
            |reading| card(CardNow { name: "A".to_owned(), address: "0000:01:00.0".to_owned(), reading, unread: None });
        assert_eq!(now(Some(reading)).slowed_by, ["it is too hot"]);
        assert!(now(None).power_watts.is_none() && now(None).slowed_by.is_empty());
    }
}
