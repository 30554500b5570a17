//! Processes that are killed: SIGKILL to the client, the contractor or a worker at every step of a contract, and at
//! random milliseconds. Whatever is killed is started again on its data, and then every acknowledged job has ended,
//! both ledgers agree, and nothing was paid twice.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod audit;
mod endings;
mod market;
mod moments;
mod outages;
mod payments;
mod points;
