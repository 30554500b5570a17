//! Language models: their files, their tokens, and how the next token is chosen.

pub mod config;
pub mod format;
pub mod gguf;
