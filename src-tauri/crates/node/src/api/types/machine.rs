//! What the machine is doing, and which jobs do it.

use serde::{Deserialize, Serialize};
use tender_base::Role;

api_types! {
    /// The machine now and in the last ten minutes. What is not told is absent.
    pub struct Machine {
        /// The time of this answer: the end of the axis.
        pub now: String,
        /// Milliseconds between two samples; a longer step between them is a time in which nobody looked.
        pub every_ms: u64,
        /// How far back samples are kept, milliseconds: the length of the axis.
        pub span_ms: u64,
        /// The cards with a sensor.
        pub cards: Vec<MachineCard>,
        /// The rest of the machine.
        pub host: MachineHost,
        /// Oldest first.
        pub samples: Vec<MachineSample>,
        /// What ran here meanwhile, oldest first.
        pub jobs: Vec<MachineJob>,
    }

    /// One card.
    pub struct MachineCard {
        /// Its name.
        pub name: String,
        /// Its PCI address.
        pub address: String,
        /// What it draws.
        pub power_watts: Option<f64>,
        /// What it may draw.
        pub power_limit_watts: Option<f64>,
        /// Its temperature in degrees Celsius.
        pub temperature_c: Option<f64>,
        /// Video memory in use.
        pub memory_used_bytes: Option<u64>,
        /// Video memory in all.
        pub memory_total_bytes: Option<u64>,
        /// How much of the time it computes, 0 to 1.
        pub utilisation: Option<f64>,
        /// What slows it down now, in words; empty when nothing does.
        pub slowed_by: Vec<String>,
        /// The last gap in its samples that could not be read; none in the span when absent.
        #[cfg_attr(test, ts(optional = nullable))]
        pub unread: Option<UnreadCard>,
    }

    /// A look at a card that failed.
    pub struct UnreadCard {
        /// When.
        pub at: String,
        /// Why, in words.
        pub why: String,
    }

    /// The machine beside its cards.
    pub struct MachineHost {
        /// Use of all processors together, 0 to 1.
        pub cpu_utilisation: Option<f64>,
        /// Memory in use.
        pub memory_used_bytes: Option<u64>,
        /// Memory in all.
        pub memory_total_bytes: Option<u64>,
    }

    /// One look: of several cards the sum of power and memory, the hottest and the busiest.
    pub struct MachineSample {
        /// When.
        pub at: String,
        /// Watts.
        pub power_watts: Option<f64>,
        /// Degrees Celsius.
        pub temperature_c: Option<f64>,
        /// Video memory in use.
        pub memory_used_bytes: Option<u64>,
        /// How much of the time the cards compute, 0 to 1.
        pub utilisation: Option<f64>,
        /// Use of all processors together, 0 to 1.
        pub cpu_utilisation: Option<f64>,
    }

    /// A job on the axis of the samples.
    pub struct MachineJob {
        /// Job id when own, contract id when sold.
        pub id: String,
        /// What it is.
        pub title: String,
        /// `client` for own work, `contractor` for what was sold.
        #[cfg_attr(test, ts(type = "'client' | 'contractor'"))]
        pub role: Role,
        /// When it began to run.
        pub from: String,
        /// When it ended; absent while it runs.
        pub until: Option<String>,
    }
}
