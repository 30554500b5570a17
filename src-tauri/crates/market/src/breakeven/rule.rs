//! A computed break-even as a rule for routing: whether today's volume is one at which the own cards pay.

use super::Breakeven;
use serde::{Deserialize, Serialize};
use tender_base::{Code, Problem, Timestamp};

/// The rule, switched on by the owner.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Tokens of text a day from which on work goes to the own cards.
    pub tokens_per_day: f64,
    /// When the break-even was computed.
    pub computed_at: Timestamp,
}

/// What the rule says about a job; a line of its receipt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The rule's volume, tokens of text a day.
    pub tokens_per_day: f64,
    /// Tokens of text written today before this job, wherever.
    pub today: u64,
    /// What this job adds at most.
    pub this_job: u64,
    /// Whether the own cards are the place for it.
    pub own: bool,
    /// In a sentence.
    pub why: String,
}

impl Rule {
    /// A rule from a break-even.
    ///
    /// # Errors
    /// [`Code::Conflict`] when there is no such volume, or the cards cannot make it: such a rule would never apply.
    pub fn new(found: &Breakeven, computed_at: Timestamp) -> Result<Self, Problem> {
        match found.tokens_per_day {
            Some(tokens_per_day) if found.reachable => Ok(Self { tokens_per_day, computed_at }),
            _ => Err(Problem::new(
                Code::Conflict,
                format!("this break-even cannot be a rule: {}", found.why),
                "leave the rule off, or compute the break-even with the prices of now",
            )),
        }
    }

    /// Applies the rule to a job of `this_job` tokens of text after `today` tokens since midnight.
    #[must_use]
    pub fn apply(&self, today: u64, this_job: u64) -> Verdict {
        let volume = today.saturating_add(this_job);
        let own = volume as f64 >= self.tokens_per_day;
        let comparison = if own { "reaches" } else { "is below" };
        let why = format!(
            "today's volume with this job, {volume} tokens, {comparison} the break-even of {:.0} tokens a day \
             computed {}",
            self.tokens_per_day, self.computed_at
        );
        Verdict { tokens_per_day: self.tokens_per_day, today, this_job, own, why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_shows_the_volume_against_the_break_even_and_only_a_reachable_one_is_a_rule() {
        let found =
            Breakeven { tokens_per_day: Some(1000.5), utilisation: Some(0.4), reachable: true, why: String::new() };
        let rule = Rule::new(&found, Timestamp::from_millis(0)).unwrap();
        assert!(!rule.apply(900, 100).own);
        let verdict = rule.apply(900, 101);
        assert!(verdict.own && verdict.why.contains("1001 tokens"), "{verdict:?}");
        assert!(rule.apply(u64::MAX, 1).own);
        assert!(Rule::new(&Breakeven { reachable: false, ..found.clone() }, Timestamp::from_millis(0)).is_err());
        assert!(Rule::new(&Breakeven { tokens_per_day: None, ..found }, Timestamp::from_millis(0)).is_err());
    }
}
