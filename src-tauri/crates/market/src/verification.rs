//! How much of a delivery is checked, which parts, and the verdict on what the check found.
//!
//! A contractor that falsifies a fraction *f* of the parts is caught by *k* random ones with probability
//! 1 − (1 − f)^k:
//!
//! | k | f = 1 % | f = 5 % | f = 10 % | f = 25 % | f = 50 % |
//! |---|---|---|---|---|---|
//! | 4 | 3.9 % | 18.5 % | 34.4 % | 68.4 % | 93.8 % |
//! | 8 | 7.7 % | 33.7 % | 57.0 % | 90.0 % | 99.6 % |
//! | 20 | 18.2 % | 64.2 % | 87.8 % | 99.7 % | 100 % |
//! | 60 | 45.3 % | 95.4 % | 99.8 % | 100 % | 100 % |
//!
//! The draw is without replacement, which only helps. A matrix product is always checked as a whole: Freivalds
//! costs O(n²) beside the product's O(n³).

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tender_base::{
    Code, Problem, Sha256, Work,
    documents::{Evidence, Statistic},
};

/// Vectors of a Freivalds check: a product that is wrong above the tolerance passes with probability 2⁻²⁰ at most.
pub const FREIVALDS_VECTORS: u32 = 20;
/// Parts checked of a contractor without history, at most: 60 find 5 % of false parts with 95 %.
pub const MAX_SAMPLE_NEW: u32 = 60;
/// The same for a contractor with history: 20 find 14 % of false parts with 95 %.
pub const MAX_SAMPLE_KNOWN: u32 = 20;
/// Parts checked at least, if there are as many.
pub const MIN_SAMPLE: u32 = 4;
/// One part in so many is checked of a contractor without history: recomputing more would cost the client what it
/// wanted to save.
pub const SHARE_NEW: u32 = 4;
/// One part in so many is checked of a contractor with history: the 5 to 10 % overhead of adaptive replication.
pub const SHARE_KNOWN: u32 = 10;
/// Valid results in a row after which a contractor has a history, and not every delivery is checked any more.
pub const KNOWN_AFTER: u32 = 10;
/// However long the history, one delivery in so many is checked: 5 % of the work done twice, and whoever turns false
/// gets away with twenty deliveries in the mean before it starts again from nothing.
pub const CHECK_ONE_IN_AT_MOST: u32 = 20;
/// Jobs that a contractor is expected to do once it is known: as many as its history looks back. Assumed.
pub const CHECKS_SERVE: f64 = 400.0;

/// Largest Freivalds residual over its tolerance; the tolerance already contains the rounding of honest f32 work.
pub const MAX_FREIVALDS_RESIDUAL: f64 = 1.0;
/// Smallest cosine between two honest computations of an embedding. Drivers reorder sums and differ by 1e-6;
/// another model, a truncated text or 4-bit weights fall below 0.999.
pub const MIN_COSINE: f64 = 0.999;
/// Every re-executed workgroup must agree: the comparison itself already allows for float rounding.
pub const MIN_AGREEING_SLICES: f64 = 1.0;
/// A pass over a finished text beside writing it: a GPU reads a prompt some thirty times faster than it writes, Mesa's
/// CPU adapter about four times; this is the dearer of the two.
pub const TEXT_CHECK_SHARE: f64 = 0.25;
/// Largest mean margin of a text, in logits. The worst honest text on record has 0.022, half of those by the closest
/// kind of cheat have more than 0.4 (`docs/verification.md` has the table).
pub const MAX_MEAN_MARGIN: f64 = 0.05;
/// Largest margin of a single token, in logits, however long the text. Of 18,767 honest tokens on record 146 are more
/// than 0.1 behind, 35 more than 0.2, 10 more than 0.3, and one, with 0.60, more than 0.4: a fourth for each tenth.
/// Going on like that, a text of 16,000 tokens has one above 1.0 once in two thousand. Replaced tokens are 8.7 behind
/// or more.
pub const MAX_MARGIN: f64 = 1.0;

/// What is checked of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub enum Check {
    /// The whole product, with so many random vectors.
    FullFreivalds {
        /// How many ±1 vectors.
        vectors: u32,
    },
    /// So many parts, drawn by [`choose`].
    Sample {
        /// How many passages or workgroups; from 1 to as many as there are.
        n: u32,
    },
    /// Every token of a text, in one pass of the client's own model over prompt and text.
    Margins,
    /// Nothing, this time: the contractor's last results were all valid.
    Trusted {
        /// One of so many of its deliveries is checked.
        one_in: u32,
    },
}

