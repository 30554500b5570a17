//! Tests that cross crates: real nodes, real windows, real browsers.
//!
//! What they share: [`TestNode`] is the real `tender serve` in a process of its own, reached over its real HTTP API;
//! [`Cli`] is the real command line; [`Stranger`] is a peer with a key of its own that says what a test wants it to
//! say; [`Runtime`] is a runtime of language models beside Tender; [`Foreigner`] is an A2A agent that knows nothing of
//! Tender; [`Game`] is what the guard yields to; [`work`] has small jobs. Nothing of the product is
//! replaced. [`sut`] is apart from them: the target of the A2A compatibility kit.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod agent;
mod cli;
mod draw;
mod events;
mod game;
mod node;
mod runtime;
mod stranger;
pub mod sut;
pub mod work;

pub use agent::{Behaviour, Foreigner};
pub use cli::{Cli, Said, programs};
pub use draw::draw;
pub use events::{Events, Seen};
pub use game::Game;
pub use node::{Launch, Refused, TestNode, pair};
pub use runtime::{Runtime, Says};
pub use stranger::{NONCE, Stranger};
