//! The use-cases of contractor and client; identity; the local API; wires the other crates together.
//!
//! Without the feature `host` only [`api`]'s types and [`attach`] remain: what the desktop shell needs.

pub mod api;
pub mod attach;

#[cfg(feature = "host")]
mod agents;
#[cfg(feature = "host")]
pub mod backup;
#[cfg(feature = "host")]
mod bells;
#[cfg(feature = "host")]
pub mod bench;
#[cfg(feature = "host")]
mod benchmark;
#[cfg(feature = "host")]
mod breakeven;
#[cfg(feature = "host")]
mod client;
#[cfg(feature = "host")]
mod contractor;
#[cfg(feature = "host")]
mod demand;
#[cfg(feature = "host")]
pub mod demo;
#[cfg(feature = "host")]
mod economics;
#[cfg(feature = "host")]
mod entropy;
#[cfg(feature = "host")]
mod guard;
#[cfg(feature = "host")]
pub mod identity;
#[cfg(feature = "host")]
mod invitation;
#[cfg(feature = "host")]
mod live;
#[cfg(feature = "host")]
pub mod log_file;
#[cfg(feature = "host")]
mod looking;
#[cfg(feature = "host")]
mod metering;
#[cfg(feature = "host")]
mod models;
#[cfg(feature = "host")]
mod node;
#[cfg(feature = "host")]
mod payments;
#[cfg(feature = "host")]
mod peers;
#[cfg(feature = "host")]
mod prices;
#[cfg(feature = "host")]
mod runtimes;
#[cfg(feature = "host")]
mod samples;
#[cfg(feature = "host")]
mod serve;
#[cfg(feature = "host")]
mod settings;
#[cfg(feature = "host")]
mod support;
#[cfg(feature = "host")]
mod timers;

#[cfg(feature = "host")]
pub use looking::{Looking, doctor};
#[cfg(feature = "host")]
pub use node::{Config, Node, Running};

/// Checks a signed agent card and returns the key that signed it.
///
/// # Errors
/// [`tender_base::Code::Forged`] when the signature does not hold, [`tender_base::Code::Invalid`] when it is no card
/// of a Tender node.
#[cfg(feature = "host")]
pub fn verify_card(bytes: &[u8]) -> Result<tender_base::Did, tender_base::Problem> {
    use tender_base::{Code, Problem};
    let invalid = |e: String| Problem::new(Code::Invalid, format!("this is no agent card of a Tender node: {e}"), "");
    let card = serde_json::from_slice(bytes).map_err(|e| invalid(e.to_string()))?;
    let terms = tender_a2a::card::Terms::of(&card)?.ok_or_else(|| invalid("it sells nothing".to_owned()))?;
    tender_a2a::card::verify(bytes, &terms.did)?;
    Ok(terms.did)
}
