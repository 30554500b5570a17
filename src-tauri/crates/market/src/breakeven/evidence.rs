//! What the owner's own job log shows about the card: its speed at prompts and at text, its watts, and how much of
//! the time it works. And a curve of resale prices instead of one guess.

use super::{Input, usage::Usage};
use crate::{
    api_prices::Dated,
    number::{not_negative, positive, within},
    why::{Origin, Why},
};
use serde::{Deserialize, Serialize};
use tender_base::{Code, Problem, Timestamp};

/// A text job that the own card did.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// When it began.
    pub at: Timestamp,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub text_tokens: u64,
    /// How long the card worked for it, seconds.
    pub seconds: f64,
    /// The card's mean draw meanwhile, watts, what it draws at rest included; none when no sensor measured it.
    pub watts: Option<f64>,
}

/// Fewest jobs from which speeds are stated.
pub const MIN_JOBS: usize = 20;

/// What the log shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evidence {
    /// How many jobs it stands on.
    pub jobs: u32,
    /// Tokens of text per second.
    pub tokens_per_second: f64,
    /// Tokens of prompt per second; none when the jobs are too alike to tell reading from writing. The time of the
    /// prompts is then in `tokens_per_second`.
    pub prefill_tokens_per_second: Option<f64>,
    /// The card's draw while it works, watts, weighted by time; none when less than half of the time was measured.
    pub gpu_watts: Option<f64>,
    /// Fraction of the log's span in which the card worked.
    pub occupancy: f64,
}

/// Reads the evidence out of a log that ends at `until`. The speeds are a least-squares fit, without constant, of
/// seconds = prompt/prefill + text/decode.
///
/// # Errors
/// [`Code::Unavailable`] when the log is too short to say anything; [`Code::Invalid`], naming the field of a job that
/// cannot be, or `until` when it lies before a job.
pub fn evidence(log: &[Job], until: Timestamp) -> Result<Evidence, Problem> {
    if log.len() < MIN_JOBS {
        return Err(Problem::new(
            Code::Unavailable,
            format!("unknown: the log holds {} text jobs, {MIN_JOBS} are needed", log.len()),
            "run or sell more texts on the own card",
        ));
    }
    let (mut pp, mut pt, mut tt, mut ps, mut ts) = (0.0, 0.0, 0.0, 0.0, 0.0);
    let (mut busy, mut text, mut joules, mut metered) = (0.0, 0.0, 0.0, 0.0);
    for job in log {
        let s = positive("seconds", job.seconds)?;
        let (p, t) = (job.prompt_tokens as f64, job.text_tokens as f64);
        pp += p * p;
        pt += p * t;
        tt += t * t;
        ps += p * s;
        ts += t * s;
        busy += s;
        text += t;
        if let Some(watts) = job.watts {
            joules += positive("watts", watts)? * s;
            metered += s;
        }
    }
    if text <= 0.0 {
        return Err(Problem::new(Code::Invalid, "text_tokens: the jobs wrote nothing", "take jobs that wrote text"));
    }
    let first = log.iter().map(|job| job.at).min().unwrap_or(until);
    if log.iter().any(|job| job.at > until) {
        return Err(Problem::new(Code::Invalid, "until lies before a job of the log", "give until as the log's end"));
    }
    let span = positive("until", until.since(first).as_secs_f64())?;

    // The normal equations. A determinant near zero means that every prompt has the same length for its text.
    let determinant = pp * tt - pt * pt;
    let apart = (determinant > 1e-3 * pp * tt)
        .then(|| ((ps * tt - ts * pt) / determinant, (ts * pp - ps * pt) / determinant))
        .filter(|(prompt, text)| *prompt > 0.0 && *text > 0.0);
    Ok(Evidence {
        jobs: u32::try_from(log.len()).unwrap_or(u32::MAX),
        tokens_per_second: apart.map_or(text / busy, |(_, seconds)| 1.0 / seconds),
        prefill_tokens_per_second: apart.map(|(seconds, _)| 1.0 / seconds),
        gpu_watts: (metered >= busy / 2.0).then(|| joules / metered),
        occupancy: within("occupancy", busy / span, 0.0, 1.0)?,
    })
}

/// How much of the card's time each piece of work had: what ran at once shared it. In seconds, in the order of
/// `spans`, which are begin and end; together they are the time in which anything ran.
#[must_use]
pub fn shared(spans: &[(Timestamp, Timestamp)]) -> Vec<f64> {
    let mut turns: Vec<(i64, i64)> =
        spans.iter().flat_map(|(begin, end)| [(begin.millis(), 1), (end.millis(), -1)]).collect();
    turns.sort_unstable();
    // At each turn the time that one of those at work has had since the beginning.
    let mut had = std::collections::BTreeMap::new();
    let (mut running, mut last, mut each) = (0i64, 0i64, 0.0);
    for (at, turn) in turns {
        if running > 0 {
            each += (at - last) as f64 / 1000.0 / running as f64;
        }
        running += turn;
        last = at;
        had.insert(at, each);
    }
    let had = |at: &Timestamp| had.get(&at.millis()).copied().unwrap_or_default();
    spans.iter().map(|(begin, end)| had(end) - had(begin)).collect()
}

