//! Notifications: own jobs that ended, the earnings of a day, faults. What is told is a pure function of what the node
//! said; how it is told is the desktop's notification service, on Linux so far.

use crate::{node::Node, window};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs, mem,
    time::{SystemTime, UNIX_EPOCH},
};
use tauri::{AppHandle, Manager, async_runtime::spawn_blocking};
use tender_base::{JobState, MicroUsd, Problem, Role};
use tender_node::api::types::{Earnings, EarningsDay, JobDetail, JobSummary, Overview, Settings};

/// The node's setting that switches all of it off but faults.
const SETTING: &str = "notifications";
/// Remembers, across starts, of which day the earnings were told last.
const TOLD: &str = "told-earnings";
const SECONDS_PER_DAY: u64 = 86_400;

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Notice {
    about: About,
    title: String,
    body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// A newer one takes the place of the last one: many short jobs make one bubble.
    Jobs,
    Earnings,
    /// Stays until it is dismissed.
    Fault,
}

/// What the snapshots so far have said.
#[derive(Default)]
pub struct Notices {
    /// Own jobs that were under way.
    under_way: BTreeSet<String>,
    /// What the guard could not see any more, by its name.
    blind: BTreeSet<String>,
    /// The day, since 1970, on which earnings were told or looked for last.
    earnings_on: u64,
}

impl Notices {
    /// Tells what a new snapshot says.
    pub async fn see(&mut self, app: &AppHandle, node: &Node, overview: &Overview) {
        if let Some(notice) = self.lost(overview) {
            tell(notice);
        }
        let ended = self.ended(overview);
        let mut notices = Vec::new();
        // Who looks at the window sees it there.
        if !ended.is_empty() && !window::is_watched(app) {
            let mut jobs = Vec::new();
            for id in ended {
                match ask::<JobDetail>(node, "job", json!({ "id": id })).await {
                    Ok(detail) => jobs.push(detail.summary),
                    Err(problem) => eprintln!("tender-app: job {id}: {problem}"),
                }
            }
            notices.extend(of_jobs(&jobs));
        }
        if overview.active.is_empty() {
            match self.earnings(app, node).await {
                Ok(notice) => notices.extend(notice),
                Err(problem) => eprintln!("tender-app: earnings: {problem}"),
            }
        }
        if !notices.is_empty() && wanted(node).await {
            notices.into_iter().for_each(tell);
        }
    }

    /// Asks for yesterday's earnings on the first quiet moment of a day (UTC, as the node counts), and never again on it.
    async fn earnings(&mut self, app: &AppHandle, node: &Node) -> Result<Option<Notice>, Problem> {
        let today = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / SECONDS_PER_DAY);
        if self.earnings_on == today {
            return Ok(None);
        }
        let Ok(folder) = app.path().app_config_dir() else { return Ok(None) };
        let told = folder.join(TOLD);
        if fs::read_to_string(&told).is_ok_and(|day| day.trim() == today.to_string()) {
            self.earnings_on = today;
            return Ok(None);
        }
        let earnings: Earnings = ask(node, "earnings", json!({ "days": 2 })).await?;
        self.earnings_on = today;
        // When it cannot be remembered, it is better to say nothing than to say it again at every start.
        let remembered = fs::create_dir_all(&folder).and_then(|()| fs::write(&told, today.to_string()));
        Ok(remembered.ok().and_then(|()| of_earnings(&earnings.days)))
    }

    /// What the guard cannot see any more, once for each of it: it may come and go.
    fn lost(&mut self, overview: &Overview) -> Option<Notice> {
        let new: Vec<String> = overview
            .guard_lost
            .iter()
            .filter(|lost| self.blind.insert(lost.trigger.clone()))
            .map(|lost| format!("{}: {}", lost.what, lost.why))
            .collect();
        (!new.is_empty()).then(|| Notice {
            about: About::Fault,
            title: "The guard cannot see everything any more".to_owned(),
            body: format!("{}. Selling goes on without it.", new.join("; ")),
        })
    }

    /// Own jobs that were under way and no longer are.
    fn ended(&mut self, overview: &Overview) -> Vec<String> {
        let now: BTreeSet<String> =
            overview.active.iter().filter(|job| job.role == Role::Client).map(|job| job.id.clone()).collect();
        let before = mem::replace(&mut self.under_way, now);
        before.difference(&self.under_way).cloned().collect()
    }
}

/// Something that the owner has to know, whatever is set.
pub fn fault(title: &str, body: &str) {
    tell(Notice { about: About::Fault, title: title.to_owned(), body: body.to_owned() });
}

