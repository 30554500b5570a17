//! What work costs here, what it is expected to cost and to take, and what the ends of jobs teach about such
//! expectations.

use crate::{models, node::Node, prices::json};
use serde_json::Value;
use tender_base::{
    Book, Did, JobKind, MicroUsd, Problem, Timestamp, Work, catalogue::ModelKind, job::ModelRef, text::Generation,
};
use tender_engine::Output;
use tender_host::Metered;
use tender_market::{
    calibration::{Factor, LAMBDA},
    cost::{
        Throughput,
        here::{Learned, LocalCost, Machine, here},
    },
};
use tender_store::{Event, Guard, JobRecord, PeerRecord, Place, WorkRecord};
use uuid::Uuid;

/// Internal setting with the throughput of the own worker; of a runtime with its name after a dot.
const THROUGHPUT: &str = "measured.throughput";
/// Internal settings with [`Factor`]s: agent, class of task and what is estimated follow.
const CALIBRATION: &str = "measured.calibration";
/// Shorter work teaches nothing: starting and transferring it, which nobody estimates apart, are most of its time.
const LEAST_SECONDS: f64 = 0.2;

/// Where a stored decision keeps how time and cost here, and the times that peers promised, were expected.
pub(crate) const EXPECTED: &str = "expected";

/// The end of a job beside what was expected of it.
pub(crate) struct Lesson {
    key: String,
    estimate: f64,
    actual: f64,
}

/// What work on the own card came to.
pub(crate) struct Spent {
    /// Energy, wear or rent, rounded up.
    pub(crate) cost: MicroUsd,
    /// To be stored with the job's end.
    pub(crate) done: Event,
    /// What its end teaches.
    pub(crate) lessons: Vec<Lesson>,
}

/// Work on the own card that has ended.
pub(crate) struct Ended<'a> {
    /// The job, or the contract that was sold.
    pub(crate) id: Uuid,
    pub(crate) book: Book,
    pub(crate) work: &'a Work,
    pub(crate) runtime: Option<&'a str>,
    /// For the owner or for a client.
    pub(crate) place: Place,
    /// What was expected when it began.
    pub(crate) estimate: &'a LocalCost,
    pub(crate) output: &'a Output,
    pub(crate) metered: &'a Metered,
}

impl Node {
    /// This machine as it works now, with what its sensors have read during such work.
    pub(crate) async fn machine(&self, kind: JobKind) -> Machine {
        let machine = self.machine_with_card(kind).await;
        if self.works_on_processor() { machine.without_card() } else { machine }
    }

    /// The same with the card that its owner states or that is assumed, also where the processor does the work: what
    /// buying one would come to.
    pub(crate) async fn machine_with_card(&self, kind: JobKind) -> Machine {
        let settings = self.settings();
        let mut machine = settings.machine;
        if let Some(watts) = self.card_watts(kind).await {
            machine = machine.at_work(watts);
        }
        if let Some(watts) = self.card_idle_watts(settings.sensor.as_deref()).await {
            machine = machine.at_rest(watts);
        }
        match settings.wall_meter {
            Some(line) => machine.at_the_wall(line.share(1.0)),
            None => machine,
        }
    }

    /// What running `work` here costs and takes, on an attached runtime if one is named.
    ///
    /// # Errors
    /// [`tender_base::Code::Invalid`], naming the setting that is out of range.
    pub(crate) async fn estimate(&self, work: &Work, runtime: Option<&str>) -> Result<LocalCost, Problem> {
        let machine = self.machine(work.kind()).await;
        let agent = own(runtime);
        let learned = Learned {
            time: self.recall(&calibration_of(&agent, work, "time")).await,
            cost: self.recall(&calibration_of(&agent, work, "cost")).await,
        };
        here(work, &self.throughput(runtime).await, &machine, learned, &[], self.now())
    }

