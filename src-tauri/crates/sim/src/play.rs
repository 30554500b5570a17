//! Plays the jobs of a market under a policy. What a policy learns, it learns when a job ends, and the clients of a run
//! share it: they are a circle that passes its signed receipts on.

use crate::{
    Policy,
    jobs::{Job, Reach},
    market::{CLOUDS, Market, SHOCK_PRICE},
};
use std::{cmp::Ordering, collections::BinaryHeap};
use tender_market::{
    calibration::{Factor, MAX_LAMBDA},
    choice::{Desk, Prospect, Rules},
    compatibility,
    draws::Draws,
    explore::RateAlarm,
    reliability::{OWN_PRIOR, PEER_PRIOR, Reliability},
    weights,
};

/// Jobs of a contractor that are checked in full before samples suffice.
const FIRST_JOBS: f64 = 3.0;
/// Share of a result that is checked later on.
const SAMPLE: f64 = 0.10;
/// Noise of a run's time.
const NOISE: f64 = 0.05;
/// A result is of no use later than this after its job was decided.
const DEADLINE_SECONDS: f64 = 12.0 * 3600.0;
/// Attempts elsewhere before a job stays on the own card.
const ATTEMPTS: usize = 3;

/// What the sensitivity sweep varies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knobs {
    /// How rows are compared; `rules.correlation_penalty` is α.
    pub rules: Rules,
    /// θ: least skill compatibility.
    pub theta: f64,
    /// β: how much of the weights today's market decides.
    pub beta: f64,
}

impl Default for Knobs {
    fn default() -> Self {
        Self { rules: Rules::default(), theta: compatibility::THRESHOLD, beta: weights::MARKET_SHARE }
    }
}

/// What a play came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Played {
    /// Energy, bills, checks and waiting, in USD.
    pub usd: f64,
    /// Hours from arrival to result, over all jobs.
    pub hours: f64,
    /// The same two per job, in the order of the jobs.
    pub by_job: Vec<(f64, f64)>,
    /// Decisions won by local, peer, cloud.
    pub won: [u32; 3],
    /// Decisions that explored.
    pub explored: u32,
    /// Whether they were as many as the policy announced.
    pub alarm: RateAlarm,
    /// Sum of the closeness of what was bought.
    pub closeness: f64,
    /// Jobs whose last place was bought.
    pub bought: Vec<bool>,
}

/// What comes later.
#[derive(Clone, Copy, Debug)]
struct Later {
    at: f64,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// A contractor's job ended: success, and actual over advertised time.
    Learn { id: u32, success: bool, ratio: f64 },
    /// A job must be decided again.
    Again { job: u32 },
}

impl PartialEq for Later {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Later {}
impl PartialOrd for Later {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Later {
    /// The earliest is the greatest, as a heap wants it; at one time what is learned comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |later: &Self| match later.what {
            What::Learn { id, .. } => (0, id),
            What::Again { job } => (1, job),
        };
        other.at.total_cmp(&self.at).then_with(|| key(other).cmp(&key(self)))
    }
}

/// What the circle believes of a contractor.
#[derive(Clone, Copy, Debug)]
struct Belief {
    history: Reliability,
    /// Actual over advertised time.
    time: Factor,
}

/// An offer, beside the prospect that it makes.
#[derive(Clone, Copy)]
enum Offer {
    Own,
    Peer { place: usize, current: usize, start: f64, hours: f64 },
    Cloud { which: usize, hours: f64 },
}

struct Play<'a> {
    market: &'a Market,
    jobs: &'a [Job],
    policy: Policy,
    knobs: &'a Knobs,
    own_free: Vec<f64>,
    /// Decisions for the own card and the sum of their value of time, by client.
    own_jobs: Vec<(f64, f64)>,
    busy: Vec<f64>,
    current: Vec<usize>,
    beliefs: Vec<Vec<Belief>>,
    later: BinaryHeap<Later>,
    attempts: Vec<[Option<u16>; ATTEMPTS]>,
    desk: Desk,
    offers: Vec<Offer>,
    prospects: Vec<Prospect>,
    played: Played,
}

/// Every job on the own card, first come, first served: what savings are counted against.
pub fn all_local(market: &Market, jobs: &[Job]) -> Played {
    let mut free = vec![0.0f64; market.clients.len()];
    let mut played = Played { by_job: vec![(0.0, 0.0); jobs.len()], ..Played::default() };
    for (job, spent) in jobs.iter().zip(&mut played.by_job) {
        let client = &market.clients[job.client];
        let hours = client.card.seconds(job.context, job.generated) / 3600.0 * (1.0 + NOISE * job.luck[0]);
        let done = free[job.client].max(job.at) + hours;
        free[job.client] = done;
        *spent = (client.usd_per_hour * hours + job.usd_per_hour * (done - job.at), done - job.at);
        played.usd += spent.0;
        played.hours += spent.1;
    }
    played
}

