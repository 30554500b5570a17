//! What to ask for work on the own card. The node suggests; the owner sets.

use crate::{
    api::types::{PaidHours, PriceRate, PriceRow, Prices, PricesQuery, SetPriceInput, SuggestedPrice},
    node::Node,
};
use serde_json::Value;
use std::time::Duration;
use tender_base::{Code, ContractState, JobKind, JobState, Problem, Rate, Role, Timestamp};
use tender_market::{
    asking::{self, Basis, DEFAULT_SENSITIVITY, Demand, Origins},
    cost::internal::{Displaced, opportunity_usd},
    number::{positive, within},
    price::{PriceList, floor},
    why::{Origin, Why},
};
use tender_store::{ContractFilter, Event, JobFilter, LoggedWork, Place};

/// Margin when the owner names none: a quarter on top of the floor.
const MARGIN: f64 = 0.25;
/// How far back the own history counts.
const HISTORY: Duration = Duration::from_secs(60 * 24 * 3600);
/// The time in which work could be bought is stored in spans of this length; what a stop cuts off is not counted.
const OFFERED_SPAN: Duration = Duration::from_secs(3600);

impl Node {
    /// What is asked, what a unit costs at this hour, and what could be asked.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the margin, the cap or the setting that is out of range.
    pub(crate) async fn prices(&self, query: PricesQuery) -> Result<Prices, Problem> {
        if let Some(margin) = query.margin {
            within("margin", margin, 0.0, 10.0)?;
        }
        if let Some(cap) = query.cap_micro_usd_per_unit {
            positive("cap_micro_usd_per_unit", cap)?;
        }
        let now = self.now();
        let since = Timestamp::from_millis(now.millis() - i64::try_from(HISTORY.as_millis()).unwrap_or(0));
        let worked = self.store.work_since(since).await.map_err(|e| e.problem())?;
        let offered = self.store.offered_since(since).await.map_err(|e| e.problem())?;
        let hours = asking::paid_hours(&asking::offered_days(&offered, &paid_spans(&worked), now))?;
        let mut rows = Vec::new();
        for kind in JobKind::ALL.into_iter().filter(|kind| query.kind.is_none_or(|wanted| wanted == *kind)) {
            rows.push(self.price_row(kind, &query, &worked, &hours).await?);
        }
        let why = hours.why().map(json).transpose()?;
        let paid_hours = match hours {
            asking::PaidHours::Unknown { why: unknown } => {
                PaidHours { mean: None, low: None, high: None, unknown: Some(unknown), why }
            }
            asking::PaidHours::Expected { mean, low, high, .. } => {
                PaidHours { mean: Some(mean), low: Some(low), high: Some(high), unknown: None, why }
            }
        };
        Ok(Prices { rows, paid_hours })
    }

