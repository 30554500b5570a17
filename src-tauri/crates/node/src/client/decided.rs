//! A job's stored decision. Those of earlier versions stay readable: they are shown, not judged again.

use crate::api::types::Explanation;
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;
use tender_base::{Code, Problem, Timestamp};
use tender_market::{
    decision::{Actual, Alternative, Outcome, Situation, Source},
    receipt::Receipt,
};
use tender_store::JobRecord;

/// A decision, by whichever version.
pub(crate) enum Decided {
    /// By this one.
    Now(Box<Receipt>),
    /// By a version that ordered the offers by their cost.
    Earlier(Box<Earlier>),
}

/// What is still shown of an earlier version's decision.
#[derive(Deserialize)]
pub(crate) struct Earlier {
    engine: String,
    situation: Situation,
    chosen: Option<usize>,
    actual: Option<Actual>,
    /// The whole of it.
    #[serde(skip)]
    stored: Value,
}

impl Decided {
    /// The decision behind a job; `None` before there is one.
    ///
    /// # Errors
    /// [`Code::Unavailable`] for what a later version wrote.
    pub(crate) fn of(job: &JobRecord) -> Result<Option<Self>, Problem> {
        let Some(value) = &job.decision else { return Ok(None) };
        if let Ok(receipt) = Receipt::deserialize(value) {
            return Ok(Some(Self::Now(Box::new(receipt))));
        }
        let earlier = Earlier::deserialize(value).map_err(|e: serde_json::Error| {
            let engine = value.get("engine").and_then(Value::as_str).unwrap_or("an unknown version");
            let message = format!("the decision was made by {engine} and cannot be read: {e}");
            Problem::new(Code::Unavailable, message, "read it with the version of Tender that made it")
        })?;
        Ok(Some(Self::Earlier(Box::new(Earlier { stored: value.clone(), ..earlier }))))
    }

    pub(crate) fn alternatives(&self) -> &[Alternative] {
        match self {
            Self::Now(receipt) => &receipt.question.situation.alternatives,
            Self::Earlier(earlier) => &earlier.situation.alternatives,
        }
    }

    /// Index of the alternative taken.
    pub(crate) fn chosen(&self) -> Option<usize> {
        match self {
            Self::Now(receipt) => receipt.choice.map(|choice| choice.chosen),
            Self::Earlier(earlier) => earlier.chosen,
        }
    }

    /// What the job came to; `None` until it has ended.
    pub(crate) fn actual(&self) -> Option<&Actual> {
        match self {
            Self::Now(receipt) => receipt.actual.as_ref(),
            Self::Earlier(earlier) => earlier.actual.as_ref(),
        }
    }

    /// What did the job, when it was bought without a contract.
    pub(crate) fn by(&self) -> Option<&Source> {
        self.actual()?.by.as_ref()
    }

    pub(crate) fn decided_at(&self) -> Timestamp {
        match self {
            Self::Now(receipt) => receipt.question.situation.decided_at,
            Self::Earlier(earlier) => earlier.situation.decided_at,
        }
    }

    /// The version of the rules that decided.
    pub(crate) fn engine(&self) -> &str {
        match self {
            Self::Now(receipt) => &receipt.engine,
            Self::Earlier(earlier) => &earlier.engine,
        }
    }

    /// Why the alternative at index `i` was taken or not.
    pub(crate) fn why_not(&self, i: usize) -> String {
        match self {
            Self::Now(receipt) => receipt.why_not(i),
            Self::Earlier(earlier) => {
                let taken = if earlier.chosen == Some(i) { "was chosen" } else { "was not chosen" };
                let name = self.alternatives().get(i).map_or("it", |alternative| alternative.source.label());
                format!("{name} {taken} by {}, an earlier version, whose reasons are not told any more", earlier.engine)
            }
        }
    }

    /// As `tender explain` prints it.
    ///
    /// # Errors
    /// [`Code::Internal`] when it cannot be written as JSON.
    pub(crate) fn explanation(&self) -> Result<Explanation, Problem> {
        let text = self.render();
        let written = match self {
            Self::Now(receipt) => {
                let whys: Result<Vec<Value>, _> =
                    (0..receipt.rows.len()).filter_map(|i| receipt.why(i)).map(serde_json::to_value).collect();
                serde_json::to_value(receipt).and_then(|decision| Ok(Explanation { text, decision, whys: whys? }))
            }
            Self::Earlier(earlier) => Ok(Explanation { text, decision: earlier.stored.clone(), whys: Vec::new() }),
        };
        written.map_err(|e: serde_json::Error| {
            Problem::new(Code::Internal, format!("the decision cannot be written: {e}"), "")
        })
    }

