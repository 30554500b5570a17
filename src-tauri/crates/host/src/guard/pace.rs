//! How often something may be looked at.

use std::time::{Duration, Instant};

/// A look takes at most one part in so many of a processor's time: 2 %.
const SHARE: u32 = 50;

/// The last look at something, repeated no more often than asked for, and no more often than it is cheap.
#[derive(Debug)]
pub(super) struct Paced<T> {
    last: Option<T>,
    at: Option<Instant>,
    /// What the last looks took. The cheapest of three counts: the others waited for a processor on a busy machine, and
    /// the first may load a driver. So nothing is slowed before its third look.
    took: [Duration; 3],
}

impl<T> Default for Paced<T> {
    fn default() -> Self {
        Self { last: None, at: None, took: [Duration::ZERO; 3] }
    }
}

impl<T> Paced<T> {
    /// What `look` says now, or said less than `every` ago.
    pub(super) fn get(&mut self, every: Duration, look: impl FnOnce() -> T) -> &T {
        let started = Instant::now();
        let cost = self.took.into_iter().min().unwrap_or_default();
        let pause = every.max(cost * SHARE);
        let kept = self.last.take().filter(|_| self.at.is_some_and(|at| started < at + pause));
        let now = kept.unwrap_or_else(|| {
            let seen = look();
            self.took = [started.elapsed(), self.took[0], self.took[1]];
            self.at = Some(started);
            seen
        });
        self.last.insert(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dear_look_is_not_repeated_at_once() {
        let (mut cheap, mut dear) = (Paced::default(), Paced::default());
        let mut looks = (0, 0);
        for _ in 0..6 {
            cheap.get(Duration::ZERO, || looks.0 += 1);
            dear.get(Duration::ZERO, || {
                looks.1 += 1;
                std::thread::sleep(Duration::from_millis(200));
            });
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(looks.0 == 6 && looks.1 == 3, "{looks:?}");
    }
}