    async fn price_row(
        &self,
        kind: JobKind,
        query: &PricesQuery,
        worked: &[LoggedWork],
        hours: &asking::PaidHours,
    ) -> Result<PriceRow, Problem> {
        let now = self.now();
        let settings = self.settings();
        let (asked, prompt) = (settings.prices.rate(kind), settings.prices.prompt_rate(kind));
        let mix = mix(kind, worked);
        let mut row = PriceRow {
            kind,
            unit: format!("{:?}", kind.unit()).to_lowercase(),
            asked: PriceRate { micro_usd: asked.micro_usd, per_units: asked.per_units },
            asked_prompt: prompt.map(|rate| PriceRate { micro_usd: rate.micro_usd, per_units: rate.per_units }),
            warning: None,
            suggested: None,
            unknown: None,
        };
        let Some(units_per_second) = self.speed_here(kind).await else {
            let work = match kind {
                JobKind::Embed => "embedding job",
                JobKind::Gemm => "matrix product",
                JobKind::Kernel => "catalogue kernel",
                JobKind::Wgsl => "WGSL kernel",
                JobKind::Generate => "text job",
            };
            row.unknown = Some(format!("no {work} was done here, so its speed is not known: run or sell one"));
            return Ok(row);
        };
        let machine = self.machine(kind).await;
        let (demand, slots) = self.demand(kind).await?;
        let displaced = if demand.free > 0.0 { Vec::new() } else { self.displaced(kind).await? };
        let running = machine.running(now, opportunity_usd(3_600.0, &displaced)?)?;
        row.warning = floor(units_per_second, &running).and_then(|floor| floor.warning(&of_a_unit(asked, prompt, mix)));
        let cap = query.cap_micro_usd_per_unit.map(|cap| (cap, Origin::Stated)).or_else(|| self.cloud_cap(mix));
        let basis = Basis {
            running,
            unit: kind.unit(),
            units_per_second,
            margin: query.margin.unwrap_or(MARGIN),
            demand: Some(demand),
            cap_micro_usd_per_unit: cap.as_ref().map(|cap| cap.0),
        };
        let origins = Origins {
            watts: machine.origin("gpu_watts"),
            wear: machine.origin(if machine.rent_usd_per_hour.is_some() { "rent_usd_per_hour" } else { "price_usd" }),
            margin: if query.margin.is_some() { Origin::Stated } else { Origin::Assumed },
            cap: cap.map_or(Origin::Stated, |cap| cap.1),
        };
        let suggestion = match asking::suggest(&basis, &origins) {
            Ok(suggestion) => suggestion,
            // The query is right, so it is the machine: too slow for any price that a list takes.
            Err(problem) => {
                row.unknown = Some(problem.message);
                return Ok(row);
            }
        };
        let held = json(suggestion.held)?.as_str().unwrap_or_default().to_owned();
        let mut whys = vec![suggestion.why.clone(), slots];
        whys.extend(machine.why(now)?);
        row.suggested = Some(SuggestedPrice {
            rate: PriceRate { micro_usd: suggestion.rate.micro_usd, per_units: suggestion.rate.per_units },
            usd_per_gpu_second: suggestion.usd_per_gpu_second,
            floor_micro_usd_per_unit: suggestion.floor.micro_usd_per_unit,
            held,
            margin_usd_per_day: hours.margin_usd(&suggestion, units_per_second).map(Vec::from),
            why: whys.into_iter().map(json).collect::<Result<_, _>>()?,
        });
        Ok(row)
    }

    /// Units per second of the own worker, or where it did none of the slowest attached runtime of this machine: a
    /// price holds wherever the work is done.
    async fn speed_here(&self, kind: JobKind) -> Option<f64> {
        if let Some(own) = self.throughput(None).await.of(kind) {
            return Some(own);
        }
        let mut slowest: Option<f64> = None;
        for runtime in self.settings().runtimes.iter().filter(|runtime| runtime.cloud.is_none()) {
            let speed = self.throughput(Some(&runtime.name)).await.of(kind);
            slowest = slowest.into_iter().chain(speed).reduce(f64::min);
        }
        slowest
    }

    /// Supply and demand of this moment, in slots.
    async fn demand(&self, kind: JobKind) -> Result<(Demand, Why), Problem> {
        let settings = self.settings();
        let text = kind == JobKind::Generate;
        let total = f64::from(if text { settings.text_slots } else { settings.slots });
        let sold = self.holding(text).await?.len();
        let waiting = JobFilter { states: vec![JobState::Queued, JobState::Running], ..JobFilter::default() };
        let own = self.store.jobs(waiting).await.map_err(|e| e.problem())?;
        let own = own.iter().filter(|job| (job.kind == JobKind::Generate) == text).count();
        let wanted = (sold + own) as f64;
        let free = (total - wanted).max(0.0);
        let demand = Demand { wanted, free, total, sensitivity: DEFAULT_SENSITIVITY, complexity: 1.0 };
        let why = Why::new("demand", demand.factor()?, "", "(1 + α × (D − S) / T) × β", "COALESCE eq. 7, in slots")
            .with("D: contracts that hold a slot, and own jobs", wanted, "slots", Origin::Measured)
            .with("S: free", free, "slots", Origin::Computed)
            .with("T: all", total, "slots", Origin::Stated)
            .with("α", demand.sensitivity, "", Origin::Assumed)
            .with("β", demand.complexity, "", Origin::Assumed);
        Ok((demand, why))
    }