    /// What work that has ended here cost, at the tariff of the hours in which it ran, and what that teaches.
    ///
    /// # Errors
    /// [`tender_base::Code::Invalid`], naming the setting that is out of range.
    pub(crate) async fn spent(&self, ended: Ended<'_>) -> Result<Spent, Problem> {
        let Ended { work, runtime, output, metered, estimate, .. } = ended;
        let (now, seconds) = (self.now(), output.wall_ms as f64 / 1000.0);
        let watts = metered.card_watts.filter(|watts| *watts > 0.0);
        let machine = self.machine(work.kind()).await;
        let machine = watts.map_or(machine.clone(), |watts| machine.at_work(watts));
        let began = Timestamp::from_millis(now.millis() - i64::try_from(output.wall_ms).unwrap_or(0));
        // The whole machine's cost of that time, of which all that ran at once bears its share.
        let usd = machine.cost(seconds, began, &[])?.total_usd() * metered.share;
        let done = WorkRecord {
            id: ended.id,
            place: ended.place,
            book: ended.book,
            kind: work.kind(),
            model: self.listed_name(work),
            runtime: runtime.map(str::to_owned),
            units: output.units,
            prompt_tokens: prompt_tokens(work, output.prompt_tokens),
            wall_ms: output.wall_ms,
            milliwatts: watts.map(|watts| (watts * 1000.0).round() as u64),
            ended_at: now,
        };
        let agent = own(runtime);
        // An assumed throughput is replaced by the first run; the ratio to it would mislead those that follow.
        // A text that ended early is no faster for it.
        let expected = estimate.uncorrected_seconds * done_of(work, output.units);
        let lessons = if estimate.throughput_measured && expected >= LEAST_SECONDS {
            let lesson = |what, estimate, actual| Lesson { key: calibration_of(&agent, work, what), estimate, actual };
            // What the time cost, shared or not, and not how long it was: that is the other ratio's matter.
            let for_the_time = estimate.uncorrected_usd / estimate.seconds * seconds;
            let time = lesson("time", expected, seconds);
            let cost = (usd > 0.0).then(|| lesson("cost", for_the_time, usd));
            [time].into_iter().chain(cost).collect()
        } else {
            Vec::new()
        };
        Ok(Spent { cost: MicroUsd((usd * 1e6).ceil() as i64), done: Event::WorkDone { work: done }, lessons })
    }

    /// Work that ended elsewhere for the owner, to be stored with the job's end.
    pub(crate) fn bought(
        &self,
        id: Uuid,
        book: Book,
        work: &Work,
        (units, of_prompt): (u64, Option<u32>),
        wall_ms: u64,
    ) -> Event {
        let work = WorkRecord {
            id,
            place: Place::Bought,
            book,
            kind: work.kind(),
            model: model(work).map(|model| model.name.clone()),
            runtime: None,
            units,
            prompt_tokens: prompt_tokens(work, of_prompt),
            wall_ms,
            milliwatts: None,
            ended_at: self.now(),
        };
        Event::WorkDone { work }
    }

    /// A text of an agent that tells its tokens. Of one that does not nobody knows how long it is.
    pub(crate) fn bought_text(&self, job: &JobRecord, output: &[u8], wall_ms: u64) -> Option<Event> {
        let Work::Generate(work) = &job.spec.work else { return None };
        let written: Generation = serde_json::from_slice(output).ok()?;
        let units = u64::from(work.prompt_tokens) + written.tokens?.len() as u64;
        Some(self.bought(job.id.uuid(), job.book, &job.spec.work, (units, None), wall_ms))
    }

    /// The time that a peer promises for such work, as its earlier promises were kept; in milliseconds. Never less than
    /// it promises: who was early for long must not be taken for early where it says that it will be too late.
    pub(crate) async fn expected_ms(&self, peer: &Did, work: &Work, promised_ms: u64) -> u64 {
        let factor: Factor = self.recall(&calibration_of(&peer.to_string(), work, "time")).await;
        (factor.correct(promised_ms as f64).ceil() as u64).max(promised_ms)
    }

    /// How the expected time and cost of work here, and of the times that peers promised, came about.
    ///
    /// # Errors
    /// [`tender_base::Code::Invalid`], naming the setting that is out of range.
    pub(crate) async fn expectations(
        &self,
        work: &Work,
        promised: Vec<(&PeerRecord, u64)>,
    ) -> Result<Vec<Value>, Problem> {
        let mut whys = match self.workplace(work, false).await {
            Ok(place) => self.estimate(work, place.runtime.as_deref()).await?.why,
            // It cannot run here, and the decision says why.
            Err(_) => Vec::new(),
        };
        for (peer, ms) in promised {
            let factor: Factor = self.recall(&calibration_of(&peer.did.to_string(), work, "time")).await;
            let name = format!("time that {} promises, as experience corrects it", peer.name);
            let mut why = factor.why(&name, ms as f64, "ms");
            why.value = why.value.max(ms as f64);
            why.formula = format!("{}; never less than the estimate", why.formula);
            whys.push(why);
        }
        whys.into_iter().map(json).collect()
    }

    /// What a peer's delivery of `units` after `wall_ms` teaches about its promises: they are made for the longest text,
    /// and for a shorter one the same part of the time counts.
    pub(crate) fn promise_kept(peer: &Did, work: &Work, promised_ms: u64, units: u64, wall_ms: u64) -> Vec<Lesson> {
        let estimate = promised_ms as f64 / 1000.0 * done_of(work, units);
        let actual = wall_ms as f64 / 1000.0;
        let key = calibration_of(&peer.to_string(), work, "time");
        let told = estimate >= LEAST_SECONDS && actual > 0.0;
        told.then_some(Lesson { key, estimate, actual }).into_iter().collect()
    }

