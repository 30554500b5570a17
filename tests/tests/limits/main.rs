//! Bad input of every kind: each gets an error that names its cause and its remedy, and nothing is lost or paid.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

mod clients;
mod contractors;
mod machine;
mod requests;
mod swindler;
mod work;