    /// As plain text, ending in a line break.
    pub(crate) fn render(&self) -> String {
        let earlier = match self {
            Self::Now(receipt) => return receipt.render(),
            Self::Earlier(earlier) => earlier,
        };
        let mut out = format!("decided {} by {}, an earlier version\n\n", earlier.situation.decided_at, earlier.engine);
        for (i, Alternative { source, outcome }) in earlier.situation.alternatives.iter().enumerate() {
            let mark = if earlier.chosen == Some(i) { "chosen" } else { "" };
            let offer = match outcome {
                Outcome::Offered { cost, estimated_ms, .. } => format!("{cost} in {estimated_ms} ms"),
                Outcome::Unavailable { problem } => problem.message.clone(),
            };
            let _ = writeln!(out, "{mark:<6}  {}: {offer}", source.label());
        }
        if let Some(actual) = &earlier.actual {
            let _ = writeln!(out, "\ncame to {} in {} ms", actual.charged, actual.wall_ms);
        }
        out
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn job(decision: Value) -> JobRecord {
        serde_json::from_value::<tender_base::JobSpec>(spec())
            .map(|spec| JobRecord {
                id: "01a1fc8d-5ad6-78cf-a26a-44d64a688119".parse().unwrap(),
                book: tender_base::Book::Real,
                kind: spec.work.kind(),
                state: tender_base::JobState::Completed,
                spec,
                peers_only: false,
                decision: Some(decision),
                hired: None,
                checked: None,
                reason: None,
                output: None,
                charged: None,
                submitted_at: tender_base::Timestamp::from_millis(0),
                changed_at: tender_base::Timestamp::from_millis(0),
                times: Vec::new(),
            })
            .unwrap()
    }

    fn spec() -> Value {
        json!({
            "work": {"kind": "gemm", "m": 8, "k": 8, "n": 8},
            "input": {"sha256": "0".repeat(64), "bytes": 512},
            "constraints": {"budget": 1000, "deadline": "2026-11-21T08:01:00.000Z", "privacy": "peers"},
        })
    }

    /// As version 0.1 stored it.
    pub(crate) fn earlier() -> Value {
        json!({
            "engine": "tender-decision/2",
            "policy": "cheapest_feasible",
            "situation": {
                "job": spec(),
                "book": "real",
                "decided_at": "2026-11-21T08:00:00.000Z",
                "spend_left": 5_000_000,
                "alternatives": [
                    {"source": {"source": "local"}, "outcome": {
                        "outcome": "offered", "cost": 700, "checking": 0, "cost_measured": false,
                        "estimated_ms": 5000, "reliability": null, "contract": null}},
                    {"source": {"source": "cloud", "name": "box", "model": "m"}, "outcome": {
                        "outcome": "unavailable",
                        "problem": {"code": "unavailable", "message": "it is off", "hint": ""}}},
                ],
            },
            "rows": [{"rank": 1, "exclusion": null}, {"rank": null, "exclusion": {"excluded": "private"}}],
            "chosen": 0,
            "runner_up": null,
            "predicted": {"cost": 700, "cost_measured": false, "wall_ms": 5000},
            "actual": {"charged": 690, "wall_ms": 4800, "contract": null},
        })
    }

    #[test]
    fn an_earlier_versions_decision_is_shown_and_says_that_it_is_one() {
        let read = Decided::of(&job(earlier())).unwrap().unwrap();
        assert!(matches!(read, Decided::Earlier(_)) && read.chosen() == Some(0) && read.by().is_none());
        assert!(read.why_not(1).contains("box was not chosen by tender-decision/2, an earlier version"));
        let text = read.render();
        for part in ["tender-decision/2", "chosen  this machine: $0.0007 in 5000 ms", "box: it is off", "$0.00069"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
    }

    #[test]
    fn what_a_later_version_wrote_is_a_problem_that_names_it() {
        let problem = Decided::of(&job(json!({"engine": "tender-engine/99"}))).err().unwrap();
        assert!(problem.code == Code::Unavailable && problem.message.contains("tender-engine/99"), "{problem}");
    }
}
