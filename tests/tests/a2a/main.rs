//! Clients that speak plain A2A against the real `tender serve`.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod durability;
mod files;
mod fuzz;
mod grpc;
mod plain;
mod sdk;
