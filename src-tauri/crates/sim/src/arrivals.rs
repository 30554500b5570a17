//! When requests come and how long they are: a generator fitted to two public traces, or a trace itself.
//!
//! The traces are the Azure LLM inference traces of November 2023 (code and conversation), CC-BY-4.0, from
//! Azure/AzurePublicDataset; Patel et al., "Splitwise: Efficient generative LLM inference using phase splitting",
//! ISCA 2024. Only the parameters below are taken from them.
//!
//! Counts per minute are a Poisson process whose rate is drawn anew for each minute from a gamma distribution; tokens
//! are lognormal, cut at the trace's greatest value. One minute of the trace is one hour of the simulation, so that a
//! day has as many swings as 24 minutes had.

use serde::{Deserialize, Serialize};
use tender_base::{Code, Problem};
use tender_market::draws::Draws;

/// A lognormal count of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tokens {
    /// Mean of the logarithm.
    pub mu: f64,
    /// Standard deviation of the logarithm.
    pub sigma: f64,
    /// Greatest count.
    pub most: f64,
}

impl Tokens {
    /// A draw, at least 1.
    pub fn draw(&self, draws: &mut Draws) -> f64 {
        libm::exp(self.mu + self.sigma * draws.normal()).clamp(1.0, self.most)
    }

    /// Mean of what [`Tokens::draw`] draws, the cut included.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let phi = |x: f64| 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let (cut, s) = (libm::log(self.most), self.sigma);
        let below = libm::exp(self.mu + s * s / 2.0) * phi((cut - self.mu) / s - s);
        below + self.most * (1.0 - phi((cut - self.mu) / s))
    }
}

/// What is fitted to a trace.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Shape of the gamma distribution of a minute's rate, its mean being 1: 1/(CV² − 1/mean count).
    pub shape: f64,
    /// Tokens of the prompt.
    pub context: Tokens,
    /// Tokens generated.
    pub generated: Tokens,
}

/// Code completion: 8,819 requests in 3,436 s; long prompts, short answers, whole minutes without a request.
pub const CODE: Fit = Fit {
    shape: 0.93,
    context: Tokens { mu: 6.999, sigma: 1.360, most: 7_437.0 },
    generated: Tokens { mu: 2.788, sigma: 0.847, most: 1_899.0 },
};
/// Conversation: 19,366 requests in 3,502 s.
pub const CONVERSATION: Fit = Fit {
    shape: 22.0,
    context: Tokens { mu: 6.633, sigma: 0.985, most: 14_050.0 },
    generated: Tokens { mu: 5.019, sigma: 0.859, most: 1_000.0 },
};

/// Most requests of a trace that is read.
pub const MAX_REQUESTS: usize = 5_000_000;

/// A request of a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// Seconds since the first one.
    pub at: f64,
    /// Tokens of the prompt.
    pub context: f64,
    /// Tokens generated.
    pub generated: f64,
}

/// Reads a trace as Azure publishes it: `TIMESTAMP,ContextTokens,GeneratedTokens`, in order of time.
///
/// # Errors
/// [`Code::Invalid`], naming line and field; [`Code::TooLarge`] beyond [`MAX_REQUESTS`].
pub fn read(text: &str) -> Result<Vec<Request>, Problem> {
    let invalid = |line: usize, what: &str| {
        Problem::new(
            Code::Invalid,
            format!("line {line} of the trace: {what}"),
            "the header is TIMESTAMP,ContextTokens,GeneratedTokens, and times are like 2023-11-16 18:15:46.6805900",
        )
    };
    let mut lines = (1..).zip(text.lines());
    match lines.next() {
        Some((_, "TIMESTAMP,ContextTokens,GeneratedTokens")) => {}
        _ => return Err(invalid(1, "the header is another")),
    }
    let (mut requests, mut first) = (Vec::new(), None);
    for (n, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let mut fields = line.split(',');
        let seconds = fields.next().and_then(seconds).ok_or_else(|| invalid(n, "TIMESTAMP is no time"))?;
        let mut tokens = |name: &str| -> Result<f64, Problem> {
            let count: Option<u32> = fields.next().and_then(|field| field.parse().ok());
            count.map(f64::from).ok_or_else(|| invalid(n, &format!("{name} is no count")))
        };
        let (context, generated) = (tokens("ContextTokens")?, tokens("GeneratedTokens")?);
        if fields.next().is_some() {
            return Err(invalid(n, "there are more than three fields"));
        }
        let at = seconds - *first.get_or_insert(seconds);
        if requests.last().is_some_and(|before: &Request| at < before.at) {
            return Err(invalid(n, "TIMESTAMP is before that of the line above"));
        }
        requests.push(Request { at, context, generated });
        if requests.len() > MAX_REQUESTS {
            let message = format!("the trace has more than {MAX_REQUESTS} requests");
            return Err(Problem::new(Code::TooLarge, message, "give a part of it"));
        }
    }
    match requests.last() {
        Some(last) if last.at > 0.0 => Ok(requests),
        _ => Err(Problem::new(Code::Invalid, "the trace spans no time", "give at least two requests")),
    }
}

