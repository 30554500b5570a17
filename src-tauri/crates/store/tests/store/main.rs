//! The store as its callers see it: real files, real processes.

mod documents;
mod durability;
mod files;
mod guards;
mod properties;
mod tables;