/// Plays all jobs.
pub fn play(market: &Market, jobs: &[Job], policy: Policy, knobs: &Knobs, draws: &mut Draws) -> Played {
    let fresh = Belief { history: Reliability::default(), time: Factor::default() };
    let mut play = Play {
        market,
        jobs,
        policy,
        knobs,
        own_free: vec![0.0; market.clients.len()],
        own_jobs: vec![(0.0, 0.0); market.clients.len()],
        busy: vec![0.0; market.places.len()],
        current: vec![0; market.places.len()],
        beliefs: market.places.iter().map(|place| vec![fresh; place.len()]).collect(),
        later: BinaryHeap::new(),
        attempts: vec![[None; ATTEMPTS]; jobs.len()],
        desk: Desk::default(),
        offers: Vec::new(),
        prospects: Vec::new(),
        played: Played { by_job: vec![(0.0, 0.0); jobs.len()], bought: vec![false; jobs.len()], ..Played::default() },
    };
    for (i, job) in jobs.iter().enumerate() {
        while play.later.peek().is_some_and(|later| later.at <= job.at) {
            play.next(draws);
        }
        play.decide(i, job.at, draws);
    }
    while !play.later.is_empty() {
        play.next(draws);
    }
    play.played.usd = play.played.by_job.iter().map(|(usd, _)| usd).sum();
    play.played.hours = play.played.by_job.iter().map(|(_, hours)| hours).sum();
    play.played
}

