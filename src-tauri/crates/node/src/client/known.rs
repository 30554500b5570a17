//! What this node has seen of the places that could run a job, and the question that a decision answers.

use super::Decided;
use crate::{api::types::DoctorCheck, node::Node};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tender_a2a::card::Terms;
use tender_base::{Code, ContractState, Did, Entropy, Problem, Role, Timestamp};
use tender_market::{
    decision::{Outcome, Situation, Source},
    explore::RateAlarm,
    receipt::{self, Question, Receipt},
    reliability::Reliability,
    standing::Seen,
};
use tender_store::{ContractFilter, ContractRecord, Event, JobFilter};

/// Internal settings with what became of the jobs of clouds and agents, which make no contracts.
const HISTORY: &str = "measured.history";

/// The jobs of a place until a day, faded to it.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct History {
    counts: Reliability,
    until: Timestamp,
}

impl History {
    fn at(self, now: Timestamp) -> Reliability {
        self.counts.faded(days(now.since(self.until)))
    }
}

fn days(span: Duration) -> f64 {
    span.as_secs_f64() / 86_400.0
}

impl Node {
    /// Decides by what is known here, with fresh entropy for whatever is drawn.
    pub(super) async fn decided(&self, situation: Situation) -> Result<Receipt, Problem> {
        let settings = self.settings();
        let mut seen = Vec::with_capacity(situation.alternatives.len());
        for alternative in &situation.alternatives {
            seen.push(match alternative.outcome {
                Outcome::Offered { .. } => self.seen(&alternative.source, situation.decided_at).await?,
                Outcome::Unavailable { .. } => Seen::default(),
            });
        }
        receipt::decide(Question::of(
            situation,
            seen,
            settings.waiting_usd_per_hour,
            settings.decision_policy,
            seed(self.entropy.as_ref()),
        ))
    }

    async fn seen(&self, source: &Source, now: Timestamp) -> Result<Seen, Problem> {
        Ok(match source {
            Source::Local => Seen::default(),
            Source::Cloud { name, .. } => Seen { history: self.history_of(name, now).await?, ..Seen::default() },
            Source::Foreign { name, .. } => {
                Seen { history: self.history_of(&super::hire::place(name), now).await?, ..Seen::default() }
            }
            Source::Peer { did, .. } => {
                let terms = match self.clients.known(did).await {
                    Some(client) => Terms::of(&client.card()).ok().flatten(),
                    None => None,
                };
                let mut seen = Seen { history: self.contracts_with(did, now).await?, ..Seen::default() };
                if let Some(terms) = terms {
                    seen.memory_bytes = terms.offer.resources.iter().filter_map(|card| card.memory_bytes).max();
                    for fact in terms.prices {
                        seen.skills.insert(fact.kind.name().to_owned());
                        seen.skills.extend(fact.model.map(|model| model.name));
                    }
                }
                seen
            }
        })
    }

    /// What became of a peer's contracts, faded by their age. Jobs that it handed back count neither way, unless it does
    /// little else.
    async fn contracts_with(&self, peer: &Did, now: Timestamp) -> Result<Reliability, Problem> {
        let filter = ContractFilter { role: Some(Role::Client), peer: Some(*peer), ..ContractFilter::default() };
        let (mut sum, mut handed_back) = (Reliability::default(), Reliability::default());
        for record in self.store.contracts(filter).await.map_err(|e| e.problem())? {
            let mut one = Reliability::default();
            if record.state == ContractState::HandedBack {
                one.observe(true);
                handed_back = handed_back.with(one.faded(days(now.since(record.changed_at))));
            } else if let Some((success, at)) = outcome(&record) {
                one.observe(success);
                sum = sum.with(one.faded(days(now.since(at))));
            }
        }
        Ok(sum.with_handbacks(handed_back.observations()))
    }

    async fn history_of(&self, place: &str, now: Timestamp) -> Result<Reliability, Problem> {
        let stored = self.store.setting(&format!("{HISTORY}.{place}")).await.map_err(|e| e.problem())?;
        let read = stored.and_then(|value| serde_json::from_value::<History>(value).ok());
        Ok(read.map(|history| history.at(now)).unwrap_or_default())
    }

    /// Whether the decisions of the newest jobs explored as often as their policies announced.
    pub(crate) async fn exploration(&self) -> Result<DoctorCheck, Problem> {
        let mut alarm = RateAlarm::default();
        for job in self.store.jobs(JobFilter::default()).await.map_err(|e| e.problem())? {
            if let Ok(Some(Decided::Now(receipt))) = Decided::of(&job)
                && let Some(rate) = receipt.choice.and_then(|choice| choice.exploration_rate)
            {
                alarm.observe(rate, receipt.explored());
            }
        }
        let (state, message, remedy) = match alarm.problem() {
            Some(problem) => ("warning", problem.message, problem.hint),
            None => {
                let RateAlarm { decisions, explored, expected, .. } = alarm;
                ("ok", format!("{explored} of {decisions} decisions explored, {expected:.1} expected"), String::new())
            }
        };
        Ok(DoctorCheck { name: "Exploration".to_owned(), state: state.to_owned(), message, remedy })
    }

    /// Remembers how a job at a cloud or an agent ended.
    pub(super) async fn observed(&self, place: &str, success: bool) {
        let now = self.now();
        let stored = async {
            let mut counts = self.history_of(place, now).await?;
            counts.observe(success);
            let value = serde_json::to_value(History { counts, until: now })
                .map_err(|e| Problem::new(Code::Internal, format!("a history cannot be written: {e}"), ""))?;
            let event = Event::SettingChanged { key: format!("{HISTORY}.{place}"), value, at: now };
            self.apply(vec![event], Vec::new()).await
        };
        if let Err(problem) = stored.await {
            tracing::warn!(code = %problem.code, %problem, place, "how the job ended could not be stored");
        }
    }
}

/// Whether a contractor did a contract, and when that was known; `None` while it is open, and for what was handed back or
/// what its owner ended: that says nothing about the contractor.
fn outcome(record: &ContractRecord) -> Option<(bool, Timestamp)> {
    let entered = |state| record.times.iter().find(|(entered, _)| *entered == state).map(|(_, at)| *at);
    match record.state {
        ContractState::Accepted | ContractState::Settled => Some((true, entered(ContractState::Accepted)?)),
        ContractState::Rejected | ContractState::Failed => Some((false, entered(record.state)?)),
        ContractState::Abandoned => {
            let lost = record.reason.as_ref().is_some_and(|reason| reason.code != Code::Conflict);
            lost.then_some((false, entered(ContractState::Abandoned)?))
        }
        _ => None,
    }
}

/// 53 bits, which every reader of JSON keeps.
fn seed(entropy: &dyn Entropy) -> u64 {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    u64::from_le_bytes(bytes) >> 11
}
