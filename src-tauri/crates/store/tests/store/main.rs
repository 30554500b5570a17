//! The store as its callers see it: real files, real processes.

// Test code outside `#[test]` functions, which clippy.toml does not cover.
#![allow(clippy::unwrap_used)]

mod documents;
mod durability;
mod files;
mod guards;
mod history;
mod properties;
mod succession;
mod tables;
mod tasks;
mod work;
