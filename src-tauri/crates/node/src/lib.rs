//! The use-cases of contractor and client; identity; the local API; wires the other crates together.

pub mod api;
