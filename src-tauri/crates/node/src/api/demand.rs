//! What was asked of this node, and why jobs came or did not.

use super::types::*;
use crate::node::Node;
use std::{collections::BTreeMap, sync::Arc};
use tender_base::{Problem, Timestamp};
use tender_store::{DayOfDemand, Refused};

/// Days when nothing else is said, and at most: refusals are kept no longer.
const DAYS: u32 = 30;
const MAX_DAYS: u32 = 400;
const DAY_MS: i64 = 86_400_000;

pub(super) async fn demand(node: &Arc<Node>, query: DemandQuery) -> Result<Demand, Problem> {
    let days = query.days.unwrap_or(DAYS).clamp(1, MAX_DAYS);
    // What was refused a moment ago belongs to it too; a database opened for looking keeps none.
    node.store_refusals().await;
    let from = node.now().start_of_day().millis() - i64::from(days - 1) * DAY_MS;
    let from = Timestamp::from_millis(from);
    let found = node.store.demand_since(node.config.book, from).await.map_err(|e| e.problem())?;
    Ok(funnel(&found, from, days))
}

fn funnel(found: &BTreeMap<Timestamp, DayOfDemand>, from: Timestamp, days: u32) -> Demand {
    let nothing = DayOfDemand::default();
    let days: Vec<DemandDay> = (0..days)
        .map(|offset| {
            let at = Timestamp::from_millis(from.millis() + i64::from(offset) * DAY_MS);
            day(at, found.get(&at).unwrap_or(&nothing))
        })
        .collect();
    let sum = |of: fn(&DemandDay) -> u64| days.iter().map(of).sum();
    let lost = found.values().flat_map(|day| day.lost.iter().map(|(why, count)| (why.clone(), *count)));
    let refused = found.values().flat_map(|day| day.refused.iter().map(|(why, count)| (word(*why), *count)));
    Demand {
        seen: sum(|day| day.seen),
        matched: sum(|day| day.matched),
        quoted: sum(|day| day.quoted),
        won: sum(|day| day.won),
        delivered: sum(|day| day.delivered),
        lost: reasons(lost),
        refused: reasons(refused),
        days,
    }
}

fn day(at: Timestamp, found: &DayOfDemand) -> DemandDay {
    let refused = |counted: fn(Refused) -> bool| -> u64 {
        found.refused.iter().filter(|(why, _)| counted(**why)).map(|(_, count)| count).sum()
    };
    DemandDay {
        day: at.to_string()[..10].to_owned(),
        seen: found.quoted + refused(|_| true),
        matched: found.quoted + refused(|why| !why.is_no_match()),
        quoted: found.quoted,
        won: found.won,
        delivered: found.delivered,
    }
}

fn reasons(counted: impl Iterator<Item = (String, u64)>) -> Vec<DemandReason> {
    let mut by_reason: BTreeMap<String, u64> = BTreeMap::new();
    for (why, count) in counted {
        *by_reason.entry(why).or_default() += count;
    }
    let mut reasons: Vec<DemandReason> =
        by_reason.into_iter().map(|(why, count)| DemandReason { why, count }).collect();
    reasons.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.why.cmp(&b.why)));
    reasons
}

fn word(why: Refused) -> String {
    serde_json::to_value(why).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_a_part_of_the_one_before() {
        let at = |day: i64| Timestamp::from_millis(1_795_219_200_000 + day * DAY_MS);
        let one = DayOfDemand {
            quoted: 5,
            won: 3,
            delivered: 2,
            lost: [("declined".to_owned(), 2), ("failed".to_owned(), 1)].into(),
            refused: [(Refused::SlotsTaken, 4), (Refused::NoSuchModel, 6)].into(),
        };
        let two = DayOfDemand { refused: [(Refused::SlotsTaken, 3)].into(), ..DayOfDemand::default() };
        let found = [(at(0), one), (at(2), two)].into();
        let demand = funnel(&found, at(0), 3);
        let stages = [demand.seen, demand.matched, demand.quoted, demand.won, demand.delivered];
        assert_eq!(stages, [18, 12, 5, 3, 2]);
        let refused: Vec<(&str, u64)> = demand.refused.iter().map(|r| (r.why.as_str(), r.count)).collect();
        assert_eq!(refused, [("slots_taken", 7), ("no_such_model", 6)]);
        assert_eq!(demand.lost[0], DemandReason { why: "declined".to_owned(), count: 2 });
        assert_eq!(demand.days.iter().map(|day| day.seen).collect::<Vec<_>>(), [15, 0, 3]);
        assert_eq!(demand.days[1].day, "2026-11-22");
    }
}
