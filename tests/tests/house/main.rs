//! The house rules: who may depend on whom, and what may stand where. Each rule is shown to fail on a bad sample.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod contract;
mod dependencies;
mod sources;
