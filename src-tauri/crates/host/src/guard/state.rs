//! The one state machine: from what is seen and what the owner wants to whether anything runs here.

use std::time::Duration;

/// A trigger that comes back within this time after selling went on, and that work itself brings about, makes the
/// next delay twice as long.
const AGAIN: Duration = Duration::from_secs(300);
/// Most doublings: 32 times the stated delay.
const MOST_DOUBLINGS: u32 = 5;

/// Something for which the machine is given back, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trigger {
    /// A full-screen window in the foreground, or a program that the owner named.
    Game,
    /// A program that is not ours holds much of the card's memory.
    OtherProgram,
    /// The card is hotter than the owner allows.
    Temperature,
    /// The card draws more power than the owner allows.
    Power,
    /// The machine runs on its battery.
    Battery,
    /// Somebody uses keyboard or mouse.
    Activity,
    /// It is none of the hours in which the owner sells.
    Schedule,
    /// The network is paid by volume.
    Metered,
    /// The guard tests itself.
    Test,
}

impl Trigger {
    /// Every trigger, the strongest first.
    pub const ALL: [Self; 9] = [
        Self::Game,
        Self::OtherProgram,
        Self::Temperature,
        Self::Power,
        Self::Battery,
        Self::Activity,
        Self::Schedule,
        Self::Metered,
        Self::Test,
    ];

    /// Its name, which stays.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Game => "game",
            Self::OtherProgram => "other_program",
            Self::Temperature => "temperature",
            Self::Power => "power",
            Self::Battery => "battery",
            Self::Activity => "activity",
            Self::Schedule => "schedule",
            Self::Metered => "metered",
            Self::Test => "test",
        }
    }

    /// What is there, in words, without its detail.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Game => "game in foreground",
            Self::OtherProgram => "another program uses the card",
            Self::Temperature => "the card is too hot",
            Self::Power => "the card draws too much power",
            Self::Battery => "the machine runs on its battery",
            Self::Activity => "you use the machine",
            Self::Schedule => "outside your hours",
            Self::Metered => "the network is metered",
            Self::Test => "the guard tests itself",
        }
    }

    /// What stops: own jobs go on where only the sale is in the way.
    #[must_use]
    pub fn reach(self) -> Reach {
        match self {
            Self::Game | Self::OtherProgram | Self::Temperature | Self::Power | Self::Test => Reach::All,
            Self::Battery | Self::Activity | Self::Schedule | Self::Metered => Reach::Sold,
        }
    }

    /// Whether work on the card itself brings it about, so that it comes back with the work.
    fn follows_work(self) -> bool {
        matches!(self, Self::Temperature | Self::Power)
    }
}

/// What must not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// Work for others.
    Sold,
    /// Any work on the card, the owner's too.
    All,
}

/// A trigger that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which.
    pub trigger: Trigger,
    /// What was seen, such as a program's name; may be empty.
    pub detail: String,
}

impl Sighting {
    /// In words, with its detail.
    #[must_use]
    pub fn words(&self) -> String {
        match self.detail.as_str() {
            "" => self.trigger.words().to_owned(),
            detail => format!("{} ({detail})", self.trigger.words()),
        }
    }
}

/// What the owner wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// The switch that stops everything.
    pub stopped: bool,
    /// The switch of the sale.
    pub selling: bool,
    /// A pause for a time is under way.
    pub paused: bool,
    /// Nothing new is taken; when what runs is done, the sale pauses.
    pub finishing: bool,
}

/// Where the sale stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing<'a> {
    /// Everything is stopped.
    Stopped,
    /// Not for sale.
    Off,
    /// The owner pauses for a time.
    Paused,
    /// What ran is finished, and the sale pauses until the owner resumes it.
    Finished,
    /// The machine is given back.
    Yielding {
        /// The strongest of what is there, or was there last.
        cause: &'a Sighting,
        /// When the sale goes on if nothing comes; none while the cause lasts.
        resumes_in: Option<Duration>,
        /// How long after its end the sale goes on.
        delay: Duration,
    },
    /// Nothing new is taken, and something still runs.
    Draining,
    /// Open for calls.
    Open,
}

