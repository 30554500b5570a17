//! The use-cases of contractor and client; identity; the local API; wires the other crates together.
//!
//! Without the feature `host` only [`api`]'s types and [`attach`] remain: what the desktop shell needs.

pub mod api;
pub mod attach;
