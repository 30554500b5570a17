//! Looking without being held up: a driver or a screen that does not answer stops nothing else.

use super::{LOOK_LIMIT, WORKING};
use crate::metering;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use tender_host::guard::{Limits, Look, Trigger, Watch};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::timeout,
};

/// While nothing of ours is on the card it is left alone: a driver that is kept open keeps it awake.
const CARD_AT_REST: Duration = Duration::from_secs(30);
/// How long a look that is late already is waited for.
const LATE: Duration = Duration::from_millis(100);

/// How long something is not seen until that is told: a screen or a driver may be starting again.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// What is looked for and cannot be seen any more. What a machine never showed is not lost.
#[derive(Default)]
pub(super) struct Lost {
    seen: BTreeSet<Trigger>,
    since: BTreeMap<Trigger, (Instant, String)>,
}

impl Lost {
    pub(super) fn note(&mut self, look: &Look, now: Instant) {
        let before = std::mem::take(&mut self.since);
        for seen in look.0.iter().filter(|seen| seen.on) {
            match &seen.unavailable {
                None => {
                    self.seen.insert(seen.trigger);
                }
                Some(why) if self.seen.contains(&seen.trigger) => {
                    let since = before.get(&seen.trigger).map_or(now, |(since, _)| *since);
                    self.since.insert(seen.trigger, (since, why.clone()));
                }
                Some(_) => {}
            }
        }
    }

    /// What has not been seen for a while at `now`, and why not.
    pub(super) fn for_long(&self, now: Instant) -> Vec<(Trigger, String)> {
        let long =
            |(_, (since, _)): &(&Trigger, &(Instant, String))| now.saturating_duration_since(*since) >= LOST_AFTER;
        self.since.iter().filter(long).map(|(trigger, (_, why))| (*trigger, why.clone())).collect()
    }
}

/// What looking keeps open.
#[derive(Default)]
pub(super) struct Eyes {
    watch: Watch,
    cards: Option<metering::Cards>,
}

impl Eyes {
    /// Looks at the machine. Blocks; the first look at a card loads its driver's library. A card at rest is looked at
    /// every 30 s only, and not kept open.
    pub(super) fn look(&mut self, limits: &Limits, adapter: Option<&str>, chosen: Option<&str>, at_rest: bool) -> Look {
        // Half of the pause: a look that comes a little early is a new one all the same.
        let every = WORKING / 2;
        let (watch, cards) = (&mut self.watch, &mut self.cards);
        let look = watch.look(limits, every, if at_rest { CARD_AT_REST } else { every }, || {
            metering::working(cards.get_or_insert_with(metering::open), adapter, chosen)
        });
        if at_rest {
            self.cards = None;
        }
        look
    }
}

/// The eyes, or the look that has not come back with them.
pub(super) enum Sight {
    Here(Box<Eyes>),
    Away(JoinHandle<(Look, Box<Eyes>)>),
}

impl Default for Sight {
    fn default() -> Self {
        Self::Here(Box::default())
    }
}

impl Sight {
    /// What `look` sees. While a look is under way no second one begins.
    ///
    /// # Errors
    /// Why nothing was seen: it takes too long, or it broke.
    pub(super) async fn look(&mut self, look: impl FnOnce(&mut Eyes) -> Look + Send + 'static) -> Result<Look, String> {
        const BROKE: &str = "the last look broke; the log says how";
        let mut eyes = match std::mem::take(self) {
            Self::Here(eyes) => eyes,
            // What it finds in the end is old.
            Self::Away(mut late) => match timeout(LATE, &mut late).await {
                Ok(Ok((_, eyes))) => eyes,
                Ok(Err(_)) => return Err(BROKE.to_owned()),
                Err(_) => {
                    *self = Self::Away(late);
                    return Err("the last look has not come back".to_owned());
                }
            },
        };
        let mut looking = spawn_blocking(move || {
            let seen = look(&mut eyes);
            (seen, eyes)
        });
        match timeout(LOOK_LIMIT, &mut looking).await {
            Ok(Ok((seen, eyes))) => {
                *self = Self::Here(eyes);
                Ok(seen)
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "a look of the guard broke");
                Err(BROKE.to_owned())
            }
            Err(_) => {
                tracing::error!("a look of the guard takes longer than {} s", LOOK_LIMIT.as_secs());
                *self = Self::Away(looking);
                Err("the last look has not come back".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use tender_host::guard::Seen;

    #[test]
    fn what_was_seen_once_and_is_not_for_half_a_minute_is_lost() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let look = |game: Result<(), &str>, on: bool| {
            let battery = Seen::looked(Trigger::Battery, Err("this machine has no battery".to_owned()), String::new());
            let game = Seen::looked(Trigger::Game, game.map(|()| None).map_err(str::to_owned), String::new());
            Look(vec![battery, Seen { on, ..game }])
        };
        let mut lost = Lost::default();
        lost.note(&look(Ok(()), true), at(0));
        lost.note(&look(Err("the screen is gone"), true), at(10));
        lost.note(&look(Err("still gone"), true), at(39));
        assert_eq!(lost.for_long(at(39)), []);
        assert_eq!(lost.for_long(at(40)), [(Trigger::Game, "still gone".to_owned())], "and never the battery");
        lost.note(&look(Ok(()), true), at(50));
        lost.note(&look(Err("gone again"), true), at(60));
        assert_eq!(lost.for_long(at(80)), []);
        lost.note(&look(Err("gone again"), false), at(81));
        assert_eq!(lost.for_long(at(200)), [], "the owner does not want it");
    }

    #[tokio::test]
    async fn a_look_that_hangs_or_breaks_is_said_and_no_second_one_begins() {
        let mut sight = Sight::default();
        let broke = sight.look(|_| panic!("as a driver does")).await.unwrap_err();
        assert!(broke.contains("broke"), "{broke}");
        assert_eq!(sight.look(|_| Look::default()).await, Ok(Look::default()));

        let (go_on, hangs) = mpsc::channel::<()>();
        let late = sight
            .look(move |_| {
                let _ = hangs.recv();
                Look::default()
            })
            .await
            .unwrap_err();
        assert!(late.contains("not come back"), "{late}");
        assert!(sight.look(|_| unreachable!("a second look beside the first")).await.is_err());
        drop(go_on);
        while sight.look(|_| Look::default()).await.is_err() {}
    }
}
