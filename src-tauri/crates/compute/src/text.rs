//! Language models: their files, their tokens, and how the next token is chosen.

mod array;
mod cache;
pub mod config;
pub mod format;
pub mod gguf;
pub mod inspect;
mod kernels;
mod layers;
mod network;
mod weights;
pub mod template;
pub mod tokenizer;
pub mod vocab;
