//! Real work on whatever adapter this machine has (Mesa lavapipe without a GPU), checked against references.

#![allow(clippy::unwrap_used, reason = "helpers of tests, which clippy does not see as tests")]

mod attacks;
mod bert;
mod confined;
mod embed;
mod frames;
mod gemm;
mod inspect;
mod kernels;
mod loops;
mod text;
mod wgsl;

use std::path::PathBuf;
use tender_base::catalogue::MINILM;
use tender_compute::{Gpu, matmul::Matmul};

/// A device with the kernel that everything rests on.
fn open() -> (Gpu, Matmul) {
    let gpu = Gpu::open().expect("an adapter: sudo apt install mesa-vulkan-drivers, or cargo xtask test");
    let matmul = Matmul::new(&gpu);
    (gpu, matmul)
}

/// The folder of MiniLM. A missing model fails the test: embeddings are not optional.
fn model_dir() -> PathBuf {
    let models = std::env::var_os("TENDER_MODELS").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME or TENDER_MODELS is set")).join(".cache/tender/models")
    });
    let dir = models.join(MINILM.name);
    assert!(dir.join("model.safetensors").is_file(), "no model in {}; run: cargo xtask test", dir.display());
    dir
}