impl Evidence {
    /// How each figure came about.
    #[must_use]
    pub fn why(&self) -> Vec<Why> {
        let figure = |name: &str, value: f64, unit: &str, formula: &str| {
            Why::new(name, value, unit, formula, "docs/economics.md, from evidence").with(
                "jobs",
                f64::from(self.jobs),
                "jobs",
                Origin::Measured,
            )
        };
        let fit = "least squares of seconds = prompt/prefill + text/decode";
        let whole = "tokens of text / seconds of work, prompts read";
        let decode = if self.prefill_tokens_per_second.is_some() { fit } else { whole };
        let mut all = vec![
            figure("speed of writing", self.tokens_per_second, "tokens/s", decode),
            figure("occupancy", self.occupancy, "", "seconds of work / seconds of the log"),
        ];
        all.extend(self.prefill_tokens_per_second.map(|speed| figure("speed of reading", speed, "tokens/s", fit)));
        all.extend(self.gpu_watts.map(|watts| figure("draw at work", watts, "W", "Σ watts × seconds / Σ seconds")));
        all
    }

    /// `stated` with what was measured in place of what was typed in.
    #[must_use]
    pub fn apply(&self, stated: &Input) -> Input {
        Input {
            tokens_per_second: self.tokens_per_second,
            prefill_tokens_per_second: self.prefill_tokens_per_second.or(stated.prefill_tokens_per_second),
            gpu_watts: self.gpu_watts.unwrap_or(stated.gpu_watts),
            utilisation: if self.occupancy > 0.0 { self.occupancy } else { stated.utilisation },
            ..*stated
        }
    }
}

/// The log as the bill that an API would have sent at a published price.
#[must_use]
pub fn billed(log: &[Job], price: &Dated) -> Vec<Usage> {
    log.iter()
        .map(|job| Usage {
            at: job.at,
            model: price.model.clone(),
            prompt_tokens: job.prompt_tokens,
            text_tokens: job.text_tokens,
            api_usd: price.amount(job.prompt_tokens, job.text_tokens).as_usd(),
        })
        .collect()
}

/// What a card is worth by age, as fractions of its price when new.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(f64, f64)>", into = "Vec<(f64, f64)>")]
pub struct ResaleCurve(Vec<(f64, f64)>);

impl ResaleCurve {
    /// A curve through points of (age in years, fraction of the price), by age; between them it is a line.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming `resale`: no points, ages that do not grow, or a fraction outside 0 to 1.
    pub fn new(points: Vec<(f64, f64)>) -> Result<Self, Problem> {
        if points.is_empty() {
            return Err(Problem::new(Code::Invalid, "resale has no points", "give pairs of years and fraction"));
        }
        for (i, (years, fraction)) in points.iter().enumerate() {
            not_negative("resale years", *years)?;
            within("resale fraction", *fraction, 0.0, 1.0)?;
            if i > 0 && points[i - 1].0 >= *years {
                let message = format!("resale: {years} years come after {}", points[i - 1].0);
                return Err(Problem::new(Code::Invalid, message, "order the points of resale by age"));
            }
        }
        Ok(Self(points))
    }

    /// The fraction at an age; outside the points that of the nearest.
    #[must_use]
    pub fn at(&self, years: f64) -> f64 {
        let after = self.0.iter().position(|point| point.0 >= years);
        match after {
            Some(0) => self.0[0].1,
            None => self.0[self.0.len() - 1].1,
            Some(i) => {
                let ((from, high), (to, low)) = (self.0[i - 1], self.0[i]);
                high + (low - high) * (years - from) / (to - from)
            }
        }
    }

    /// The age among the points at which selling makes the card cheapest by the year, and the card sold then.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming a field of the card, or `resale` when no point is older than zero.
    pub fn best_life(&self, card: &Input) -> Result<Input, Problem> {
        let mut best: Option<(f64, Input)> = None;
        for (years, fraction) in self.0.iter().filter(|point| point.0 > 0.0) {
            let sold = Input { lifetime_years: *years, resale_fraction: *fraction, ..*card };
            let yearly = sold.yearly()?.fixed_usd();
            if best.as_ref().is_none_or(|(least, _)| yearly < *least) {
                best = Some((yearly, sold));
            }
        }
        best.map(|(_, sold)| sold).ok_or_else(|| {
            Problem::new(Code::Invalid, "resale has no point with an age above 0", "add what a used card brings")
        })
    }
}

impl TryFrom<Vec<(f64, f64)>> for ResaleCurve {
    type Error = Problem;

    fn try_from(points: Vec<(f64, f64)>) -> Result<Self, Problem> {
        Self::new(points)
    }
}

