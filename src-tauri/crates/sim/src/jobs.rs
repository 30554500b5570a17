//! The jobs of preset `tender`: who wants what, when, and what chance has in store for it.

use crate::{
    arrivals::{CODE, CONVERSATION, Fit, Request},
    market::{Market, SHOCK_DEMAND},
};
use tender_market::draws::Draws;

/// Requests in a job: what a user has collected since the last one.
pub const REQUESTS: (f64, f64) = (2_000.0, 6_000.0);
/// Most contractors that are asked for an offer.
pub const ASKED: usize = 8;
/// Draws of chance that a job carries: its own noise, and two for each attempt.
pub const LUCK: usize = 7;

/// Where the data of a job may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Only the own card.
    Own,
    /// Peers, too.
    Peers,
    /// Clouds, too.
    Anywhere,
}

/// A job.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Index of the client.
    pub client: usize,
    /// Hours from the start.
    pub at: f64,
    /// Tokens of all prompts.
    pub context: f64,
    /// Tokens of all answers.
    pub generated: f64,
    /// Where its data may go.
    pub reach: Reach,
    /// What an hour of waiting is worth, in USD.
    pub usd_per_hour: f64,
    /// Whether it came in a shock.
    pub shock: bool,
    /// The contractors that are asked; `asked_len` of them.
    pub asked: [u16; ASKED],
    /// How many are asked.
    pub asked_len: usize,
    /// A normal draw, then uniform ones.
    pub luck: [f64; LUCK],
}

/// How often a client's jobs arrive in each hour, over its mean: as in a trace, or as the generator swings.
fn swings(fit: &Fit, client: usize, hours: u32, trace: Option<&[Request]>, draws: &mut Draws) -> Vec<f64> {
    let swing = |hour: u32| match trace {
        Some(trace) => swing_of(trace, f64::from(hour), client),
        None => draws.gamma(fit.shape) / fit.shape,
    };
    (0..hours).map(swing).collect()
}

/// Hours at which a client's jobs arrive, in order.
fn arrivals(market: &Market, per_hour: f64, swings: &[f64], draws: &mut Draws) -> Vec<f64> {
    let mut times = Vec::new();
    for (hour, swing) in (0u32..).zip(swings) {
        let from = f64::from(hour);
        let shock = if market.in_shock(from) { SHOCK_DEMAND } else { 1.0 };
        let (start, count) = (times.len(), draws.poisson(per_hour * swing * shock));
        times.extend((0..count).map(|_| from + draws.uniform()));
        times[start..].sort_by(f64::total_cmp);
    }
    times
}

/// Rate of one minute of the trace over its mean, minutes being taken in turn.
fn swing_of(trace: &[Request], hour: f64, client: usize) -> f64 {
    let span = trace.last().map_or(1.0, |last| last.at).max(60.0);
    let minutes = (span / 60.0).floor();
    let minute = (hour + client as f64 * 7.0) % minutes;
    let from = trace.partition_point(|request| request.at < minute * 60.0);
    let to = trace.partition_point(|request| request.at < (minute + 1.0) * 60.0);
    (to - from) as f64 / (trace.len() as f64 / (span / 60.0))
}

/// Draws all jobs of a run, in order of time.
pub fn draw(market: &Market, hours: f64, trace: Option<&[Request]>, draws: &mut Draws) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut order: Vec<u16> = (0..market.places.len()).map(|i| u16::try_from(i).unwrap_or(u16::MAX)).collect();
    let trace_means = trace.map(|trace| {
        let mean = |of: fn(&Request) -> f64| trace.iter().map(of).sum::<f64>() / trace.len().max(1) as f64;
        (mean(|request| request.context.max(1.0)), mean(|request| request.generated.max(1.0)))
    });
    for (i, client) in market.clients.iter().enumerate() {
        let fit = if client.coder { CODE } else { CONVERSATION };
        let mean_requests = (REQUESTS.0 + REQUESTS.1) / 2.0;
        let (context, generated) = trace_means.unwrap_or((fit.context.mean(), fit.generated.mean()));
        let mean_hours = mean_requests * client.card.seconds(context, generated) / 3600.0;
        let swings = swings(&fit, i, hours as u32, trace, draws);
        for at in &arrivals(market, client.load / mean_hours, &swings, draws) {
            let requests = draws.between(REQUESTS.0, REQUESTS.1);
            let (context, generated) = match trace {
                Some(trace) => {
                    let request = trace[draws.below(trace.len())];
                    (request.context.max(1.0), request.generated.max(1.0))
                }
                None => (fit.context.draw(draws), fit.generated.draw(draws)),
            };
            let reach = match draws.uniform() {
                u if u < 0.15 => Reach::Own,
                u if u < 0.55 => Reach::Peers,
                _ => Reach::Anywhere,
            };
            let asked_len = if reach == Reach::Own { 0 } else { ASKED.min(order.len()) };
            let mut asked = [0; ASKED];
            for (k, slot) in asked.iter_mut().enumerate().take(asked_len) {
                let other = k + draws.below(order.len() - k);
                order.swap(k, other);
                *slot = order[k];
            }
            let mut luck = [0.0; LUCK];
            luck[0] = draws.normal();
            luck[1..].fill_with(|| draws.uniform());
            jobs.push(Job {
                client: i,
                at: *at,
                context: requests * context,
                generated: requests * generated,
                reach,
                usd_per_hour: draws.between(0.01, 0.10),
                shock: market.in_shock(*at),
                asked,
                asked_len,
                luck,
            });
        }
    }
    jobs.sort_by(|a, b| a.at.total_cmp(&b.at).then(a.client.cmp(&b.client)));
    jobs
}
