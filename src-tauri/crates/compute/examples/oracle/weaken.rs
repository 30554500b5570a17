//! Cheaper models that pass for the real one by their shape: fewer bits per weight, or layers that do nothing.

use std::{
    fs,
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
};
use tender_compute::text::{format::Format, gguf::Gguf};

/// Layers that the cheat leaves out.
const LEFT_OUT: [&str; 2] = ["blk.14.", "blk.15."];
/// What a layer adds to its input goes through these; zeros there and the layer does nothing.
const OUTPUTS: [&str; 2] = ["attn_output.weight", "ffn_down.weight"];
/// Bytes of a Q4_1 block before its sixteen bytes of 4-bit numbers: scale and minimum, f16 each.
const SCALES: usize = 4;

pub fn weaken(how: &str, from: &Path, to: &Path) {
    let gguf = Gguf::open(from).expect("a GGUF file");
    // Under another name until it is whole.
    let part = to.with_extension("part");
    fs::copy(from, &part).expect("the copy");
    let mut out = fs::OpenOptions::new().write(true).open(&part).expect("the copy is writable");
    for tensor in gguf.tensors() {
        let mut bytes = gguf.read(tensor).expect("the tensor's bytes");
        let outputs = OUTPUTS.iter().any(|name| tensor.name.ends_with(name));
        match how {
            "two_layers_less" if outputs && LEFT_OUT.iter().any(|layer| tensor.name.starts_with(layer)) => {
                bytes.fill(0);
            }
            "two_bits" if tensor.format == Format::Q4_1 => keep(&mut bytes, 0xcc, 0x22),
            "three_bits" if tensor.format == Format::Q4_1 => keep(&mut bytes, 0xee, 0x00),
            "two_bits" | "three_bits" | "two_layers_less" => continue,
            other => panic!("{other} is no way to weaken a model"),
        }
        out.seek(SeekFrom::Start(tensor.offset)).and_then(|_| out.write_all(&bytes)).expect("the tensor is written");
    }
    fs::rename(&part, to).expect("the copy gets its name");
}

/// Of every 4-bit number only the bits of `mask`, and for the others what is nearest to their mean.
fn keep(blocks: &mut [u8], mask: u8, middle: u8) {
    for block in blocks.chunks_exact_mut(Format::Q4_1.block_bytes()) {
        for pair in &mut block[SCALES..] {
            *pair = *pair & mask | middle;
        }
    }
}
