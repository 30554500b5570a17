//! The guard: when the machine belongs to its owner again.
//!
//! [`state`] decides and knows neither a clock nor the machine; the others look and decide nothing. What cannot be
//! looked at here is said with the reason, and never taken for "nothing there".

mod battery;
mod card;
mod network;
mod pace;
mod programs;
mod screen;
mod state;
#[cfg(test)]
mod state_tests;
mod watch;

pub use state::{Guard, Owner, Reach, Sighting, Standing, Trigger};
pub use watch::{Limits, Look, Seen, Watch};