    /// Contracts that hold a slot for such work.
    async fn holding(&self, text: bool) -> Result<Vec<tender_store::ContractRecord>, Problem> {
        let states = vec![ContractState::Proposed, ContractState::Awarded, ContractState::Running];
        let filter = ContractFilter { role: Some(Role::Contractor), states, ..ContractFilter::default() };
        let mut holding = self.contracts(filter).await?;
        holding.retain(|record| {
            record.call().is_some_and(|call| (call.document.job.work.kind() == JobKind::Generate) == text)
        });
        Ok(holding)
    }

    /// What a further job would displace when no slot is free: the margins of the contracts that hold them.
    async fn displaced(&self, kind: JobKind) -> Result<Vec<Displaced>, Problem> {
        let mut displaced = Vec::new();
        for record in self.holding(kind == JobKind::Generate).await? {
            let (Some(call), Some(proposal)) = (record.call(), record.proposal()) else { continue };
            let seconds = proposal.document.estimated_ms.max(1) as f64 / 1000.0;
            let machine = self.machine(call.document.job.work.kind()).await;
            let costs = machine.cost(seconds, self.now(), &[])?.total_usd();
            displaced.push(Displaced { margin_usd: proposal.document.amount.as_usd() - costs, seconds });
        }
        Ok(displaced)
    }

    /// What the cheapest attached cloud asks for a token, in the mix of prompt and text that the log shows.
    fn cloud_cap(&self, mix: Option<Mix>) -> Option<(f64, Origin)> {
        let Mix { prompt, text } = mix?;
        let clouds = self.settings().runtimes;
        let asked = clouds.iter().filter_map(|runtime| runtime.cloud).map(|price| {
            let usd = prompt as f64 * price.prompt_micro_usd_per_million as f64
                + text as f64 * price.text_micro_usd_per_million as f64;
            usd / 1e6 / (prompt + text) as f64
        });
        asked.filter(|cap| cap.is_finite() && *cap > 0.0).min_by(f64::total_cmp).map(|cap| (cap, Origin::Computed))
    }

    /// Asks this price from now on. A price of a text's prompt alone stays unless another is named.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the field that cannot be billed.
    pub(crate) async fn set_price(&self, input: SetPriceInput) -> Result<(), Problem> {
        let SetPriceInput { kind, rate, prompt } = input;
        let priced =
            |rate: &PriceRate| Rate { micro_usd: rate.micro_usd, per_units: rate.per_units, unit: kind.unit() };
        let mut list = PriceList::default();
        list.set(kind, priced(&rate));
        if prompt.is_some() && kind != JobKind::Generate {
            let message = format!("prompt is a price of texts, and {} work has none", kind.name());
            return Err(Problem::new(Code::Invalid, message, "leave prompt out"));
        }
        list.generate_prompt = prompt.as_ref().filter(|rate| rate.per_units > 0).map(priced);
        list.check()?;
        let key = |part: &str| format!("price.{}.{part}", kind.name());
        let mut values =
            vec![(key("micro_usd"), Value::from(rate.micro_usd)), (key("per_units"), rate.per_units.into())];
        if let Some(prompt) = prompt {
            values.push(("price.generate_prompt.micro_usd".to_owned(), prompt.micro_usd.into()));
            values.push(("price.generate_prompt.per_units".to_owned(), prompt.per_units.into()));
        }
        for (key, value) in &values {
            crate::settings::check(key, value)?;
        }
        // Together: a price for another number of units would be another price.
        self.set_all(values).await
    }

    /// Notes that work could be bought here since `since`; called again and again while the node runs.
    pub(crate) async fn note_offered(&self, since: &mut Option<Timestamp>) {
        let now = self.now();
        let on = self.willing(now).is_ok();
        if let Some(from) = *since
            && (!on || now.since(from) >= OFFERED_SPAN)
        {
            if let Err(problem) = self.apply(vec![Event::Offered { from, until: now }], Vec::new()).await {
                tracing::warn!(code = %problem.code, %problem, "the time in which work could be bought was not stored");
            }
            *since = None;
        }
        if on && since.is_none() {
            *since = Some(now);
        }
    }
}

/// Tokens of the prompts and of the texts in the log; together at least one.
#[derive(Clone, Copy)]
struct Mix {
    prompt: u64,
    text: u64,
}