/// What is told of own jobs that ended; nothing of those that were cancelled.
fn of_jobs(jobs: &[JobSummary]) -> Option<Notice> {
    let with = |state| jobs.iter().filter(move |job| job.state == Some(state)).collect::<Vec<_>>();
    let (completed, failed) = (with(JobState::Completed), with(JobState::Failed));
    let (title, body) = match (completed.as_slice(), failed.as_slice()) {
        ([], []) => return None,
        ([job], []) => (format!("Job finished: {}", job.title), job.reason.clone()),
        ([], [job]) => (format!("Job failed: {}", job.title), job.reason.clone()),
        (some, []) => (format!("{} jobs finished", some.len()), String::new()),
        (some, [first, ..]) => (format!("{} jobs finished, {} failed", some.len(), failed.len()), first.reason.clone()),
    };
    Some(Notice { about: About::Jobs, title, body })
}

/// What is told of the day before the last one, once it is over.
fn of_earnings(days: &[EarningsDay]) -> Option<Notice> {
    let [.., yesterday, _today] = days else { return None };
    let earned = yesterday.earned_micro_usd;
    (earned > 0).then(|| Notice {
        about: About::Earnings,
        title: format!("Earned yesterday: {}", MicroUsd(earned)),
        body: match yesterday.net_micro_usd {
            Some(net) => format!("{} sold; {} after electricity and wear.", jobs(yesterday.jobs_sold), MicroUsd(net)),
            None => format!("{} sold, before electricity and wear.", jobs(yesterday.jobs_sold)),
        },
    })
}

fn jobs(count: u32) -> String {
    if count == 1 { "1 job".to_owned() } else { format!("{count} jobs") }
}

/// Whether the owner wants notifications.
async fn wanted(node: &Node) -> bool {
    match ask::<Settings>(node, "settings", json!({})).await {
        Ok(settings) => settings.settings.iter().any(|s| s.key == SETTING && s.value == Value::Bool(true)),
        Err(problem) => {
            eprintln!("tender-app: settings: {problem}");
            false
        }
    }
}

async fn ask<O: DeserializeOwned>(node: &Node, name: &str, input: Value) -> Result<O, Problem> {
    node.attached().await?.ask(name, &input).await
}

fn tell(notice: Notice) {
    spawn_blocking(move || {
        if let Err(error) = show(&notice) {
            eprintln!("tender-app: {}: {} ({error})", notice.title, notice.body);
        }
    });
}

/// By the service that the freedesktop notification specification names.
#[cfg(target_os = "linux")]
fn show(notice: &Notice) -> zbus::Result<()> {
    use std::{
        collections::HashMap,
        sync::{Mutex, PoisonError},
        time::Duration,
    };
    use zbus::{
        blocking::{Connection, connection::Builder},
        zvariant::Value,
    };
    const SERVICE: &str = "org.freedesktop.Notifications";
    const URGENT: u8 = 2;
    const NORMAL: u8 = 1;
    /// As long as the desktop shows such.
    const TIMEOUT: i32 = -1;
    /// A service that does not answer within it must not hold up the next notification.
    const ANSWER_LIMIT: Duration = Duration::from_secs(2);
    static BUS: Mutex<Option<Connection>> = Mutex::new(None);
    static LAST_OF_JOBS: Mutex<u32> = Mutex::new(0);

    let urgency = if notice.about == About::Fault { URGENT } else { NORMAL };
    let hints = HashMap::from([("urgency", Value::U8(urgency)), ("desktop-entry", Value::from("dev.tender.desktop"))]);
    // Held until the answer, as the next of jobs takes its place; nothing else waits for it.
    let mut last = (notice.about == About::Jobs).then(|| LAST_OF_JOBS.lock().unwrap_or_else(PoisonError::into_inner));
    let replaces = last.as_deref().copied().unwrap_or(0);
    let no_actions: [&str; 0] = [];
    let body = without_markup(&notice.body);
    let connected = BUS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let bus = match connected {
        Some(bus) => bus,
        None => {
            let bus = Builder::session()?.method_timeout(ANSWER_LIMIT).build()?;
            BUS.lock().unwrap_or_else(PoisonError::into_inner).insert(bus).clone()
        }
    };
    let answer = bus.call_method(
        Some(SERVICE),
        "/org/freedesktop/Notifications",
        Some(SERVICE),
        "Notify",
        &("Tender", replaces, "dev.tender.desktop", &notice.title, body, &no_actions[..], hints, TIMEOUT),
    );
    if answer.is_err() {
        // The bus may have gone with its session: the next one connects anew.
        *BUS.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
    if let Some(last) = &mut last {
        **last = answer?.body().deserialize()?;
    } else {
        answer?;
    }
    Ok(())
}

/// Said where the app's output goes; the other systems' services are not used yet.
#[cfg(not(target_os = "linux"))]
fn show(_: &Notice) -> Result<(), &'static str> {
    Err("this system's notifications are not used yet")
}