/// How much to check of `work` by a contractor whose last `valid` results in a row passed. `seed` draws whether: like
/// the parts, after the contractor is bound to its output.
///
/// Adaptive replication as in BOINC (Anderson 2019, section 3.4): after ten valid results in a row a contractor is
/// trusted with probability 1 − 1/CV, CV being the number of valid results in a row, and one invalid result ends the
/// trust. Matrix products are always checked: it costs next to nothing.
#[must_use]
pub fn plan(work: &Work, valid: u32, seed: &Sha256) -> Check {
    let one_in = one_in(work, valid);
    let mut words =
        Words { seed: &Sha256::of_parts(&[b"adaptive", seed.bytes()]), counter: 0, block: [0; 32], used: 32 };
    if words.at_most(one_in - 1) == 0 { whole_plan(work, valid) } else { Check::Trusted { one_in } }
}

/// One of so many deliveries of such work is checked.
fn one_in(work: &Work, valid: u32) -> u32 {
    if valid < KNOWN_AFTER || matches!(work, Work::Gemm { .. }) { 1 } else { valid.min(CHECK_ONE_IN_AT_MOST) }
}

/// What checking a delivery is expected to cost, as a share of doing the work here: how much is done again, times how
/// often.
fn expected_share(work: &Work, valid: u32) -> f64 {
    share(work, &whole_plan(work, valid)) / f64::from(one_in(work, valid))
}

/// The share that is counted when places are compared. A newcomer's first full checks are what it costs to know it, and
/// serve every later job: they are spread over [`CHECKS_SERVE`] of them. Counted at once they would keep every newcomer
/// out, however cheap, and so it would stay one.
#[must_use]
pub fn compared_share(work: &Work, valid: u32) -> f64 {
    if valid >= KNOWN_AFTER {
        return expected_share(work, valid);
    }
    let lasting = expected_share(work, CHECK_ONE_IN_AT_MOST);
    lasting + (expected_share(work, 0) - lasting) * f64::from(KNOWN_AFTER) / CHECKS_SERVE
}

/// What checking a newcomer's delivery costs, as a share of doing the work here: no check takes longer.
#[must_use]
pub fn whole_share(work: &Work) -> f64 {
    share(work, &whole_plan(work, 0))
}

fn share(work: &Work, check: &Check) -> f64 {
    match check {
        Check::Sample { n } => f64::from(*n) / f64::from(parts(work).unwrap_or(*n).max(1)),
        Check::Margins => TEXT_CHECK_SHARE,
        // Vectors times the matrices' sizes, beside two operations per element and inner index.
        Check::FullFreivalds { .. } | Check::Trusted { .. } => 0.0,
    }
}

fn whole_plan(work: &Work, history: u32) -> Check {
    match parts(work) {
        None if matches!(work, Work::Generate(_)) => Check::Margins,
        None => Check::FullFreivalds { vectors: FREIVALDS_VECTORS },
        Some(parts) => {
            let (share, most) =
                if history < KNOWN_AFTER { (SHARE_NEW, MAX_SAMPLE_NEW) } else { (SHARE_KNOWN, MAX_SAMPLE_KNOWN) };
            Check::Sample { n: parts.div_ceil(share).clamp(MIN_SAMPLE, most).min(parts) }
        }
    }
}

/// How many parts of `work` can be recomputed alone: passages or workgroups; `None` for a matrix product and for
/// text, of which every token depends on all before.
#[must_use]
pub fn parts(work: &Work) -> Option<u32> {
    match work {
        Work::Embed { passages, .. } => Some(*passages),
        Work::Kernel(kernel) => Some(kernel.rows),
        Work::Wgsl(kernel) => Some(kernel.workgroups),
        Work::Gemm { .. } | Work::Generate(_) => None,
    }
}

/// Whether a check computes something of `work` again, which takes the client's own card.
#[must_use]
pub fn takes_card(work: &Work) -> bool {
    parts(work).is_some() || matches!(work, Work::Generate(_))
}