/// The mix of the log; none of other work than texts, and where a text does not tell.
fn mix(kind: JobKind, worked: &[LoggedWork]) -> Option<Mix> {
    let (mut prompt, mut text) = (0u64, 0u64);
    for LoggedWork { work, .. } in worked.iter().filter(|_| kind == JobKind::Generate) {
        if work.kind != kind {
            continue;
        }
        let of_prompt = work.prompt_tokens?;
        prompt = prompt.saturating_add(of_prompt);
        text = text.saturating_add(work.units.saturating_sub(of_prompt));
    }
    (prompt.saturating_add(text) > 0).then_some(Mix { prompt, text })
}

/// What is asked for a token, in the mix of prompt and text that the log shows. Where it shows none it is the dearer of
/// both prices: what does not cover the floor by that is a loss whatever the mix.
fn of_a_unit(asked: Rate, prompt: Option<Rate>, mix: Option<Mix>) -> Rate {
    let Some(of_prompt) = prompt else { return asked };
    let mixed = mix.and_then(|Mix { prompt, text }| {
        let amount = asked.amount_with(text, &of_prompt, prompt)?;
        let micro_usd = u64::try_from(amount.0).ok()?;
        Some(Rate { micro_usd, per_units: prompt.saturating_add(text), unit: asked.unit })
    });
    let of_one = |rate: &Rate| rate.micro_usd as f64 / rate.per_units.max(1) as f64;
    mixed.unwrap_or(if of_one(&asked) >= of_one(&of_prompt) { asked } else { of_prompt })
}

/// When work was done here that is owed or paid.
fn paid_spans(worked: &[LoggedWork]) -> Vec<(Timestamp, Timestamp)> {
    let owed = worked.iter().filter(|logged| logged.owed && logged.work.place == Place::Sold);
    owed.map(|LoggedWork { work, .. }| {
        let took = i64::try_from(work.wall_ms).unwrap_or(i64::MAX);
        (Timestamp::from_millis(work.ended_at.millis().saturating_sub(took)), work.ended_at)
    })
    .collect()
}

pub(crate) fn json<T: serde::Serialize>(value: T) -> Result<Value, Problem> {
    serde_json::to_value(value).map_err(|e| Problem::new(Code::Internal, format!("it cannot be written: {e}"), ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::Unit;

    #[tokio::test]
    async fn the_prompts_own_price_stays_until_another_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let node = crate::metering::tests::node(&dir).await;
        let per = |micro_usd, per_units| PriceRate { micro_usd, per_units };
        let set = async |kind, micro_usd, prompt| {
            node.set_price(SetPriceInput { kind, rate: per(micro_usd, 1_000), prompt }).await?;
            let prices = node.settings().prices;
            let asked = prices.prompt_rate(JobKind::Generate).map(|rate| (rate.micro_usd, rate.per_units));
            Ok::<_, Problem>((prices.rate(JobKind::Generate).micro_usd, asked))
        };
        assert_eq!(set(JobKind::Generate, 80, None).await.unwrap(), (80, None));
        assert_eq!(set(JobKind::Generate, 90, Some(per(1, 100))).await.unwrap(), (90, Some((1, 100))));
        assert_eq!(set(JobKind::Generate, 100, None).await.unwrap(), (100, Some((1, 100))), "it stays");
        assert_eq!(set(JobKind::Embed, 5, None).await.unwrap(), (100, Some((1, 100))));
        assert_eq!(set(JobKind::Embed, 5, Some(per(1, 1))).await.unwrap_err().code, Code::Invalid);
        assert_eq!(set(JobKind::Generate, 100, Some(per(0, 0))).await.unwrap(), (100, None), "and can end");
    }

    #[test]
    fn what_is_asked_for_a_token_counts_the_prompt_at_its_own_price() {
        let per = |micro_usd, per_units| Rate { micro_usd, per_units, unit: Unit::Token };
        let (text, prompt) = (per(80, 1_000), per(1, 100));
        assert_eq!(of_a_unit(text, None, None), text);
        // 900 tokens at 0.01 and 100 at 0.08 are 17.
        let mixed = of_a_unit(text, Some(prompt), Some(Mix { prompt: 900, text: 100 }));
        assert_eq!(mixed, per(17, 1_000));
        let unknown = [of_a_unit(text, Some(prompt), None), of_a_unit(prompt, Some(text), None)];
        assert_eq!(unknown, [text, text], "a loss by the dearer price is one by any mix");
    }
}