/// Services read a few tags in the body; a peer's name must not become one.
#[cfg(target_os = "linux")]
fn without_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_node::api::types::GuardLost;

    fn job(id: &str, role: &str, state: &str) -> JobSummary {
        serde_json::from_value(json!({
            "id": id, "role": role, "book": "real", "kind": "embed", "title": format!("{id} passages"),
            "state": state, "contract_state": null, "reason": format!("It is {state}."), "with": null,
            "amount_micro_usd": null, "progress": null, "created_at": "", "changed_at": "",
        }))
        .unwrap()
    }

    fn overview(active: Vec<JobSummary>) -> Overview {
        Overview { active, ..crate::tray::tests::overview(true, "idle", false) }
    }

    #[test]
    fn only_own_jobs_that_are_gone_have_ended_and_only_once() {
        let mut notices = Notices::default();
        assert_eq!(notices.ended(&overview(vec![])), Vec::<String>::new());
        let both = || overview(vec![job("a", "client", "running"), job("b", "contractor", "running")]);
        assert_eq!(notices.ended(&both()), Vec::<String>::new());
        assert_eq!(notices.ended(&both()), Vec::<String>::new());
        assert_eq!(notices.ended(&overview(vec![])), ["a"]);
        assert_eq!(notices.ended(&overview(vec![])), Vec::<String>::new());
    }

    #[test]
    fn what_the_guard_cannot_see_any_more_is_told_once() {
        let mut notices = Notices::default();
        let lost = |triggers: &[&str]| {
            let of = |name: &&str| GuardLost { trigger: (*name).into(), what: format!("a {name}"), why: "gone".into() };
            Overview { guard_lost: triggers.iter().map(of).collect(), ..overview(vec![]) }
        };
        let mut told = |triggers: &[&str]| notices.lost(&lost(triggers)).map(|notice| (notice.about, notice.body));
        assert_eq!(told(&[]), None);
        assert_eq!(told(&["game"]), Some((About::Fault, "a game: gone. Selling goes on without it.".to_owned())));
        assert_eq!(told(&["game"]), None);
        assert_eq!(told(&[]), None);
        let both = told(&["game", "battery"]).unwrap().1;
        assert_eq!(both, "a battery: gone. Selling goes on without it.", "the other was told");
    }

    #[test]
    fn one_job_is_named_and_many_are_counted() {
        let title = |jobs: &[JobSummary]| of_jobs(jobs).map(|notice| notice.title);
        let (good, bad) = (job("1", "client", "completed"), job("2", "client", "failed"));
        assert_eq!(title(std::slice::from_ref(&good)).unwrap(), "Job finished: 1 passages");
        assert_eq!(title(std::slice::from_ref(&bad)).unwrap(), "Job failed: 2 passages");
        assert_eq!(title(&[good.clone(), good.clone()]).unwrap(), "2 jobs finished");
        assert_eq!(title(&[good.clone(), bad.clone(), good]).unwrap(), "2 jobs finished, 1 failed");
        assert_eq!(of_jobs(&[bad]).unwrap().body, "It is failed.");
        assert_eq!(title(&[job("3", "client", "cancelled")]), None);
    }

    #[test]
    fn earnings_are_told_of_a_day_that_is_over() {
        let day = |earned_micro_usd| EarningsDay {
            day: "2026-11-20".into(),
            earned_micro_usd,
            spent_micro_usd: 0,
            jobs_sold: 3,
            jobs_bought: 0,
            electricity_micro_usd: None,
            wear_micro_usd: None,
            net_micro_usd: None,
            predicted_micro_usd: None,
            measured: false,
        };
        let notice = of_earnings(&[day(420), day(0)]).unwrap();
        assert_eq!(notice.title, "Earned yesterday: $0.00042");
        assert_eq!(notice.body, "3 jobs sold, before electricity and wear.");
        let costed = EarningsDay { net_micro_usd: Some(-80), ..day(420) };
        assert_eq!(of_earnings(&[costed, day(0)]).unwrap().body, "3 jobs sold; -$0.00008 after electricity and wear.");
        assert_eq!(of_earnings(&[day(0), day(420)]), None);
        assert_eq!(of_earnings(&[day(420)]), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_peers_name_is_text() {
        assert_eq!(without_markup("<a> & b"), "&lt;a&gt; &amp; b");
    }
}