impl Play<'_> {
    fn next(&mut self, draws: &mut Draws) {
        let Some(Later { at, what }) = self.later.pop() else { return };
        match what {
            What::Again { job } => self.decide(job as usize, at, draws),
            What::Learn { id, success, ratio } => {
                let belief = &mut self.beliefs[(id >> 16) as usize][(id & 0xffff) as usize];
                belief.history.observe(success);
                // A job that broke off has no ratio, which is refused and changes nothing.
                let _ = belief.time.learn(MAX_LAMBDA, 1.0, ratio);
            }
        }
    }

    /// The contractor that has the place now.
    fn current(&mut self, place: usize, now: f64) -> usize {
        let here = &self.market.places[place];
        while here.get(self.current[place] + 1).is_some_and(|next| next.since <= now) {
            self.current[place] += 1;
            self.busy[place] = 0.0;
        }
        self.current[place]
    }

    /// Collects what is offered for a job, and what is believed, or true, of it.
    fn collect(&mut self, i: usize, now: f64) {
        let job = self.jobs[i];
        let client = self.market.clients[job.client];
        self.offers.clear();
        self.prospects.clear();
        let hours = client.card.seconds(job.context, job.generated) / 3600.0;
        let wait = (self.own_free[job.client] - now).max(0.0);
        // Equation 5, corrected: what is displaced is the time of the own jobs that come meanwhile. Those that arrive
        // while this one waits lose its whole duration, those that arrive while it runs half of it.
        let worth_per_hour = self.own_jobs[job.client].1 / (now + 1.0);
        let displaced = worth_per_hour * hours * (wait + hours / 2.0);
        let base = Prospect {
            own: true,
            bill_usd: client.usd_per_hour * hours,
            checking_usd: 0.0,
            waiting_usd: job.usd_per_hour * (wait + hours) + displaced,
            loss_usd: 0.0,
            seconds: (wait + hours) * 3600.0,
            history: Reliability::default(),
            prior: OWN_PRIOR,
            security_risk: 0.0,
        };
        self.offers.push(Offer::Own);
        self.prospects.push(base);
        let tried = self.attempts[i];
        if tried.iter().all(Option::is_some) || job.reach == Reach::Own {
            return;
        }
        let knows = self.policy == Policy::Oracle;
        let asked = &job.asked[..job.asked_len];
        let busy = asked.iter().filter(|place| self.busy[usize::from(**place)] > now).count();
        // Equation 7 in one unit: demand and supply are contractors, busy and idle.
        let pressure = 1.0 + 0.2 * (2.0 * busy as f64 - asked.len() as f64) / asked.len().max(1) as f64;
        // Checking reads prompts and answers once, on the own card.
        let check = client.usd_per_hour * (job.context + job.generated) / client.card.prefill / 3600.0;
        for place in asked.iter().map(|place| usize::from(*place)) {
            let theta = self.knobs.theta;
            let current = self.current(place, now);
            let here = &self.market.places[place][current];
            let skill = usize::from(client.coder);
            if here.fit[skill] < theta
                || here.down.iter().any(|(from, to)| (*from..*to).contains(&now))
                || tried.contains(&u16::try_from(place).ok())
            {
                continue;
            }
            let advertised = here.card.seconds(job.context, job.generated) / 3600.0;
            let raised = pressure * if job.shock { SHOCK_PRICE } else { 1.0 };
            let bill_usd = (here.asks_per_hour * raised).max(here.floor_per_hour) * advertised;
            let belief = self.beliefs[place][current];
            let start = self.busy[place].max(now);
            let (ratio, history, prior, share) = if knows {
                // Outages are part of what is true of it.
                let actual = advertised / here.speed;
                let up = if here.outage_rate > 0.0 { libm::exp(-here.outage_rate * actual) } else { 1.0 };
                let delivers = here.reliability * up;
                let sure = Reliability { successes: delivers, failures: 1.0 - delivers };
                (1.0 / here.speed, sure, Reliability::default(), SAMPLE)
            } else {
                let share = if belief.history.successes < FIRST_JOBS { 1.0 } else { SAMPLE };
                (belief.time.ratio, belief.history, PEER_PRIOR, share)
            };
            let seconds = (start - now + advertised * ratio) * 3600.0;
            self.offers.push(Offer::Peer { place, current, start, hours: advertised });
            self.prospects.push(Prospect {
                own: false,
                bill_usd,
                checking_usd: check * share,
                waiting_usd: job.usd_per_hour * seconds / 3600.0,
                seconds,
                history,
                prior,
                ..base
            });
        }
        if job.reach == Reach::Anywhere {
            for (which, cloud) in CLOUDS.iter().enumerate() {
                let hours = job.generated / cloud.decode / 3600.0;
                let bill_usd =
                    (cloud.usd_per_million_in * job.context + cloud.usd_per_million_out * job.generated) / 1e6;
                self.offers.push(Offer::Cloud { which, hours });
                self.prospects.push(Prospect {
                    own: false,
                    bill_usd,
                    waiting_usd: job.usd_per_hour * hours,
                    seconds: hours * 3600.0,
                    history: Reliability::default(),
                    prior: Reliability {
                        successes: 100.0 * cloud.reliability,
                        failures: 100.0 * (1.0 - cloud.reliability),
                    },
                    ..base
                });
            }
        }
        self.keep_in_time();
        // What a failure costs: the time, and doing it in the next best way; its own bill is not owed.
        let total = |p: &Prospect| p.bill_usd + p.checking_usd + p.waiting_usd;
        let (mut least, mut second) = (f64::INFINITY, f64::INFINITY);
        for prospect in &self.prospects {
            let usd = total(prospect);
            if usd < least {
                (least, second) = (usd, least);
            } else {
                second = second.min(usd);
            }
        }
        for prospect in self.prospects.iter_mut().filter(|prospect| !prospect.own) {
            let other = if total(prospect) <= least { second } else { least };
            prospect.loss_usd = (other - prospect.bill_usd - 0.25 * prospect.waiting_usd).max(0.0);
        }
    }

    /// The deadline is a hard constraint: what is later is no alternative, unless nothing is in time.
    fn keep_in_time(&mut self) {
        if !self.prospects.iter().any(|prospect| prospect.seconds <= DEADLINE_SECONDS) {
            return;
        }
        let mut kept = 0;
        for i in 0..self.prospects.len() {
            if self.prospects[i].seconds <= DEADLINE_SECONDS {
                self.prospects.swap(kept, i);
                self.offers.swap(kept, i);
                kept += 1;
            }
        }
        self.prospects.truncate(kept);
        self.offers.truncate(kept);
    }

    /// Today's weights: the pressure of prices, failures, urgency and risk (Listing 1), with the paper's as history.
    fn rules(&self, job: &Job) -> Rules {
        let market = [0.4, 0.25, job.usd_per_hour, if job.reach == Reach::Peers { 0.2 } else { 0.1 }];
        Rules { weights: weights::blended(market, self.knobs.rules.weights, self.knobs.beta), ..self.knobs.rules }
    }

    fn decide(&mut self, i: usize, now: f64, draws: &mut Draws) {
        self.collect(i, now);
        let job = self.jobs[i];
        let (chosen, explored) = match self.policy {
            Policy::Oracle => {
                let usd = |p: &Prospect| p.total_usd(p.belief().mean());
                let best = (0..self.prospects.len())
                    .min_by(|a, b| usd(&self.prospects[*a]).total_cmp(&usd(&self.prospects[*b])));
                (best.unwrap_or(0), false)
            }
            Policy::Engine(_) | Policy::Paper if self.prospects.len() == 1 => (0, false),
            Policy::Engine(policy) => {
                let rules = self.rules(&job);
                let choice = self.desk.choose(&self.prospects, &rules, policy, draws);
                let chosen = choice.map_or(0, |choice| choice.chosen);
                if !self.prospects[chosen].own {
                    self.played.closeness += self.desk.verdicts[chosen].closeness;
                }
                let explored = choice.is_some_and(|choice| choice.chosen != choice.best);
                if let Some(rate) = choice.and_then(|choice| choice.exploration_rate) {
                    self.played.alarm.observe(rate, explored);
                }
                (chosen, explored)
            }
            Policy::Paper => (0, false),
        };
        self.played.explored += u32::from(explored);
        self.carry_out(i, now, chosen);
    }

    fn carry_out(&mut self, i: usize, now: f64, chosen: usize) {
        let job = self.jobs[i];
        let prospect = self.prospects[chosen];
        let noise = 1.0 + NOISE * job.luck[0];
        let attempt = self.attempts[i].iter().filter(|tried| tried.is_some()).count();
        match self.offers[chosen] {
            Offer::Own => {
                let client = &self.market.clients[job.client];
                let hours = client.card.seconds(job.context, job.generated) / 3600.0 * noise;
                let done = self.own_free[job.client].max(now) + hours;
                self.own_free[job.client] = done;
                self.played.won[0] += 1;
                self.own_jobs[job.client].0 += 1.0;
                self.own_jobs[job.client].1 += job.usd_per_hour;
                self.end(i, client.usd_per_hour * hours, done, false);
            }
            Offer::Peer { place, current, start, hours } => {
                let here = &self.market.places[place][current];
                let ratio = noise / here.speed;
                let mut done = start + hours * ratio;
                let mut success = job.luck[1 + 2 * attempt] < here.reliability;
                // Half of the failures show when the result is checked, the others before.
                let mut checked = true;
                if !success && job.luck[2 + 2 * attempt] > 0.5 {
                    checked = false;
                    done = start + hours * ratio * (2.0 * job.luck[2 + 2 * attempt] - 1.0);
                }
                if let Some((from, _)) = here.down.iter().find(|(from, to)| *to > start && *from < done) {
                    (success, checked, done) = (false, false, from.max(start));
                }
                if let Some(next) = self.market.places[place].get(current + 1)
                    && next.since < done
                {
                    (success, checked, done) = (false, false, next.since.max(now));
                }
                self.busy[place] = done;
                self.played.won[1] += 1;
                let id = u32::try_from(place << 16 | current).unwrap_or(u32::MAX);
                let ratio = if checked { ratio } else { 0.0 };
                self.later.push(Later { at: done, what: What::Learn { id, success, ratio } });
                let checking = if checked { prospect.checking_usd } else { 0.0 };
                if success {
                    self.end(i, prospect.bill_usd + checking, done, true);
                } else {
                    self.again(i, attempt, u16::try_from(place).ok(), checking, done);
                }
            }
            Offer::Cloud { which, hours } => {
                let done = now + hours * noise;
                self.played.won[2] += 1;
                if job.luck[1 + 2 * attempt] < CLOUDS[which].reliability {
                    self.end(i, prospect.bill_usd, done, true);
                } else {
                    self.again(i, attempt, Some(u16::MAX), 0.0, done);
                }
            }
        }
    }

    fn end(&mut self, i: usize, usd: f64, done: f64, bought: bool) {
        let job = &self.jobs[i];
        let spent = &mut self.played.by_job[i];
        spent.0 += usd + job.usd_per_hour * (done - job.at);
        spent.1 = done - job.at;
        self.played.bought[i] = bought;
    }

    /// A failure: the job is decided again, elsewhere.
    fn again(&mut self, i: usize, attempt: usize, tried: Option<u16>, usd: f64, at: f64) {
        self.attempts[i][attempt] = tried;
        self.played.by_job[i].0 += usd;
        self.later.push(Later { at, what: What::Again { job: u32::try_from(i).unwrap_or(u32::MAX) } });
    }
}
