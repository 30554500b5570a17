//! A receipt in words: why each row was taken or not, and the arithmetic behind it.

use super::{Question, Receipt, Refusal};
use crate::{
    choice::{Gate, Prospect, Verdict},
    decision::{Exclusion, Outcome, Situation},
    explore::{CAP, Policy},
    weights::NAMES,
    why::{Origin, Why},
};
use std::fmt::Write as _;
use tender_base::{MicroUsd, job::Privacy};

/// How the expected total of a row follows.
const FORMULA: &str = "bill + checking + waiting + loss × (1 − reliability × (1 − security risk))";

/// The two lines that the cost gate draws, in USD; absent where there is nothing to draw them from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GateLimits {
    /// Expected total of the own card.
    pub own_usd: Option<f64>,
    /// Most that a bought row may come to at the lower bound of its reliability.
    pub cautious_usd: Option<f64>,
    /// Lowest expected total of what stayed below that.
    pub lowest_usd: Option<f64>,
    /// Most that a row may be expected to cost.
    pub expected_usd: Option<f64>,
}

impl GateLimits {
    /// Both lines in words; empty when there are none.
    fn words(&self, margin: f64, tolerance: f64) -> String {
        let mut said = Vec::new();
        if let (Some(most), Some(own)) = (self.cautious_usd, self.own_usd) {
            said.push(format!(
                "What is bought must come to at most {} even if it is as unreliable as it may be: {:.0} % less than the \
                 {} of this machine.",
                usd(most),
                margin * 100.0,
                usd(own)
            ));
        }
        if let (Some(most), Some(lowest)) = (self.expected_usd, self.lowest_usd) {
            said.push(format!(
                "What is taken may be expected to cost at most {}: {:.0} % more than the lowest, {}.",
                usd(most),
                tolerance * 100.0,
                usd(lowest)
            ));
        }
        said.join(" ")
    }
}

impl Receipt {
    /// Where the cost gate drew its lines.
    #[must_use]
    pub fn gate(&self) -> GateLimits {
        let rules = &self.question.rules;
        let ranked = || self.rows.iter().filter_map(|row| Some((row.prospect?, row.verdict?)));
        let lowest = |rows: &mut dyn Iterator<Item = Verdict>| rows.map(|v| v.expected_usd).reduce(f64::min);
        let own_usd = lowest(&mut ranked().filter(|(prospect, _)| prospect.own).map(|(_, verdict)| verdict));
        let passed = |(_, verdict): &(Prospect, Verdict)| verdict.gate != Gate::NotBelowOwn;
        let lowest_usd = lowest(&mut ranked().filter(passed).map(|(_, verdict)| verdict));
        GateLimits {
            own_usd,
            cautious_usd: own_usd.map(|own| own * (1.0 - rules.margin)),
            lowest_usd,
            expected_usd: lowest_usd.map(|lowest| lowest * (1.0 + rules.tolerance)),
        }
    }

    /// The cost gate in words; empty when nothing was ranked.
    #[must_use]
    pub fn gate_words(&self) -> String {
        self.gate().words(self.question.rules.margin, self.question.rules.tolerance)
    }

    /// Probability with which the policy takes the alternative at index `i`; `None` of what was not ranked, and where
    /// it follows from what was learned.
    #[must_use]
    pub fn odds(&self, i: usize) -> Option<f64> {
        let choice = self.choice?;
        let expected = |i: usize| Some(self.rows.get(i)?.verdict?.expected_usd);
        let cap = expected(choice.best)? * (1.0 + CAP);
        let its = expected(i)?;
        let rate = choice.exploration_rate?;
        if i == choice.best {
            return Some(1.0 - rate);
        }
        let others = (0..self.rows.len()).filter(|row| *row != choice.best);
        let others = others.filter(|row| expected(*row).is_some_and(|usd| usd <= cap)).count();
        Some(if its <= cap && others > 0 { rate / others as f64 } else { 0.0 })
    }

    /// How it was explored, or that nothing was, in a few words.
    #[must_use]
    pub fn exploration_words(&self) -> String {
        match (self.draw, self.choice.and_then(|choice| choice.exploration_rate)) {
            (None, _) => "nothing is explored".to_owned(),
            (Some(draw), Some(rate)) => format!("draw {draw:.6}, explores below {rate:.6}"),
            (Some(draw), None) => format!("first draw {draw:.6}, explores by what is known"),
        }
    }

