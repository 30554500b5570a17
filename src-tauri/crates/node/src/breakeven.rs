//! Buy or outsource, from the own job log; and the computed break-even as a rule for routing.

use crate::{
    api::{
        economics::aside,
        types::{BreakevenRule, LogAnswer, LogApiPrice, LogQuery},
    },
    node::Node,
    prices::json,
};
use tender_base::{Book, Code, JobKind, Problem, Timestamp, Work};
use tender_market::{
    api_prices::{ApiPrices, Dated},
    breakeven::{
        Breakeven, Input, breakeven,
        comparison::{Choices, compare},
        evidence::{Job, billed, evidence, shared},
        rule::{Rule, Verdict},
        usage,
    },
    draws::Draws,
};
use tender_store::{Event, Place, WorkRecord};

/// Internal setting with the rule; none while it is off.
const RULE: &str = "breakeven.rule";
/// Days of the log when nothing else is said, and at most.
const DAYS: u32 = 90;
const MAX_DAYS: u32 = 366;

impl Node {
    /// What the own job log says about buying cards, renting and staying with an API.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the field that is out of range or the model without a published price;
    /// with `as_rule` also [`Code::Unavailable`] without evidence and [`Code::Conflict`] when the break-even cannot be a
    /// rule.
    pub(crate) async fn breakeven_log(&self, query: LogQuery, as_rule: bool) -> Result<LogAnswer, Problem> {
        let now = self.now();
        let price = ApiPrices::bundled(now)?.find(&query.api_model, now).ok_or_else(|| {
            let message = format!("api_model: no price of {:?} is known", query.api_model);
            Problem::new(Code::Invalid, message, "name a model of a large provider, such as openai/gpt-4o-mini")
        })?;
        let days = query.days.unwrap_or(DAYS);
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(Problem::new(Code::Invalid, format!("days is {days}"), "give days from 1 to 366"));
        }
        let busy_hours = query.busy_hours.unwrap_or(24.0);
        if !(busy_hours > 0.0 && busy_hours <= 24.0) {
            let message = format!("busy_hours is {busy_hours}");
            return Err(Problem::new(Code::Invalid, message, "give busy_hours as a number above 0 and at most 24"));
        }
        let since = Timestamp::from_millis(now.millis() - i64::from(days) * 86_400_000);
        let log = self.store.work_since(since).await.map_err(|e| e.problem())?;
        let texts = |wanted: fn(&WorkRecord) -> bool| -> Vec<Job> {
            let works: Vec<&WorkRecord> = log.iter().map(|logged| &logged.work).filter(|work| wanted(work)).collect();
            let spans: Vec<(Timestamp, Timestamp)> = works.iter().map(|work| span(work)).collect();
            works.iter().zip(shared(&spans)).filter_map(|(work, seconds)| text_job(work, seconds)).collect()
        };
        let on_card = texts(|work| work.place != Place::Bought && work.runtime.is_none());
        let own = texts(|work| work.place != Place::Sold && work.book == Book::Real);
        let count = |jobs: &[Job]| u32::try_from(jobs.len()).unwrap_or(u32::MAX);
        let mut answer = LogAnswer {
            api: api(&price),
            card_jobs: count(&on_card),
            own_jobs: count(&own),
            evidence: Vec::new(),
            unknown: None,
            breakeven: None,
            comparison: None,
            rule: None,
        };
        let found = match evidence(&on_card, now) {
            Ok(found) => found,
            Err(problem) if problem.code == Code::Unavailable && !as_rule => {
                answer.unknown = Some(problem.message);
                answer.rule = self.rule_now(now).await?;
                return Ok(answer);
            }
            Err(problem) => return Err(problem),
        };
        answer.evidence = found.why().into_iter().map(json).collect::<Result<_, _>>()?;
        let machine = self.machine_with_card(JobKind::Generate).await;
        let card = found.apply(&Input { tariff_usd_per_kwh: machine.tariff.mean(), ..machine.card });
        let (prompt, text) =
            own.iter().fold((0, 0), |(prompt, text), job| (prompt + job.prompt_tokens, text + job.text_tokens));
        if text == 0 {
            let nothing = "the log holds no text of your own to compare by";
            if as_rule {
                return Err(Problem::new(Code::Unavailable, nothing, "have some texts written first"));
            }
            answer.unknown = Some(nothing.to_owned());
            answer.rule = self.rule_now(now).await?;
            return Ok(answer);
        }
        let usd = |micro_usd: u64| micro_usd as f64 / 1e6;
        let input = Input {
            api_usd_per_million: usd(price.price.text_micro_usd_per_million),
            api_usd_per_million_input: Some(usd(price.price.prompt_micro_usd_per_million)),
            input_output_ratio: Some(prompt as f64 / text as f64),
            // Where the log cannot tell reading from writing, the prompts' time is in the speed of writing: reading
            // takes none beside.
            prefill_tokens_per_second: found.prefill_tokens_per_second.or(Some(f64::MAX)),
            idle_watts: card.idle_watts.min(card.gpu_watts + card.host_watts),
            ..card
        };
        let output = breakeven(&input)?;
        let used = usage::days(&billed(&own, &price), &[])?;
        let choices = Choices { card: input, busy_share: busy_hours / 24.0, rent: None };
        let seed = u64::from(query.seed.unwrap_or(1));
        let comparison = aside(move || compare(&used, &choices, &mut Draws::new(seed, 0))).await?;
        answer.comparison = Some(json(&comparison)?);
        if as_rule {
            self.set_rule(&output.breakeven).await?;
        }
        answer.breakeven = Some(json(&output)?);
        answer.rule = self.rule_now(now).await?;
        Ok(answer)
    }

    /// Turns the rule on with this break-even.
    async fn set_rule(&self, found: &Breakeven) -> Result<(), Problem> {
        let rule = Rule::new(found, self.now())?;
        let event = Event::SettingChanged { key: RULE.to_owned(), value: json(&rule)?, at: self.now() };
        self.apply(vec![event], Vec::new()).await
    }

    /// Turns the rule off.
    pub(crate) async fn forget_rule(&self) -> Result<(), Problem> {
        let event = Event::SettingChanged { key: RULE.to_owned(), value: serde_json::Value::Null, at: self.now() };
        self.apply(vec![event], Vec::new()).await
    }

    async fn rule(&self) -> Option<Rule> {
        self.recall(RULE).await
    }

    async fn rule_now(&self, now: Timestamp) -> Result<Option<BreakevenRule>, Problem> {
        let Some(rule) = self.rule().await else { return Ok(None) };
        Ok(Some(BreakevenRule {
            tokens_per_day: rule.tokens_per_day,
            computed_at: rule.computed_at.to_string(),
            today: self.text_today(Book::Real, now).await?,
        }))
    }

    async fn text_today(&self, book: Book, now: Timestamp) -> Result<u64, Problem> {
        self.store.text_tokens_since(book, now.start_of_day()).await.map_err(|e| e.problem())
    }

    /// What the rule says about a text; none while it is off, and of other work.
    pub(crate) async fn rule_verdict(&self, book: Book, work: &Work) -> Result<Option<Verdict>, Problem> {
        let Work::Generate(text) = work else { return Ok(None) };
        let Some(rule) = self.rule().await else { return Ok(None) };
        let today = self.text_today(book, self.now()).await?;
        Ok(Some(rule.apply(today, u64::from(text.max_tokens))))
    }
}

