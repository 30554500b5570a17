//! How often something may be looked at.

use std::time::{Duration, Instant};

/// A look takes at most one part in so many of a processor's time: 2 %.
const SHARE: u32 = 50;

/// The last look at something, repeated no more often than asked for, and no more often than it is cheap.
#[derive(Debug)]
pub(super) struct Paced<T> {
    last: Option<T>,
    due: Option<Instant>,
}

impl<T> Default for Paced<T> {
    fn default() -> Self {
        Self { last: None, due: None }
    }
}

impl<T> Paced<T> {
    /// What `look` says now, or said less than `every` ago.
    pub(super) fn get(&mut self, every: Duration, look: impl FnOnce() -> T) -> &T {
        let started = Instant::now();
        let kept = self.last.take().filter(|_| self.due.is_some_and(|due| started < due));
        let now = kept.unwrap_or_else(|| {
            let seen = look();
            self.due = Some(started + every.max(started.elapsed() * SHARE));
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
        for _ in 0..3 {
            cheap.get(Duration::ZERO, || looks.0 += 1);
            dear.get(Duration::ZERO, || {
                looks.1 += 1;
                std::thread::sleep(Duration::from_millis(20));
            });
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(looks.0 >= 2 && looks.1 == 1, "{looks:?}");
    }
}