    /// Why the alternative at index `i` was not taken, in a sentence; for the one taken, why it was.
    #[must_use]
    pub fn why_not(&self, i: usize) -> String {
        let (Some(row), Some(alternative)) = (self.rows.get(i), self.question.situation.alternatives.get(i)) else {
            return format!("there is no alternative {i}");
        };
        let name = alternative.source.label();
        if let Some(refusal) = &row.refusal {
            return refused(name, refusal);
        }
        let (Some(verdict), Some(choice)) = (row.verdict, self.choice) else {
            return format!("{name} was not ranked");
        };
        let Some(winner) = self.rows.get(choice.chosen).and_then(|row| row.verdict) else {
            return format!("{name} was not ranked");
        };
        let against = self.question.situation.alternatives[choice.chosen].source.label();
        let passed = self.rows.iter().filter_map(|row| row.verdict).filter(|v| v.gate == Gate::Passed).count();
        if i == choice.chosen {
            return match self.question.policy {
                policy if self.explored() => format!("{name} was tried to learn about it ({policy})"),
                _ if choice.runner_up.is_none() => format!("{name} is the only one that meets every constraint"),
                Policy::Cheapest => format!("{name} has the lowest bill"),
                _ if passed == 1 => format!("{name} is expected to cost the least, risk and waiting included"),
                _ => format!("{name} is closest to the ideal of what costs about the least"),
            };
        }
        if i == choice.best {
            return format!("{name} is the best; {against} was tried to learn about it");
        }
        if self.question.policy == Policy::Cheapest {
            return format!("{name} has no lower bill than {against}");
        }
        match verdict.gate {
            Gate::NotBelowOwn => {
                let margin = self.question.rules.margin * 100.0;
                let at = usd(verdict.cautious_usd);
                format!(
                    "{name} comes to {at} if it is as unreliable as it may be, which is not {margin:.0} % below the own card"
                )
            }
            Gate::AboveLowest => {
                let more = usd(verdict.expected_usd - winner.expected_usd);
                format!("{name} is expected to cost {more} more than {against}, risk and waiting included")
            }
            Gate::Passed => {
                let (its, best) = (verdict.closeness, winner.closeness);
                format!(
                    "{name} costs about the same as {against} and is less close to the ideal ({its:.3} to {best:.3})"
                )
            }
        }
    }

    /// The gate's arithmetic for the alternative at index `i`; `None` when it was not ranked.
    #[must_use]
    pub fn why(&self, i: usize) -> Option<Why> {
        let row = self.rows.get(i)?;
        let (prospect, verdict) = (row.prospect?, row.verdict?);
        let belief = prospect.belief();
        let name = format!("expected total of {}", self.question.situation.alternatives.get(i)?.source.label());
        let measured =
            matches!(self.question.situation.alternatives[i].outcome, Outcome::Offered { cost_measured: true, .. });
        let offer = match (prospect.own, measured) {
            (true, true) => Origin::Measured,
            (true, false) => Origin::Assumed,
            (false, _) => Origin::Stated,
        };
        let known = if prospect.history.observations() > 0.0 { Origin::Measured } else { Origin::Assumed };
        Some(
            Why::new(name, verdict.expected_usd, "USD", FORMULA, "COALESCE eq. 6 and 9, corrected")
                .with("bill", prospect.bill_usd, "USD", offer)
                .with("checking", prospect.checking_usd, "USD", Origin::Computed)
                .with("waiting", prospect.waiting_usd, "USD", Origin::Computed)
                .with("loss", prospect.loss_usd, "USD", Origin::Computed)
                .with("reliability", belief.mean(), "", known.clone())
                .with("reliability at the lower bound", belief.lower(self.question.rules.z), "", known)
                .with("security risk", prospect.security_risk, "", Origin::Assumed)
                .with("total at the lower bound", verdict.cautious_usd, "USD", Origin::Computed)
                .with("closeness", verdict.closeness, "", Origin::Computed),
        )
    }

