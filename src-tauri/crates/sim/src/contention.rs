//! 500 agents before one pool of cards: as a queue, by quota, as a market.
//!
//! An agent needs a card for some ten minutes and then none for two hours; what an hour of its waiting is worth differs
//! by two orders of magnitude between agents. The same needs are served three times.

use crate::{
    Going,
    output::{Row, Spread},
};
use std::{cmp::Ordering, collections::BinaryHeap};
use tender_market::draws::Draws;

/// Agents before the pool.
pub const AGENTS: usize = 500;
/// Cards of the pool: a load of 0.92.
pub const CARDS: usize = 42;
const HOURS: f64 = 24.0;
const NEED_HOURS: f64 = 10.0 / 60.0;
const PAUSE_HOURS: f64 = 2.0;

/// How the pool is given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// First come, first served.
    Queue,
    /// Every agent may use 1/500 of the pool, saved up to two usual needs; cards stand idle meanwhile.
    Quota,
    /// The highest bid per hour of use comes first. Prices are transfers between agents and cancel out.
    Market,
}

impl Rule {
    /// All, the one that others are compared with first.
    pub const ALL: [Self; 3] = [Self::Queue, Self::Quota, Self::Market];

    fn id(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Quota => "quota",
            Self::Market => "market",
        }
    }
}

#[derive(Clone, Copy)]
struct Need {
    at: f64,
    agent: usize,
    hours: f64,
    usd_per_hour: f64,
}

/// What a run came to.
#[derive(Clone, Copy, Default)]
struct Served {
    /// Waiting and using, in USD of the agents' time.
    usd: f64,
    /// Waiting, in hours.
    waited: f64,
    /// Share of the pool's hours that were used until the last need was served.
    used: f64,
    needs: f64,
}

fn needs(draws: &mut Draws) -> Vec<Need> {
    let mut needs = Vec::new();
    for agent in 0..AGENTS {
        // Median 0.20 USD per hour; one agent in forty is above 2.
        let usd_per_hour = libm::exp(libm::log(0.2) + 1.2 * draws.normal());
        let mut at = PAUSE_HOURS * draws.uniform();
        while at < HOURS {
            let hours = NEED_HOURS * draws.between(0.5, 1.5);
            needs.push(Need { at, agent, hours, usd_per_hour });
            at += hours + PAUSE_HOURS * draws.exponential();
        }
    }
    needs.sort_by(|a, b| a.at.total_cmp(&b.at).then(a.agent.cmp(&b.agent)));
    needs
}

/// A waiting need: the greatest rank is served next.
struct Waiting {
    rank: f64,
    need: usize,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.total_cmp(&other.rank).then(other.need.cmp(&self.need))
    }
}

/// When a need may be served at the earliest: at once, or when its agent has saved enough of its quota.
fn allowed(rule: Rule, needs: &[Need]) -> Vec<f64> {
    if rule != Rule::Quota {
        return needs.iter().map(|need| need.at).collect();
    }
    let rate = CARDS as f64 / AGENTS as f64;
    // Saved hours of each agent, and when they were counted.
    let mut saved = vec![(2.0 * NEED_HOURS, 0.0f64); AGENTS];
    let allow = |need: &Need| {
        let (hours, counted) = &mut saved[need.agent];
        let from = need.at.max(*counted);
        *hours = (*hours + rate * (from - *counted)).min(2.0 * NEED_HOURS);
        let at = from + ((need.hours - *hours) / rate).max(0.0);
        *hours = (*hours + rate * (at - from) - need.hours).max(0.0);
        *counted = at;
        at
    };
    needs.iter().map(allow).collect()
}

