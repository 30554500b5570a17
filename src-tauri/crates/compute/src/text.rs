//! Language models: their files, their tokens, the forward pass on the GPU, and how the next token is chosen.

mod array;
mod batch;
pub mod bench;
mod cache;
pub mod config;
pub mod format;
pub mod gguf;
#[cfg(test)]
mod hostile_tests;
pub mod inspect;
mod judge;
mod kernels;
mod layers;
mod model;
mod network;
pub mod sample;
mod score;
mod serve;
pub mod stream;
pub mod template;
pub mod tokenizer;
pub mod vocab;
mod weights;

pub use batch::{Outcome, Step};
pub use model::TextModel;
pub use network::MAX_SEQUENCES;
pub(crate) use serve::serve;