    /// Applies the end of a job, and then what it teaches. In two transactions: ends are written to disk together,
    /// lessons one after the other, and a lesson that is lost with the power matters little.
    ///
    /// # Errors
    /// Those of the end's transaction; nothing is learned then.
    pub(crate) async fn apply_learning(
        &self,
        events: Vec<Event>,
        guards: Vec<Guard>,
        lessons: Vec<Lesson>,
    ) -> Result<(), Problem> {
        self.apply(events, guards).await?;
        if lessons.is_empty() {
            return Ok(());
        }
        // Two jobs that end together must not both learn from the same factor.
        let _alone = self.learning.lock().await;
        let mut learned = Vec::new();
        for Lesson { key, estimate, actual } in lessons {
            let mut factor: Factor = self.recall(&key).await;
            match factor.learn(LAMBDA, estimate, actual) {
                Ok(()) => {
                    let value = serde_json::to_value(factor).unwrap_or(Value::Null);
                    learned.push(Event::SettingChanged { key, value, at: self.now() });
                }
                Err(problem) => tracing::warn!(code = %problem.code, %problem, key, "the end of a job teaches nothing"),
            }
        }
        if let Err(problem) = self.apply(learned, Vec::new()).await {
            tracing::warn!(code = %problem.code, %problem, "what the end of a job teaches could not be stored");
        }
        Ok(())
    }

    /// The model of work done here, as this machine calls it: a client may write any name beside the hash. The hash of
    /// one that is not known here any more.
    fn listed_name(&self, work: &Work) -> Option<String> {
        let model = model(work)?;
        let kind = if work.kind() == JobKind::Embed { ModelKind::Embed } else { ModelKind::Text };
        let settings = self.settings();
        if let Ok(known) = models::find(&settings, kind, model) {
            return Some(known.name().to_owned());
        }
        let mut served = settings.runtimes.iter().filter_map(|runtime| runtime.serves.as_ref());
        let served = served.find(|served| served.sha256 == model.sha256);
        Some(served.map_or_else(|| model.sha256.to_string(), |served| served.name.clone()))
    }

    pub(crate) async fn throughput(&self, runtime: Option<&str>) -> Throughput {
        self.recall(&throughput_of(runtime)).await
    }

    /// Takes a finished run into account for the next estimate.
    pub(crate) async fn learn(&self, work: &Work, runtime: Option<&str>, units: u64, wall_ms: u64) {
        let mut throughput = self.throughput(runtime).await;
        throughput.learn(work.kind(), units, wall_ms);
        let value = serde_json::to_value(throughput).unwrap_or(Value::Null);
        let mut events = vec![Event::SettingChanged { key: throughput_of(runtime), value, at: self.now() }];
        if runtime.is_none() {
            let per_second = throughput.of(work.kind()).filter(|_| units > 0 && wall_ms > 0);
            events.extend(self.ran(work.kind(), per_second).await);
        }
        if let Err(problem) = self.apply(events, Vec::new()).await {
            tracing::warn!(code = %problem.code, %problem, "the measured throughput could not be stored");
        }
    }
}

/// The setting with what the own worker, or a runtime, was measured to do.
fn throughput_of(runtime: Option<&str>) -> String {
    runtime.map_or_else(|| THROUGHPUT.to_owned(), |name| format!("{THROUGHPUT}.{name}"))
}

/// The own card as an agent: its worker, or a runtime.
fn own(runtime: Option<&str>) -> String {
    runtime.map_or_else(|| "own".to_owned(), |name| format!("own@{name}"))
}

/// The setting with the factor of an agent for work of such a class: its kind, and its model's hash if it has one. Not
/// the name: a client chooses it, and each would be a setting of its own.
fn calibration_of(agent: &str, work: &Work, what: &str) -> String {
    let (kind, model) = (work.kind().name(), model(work).map(|model| model.sha256.to_string()).unwrap_or_default());
    format!("{CALIBRATION}/{agent}/{kind}/{model}/{what}")
}

/// How much of the work that was declared has been done.
fn done_of(work: &Work, units: u64) -> f64 {
    units as f64 / work.units().max(1) as f64
}

fn model(work: &Work) -> Option<&ModelRef> {
    match work {
        Work::Embed { model, .. } => Some(model),
        Work::Generate(text) => Some(&text.model),
        Work::Gemm { .. } | Work::Kernel(_) | Work::Wgsl(_) => None,
    }
}

fn prompt_tokens(work: &Work, counted: Option<u32>) -> Option<u64> {
    let Work::Generate(text) = work else { return None };
    Some(u64::from(counted.unwrap_or(text.prompt_tokens)))
}

#[cfg(test)]
#[path = "economics_tests.rs"]
mod tests;
