//! How the next token is chosen from the logits, and how far a claimed token is from that choice.
//!
//! Sampling is by the Gumbel-max trick (Gumbel 1954; Maddison, Tarlow, Minka 2014): the token whose logit ÷ temperature
//! plus a Gumbel-distributed number is largest is distributed as softmax(logits ÷ temperature). The number of a token
//! depends on seed, position and token id alone, so that who has the logits can repeat the choice, and small
//! differences of the logits rarely change it (Token-DiFR, arXiv 2511.20621).

mod philox;
#[cfg(test)]
mod tests;

use crate::Error;
use std::cmp::Ordering;
use tender_base::job::Sampling;

/// The token that comes next. `logits` has one number per token; `position` is that of the token to be chosen,
/// counted from the start of the prompt. Equal scores go to the lowest id.
///
/// The order is: temperature, then `top_k`, then `top_p` of what is left.
///
/// # Errors
/// [`Error::BadOutput`] when there are no logits or one is not finite.
pub fn choose(logits: &[f32], sampling: &Sampling, position: u32) -> Result<u32, Error> {
    check(logits)?;
    if sampling.temperature <= 0.0 {
        return Ok(likeliest(logits));
    }
    let draw = Draw::new(sampling, position);
    if let Some(tokens) = nucleus(logits, sampling) {
        return Ok(draw.best(logits, tokens.into_iter()));
    }
    Ok(match Allowed::of(logits, sampling) {
        Allowed::All => draw.best(logits, 0..logits.len() as u32),
        Allowed::Few(few) => draw.best(logits, few.iter().map(|candidate| candidate.token)),
    })
}

/// How much the logits would have to differ, in logits, for `claimed` to be the choice: 0 when it is; otherwise how
/// far it is behind the chosen token's score (times temperature), or outside the set that `top_k` and `top_p` leave.
/// A better token that is itself near the border of that set counts by its distance from the border, for it may have
/// been outside where the claim was made.
///
/// # Errors
/// As [`choose`]; [`Error::Invalid`] when `claimed` is no token.
pub fn margin(logits: &[f32], sampling: &Sampling, position: u32, claimed: u32) -> Result<f32, Error> {
    check(logits)?;
    let Some(&logit) = logits.get(claimed as usize) else {
        return Err(Error::Invalid(format!("there is no token {claimed}: the vocabulary has {}", logits.len())));
    };
    if sampling.temperature <= 0.0 {
        return Ok(logits[likeliest(logits) as usize] - logit);
    }
    let draw = Draw::new(sampling, position);
    let score = draw.score(claimed, logit);
    // How far a better token is ahead, in logits.
    let ahead = |token: u32| sampling.temperature * (draw.score(token, logits[token as usize]) - score);
    let margin = match Allowed::of(logits, sampling) {
        Allowed::All => ahead(draw.best(logits, 0..logits.len() as u32)),
        Allowed::Few(few) => {
            let border = Border::new(logits, sampling, &few);
            let within = few.iter().any(|candidate| candidate.token == claimed);
            let outside = if within { 0.0 } else { border.outside(claimed) };
            few.iter().map(|candidate| ahead(candidate.token).min(border.inside(candidate))).fold(outside, f64::max)
        }
    };
    Ok(margin.max(0.0) as f32)
}

fn check(logits: &[f32]) -> Result<(), Error> {
    match logits.iter().position(|logit| !logit.is_finite()) {
        Some(at) => Err(Error::BadOutput(format!("the logit of token {at} is {}", logits[at]))),
        None if logits.is_empty() => Err(Error::BadOutput("there are no logits".into())),
        None => Ok(()),
    }
}

fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (at, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = at;
        }
    }
    best as u32
}

/// The random numbers of one position.
struct Draw {
    seed: u64,
    position: u32,
    temperature: f64,
}

impl Draw {
    fn new(sampling: &Sampling, position: u32) -> Self {
        Self { seed: sampling.seed, position, temperature: sampling.temperature }
    }

    /// 32 random bits of a token: one block of the generator serves four neighbours.
    fn bits(&self, token: u32) -> u32 {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        philox::block([token / 4, self.position, 0, 0], key)[token as usize % 4]
    }

    /// Logit ÷ temperature plus the token's number.
    fn score(&self, token: u32, logit: f32) -> f64 {
        f64::from(logit) / self.temperature + gumbel(self.bits(token))
    }

    /// The token of the best score; the first of equals.
    fn best(&self, logits: &[f32], tokens: impl Iterator<Item = u32>) -> u32 {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        let (mut best, mut winner) = (f64::NEG_INFINITY, u32::MAX);
        let mut block = (u32::MAX, [0; 4]);
        for token in tokens {
            if block.0 != token / 4 {
                block = (token / 4, philox::block([token / 4, self.position, 0, 0], key));
            }
            let bits = block.1[token as usize % 4];
            let scaled = f64::from(logits[token as usize]) / self.temperature;
            // Most tokens cannot win, and two logarithms for each would cost more than the whole model.
            if scaled + gumbel_bound(bits) < best {
                continue;
            }
            let score = scaled + gumbel(bits);
            if score > best || (score == best && token < winner) {
                (best, winner) = (score, token);
            }
        }
        winner
    }
}

