//! Whether an agent can do what is asked, and how well it fits.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Shares of Jaccard similarity, embedding cosine and history in equation 12.
pub const SHARES: [f64; 3] = [0.3, 0.5, 0.2];
/// θ of the paper: an agent that fits less is not asked.
pub const THRESHOLD: f64 = 0.7;

/// How well an agent's skills fit a job. Every figure is in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compatibility {
    /// |R ∩ S|/|R|: the share of the required skills that it has. Less than 1 excludes it, whatever the score.
    pub coverage: f64,
    /// |R ∩ S|/|R ∪ S|. It falls with every further skill, so it only orders those that cover everything.
    pub jaccard: f64,
    /// Cosine of the embeddings of job and skills, negative ones as 0; `None` without embeddings of one model.
    pub cosine: Option<f64>,
    /// Share of jobs of this kind that it delivered; `None` without history.
    pub history: Option<f64>,
    /// Equation 12: 0.3·Jaccard + 0.5·cosine + 0.2·history, divided by the shares of what is known.
    pub score: f64,
}

/// Compares what is required with what is offered; `cosine` is that of the embeddings of both, by [`cosine`], and
/// `history` a share. Who requires nothing is served by everyone.
#[must_use]
pub fn compatibility(
    required: &BTreeSet<String>,
    offered: &BTreeSet<String>,
    cosine: Option<f64>,
    history: Option<f64>,
) -> Compatibility {
    let both = required.intersection(offered).count() as f64;
    let either = required.union(offered).count() as f64;
    let (coverage, jaccard) =
        if required.is_empty() { (1.0, 1.0) } else { (both / required.len() as f64, both / either) };
    let cosine = cosine.filter(|cosine| (-1.0..=1.0).contains(cosine)).map(|cosine| cosine.max(0.0));
    let history = history.filter(|share| (0.0..=1.0).contains(share));
    let known = [Some(jaccard), cosine, history];
    let (sum, shares) = known.iter().zip(SHARES).fold((0.0, 0.0), |(sum, shares), (value, share)| match value {
        Some(value) => (sum + share * value, shares + share),
        None => (sum, shares),
    });
    Compatibility { coverage, jaccard, cosine, history, score: (sum / shares).clamp(0.0, 1.0) }
}

/// Cosine of the angle between two vectors of one length, in [−1, 1]; `None` for vectors of different length, without
/// length, or not finite.
#[must_use]
pub fn cosine(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() != b.len() {
        return None;
    }
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    let cosine = dot(a, b) / lengths;
    (lengths > 0.0 && lengths.is_finite() && cosine.is_finite()).then(|| cosine.clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn coverage_is_hard_and_the_score_weighs_what_is_known() {
        let required = set(&["rag", "finbert"]);
        let able = compatibility(&required, &set(&["rag", "finbert", "cuda", "nlp"]), None, None);
        assert_eq!((able.coverage, able.jaccard, able.score), (1.0, 0.5, 0.5));
        let partial = compatibility(&required, &set(&["rag"]), None, Some(1.0));
        assert_eq!((partial.coverage, partial.jaccard), (0.5, 0.5));
        assert!((partial.score - (0.15 + 0.2) / 0.5).abs() < 1e-12);
        let full = compatibility(&required, &required, cosine(&[1.0, 0.0], &[0.6, 0.8]), Some(0.9));
        assert!((full.score - (0.3 + 0.5 * 0.6 + 0.2 * 0.9)).abs() < 1e-12);
        assert_eq!(compatibility(&set(&[]), &set(&["x"]), None, None).score, 1.0);
    }

    #[test]
    fn a_cosine_of_nonsense_is_no_number() {
        assert_eq!(cosine(&[0.0], &[1.0]), None);
        assert_eq!(cosine(&[1.0], &[1.0, 2.0]), None);
        assert_eq!(cosine(&[f64::NAN], &[1.0]), None);
        assert_eq!(cosine(&[f64::MAX, 1.0], &[1.0, 1.0]), None);
        assert_eq!(cosine(&[2.0, 0.0], &[-3.0, 0.0]), Some(-1.0));
    }
}