impl From<ResaleCurve> for Vec<(f64, f64)> {
    fn from(curve: ResaleCurve) -> Self {
        curve.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::presets::preset;
    use super::*;

    fn card() -> Input {
        preset("seed 004").unwrap().with_every_cost
    }

    fn log(same: bool) -> Vec<Job> {
        (0..40u64)
            .map(|i| {
                let (prompt_tokens, text_tokens) =
                    if same { (2 * (50 + i), 50 + i) } else { (100 + 37 * i % 900, 50 + 91 * i % 400) };
                Job {
                    at: Timestamp::from_millis(i as i64 * 90_000),
                    prompt_tokens,
                    text_tokens,
                    seconds: prompt_tokens as f64 / 5000.0 + text_tokens as f64 / 100.0,
                    watts: (i % 4 != 0).then_some(300.0),
                }
            })
            .collect()
    }

    #[test]
    fn speeds_watts_and_occupancy_come_out_of_the_log() {
        let jobs = log(false);
        let until = Timestamp::from_millis(3_600_000);
        let found = evidence(&jobs, until).unwrap();
        assert!((found.tokens_per_second - 100.0).abs() < 1e-6, "{found:?}");
        assert!((found.prefill_tokens_per_second.unwrap() - 5000.0).abs() < 1e-3, "{found:?}");
        assert!((found.gpu_watts.unwrap() - 300.0).abs() < 1e-9, "{found:?}");
        let why = found.why();
        assert!(why.len() == 4 && why.iter().all(Why::stands_on_evidence), "{why:?}");
        let busy: f64 = jobs.iter().map(|job| job.seconds).sum();
        assert!((found.occupancy - busy / 3600.0).abs() < 1e-12);
        let measured = found.apply(&card());
        assert_eq!((Some(measured.gpu_watts), measured.utilisation), (found.gpu_watts, found.occupancy));
        assert_eq!(measured.price_usd, 1_199.0, "what the log does not show stays as stated");
    }

    #[test]
    fn what_runs_at_once_shares_the_card() {
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let alone = [(at(0), at(4)), (at(10), at(11))];
        assert_eq!(shared(&alone), [4.0, 1.0]);
        let together = [(at(0), at(4)), (at(2), at(8)), (at(2), at(4)), (at(8), at(9))];
        let had = shared(&together);
        assert!((had[0] - (2.0 + 2.0 / 3.0)).abs() < 1e-12 && (had[1] - (2.0 / 3.0 + 4.0)).abs() < 1e-12, "{had:?}");
        assert!((had.iter().sum::<f64>() - 9.0).abs() < 1e-12 && had[3] == 1.0, "{had:?}");
        assert!(shared(&[]).is_empty());
    }

    #[test]
    fn what_the_log_cannot_tell_is_unknown() {
        let until = Timestamp::from_millis(3_600_000);
        let thin = evidence(&log(false)[..19], until).unwrap_err();
        assert!(thin.code == Code::Unavailable && thin.message.contains("19"), "{thin}");
        // Two tokens of prompt for each of text, always: reading cannot be told from writing.
        let alike = evidence(&log(true), until).unwrap();
        assert_eq!(alike.prefill_tokens_per_second, None);
        assert!((1.0 / alike.tokens_per_second - (0.01 + 2.0 / 5000.0)).abs() < 1e-9, "{alike:?}");
        let mut unmetered = log(false);
        unmetered.iter_mut().skip(10).for_each(|job| job.watts = None);
        assert_eq!(evidence(&unmetered, until).unwrap().gpu_watts, None);
        let mut odd = log(false);
        odd[3].seconds = f64::NAN;
        assert!(evidence(&odd, until).unwrap_err().message.contains("seconds"));
        let busy = evidence(&log(false), Timestamp::from_millis(39 * 90_000)).unwrap();
        assert!(busy.occupancy <= 1.0);
        assert!(evidence(&log(false), Timestamp::from_millis(0)).unwrap_err().message.contains("until"));
    }

    #[test]
    fn a_resale_curve_is_a_line_between_its_points_and_names_the_best_age() {
        let curve = ResaleCurve::new(vec![(1.0, 0.8), (2.0, 0.7), (4.0, 0.2)]).unwrap();
        for (years, fraction) in [(0.5, 0.8), (1.0, 0.8), (1.5, 0.75), (3.0, 0.45), (9.0, 0.2)] {
            assert!((curve.at(years) - fraction).abs() < 1e-12, "{years}");
        }
        // By hand at 8 % of 1,199: sold after 1, 2, 4 years the capital costs 335.7, 268.9 and 308.8 USD a year.
        assert_eq!(curve.best_life(&card()).unwrap().lifetime_years, 2.0);
        for wrong in [vec![], vec![(2.0, 0.5), (1.0, 0.6)], vec![(1.0, 1.5)], vec![(f64::NAN, 0.5)]] {
            assert!(ResaleCurve::new(wrong).unwrap_err().message.contains("resale"));
        }
        assert!(ResaleCurve::new(vec![(0.0, 1.0)]).unwrap().best_life(&card()).is_err());
        assert!(serde_json::from_str::<ResaleCurve>("[[1,0.8],[0.5,0.9]]").is_err());
    }
}