/// −ln(−ln u) of a uniform number between 0 and 1, neither included.
fn gumbel(bits: u32) -> f64 {
    let uniform = (f64::from(bits) + 0.5) / 4_294_967_296.0;
    -libm::log(-libm::log(uniform))
}

/// No less than [`gumbel`]: −ln u ≥ 1 − u, so that −ln(−ln u) ≤ −ln(1 − u), of which the leading ones of u tell enough.
fn gumbel_bound(bits: u32) -> f64 {
    f64::from((!bits).leading_zeros() + 1) * std::f64::consts::LN_2 + 1e-9
}

/// Logits ÷ temperature that a token may be behind the likeliest for [`nucleus`] to count it exactly.
const NEAR: f64 = 20.0;
/// The sums of [`nucleus`] and [`Allowed::of`] are taken in different orders; rounding tells them apart by far less.
const ROUNDING: f64 = 1e-9;

/// A token of the allowed set.
struct Candidate {
    token: u32,
    logit: f32,
    /// Probability of all likelier tokens of the set together.
    before: f64,
}

/// Which tokens may be drawn.
enum Allowed {
    All,
    /// From the likeliest on; equal ones by id.
    Few(Vec<Candidate>),
}

impl Allowed {
    fn of(logits: &[f32], sampling: &Sampling) -> Self {
        let all = logits.len();
        let top_k = match sampling.top_k as usize {
            0 => all,
            top_k => top_k.min(all),
        };
        if top_k == all && sampling.top_p >= 1.0 {
            return Self::All;
        }
        let weights = Weights::new(logits, sampling);
        let order = by_likelihood(logits);
        let mut tokens = if top_k < all {
            let mut tokens = likeliest_few(logits, top_k);
            tokens.sort_unstable_by(order);
            tokens
        } else {
            (0..all as u32).collect()
        };
        let total: f64 = tokens.iter().map(|token| weights.of(logits[*token as usize])).sum();
        if sampling.top_p < 1.0 {
            // Tokens below this come to less than 1 − top_p together, and so after the set is full.
            let least = total * (1.0 - sampling.top_p) / tokens.len() as f64;
            let hopeless = weights.logit_below(least);
            tokens.retain(|token| {
                let logit = logits[*token as usize];
                f64::from(logit) >= hopeless && weights.of(logit) >= least
            });
        }
        tokens.sort_unstable_by(order);
        let mut few = Vec::new();
        let mut before = 0.0;
        for token in tokens {
            let logit = logits[token as usize];
            if before >= sampling.top_p && !few.is_empty() {
                break;
            }
            few.push(Candidate { token, logit, before });
            before += weights.of(logit) / total;
        }
        Self::Few(few)
    }
}

/// What `top_p` alone leaves, as [`Allowed::of`] has it, without an exponential for each of the many tokens that are
/// next to impossible: their sum is only bounded. None for other settings, and in the rare case that it depends on that
/// sum whether a token is in.
fn nucleus(logits: &[f32], sampling: &Sampling) -> Option<Vec<u32>> {
    if sampling.top_k > 0 || sampling.top_p >= 1.0 {
        return None;
    }
    let weights = Weights::new(logits, sampling);
    let border = weights.most - NEAR * sampling.temperature;
    let near = (0..).zip(logits).filter(|(_, logit)| f64::from(**logit) >= border);
    let mut near: Vec<(u32, f64)> = near.map(|(token, logit)| (token, weights.of(*logit))).collect();
    let sum: f64 = near.iter().map(|(_, weight)| weight).sum();
    let far = (logits.len() - near.len()) as f64 * libm::exp(-NEAR);
    let (least, most) = (sum * (1.0 - ROUNDING), (sum + far) * (1.0 + ROUNDING));
    // As in `Allowed::of`.
    let hopeless = least * (1.0 - sampling.top_p) / logits.len() as f64;
    near.retain(|(_, weight)| *weight >= hopeless);
    let order = by_likelihood(logits);
    near.sort_unstable_by(|(a, _), (b, _)| order(a, b));
    let mut before = 0.0;
    for (at, (_, weight)) in near.iter().enumerate() {
        if at > 0 && before >= sampling.top_p * most {
            return Some(near[..at].iter().map(|(token, _)| *token).collect());
        }
        if at > 0 && before >= sampling.top_p * least {
            return None;
        }
        before += weight;
    }
    None
}

/// Likelier tokens first; equal ones by id.
fn by_likelihood(logits: &[f32]) -> impl Fn(&u32, &u32) -> Ordering + Copy {
    |a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b))
}