/// Draws `n` distinct indices below `of`, ascending; all of them when `n ≥ of`.
///
/// Every subset of that size is equally likely: Floyd's sampling over unbiased numbers, which are the 32-bit
/// little-endian words of SHA-256(seed ‖ counter as 8 bytes little-endian), counter = 0, 1, …, with words above the
/// largest multiple of the range rejected. Anyone with the seed draws the same indices.
#[must_use]
pub fn choose(seed: &Sha256, n: u32, of: u32) -> Vec<u32> {
    if n >= of {
        return (0..of).collect();
    }
    let mut words = Words { seed, counter: 0, block: [0; 32], used: 32 };
    let mut chosen = BTreeSet::new();
    for top in of - n..of {
        let drawn = words.at_most(top);
        if !chosen.insert(drawn) {
            chosen.insert(top);
        }
    }
    chosen.into_iter().collect()
}

struct Words<'a> {
    seed: &'a Sha256,
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Words<'_> {
    fn next(&mut self) -> u32 {
        if self.used == self.block.len() {
            self.block = *Sha256::of_parts(&[self.seed.bytes(), &self.counter.to_le_bytes()]).bytes();
            self.counter += 1;
            self.used = 0;
        }
        let at = self.used;
        self.used += 4;
        u32::from_le_bytes([self.block[at], self.block[at + 1], self.block[at + 2], self.block[at + 3]])
    }

    /// Uniform over `0..=top`.
    fn at_most(&mut self, top: u32) -> u32 {
        let range = u64::from(top) + 1;
        let usable = (1u64 << 32) / range * range;
        loop {
            let word = u64::from(self.next());
            if word < usable {
                return u32::try_from(word % range).unwrap_or(top);
            }
        }
    }
}

/// Whether what was found lets the delivery of `work` pass.
///
/// # Errors
/// [`Code::WorkFailed`] when there is no evidence, when a statistic is not the one for this kind of work, was taken
/// over nothing or is not a number, or when a value misses its threshold.
pub fn verdict(work: &Work, evidence: &[Evidence]) -> Result<(), Problem> {
    let fail = |message: String| {
        Err(Problem::new(
            Code::WorkFailed,
            message,
            "reject the delivery; the next proposal takes over and nothing is owed for this one",
        ))
    };
    if evidence.is_empty() {
        return fail("nothing was checked, so the delivery proves nothing".into());
    }
    let expected = expected(work);
    for Evidence { statistic, value, n, .. } in evidence {
        if !expected.contains(statistic) {
            return fail(format!("{statistic:?} says nothing about {} work", work.kind().name()));
        }
        if *n == 0 || !value.is_finite() {
            return fail(format!("the check found {value} over {n} samples, which proves nothing"));
        }
        let (passes, threshold) = passes(*statistic, *value);
        if !passes {
            return fail(format!("the {} is {value}, but must be {threshold}", words(*statistic)));
        }
    }
    // What was found wrong comes first: who found it had no need to go on measuring.
    if let Some(missing) = expected.iter().find(|e| evidence.iter().all(|found| found.statistic != **e)) {
        return fail(format!("the {} was not measured", words(*missing)));
    }
    Ok(())
}

/// Whether what was found shows the delivery of `work` to be wrong: some statistic of such work, taken over something,
/// misses its threshold. Evidence that lacks, or says nothing about the work, does not; nor does what passes.
#[must_use]
pub fn shows_fault(work: &Work, evidence: &[Evidence]) -> bool {
    let of_this_work = evidence.iter().filter(|found| expected(work).contains(&found.statistic));
    of_this_work.filter(|found| found.n > 0).any(|found| !passes(found.statistic, found.value).0)
}

fn expected(work: &Work) -> &'static [Statistic] {
    match work {
        Work::Embed { .. } => &[Statistic::MinCosine],
        Work::Gemm { .. } => &[Statistic::FreivaldsResidual],
        Work::Kernel(_) | Work::Wgsl(_) => &[Statistic::AgreeingSlices],
        Work::Generate(_) => &[Statistic::ConsistentText, Statistic::MeanMargin, Statistic::MaxMargin],
    }
}

/// Whether a value passes, and the threshold in words.
fn passes(statistic: Statistic, value: f64) -> (bool, String) {
    match statistic {
        Statistic::FreivaldsResidual => {
            ((0.0..=MAX_FREIVALDS_RESIDUAL).contains(&value), format!("at most {MAX_FREIVALDS_RESIDUAL}"))
        }
        Statistic::MinCosine => (value >= MIN_COSINE, format!("at least {MIN_COSINE}")),
        Statistic::AgreeingSlices => (value >= MIN_AGREEING_SLICES, format!("{MIN_AGREEING_SLICES}")),
        Statistic::ConsistentText => (value >= 1.0, "1".to_owned()),
        Statistic::MeanMargin => ((0.0..=MAX_MEAN_MARGIN).contains(&value), format!("at most {MAX_MEAN_MARGIN}")),
        Statistic::MaxMargin => ((0.0..=MAX_MARGIN).contains(&value), format!("at most {MAX_MARGIN}")),
    }
}

