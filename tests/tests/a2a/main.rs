//! Clients that speak plain A2A against the real `tender serve`.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod card;
mod durability;
mod files;
mod foreign;
mod fuzz;
mod grpc;
mod keys;
mod limits;
mod plain;
mod rotation;
mod sdk;
mod strangers;
mod webhooks;
