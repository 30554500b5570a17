//! The protocol over real sockets: our server with a scripted agent, our client, and bare HTTP.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod client;
mod files;
mod foreign;
mod grpc;
mod http;
mod push;
mod site;
mod snapshots;
mod streams;
mod tasks;
mod trust;