/// The statistic in words.
#[must_use]
pub fn words(statistic: Statistic) -> &'static str {
    match statistic {
        Statistic::FreivaldsResidual => "Freivalds residual over its tolerance",
        Statistic::MinCosine => "smallest cosine to the recomputed embeddings",
        Statistic::AgreeingSlices => "fraction of re-executed workgroups that agree",
        Statistic::ConsistentText => "agreement of text, tokens and end",
        Statistic::MeanMargin => "mean margin of the tokens in logits",
        Statistic::MaxMargin => "largest margin of a token in logits",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tender_base::job::{Element, ModelRef, Precision, WgslWork};

    const GEMM: Work = Work::Gemm { m: 8, k: 8, n: 8, precision: Precision::F32 };

    fn embed(passages: u32) -> Work {
        let model = ModelRef { name: "all-MiniLM-L6-v2".into(), sha256: Sha256::of(b"") };
        Work::Embed { model, passages, tokens: 8 * u64::from(passages) }
    }

    fn evidence(statistic: Statistic, value: f64, n: u32) -> Evidence {
        Evidence { statistic, value, n, seed: Sha256::of(b"seed") }
    }

    #[test]
    fn a_newcomer_is_checked_more_than_a_known_contractor_and_never_more_than_there_is() {
        for (passages, new, known) in [(1, 1, 1), (3, 3, 3), (24, 6, 4), (100, 25, 10), (4096, 60, 20)] {
            assert_eq!(whole_plan(&embed(passages), 0), Check::Sample { n: new });
            assert_eq!(whole_plan(&embed(passages), KNOWN_AFTER), Check::Sample { n: known });
        }
    }

    #[test]
    fn trust_is_earned_slowly_bounded_and_only_where_checking_costs() {
        let seeds = || (0..4000u32).map(|n| Sha256::of(&n.to_le_bytes()));
        let checked =
            |work: &Work, valid| seeds().filter(|s| !matches!(plan(work, valid, s), Check::Trusted { .. })).count();
        for valid in [0, 1, KNOWN_AFTER - 1] {
            assert_eq!(checked(&embed(24), valid), 4000);
        }
        // 1 in 10, then 1 in 20 at most: 400 and 200 of 4,000, standard deviations 19 and 14.
        assert!(checked(&embed(24), 10).abs_diff(400) < 95);
        assert!(checked(&embed(24), 20).abs_diff(200) < 70);
        assert!(checked(&embed(24), 1000).abs_diff(200) < 70);
        assert_eq!(checked(&GEMM, 1000), 4000);
        assert_eq!(plan(&GEMM, 1000, &Sha256::of(b"")), Check::FullFreivalds { vectors: 20 });
        assert!((expected_share(&embed(24), 0) - 0.25).abs() < 1e-12);
        let lasting = 4.0 / 24.0 / 20.0;
        assert!((expected_share(&embed(24), 20) - lasting).abs() < 1e-12);
        // Compared, ten full checks serve four hundred jobs.
        assert!((compared_share(&embed(24), 0) - (lasting + (0.25 - lasting) / 40.0)).abs() < 1e-12);
        assert_eq!(compared_share(&embed(24), 9), compared_share(&embed(24), 0));
        assert_eq!(compared_share(&embed(24), 10), expected_share(&embed(24), 10));
    }

    #[test]
    fn only_what_misses_its_threshold_shows_a_fault() {
        let found = |statistic, value, n| shows_fault(&GEMM, &[evidence(statistic, value, n)]);
        assert!(found(Statistic::FreivaldsResidual, 7.0, 20));
        assert!(found(Statistic::FreivaldsResidual, f64::MAX, 1));
        assert!(!shows_fault(&GEMM, &[]), "nothing");
        assert!(!found(Statistic::FreivaldsResidual, 0.5, 20), "it passes");
        assert!(!found(Statistic::FreivaldsResidual, 7.0, 0), "over nothing");
        assert!(!found(Statistic::MinCosine, 0.0, 20), "of other work");
        let passes = evidence(Statistic::FreivaldsResidual, 0.5, 20);
        let fails = evidence(Statistic::FreivaldsResidual, 7.0, 20);
        assert!(shows_fault(&GEMM, &[passes, fails]));
    }

    #[test]
    fn what_was_found_wrong_is_said_before_what_was_not_measured() {
        let model = ModelRef { name: "m".into(), sha256: Sha256::of(b"") };
        let sampling = tender_base::job::Sampling::GREEDY;
        let text = tender_base::job::GenerateWork { model, prompt_tokens: 5, max_tokens: 9, sampling, stop: vec![] };
        let work = Work::Generate(text);
        let problem = verdict(&work, &[evidence(Statistic::ConsistentText, 0.0, 1)]).unwrap_err();
        assert!(problem.message.contains("agreement of text"), "{problem}");
        let problem = verdict(&work, &[evidence(Statistic::ConsistentText, 1.0, 1)]).unwrap_err();
        assert!(problem.message.contains("was not measured"), "{problem}");
        assert!((whole_share(&work) - TEXT_CHECK_SHARE).abs() < 1e-12);
    }

    #[test]
    fn the_documented_draw_does_not_change() {
        // Computed apart from this code, from the description of `choose`, with Python's hashlib.
        assert_eq!(choose(&Sha256::of(b"tender"), 5, 1000), GOLDEN_5_OF_1000);
    }
    const GOLDEN_5_OF_1000: [u32; 5] = [25, 26, 58, 359, 507];

    proptest! {
        #[test]
        fn a_draw_is_distinct_in_range_and_of_the_right_size(seed: [u8; 32], n in 0..200u32, of in 0..70_000u32) {
            let drawn = choose(&Sha256::from_bytes(seed), n, of);
            prop_assert_eq!(drawn.len(), n.min(of) as usize);
            prop_assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(drawn.iter().all(|index| *index < of));
        }
    }

    #[test]
    fn every_index_is_equally_likely() {
        let mut hits = [0u32; 10];
        for seed in 0..10_000u32 {
            for index in choose(&Sha256::of(&seed.to_le_bytes()), 3, 10) {
                hits[index as usize] += 1;
            }
        }
        // 3,000 expected each, standard deviation 46: five of them is ±230.
        assert!(hits.iter().all(|n| n.abs_diff(3000) < 230), "{hits:?}");
    }

    #[test]
    fn what_proves_nothing_does_not_pass() {
        let work = embed(4);
        assert!(verdict(&work, &[]).is_err(), "no evidence");
        assert!(verdict(&work, &[evidence(Statistic::FreivaldsResidual, 0.0, 20)]).is_err(), "wrong statistic");
        assert!(verdict(&work, &[evidence(Statistic::MinCosine, 1.0, 0)]).is_err(), "no samples");
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.9989] {
            assert!(verdict(&work, &[evidence(Statistic::MinCosine, value, 4)]).is_err(), "{value}");
        }
        assert!(verdict(&GEMM, &[evidence(Statistic::FreivaldsResidual, f64::NAN, 20)]).is_err());
        assert!(verdict(&GEMM, &[evidence(Statistic::FreivaldsResidual, -0.5, 20)]).is_err(), "a residual is positive");
    }

    #[test]
    fn thresholds_hold_at_their_edge_and_one_failure_fails_all() {
        let (good, bad) =
            (evidence(Statistic::FreivaldsResidual, 1.0, 20), evidence(Statistic::FreivaldsResidual, 1.001, 20));
        assert_eq!(verdict(&GEMM, std::slice::from_ref(&good)), Ok(()));
        let problem = verdict(&GEMM, &[good, bad]).unwrap_err();
        assert!(problem.code == Code::WorkFailed && problem.message.contains("1.001"), "{problem}");

        let kernel = Work::Wgsl(WgslWork {
            source_bytes: 1,
            entry: "main".into(),
            workgroups: 16,
            workgroup_size: 64,
            fuel: 1,
            buffers: vec![],
            element: Element::U32,
        });
        assert_eq!(verdict(&kernel, &[evidence(Statistic::AgreeingSlices, 1.0, 4)]), Ok(()));
        assert!(verdict(&kernel, &[evidence(Statistic::AgreeingSlices, 0.75, 4)]).is_err());
        assert_eq!(verdict(&embed(4), &[evidence(Statistic::MinCosine, 0.999, 4)]), Ok(()));
    }
}
