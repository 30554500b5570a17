//! Trades between real nodes over real HTTP with a real worker.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod api;
mod decisions;
mod economics;
mod failover;
mod guard;
mod handback;
mod jobs;
mod kernels;
mod margins;
mod namespaces;
mod offline;
mod runtimes;
mod screens;
mod text;
