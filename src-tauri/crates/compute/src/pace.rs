//! How much work one submission may hold.

use crate::Error;
use std::time::{Duration, Instant};

/// Longest that one submission should keep a GPU busy: the desktop stays fluid and a job can yield (anchors: a slice
/// of at most 50 ms). Half of it is aimed at, because the next slice may be heavier than the last.
const TARGET: Duration = Duration::from_millis(25);
/// How much larger than the last a slice may be: the first ones are small and tell little.
const MOST_GROWTH: f64 = 8.0;
/// Most workgroups of a dispatch along one dimension (WebGPU's guaranteed limit).
const MOST_WORKGROUPS: u32 = 65_535;

/// Sizes slices by the time the last one took.
#[derive(Debug)]
pub(crate) struct Pace {
    next: u32,
}

impl Pace {
    /// Starts with the smallest slice, since nothing is known.
    pub(crate) fn new() -> Self {
        Self::starting(1)
    }

    /// Starts with what an earlier [`Self::next`] gave for the same work.
    pub(crate) fn starting(count: u32) -> Self {
        Self { next: count.max(1) }
    }

    /// The size that the next slice would have.
    pub(crate) fn next(&self) -> u32 {
        self.next
    }

    /// Runs `slice(first, count)` over `range` until all of it is done.
    pub(crate) fn run(
        &mut self,
        range: std::ops::Range<u32>,
        mut slice: impl FnMut(u32, u32) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut first = range.start;
        while first < range.end {
            let count = self.next.min(MOST_WORKGROUPS).min(range.end - first);
            let started = Instant::now();
            slice(first, count)?;
            self.took(count, started.elapsed());
            first += count;
        }
        Ok(())
    }

    fn took(&mut self, count: u32, time: Duration) {
        let growth = (TARGET.as_secs_f64() / time.as_secs_f64().max(1e-6)).min(MOST_GROWTH);
        // The product of a u32 and at most 8 is far inside f64's integers; `as` saturates and never goes negative.
        self.next = ((f64::from(count) * growth) as u32).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_grow_while_fast_and_shrink_when_slow() {
        let mut pace = Pace::new();
        pace.took(1, Duration::from_micros(100));
        assert_eq!(pace.next, 8);
        pace.took(8, Duration::from_millis(50));
        assert_eq!(pace.next, 4);
        pace.took(4, Duration::from_secs(9));
        assert_eq!(pace.next, 1);
    }

    #[test]
    fn every_part_is_done_once_and_in_order() {
        let mut seen = Vec::new();
        Pace::new()
            .run(3..100, |first, count| {
                seen.extend(first..first + count);
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, (3..100).collect::<Vec<_>>());
    }
}