/// The state machine. Times count from any fixed moment, on a clock that never runs backwards.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    sold: Hold,
    all: Hold,
}

/// For what and since when nothing of one reach runs.
#[derive(Clone, Debug, Default)]
struct Hold {
    now: Option<Held>,
    /// When and for what the last one ended, and how often its delay was doubled.
    last: Option<(Duration, Trigger, u32)>,
}

#[derive(Clone, Debug)]
struct Held {
    cause: Sighting,
    /// Since when nothing is there any more.
    gone_at: Option<Duration>,
    delay: Duration,
    doublings: u32,
}

impl Guard {
    /// Takes note of everything that is there at `now`. `delay` is how long after the end of the last one the sale
    /// goes on.
    pub fn observe(&mut self, now: Duration, present: &[Sighting], delay: Duration) {
        let strongest = |reach| present.iter().filter(|s| s.trigger.reach() >= reach).min_by_key(|s| s.trigger);
        self.sold.observe(now, strongest(Reach::Sold), delay);
        self.all.observe(now, strongest(Reach::All), delay);
    }

    /// Ends a self-test: what it held goes on at once, unless something else has come.
    pub fn end_test(&mut self) {
        for hold in [&mut self.sold, &mut self.all] {
            if hold.now.as_ref().is_some_and(|held| held.cause.trigger == Trigger::Test) {
                hold.now = None;
            }
        }
    }

    /// What must not run now; none when everything may.
    #[must_use]
    pub fn holds(&self) -> Option<Reach> {
        match (&self.all.now, &self.sold.now) {
            (Some(_), _) => Some(Reach::All),
            (None, Some(_)) => Some(Reach::Sold),
            (None, None) => None,
        }
    }

    /// For what nothing of this reach runs.
    #[must_use]
    pub fn cause(&self, reach: Reach) -> Option<&Sighting> {
        let hold = if reach == Reach::All { &self.all } else { &self.sold };
        hold.now.as_ref().map(|held| &held.cause)
    }

    /// Where the sale stands. What the owner said by hand comes before what is seen.
    #[must_use]
    pub fn standing(&self, now: Duration, owner: Owner, running: bool) -> Standing<'_> {
        match (owner, &self.sold.now) {
            (Owner { stopped: true, .. }, _) => Standing::Stopped,
            (Owner { selling: false, .. }, _) => Standing::Off,
            (Owner { paused: true, .. }, _) => Standing::Paused,
            (Owner { finishing: true, .. }, _) if !running => Standing::Finished,
            (_, Some(Held { cause, gone_at, delay, .. })) => Standing::Yielding {
                cause,
                resumes_in: gone_at.map(|gone| (gone + *delay).saturating_sub(now)),
                delay: *delay,
            },
            (Owner { finishing: true, .. }, None) => Standing::Draining,
            (_, None) => Standing::Open,
        }
    }
}

impl Hold {
    fn observe(&mut self, now: Duration, strongest: Option<&Sighting>, delay: Duration) {
        match (&mut self.now, strongest) {
            (None, None) => {}
            (None, Some(cause)) => {
                let again = self.last.filter(|(ended, trigger, _)| {
                    cause.trigger.follows_work() && *trigger == cause.trigger && now.saturating_sub(*ended) < AGAIN
                });
                let doublings = again.map_or(0, |(_, _, before)| (before + 1).min(MOST_DOUBLINGS));
                let held = Held { cause: cause.clone(), gone_at: None, delay: delay * (1 << doublings), doublings };
                self.now = Some(held);
            }
            (Some(held), Some(cause)) => {
                held.gone_at = None;
                held.cause = cause.clone();
                held.delay = delay * (1 << held.doublings);
            }
            (Some(held), None) => {
                let gone = *held.gone_at.get_or_insert(now);
                if now.saturating_sub(gone) >= held.delay {
                    self.last = Some((now, held.cause.trigger, held.doublings));
                    self.now = None;
                }
            }
        }
    }
}