fn serve(rule: Rule, needs: &[Need]) -> Served {
    let allowed = allowed(rule, needs);
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by(|a, b| allowed[*a].total_cmp(&allowed[*b]).then(a.cmp(b)));
    let (mut waiting, mut free) = (BinaryHeap::new(), vec![0.0f64; CARDS]);
    let (mut next, mut served) = (0, Served { needs: needs.len() as f64, ..Served::default() });
    let (mut busy, mut last) = (0.0, 0.0f64);
    while next < order.len() || !waiting.is_empty() {
        let card = (0..CARDS).min_by(|a, b| free[*a].total_cmp(&free[*b])).unwrap_or(0);
        let now = match (waiting.is_empty(), order.get(next)) {
            (true, Some(i)) => free[card].max(allowed[*i]),
            _ => free[card],
        };
        while let Some(i) = order.get(next).filter(|i| allowed[**i] <= now) {
            let need = &needs[*i];
            let rank = if rule == Rule::Market { need.usd_per_hour / need.hours } else { -allowed[*i] };
            waiting.push(Waiting { rank, need: *i });
            next += 1;
        }
        let Some(Waiting { need, .. }) = waiting.pop() else { continue };
        let need = &needs[need];
        free[card] = now + need.hours;
        served.usd += need.usd_per_hour * (now + need.hours - need.at);
        served.waited += now - need.at;
        busy += need.hours;
        last = last.max(now + need.hours);
    }
    served.used = busy / (last * CARDS as f64);
    served
}

/// One row per rule; savings are against the queue.
pub(crate) fn rows(runs: u32, seed: u64, going: &Going<'_>) -> Vec<Row> {
    let all: Vec<[Served; 3]> = (0..runs)
        .take_while(|_| going())
        .map(|run| {
            let needs = needs(&mut Draws::new(seed, u64::from(run)));
            Rule::ALL.map(|rule| serve(rule, &needs))
        })
        .collect();
    let row = |(i, rule): (usize, Rule)| {
        let of = |value: &dyn Fn(&[Served; 3]) -> f64| all.iter().map(value).collect::<Vec<f64>>();
        let saving = |of: fn(&Served) -> f64| move |run: &[Served; 3]| 100.0 * (1.0 - of(&run[i]) / of(&run[0]));
        let mean = |values: &[f64]| Spread::of(values).map(|spread| spread.mean);
        Row {
            id: rule.id().to_owned(),
            clients: AGENTS,
            contractors: CARDS,
            days: 1,
            runs,
            runs_ok: runs,
            cost_reduction_pct: Spread::of(&of(&saving(|served| served.usd))),
            time_savings_pct: Spread::of(&of(&saving(|served| served.waited))),
            outsourced_pct: None,
            topsis_mean: None,
            won_pct: None,
            honest_saving_pct: mean(&of(&saving(|served| served.usd))),
            cheapest_saving_pct: None,
            oracle_saving_pct: None,
            decisions: mean(&of(&|run| run[i].needs)).unwrap_or(0.0),
            explored_pct: None,
            exploration_alarms: 0,
            utilisation_pct: mean(&of(&|run| 100.0 * run[i].used)),
        }
    };
    Rule::ALL.into_iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_work_is_done_and_nobody_starts_before_it_may() {
        let needs = needs(&mut Draws::new(1, 0));
        let load = needs.iter().map(|need| need.hours).sum::<f64>() / (HOURS * CARDS as f64);
        assert!((0.85..1.0).contains(&load), "{load}");
        for rule in Rule::ALL {
            let allowed = allowed(rule, &needs);
            assert!(allowed.iter().zip(&needs).all(|(at, need)| *at >= need.at));
            let served = serve(rule, &needs);
            let least: f64 = needs.iter().map(|need| need.usd_per_hour * need.hours).sum();
            assert!(served.usd >= least && served.waited >= 0.0 && served.used <= 1.0);
        }
    }

    #[test]
    fn a_market_serves_what_waits_dearest_and_a_quota_wastes() {
        let rows = rows(5, 1, &|| true);
        let saving = |i: usize| rows[i].honest_saving_pct.unwrap();
        assert_eq!(saving(0), 0.0);
        assert!(saving(2) > 0.0, "the market saves: {}", saving(2));
        assert!(saving(1) < 0.0, "idle cards beside waiting agents cost: {}", saving(1));
    }
}