/// A text of the log as evidence; none for other work, and for a text too short to be timed.
fn text_job(work: &WorkRecord, seconds: f64) -> Option<Job> {
    let prompt_tokens = work.prompt_tokens.filter(|_| work.kind == JobKind::Generate && seconds > 0.0)?;
    Some(Job {
        at: span(work).0,
        prompt_tokens,
        text_tokens: work.units.saturating_sub(prompt_tokens),
        seconds,
        watts: work.milliwatts.filter(|milliwatts| *milliwatts > 0).map(|milliwatts| milliwatts as f64 / 1000.0),
    })
}

/// From its begin to its end.
fn span(work: &WorkRecord) -> (Timestamp, Timestamp) {
    let took = i64::try_from(work.wall_ms).unwrap_or(i64::MAX);
    (Timestamp::from_millis(work.ended_at.millis().saturating_sub(took)), work.ended_at)
}

fn api(price: &Dated) -> LogApiPrice {
    LogApiPrice {
        provider: price.provider.clone(),
        model: price.model.clone(),
        prompt_micro_usd_per_million: price.price.prompt_micro_usd_per_million,
        text_micro_usd_per_million: price.price.text_micro_usd_per_million,
        source: price.source.clone(),
        taken_on: price.taken_on.clone(),
    }
}