    /// The decision as plain text, ending in a line break: a reason per row, then the matrix, the gate's arithmetic,
    /// the draw, and what came of it.
    #[must_use]
    pub fn render(&self) -> String {
        let Situation { job, decided_at, spend_left, rule, alternatives, .. } = &self.question.situation;
        let constraints = &job.constraints;
        let mut out = format!(
            "{} of {} units, decided {decided_at} by {}, policy {}\nbudget {}, deadline {}",
            job.work.kind().name(),
            job.work.units(),
            self.engine,
            self.question.policy,
            constraints.budget,
            constraints.deadline,
        );
        if let Some(left) = spend_left {
            let _ = write!(out, ", {left} left of today's spend cap");
        }
        if let Some(rule) = rule {
            let _ = write!(out, "\nrule: {}", rule.why);
        }
        out.push_str(if constraints.privacy == Privacy::Own { ", private to this machine\n\n" } else { "\n\n" });
        self.reasons(&mut out);
        for source in alternatives.iter().map(|alternative| &alternative.source) {
            if let Some(note) = source.note() {
                let _ = writeln!(out, "\n{}: {}", printable(source.label()), printable(&note));
            }
        }
        if let Some(problem) = self.problem() {
            let _ = writeln!(out, "\nnothing chosen: {}", problem.hint);
        } else {
            self.arithmetic(&mut out);
        }
        if let (Some(predicted), Some(actual)) = (&self.predicted, &self.actual) {
            let _ = writeln!(
                out,
                "\npredicted {} in {}, came to {} in {}",
                predicted.cost,
                seconds(predicted.wall_ms),
                actual.charged,
                seconds(actual.wall_ms)
            );
        }
        if let Some(by) = self.actual.as_ref().and_then(|actual| actual.by.as_ref()) {
            let _ = writeln!(out, "bought from {} without a contract", printable(by.label()));
        }
        out
    }

    /// One line per alternative, in the order in which they are tried, then those that could not be considered.
    fn reasons(&self, out: &mut String) {
        let alternatives = &self.question.situation.alternatives;
        let mut order = self.order();
        order.extend((0..alternatives.len()).filter(|i| self.rows[*i].prospect.is_none()));
        let mut rows = vec![["rank", "where", "bill", "checking", "time", "expected", "why"].map(str::to_owned)];
        for (rank, i) in (1..).zip(order) {
            let ranked = self.rows[i].verdict;
            let (bill, checking, time) = match &alternatives[i].outcome {
                Outcome::Offered { cost, checking, cost_measured, estimated_ms, .. } => (
                    if *cost_measured { cost.to_string() } else { format!("{cost} (estimate)") },
                    if *checking > MicroUsd::ZERO { checking.to_string() } else { "-".to_owned() },
                    seconds(*estimated_ms),
                ),
                Outcome::Unavailable { .. } => ("-".to_owned(), "-".to_owned(), "-".to_owned()),
            };
            rows.push([
                if ranked.is_some() { rank.to_string() } else { "-".to_owned() },
                printable(alternatives[i].source.label()),
                bill,
                checking,
                time,
                ranked.map_or("-".to_owned(), |verdict| usd(verdict.expected_usd)),
                printable(&self.why_not(i)),
            ]);
        }
        table(out, &rows);
    }

