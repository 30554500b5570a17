//! Whether the node sells, and the guard that gives the machine back to its owner.

use serde::{Deserialize, Serialize};

api_types! {
    /// Whether the node sells now, and why not.
    pub struct Selling {
        /// The owner's switch.
        pub on: bool,
        /// The one state that the guard decides.
        #[cfg_attr(test, ts(type = "'off' | 'idle' | 'busy' | 'paused' | 'stopped' | 'yielding' | 'draining'"))]
        pub state: String,
        /// In a sentence.
        pub reason: String,
        /// End of a pause, when paused for a time.
        pub paused_until: Option<String>,
        /// For what the machine is given back now; absent when it is not, or when the owner paused by hand.
        #[cfg_attr(test, ts(type = "GuardTriggerName | null"))]
        pub trigger: Option<String>,
        /// When selling goes on by itself, if nothing else comes; absent while what it yields to lasts and its end is
        /// not known.
        pub resumes_at: Option<String>,
    }

    /// Something that the guard is told to look for and cannot see any more.
    pub struct GuardLost {
        /// Its name.
        #[cfg_attr(test, ts(type = "GuardTriggerName"))]
        pub trigger: String,
        /// What it is, in words.
        pub what: String,
        /// Why it cannot be seen.
        pub why: String,
    }

    /// The guard: what it looks for, what it sees, and what it did.
    pub struct Guard {
        /// Whether it looks now: while selling is on, or work runs on the card.
        pub looking: bool,
        /// What it looks for, the strongest first.
        pub triggers: Vec<GuardTrigger>,
        /// When it gave the machine back, newest first, 20 at most.
        pub yields: Vec<GuardYield>,
        /// The longest that a yield takes, from the trigger to memory read back as free, in milliseconds: the
        /// longest of the self-test, rounded up to 10. None before the first self-test.
        pub promise_ms: Option<u32>,
        /// When it was tested.
        pub tested_at: Option<String>,
        /// With how many yields.
        pub tests: u32,
        /// What the self-test measured.
        pub test: Option<GuardTest>,
        /// The self-test under way: yields done and in all.
        pub testing: Option<super::Progress>,
        /// Why the last self-test came to nothing.
        pub test_problem: Option<super::ApiProblem>,
    }

    /// One thing that the guard looks for.
    pub struct GuardTrigger {
        /// Its name.
        #[cfg_attr(test, ts(type = "GuardTriggerName"))]
        pub name: String,
        /// Whether it is looked for.
        pub on: bool,
        /// Whether this machine can tell.
        pub available: bool,
        /// Why not.
        pub unavailable_why: Option<String>,
        /// Whether it was there at the last look.
        pub present: bool,
        /// What was seen, or is looked for, in a sentence.
        pub detail: String,
        /// Whether own jobs stop, too; else only what is sold.
        pub stops_own_jobs: bool,
        /// The settings that it follows.
        pub settings: Vec<String>,
    }

    /// One time that the machine was given back.
    pub struct GuardYield {
        /// When the trigger was seen.
        pub at: String,
        /// What it was.
        #[cfg_attr(test, ts(type = "GuardTriggerName"))]
        pub trigger: String,
        /// In a sentence.
        pub reason: String,
        /// From there to memory free, in milliseconds; absent when there was nothing to free, or own jobs went on.
        pub freed_ms: Option<f64>,
        /// Memory freed, in bytes; absent when nobody measures it.
        pub freed_bytes: Option<u64>,
        /// Whether memory was read back: by the card's sensor, or as that of a process that is gone.
        pub memory_measured: bool,
        /// Sold jobs handed back.
        pub jobs_handed_back: u32,
        /// When selling went on; absent while it has not.
        pub resumed_at: Option<String>,
    }

    /// What a self-test measured, in milliseconds from the trigger to memory read back as free.
    pub struct GuardTest {
        /// Yields.
        pub n: u32,
        /// Median.
        pub p50_ms: f64,
        /// Longest.
        pub max_ms: f64,
        /// The adapter that worked.
        pub adapter: String,
        /// Its driver.
        pub driver: String,
        /// Whether memory was read back each time.
        pub memory_measured: bool,
        /// When it ended.
        pub at: String,
    }
}