/// The `count` likeliest tokens (at least one), in no order.
fn likeliest_few(logits: &[f32], count: usize) -> Vec<u32> {
    let mut few: Vec<u32> = Vec::with_capacity(2 * count);
    // The last of the likeliest so far: what is not above it does not come in, since of equals the first stay.
    let mut least = f32::NEG_INFINITY;
    let keep = |few: &mut Vec<u32>| {
        let (_, last, _) = few.select_nth_unstable_by(count - 1, by_likelihood(logits));
        let least = logits[*last as usize];
        few.truncate(count);
        least
    };
    for (token, logit) in (0..).zip(logits) {
        if logit.total_cmp(&least).is_gt() {
            few.push(token);
            if few.len() == 2 * count {
                least = keep(&mut few);
            }
        }
    }
    keep(&mut few);
    few
}

/// Probabilities before they are divided by their sum.
struct Weights {
    most: f64,
    temperature: f64,
}

impl Weights {
    fn new(logits: &[f32], sampling: &Sampling) -> Self {
        Self { most: f64::from(logits[likeliest(logits) as usize]), temperature: sampling.temperature }
    }

    fn of(&self, logit: f32) -> f64 {
        libm::exp((f64::from(logit) - self.most) / self.temperature)
    }

    /// A logit below which every weight is less than `weight`.
    fn logit_below(&self, weight: f64) -> f64 {
        // Far more than logarithm and exponential are off.
        self.most + self.temperature * (libm::log(weight) - 1e-6)
    }
}

/// The border of the allowed set, and distances from it in logits.
struct Border<'a> {
    logits: &'a [f32],
    temperature: f64,
    top_p: f64,
    /// The last token of the set.
    last: u32,
    /// The greatest logit that is not in the set.
    first_out: f64,
    /// The least logit that `top_k` lets in.
    last_of_top_k: f64,
    /// Sum of the weights of the tokens that `top_k` lets in.
    total: f64,
    weights: Weights,
}

impl<'a> Border<'a> {
    fn new(logits: &'a [f32], sampling: &Sampling, few: &[Candidate]) -> Self {
        let weights = Weights::new(logits, sampling);
        let last = few.last().map_or(0, |candidate| candidate.token);
        let logit = logits[last as usize];
        let out = |(other, token): &(&f32, u32)| **other < logit || (**other == logit && *token > last);
        let first_out = logits.iter().zip(0..).filter(out).map(|(other, _)| f64::from(*other));
        let first_out = first_out.fold(f64::NEG_INFINITY, f64::max);
        let mut sorted: Vec<f32> = logits.to_vec();
        let top_k = sampling.top_k as usize;
        let mut last_of_top_k = f64::NEG_INFINITY;
        if top_k > 0 && top_k < sorted.len() {
            let (_, least, _) = sorted.select_nth_unstable_by(top_k - 1, |a, b| b.total_cmp(a));
            last_of_top_k = f64::from(*least);
            sorted.truncate(top_k);
        }
        let total = sorted.iter().map(|logit| weights.of(*logit)).sum();
        let (temperature, top_p) = (sampling.temperature, sampling.top_p);
        Self { logits, temperature, top_p, last, first_out, last_of_top_k, total, weights }
    }

    /// How far the logits of all likelier tokens must move together so that they have probability `to`, not `from`.
    fn shift(&self, from: f64, to: f64) -> f64 {
        let odds = |probability: f64| {
            // Sums of rounded numbers say no more.
            let probability = probability.clamp(1e-12, 1.0 - 1e-12);
            libm::log(probability) - libm::log(1.0 - probability)
        };
        self.temperature * (odds(to) - odds(from))
    }

    /// How far a token of the set is from leaving it: until the first outside overtakes it, or until the likelier ones
    /// fill `top_p`.
    fn inside(&self, candidate: &Candidate) -> f64 {
        let overtaken = f64::from(candidate.logit) - self.first_out;
        if self.top_p < 1.0 && candidate.before > 0.0 {
            return overtaken.min(self.shift(candidate.before, self.top_p));
        }
        overtaken
    }

    /// How far a token that is not in the set is outside: until it overtakes the last inside, or until the likelier
    /// ones leave it room in `top_p`.
    fn outside(&self, token: u32) -> f64 {
        let logit = f64::from(self.logits[token as usize]);
        let overtakes = f64::from(self.logits[self.last as usize]) - logit;
        if self.top_p >= 1.0 {
            return overtakes;
        }
        // A token that top_k leaves out is taken for the last that it lets in.
        let compared = f64::max(self.last_of_top_k, logit);
        let likelier = self.logits.iter().zip(0..).filter(|(other, at)| {
            let other = f64::from(**other);
            other > compared || (other == compared && *at < token)
        });
        let before: f64 = likelier.map(|(other, _)| self.weights.of(*other)).sum();
        let room = self.shift(self.top_p, before / self.total);
        (self.last_of_top_k - logit).max(overtakes.min(room))
    }
}