    /// Matrix, weights, gate and draw.
    fn arithmetic(&self, out: &mut String) {
        let Question { situation, rules, policy, seed, .. } = &self.question;
        let names: Vec<String> =
            situation.alternatives.iter().map(|alternative| printable(alternative.source.label())).collect();
        let ranked: Vec<(usize, Prospect, Verdict)> =
            self.order().into_iter().filter_map(|i| Some((i, self.rows[i].prospect?, self.rows[i].verdict?))).collect();

        let figures = |row: [f64; 4]| row.map(|figure| format!("{figure:.8}"));
        let mut rows = vec![["the matrix", NAMES[0], NAMES[1], NAMES[2], NAMES[3], "closeness"].map(str::to_owned)];
        let mut push = |name: String, row: [f64; 4], closeness: String| {
            let [a, b, c, d] = figures(row);
            rows.push([name, a, b, c, d, closeness]);
        };
        push("weight".to_owned(), self.weights, String::new());
        for (i, _, verdict) in &ranked {
            push(names[*i].clone(), verdict.criteria, format!("{:.6}", verdict.closeness));
            push("  normalised".to_owned(), verdict.normalised, String::new());
        }
        out.push('\n');
        table(out, &rows);

        let _ =
            writeln!(out, "\nexpected total in micro-USD = {FORMULA};\nthen with the reliability at its lower bound");
        for (i, prospect, verdict) in &ranked {
            let Prospect { bill_usd, checking_usd, waiting_usd, loss_usd, security_risk, own, .. } = prospect;
            let belief = prospect.belief();
            let [bill, checking, waiting, loss] =
                [bill_usd, checking_usd, waiting_usd, loss_usd].map(|usd| micro(*usd));
            let _ = write!(
                out,
                "{}: {bill} + {checking} + {waiting} + {loss} × (1 − {:.4} × (1 − {security_risk:.4})) = {}",
                names[*i],
                belief.mean(),
                micro(verdict.expected_usd),
            );
            if !own {
                let _ = write!(out, "; at {:.4}: {}", belief.lower(rules.z), micro(verdict.cautious_usd));
            }
            let told = prospect.history;
            let _ = writeln!(
                out,
                "; {:.1} good and {:.1} bad jobs beside {} and {} assumed",
                told.successes, told.failures, prospect.prior.successes, prospect.prior.failures
            );
        }
        let limits = self.gate();
        if let (Some(most), Some(own)) = (limits.cautious_usd, limits.own_usd) {
            let _ = writeln!(
                out,
                "gate: at the lower bound at most {} = {} of the own card less {:.0} %",
                micro(most),
                micro(own),
                rules.margin * 100.0
            );
        }
        if let (Some(most), Some(lowest)) = (limits.expected_usd, limits.lowest_usd) {
            let _ = writeln!(
                out,
                "gate: at most {} = {}, the lowest that passed, and {:.0} %",
                micro(most),
                micro(lowest),
                rules.tolerance * 100.0
            );
        }
        let explored = self.exploration_words();
        let _ = write!(out, "{policy}, seed {seed}: {explored}");
        if self.draw.is_some() {
            let _ = write!(out, ", among what costs at most {:.0} % more than the best", CAP * 100.0);
        }
        if let Some(choice) = self.choice {
            let runner_up = choice.runner_up.map_or("nobody", |i| &names[i]);
            let _ = write!(out, "\nchosen {}, best {}, next {runner_up}", names[choice.chosen], names[choice.best]);
        }
        out.push('\n');
    }
}

/// Columns of equal width; the last one is as wide as it is.
fn table<const N: usize>(out: &mut String, rows: &[[String; N]]) {
    let widths: [usize; N] = std::array::from_fn(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0));
    for row in rows {
        let mut line = String::new();
        for (c, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = if c + 1 == N { write!(line, "{cell}") } else { write!(line, "{cell:<width$}  ") };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

fn seconds(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) }
}

/// Names of others go to a terminal: no control characters.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Estimates have fractions of a micro-dollar: eight decimals, of which the last two only where they say something.
fn usd(amount: f64) -> String {
    let text = format!("${amount:.8}");
    text.strip_suffix("00").unwrap_or(&text).to_owned()
}

fn micro(usd: f64) -> String {
    format!("{:.2}", usd * 1e6)
}

fn refused(name: &str, refusal: &Refusal) -> String {
    match refusal {
        Refusal::Constraint(exclusion) => match exclusion {
            Exclusion::Unavailable { problem } => format!("{name} is not available: {}", problem.message),
            Exclusion::Private => format!("{name} may not see the input: the job is private to this machine"),
            Exclusion::Malformed => format!("{name} offered terms that make no sense"),
            Exclusion::OverBudget { over } => format!("{name} costs {over} more than the job's budget"),
            Exclusion::OverSpendCap { over } => format!("{name} costs {over} more than is left of today's spend cap"),
            Exclusion::Rule { why } => format!("the break-even rule sends it elsewhere than to {name}: {why}"),
            Exclusion::TooLate { late_ms } => format!("{name} would finish {} after the deadline", seconds(*late_ms)),
        },
        Refusal::Skills { missing } => {
            let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
            format!("{name} cannot do {}", missing.join(", "))
        }
        Refusal::Incompatible { score } => format!("{name} fits the job by {score:.2} only"),
        Refusal::Memory { short_bytes } => format!("{name} has {short_bytes} bytes too little memory"),
        Refusal::Region { region: Some(region) } => format!("{name} is in {region}, where the data may not go"),
        Refusal::Region { region: None } => {
            format!("{name} does not say where it is, and the data may not go everywhere")
        }
    }
}
