//! The Agent2Agent protocol, version 1.0: server, client, agent card, and the contract extension.
//!
//! JSON-RPC and HTTP+JSON are spoken with the wire types of the official crate `a2a-lf`, which is re-exported as
//! [`wire`], and gRPC with those of `a2a-pb`. Server and client are our own:
//!
//! - `a2a-server-lf` checks the protocol version on one binding only, has no caller in its task store and leaves
//!   required fields unchecked.
//! - `a2a-client-lf` builds its own HTTP client, so neither a pinned TLS key nor a bound on what is read can be
//!   given to it, and it cannot tell a silent peer from a silent task.
//!
//! A server is [`router`] + [`serve`] around an [`Agent`] and its [`TaskLog`]; a client is [`Client::connect`]. What
//! travels between two Tender nodes is in [`contract`].

mod agent;
mod auth;
pub mod card;
mod client;
pub mod contract;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzz;
mod limits;
pub mod log;
pub mod push;
mod server;
pub mod tls;

/// The wire types of A2A 1.0.
pub use a2a as wire;
pub use agent::{Agent, Call, Identity, Incoming, Once, Reply, Standing};
pub use auth::{ApiKey, Authenticator, CLOCK_SKEW, KEY_PREFIX, MAX_TOKEN_LIFE, bearer};
pub use client::{Answer, Client, ForeignClient, Talk, TaskEvent, TaskEvents};
pub use contract::CONTRACT_EXTENSION;
pub use error::{A2aError, ErrorKind};
pub use limits::Limits;
pub use log::{MemoryLog, Owner, TaskLog};
pub use push::WebhookRules;
pub use server::{CardSource, router, serve};