/// Seconds since 1970 of `2023-11-16 18:15:46.6805900`.
fn seconds(text: &str) -> Option<f64> {
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut time = time.splitn(3, ':').map(str::parse::<f64>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    let valid = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0.0..24.0).contains(&hour)
        && (0.0..60.0).contains(&minute)
        && (0.0..61.0).contains(&second);
    // Days since 1970 by Hinnant's algorithm, the year beginning in March.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    valid.then_some(days as f64 * 86_400.0 + hour * 3600.0 + minute * 60.0 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_has_the_means_of_the_traces() {
        // Means of the traces; the lognormal is a fit, and the code trace's prompts are less skewed than one.
        for (tokens, mean, off) in [
            (CODE.context, 2047.8, 0.10),
            (CODE.generated, 27.9, 0.25),
            (CONVERSATION.context, 1154.7, 0.10),
            (CONVERSATION.generated, 211.1, 0.05),
        ] {
            let mut draws = Draws::new(3, 0);
            let drawn = (0..100_000).map(|_| tokens.draw(&mut draws)).sum::<f64>() / 1e5;
            assert!((drawn / tokens.mean() - 1.0).abs() < 0.02, "{drawn} is not {}", tokens.mean());
            assert!((tokens.mean() / mean - 1.0).abs() < off, "{} is not {mean}", tokens.mean());
        }
    }

    #[test]
    fn counts_swing_as_in_the_traces() {
        // Counts per minute: CV 1.04 at a mean of 151 (code), 0.22 at 333 (conversation).
        for (fit, mean, cv) in [(CODE, 151.3, 1.041), (CONVERSATION, 333.3, 0.220)] {
            let mut draws = Draws::new(4, 0);
            let count = |_| {
                let swing = draws.gamma(fit.shape) / fit.shape;
                f64::from(draws.poisson(mean * swing))
            };
            let counts: Vec<f64> = (0..5_000).map(count).collect();
            let average = counts.iter().sum::<f64>() / counts.len() as f64;
            let variance = counts.iter().map(|c| (c - average) * (c - average)).sum::<f64>() / counts.len() as f64;
            assert!((variance.sqrt() / average / cv - 1.0).abs() < 0.08, "{} is not {cv}", variance.sqrt() / average);
        }
    }

    #[test]
    fn a_trace_is_read_and_a_wrong_one_names_its_line() {
        let head = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
        let good = format!("{head}2023-11-16 18:15:46.6805900,374,44\n2023-11-17 00:00:00.0,396,109\n");
        let requests = read(&good).unwrap();
        assert!((requests[1].at - 20_653.319_41).abs() < 1e-3, "{requests:?}");
        assert_eq!((requests[0].at, requests[1].generated), (0.0, 109.0));
        for (text, said) in [
            ("date,model,cost\n", "line 1"),
            (&format!("{head}yesterday,1,2\n"), "line 2 of the trace: TIMESTAMP"),
            (&format!("{head}2023-11-16 18:15:46,1,-2\n"), "GeneratedTokens"),
            (&format!("{head}2023-11-16 18:15:46,1,2,3\n"), "three fields"),
            (&format!("{head}2023-11-16 18:15:46,1,2\n2023-11-16 18:15:45,1,2\n"), "line 3"),
            (&format!("{head}2023-13-16 18:15:46,1,2\n"), "TIMESTAMP"),
            (head, "spans no time"),
        ] {
            assert!(read(text).unwrap_err().message.contains(said), "{said}");
        }
    }
}
