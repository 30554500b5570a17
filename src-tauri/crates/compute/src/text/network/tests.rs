//! Small made-up models of every family and format against a plain forward pass on the CPU, in f64.

mod reference;

use super::*;
use crate::text::{
    config::Config,
    format::Format,
    gguf::{Gguf, tests::Writer},
};
use half::f16;
use reference::Reference;

const LIMITS: TextLimits = TextLimits { context_tokens: 64, sequences: 3, cache_bytes: 1 << 24 };

/// What a made-up model is like.
#[derive(Clone)]
struct Made {
    architecture: &'static str,
    /// Of all matrices but these.
    format: Format,
    others: &'static [(&'static str, Format)],
    width: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    feed_forward: u32,
    tokens: u32,
    untied: bool,
    /// Frequency factors, as Llama 3.1 has them.
    factors: bool,
    /// Linear scaling of positions.
    linear: Option<f32>,
}

impl Made {
    /// A llama of 64 numbers, or 256 where the format asks for it.
    fn of(format: Format) -> Self {
        let large = format.block_len() == 256;
        Self {
            architecture: "llama",
            format,
            others: &[],
            width: if large { 256 } else { 64 },
            heads: if large { 8 } else { 4 },
            kv_heads: 2,
            head_dim: if large { 32 } else { 16 },
            feed_forward: if large { 512 } else { 96 },
            tokens: 45,
            untied: false,
            factors: false,
            linear: None,
        }
    }

    fn gguf(&self) -> Gguf {
        let mut noise = Noise(7);
        let mut file = Writer::new();
        let architecture = self.architecture;
        let key = |rest: &str| format!("{architecture}.{rest}");
        let names: Vec<String> = (0..self.tokens).map(|token| format!("t{token}")).collect();
        file.text("general.architecture", architecture)
            .u32(&key("block_count"), 2)
            .u32(&key("embedding_length"), self.width)
            .u32(&key("attention.head_count"), self.heads)
            .u32(&key("attention.head_count_kv"), self.kv_heads)
            .u32(&key("attention.key_length"), self.head_dim)
            .u32(&key("attention.value_length"), self.head_dim)
            .u32(&key("feed_forward_length"), self.feed_forward)
            .u32(&key("context_length"), 128)
            .f32(&key("attention.layer_norm_rms_epsilon"), 1e-5)
            .strings("tokenizer.ggml.tokens", &names);
        if let Some(factor) = self.linear {
            file.text(&key("rope.scaling.type"), "linear").f32(&key("rope.scaling.factor"), factor);
        }
        let mut matrix = |file: &mut Writer, name: &str, columns: u32, rows: u32| {
            let format = self.others.iter().find(|(other, _)| name.ends_with(other)).map_or(self.format, |(_, f)| *f);
            let bytes = noise.matrix(format, columns, rows);
            file.tensor(name, &[u64::from(columns), u64::from(rows)], format, &bytes);
        };
        let (queries, keys) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        matrix(&mut file, "token_embd.weight", self.width, self.tokens);
        if self.untied {
            matrix(&mut file, "output.weight", self.width, self.tokens);
        }
        for layer in 0..2 {
            for (name, columns, rows) in [
                ("attn_q", self.width, queries),
                ("attn_k", self.width, keys),
                ("attn_v", self.width, keys),
                ("attn_output", queries, self.width),
                ("ffn_gate", self.width, self.feed_forward),
                ("ffn_up", self.width, self.feed_forward),
                ("ffn_down", self.feed_forward, self.width),
            ] {
                matrix(&mut file, &format!("blk.{layer}.{name}.weight"), columns, rows);
            }
        }
        let mut noise = Noise(11);
        let mut vector = |file: &mut Writer, name: &str, length: u32, about: f32| {
            let numbers: Vec<f32> = (0..length).map(|_| about + 0.5 * noise.number()).collect();
            file.tensor(name, &[u64::from(length)], Format::F32, bytemuck::cast_slice(&numbers));
        };
        vector(&mut file, "output_norm.weight", self.width, 1.0);
        if self.factors {
            vector(&mut file, "rope_freqs.weight", self.head_dim / 2, 3.0);
        }
        for layer in 0..2 {
            let name = |rest: &str| format!("blk.{layer}.{rest}");
            vector(&mut file, &name("attn_norm.weight"), self.width, 1.0);
            vector(&mut file, &name("ffn_norm.weight"), self.width, 1.0);
            if architecture == "qwen2" {
                vector(&mut file, &name("attn_q.bias"), queries, 0.0);
                vector(&mut file, &name("attn_k.bias"), keys, 0.0);
                vector(&mut file, &name("attn_v.bias"), keys, 0.0);
            }
            if architecture == "qwen3" {
                vector(&mut file, &name("attn_q_norm.weight"), self.head_dim, 1.0);
                vector(&mut file, &name("attn_k_norm.weight"), self.head_dim, 1.0);
            }
        }
        file.gguf()
    }
}

struct Noise(u32);

impl Noise {
    fn byte(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 24) as u8
    }

    /// From −1 to 1.
    fn number(&mut self) -> f32 {
        f32::from(i16::from_le_bytes([self.byte(), self.byte()])) / 32768.0
    }

    /// Numbers of the size that keeps activations about one, in any format.
    fn matrix(&mut self, format: Format, columns: u32, rows: u32) -> Vec<u8> {
        let size = 2.0 / (columns as f32).sqrt();
        let count = format.bytes(u64::from(columns) * u64::from(rows)).unwrap();
        match format {
            Format::F32 => (0..count / 4).flat_map(|_| (size * self.number()).to_le_bytes()).collect(),
            Format::F16 => (0..count / 2).flat_map(|_| f16::from_f32(size * self.number()).to_le_bytes()).collect(),
            _ => {
                let mut bytes: Vec<u8> = (0..count).map(|_| self.byte()).collect();
                for block in bytes.chunks_exact_mut(format.block_bytes()) {
                    let halves: &[(usize, f32)] = match format {
                        Format::Q4_0 => &[(0, 1.0 / 8.0)],
                        Format::Q4_1 => &[(0, 2.0 / 15.0), (2, -1.0)],
                        Format::Q8_0 => &[(0, 1.0 / 127.0)],
                        Format::Q4K => &[(0, 2.0 / 15.0 / 32.0), (2, 1.0 / 32.0)],
                        _ => &[(208, 1.0 / 32.0 / 64.0)],
                    };
                    for &(at, number) in halves {
                        block[at..at + 2].copy_from_slice(&f16::from_f32(size * number).to_le_bytes());
                    }
                }
                bytes
            }
        }
    }
}

/// Logits of the rows that are picked.
fn logits(gpu: &Gpu, network: &Network, rows: &[Row], picks: &[u32]) -> Vec<Vec<f32>> {
    let picks: Vec<Pick> = picks.iter().map(|&row| Pick { row, wanted: row % 3 }).collect();
    let best = network.forward(gpu, rows, &picks).unwrap();
    let all = network.logits(gpu, &(0..picks.len() as u32).collect::<Vec<_>>()).unwrap();
    assert_eq!(all.len(), picks.len());
    // Some of them are the same, whatever lies between.
    let odd: Vec<u32> = (1..picks.len() as u32).step_by(2).collect();
    let some = network.logits(gpu, &odd).unwrap();
    assert!(some.iter().eq(all.iter().skip(1).step_by(2)));
    for ((pick, best), logits) in picks.iter().zip(best).zip(&all) {
        let best = best.unwrap();
        assert_eq!(best.highest, logits.iter().copied().fold(f32::MIN, f32::max));
        assert_eq!(Some(best.token as usize), logits.iter().position(|x| *x == best.highest));
        assert_eq!(best.wanted, logits[pick.wanted as usize]);
    }
    all
}

fn close(got: &[f32], expected: &[f64], what: &str) {
    assert_eq!(got.len(), expected.len());
    let size = expected.iter().map(|x| x.powi(2)).sum::<f64>() / expected.len() as f64;
    assert!(size > 0.01, "{what}: logits of no size");
    for (got, expected) in got.iter().zip(expected) {
        // Keys and values are halves, and one that is rounded the other way is off by 2⁻¹¹.
        assert!((f64::from(*got) - expected).abs() < 4e-3 * size.sqrt(), "{what}: {got} not {expected}");
    }
}

/// A sequence of 20 tokens, over the border of a page, in chunks and token by token, beside another one.
fn check(gpu: &Gpu, variant: Variant, made: &Made) {
    let gguf = made.gguf();
    let config = Config::read(&gguf).unwrap();
    let reference = Reference::new(&gguf, config.clone());
    let what = format!("{variant:?} {} {:?} {:?}", made.architecture, made.format, made.others);
    let mut network = Network::new(gpu, variant, config, Source::File(gguf), LIMITS).unwrap();
    let tokens: [Vec<u32>; 2] = [7, 13].map(|step| (0..20).map(|at| (at * step + 3) % made.tokens).collect());
    let expected = tokens.each_ref().map(|tokens| reference.logits(tokens));
    for slot in 0..3 {
        // Pages in no order.
        let mut pages = network.pages.take(2).unwrap();
        pages.reverse();
        network.assign(gpu, slot, &pages);
    }
    let row = |sequence: usize, at: u32, slot| Row { token: tokens[sequence][at as usize], position: at, slot };
    // The first in three chunks; the last of them with the whole second sequence between.
    let rows: Vec<Row> = (0..13).map(|at| row(0, at, 0)).collect();
    for (at, got) in logits(gpu, &network, &rows, &[0, 5, 12]).iter().zip([0, 5, 12]).map(|(got, at)| (at, got)) {
        close(got, &expected[0][at], &what);
    }
    let rows: Vec<Row> = (13..16).map(|at| row(0, at, 0)).collect();
    assert!(logits(gpu, &network, &rows, &[]).is_empty());
    let rows: Vec<Row> = (0..20).map(|at| row(1, at, 2)).chain((16..20).map(|at| row(0, at, 0))).collect();
    let got = logits(gpu, &network, &rows, &[3, 19, 20, 23]);
    close(&got[0], &expected[1][3], &what);
    close(&got[1], &expected[1][19], &what);
    close(&got[2], &expected[0][16], &what);
    close(&got[3], &expected[0][19], &what);
    // The first again, token by token.
    for at in 0..20 {
        let got = logits(gpu, &network, &[row(0, at, 1)], &[0]);
        close(&got[0], &expected[0][at as usize], &what);
    }
}

fn variants(gpu: &Gpu) -> Vec<Variant> {
    let mut all = vec![Variant::Tiles];
    all.extend(Some(Variant::of(gpu)).filter(|variant| *variant != Variant::Tiles));
    all
}

#[test]
fn each_format_computes_what_it_decodes_to() {
    let gpu = Gpu::open().unwrap();
    for variant in variants(&gpu) {
        for format in Format::ALL {
            check(&gpu, variant, &Made::of(format));
        }
    }
}

#[test]
fn each_family_computes_what_it_is_defined_to() {
    let gpu = Gpu::open().unwrap();
    let llama = Made { untied: true, factors: true, ..Made::of(Format::Q8_0) };
    let mixed = Made {
        others: &[("attn_v.weight", Format::Q6K), ("ffn_down.weight", Format::Q6K), ("ffn_up.weight", Format::F16)],
        ..Made::of(Format::Q4K)
    };
    let qwen2 = Made { architecture: "qwen2", linear: Some(4.0), ..Made::of(Format::Q4_0) };
    let qwen3 = Made { architecture: "qwen3", heads: 6, head_dim: 32, kv_heads: 1, ..Made::of(Format::Q4_1) };
    for variant in variants(&gpu) {
        for made in [&llama, &mixed, &qwen2, &qwen3] {
            check(&gpu, variant, made);
        }
    }
}

#[test]
fn freed_pages_are_zero_and_others_keep_theirs() {
    let gpu = Gpu::open().unwrap();
    for variant in variants(&gpu) {
        let gguf = Made::of(Format::Q4_0).gguf();
        let config = Config::read(&gguf).unwrap();
        let mut network = Network::new(&gpu, variant, config, Source::File(gguf), LIMITS).unwrap();
        let pages = [network.pages.take(2).unwrap(), network.pages.take(2).unwrap()];
        for slot in 0..2 {
            network.assign(&gpu, slot, &pages[slot as usize]);
        }
        let rows: Vec<Row> = (0..40).map(|at| Row { token: at, position: at / 2, slot: at % 2 }).collect();
        for rows in rows.chunks(20) {
            network.forward(&gpu, rows, &[]).unwrap();
        }
        let [first, second] = pages;
        for page in first.iter().chain(&second) {
            assert!(!network.is_zero(&gpu, *page).unwrap());
        }
        network.release(&gpu, first.clone()).unwrap();
        assert!(first.iter().all(|page| network.is_zero(&gpu, *page).unwrap()));
        assert!(second.iter().all(|page| !network.is_zero(&gpu, *page).unwrap()));
        assert_eq!(network.pages.free().len() as u32, network.pages.total() - 2);
    }
}

#[test]
fn limits_that_hold_no_text_and_shapes_that_no_kernel_takes_are_refused() {
    let gpu = Gpu::open().unwrap();
    let variant = Variant::of(&gpu);
    let refused = |made: &Made, limits| {
        let gguf = made.gguf();
        let config = Config::read(&gguf).unwrap();
        Network::new(&gpu, variant, config, Source::File(gguf), limits).err().unwrap().to_string()
    };
    let made = Made::of(Format::F16);
    assert!(refused(&made, TextLimits { sequences: 0, ..LIMITS }).contains("0 sequences"));
    assert!(refused(&made, TextLimits { sequences: MAX_SEQUENCES + 1, ..LIMITS }).contains("17 sequences"));
    assert!(refused(&made, TextLimits { cache_bytes: 100, ..LIMITS }).contains("100 bytes"));
    assert!(refused(&made, TextLimits { context_tokens: 0, ..LIMITS }).contains("0 tokens each"));
    let narrow = Made { width: 72, ..made.clone() };
    assert!(refused(&narrow, LIMITS).contains("width of 72"));
    let odd = Made { head_dim: 12, heads: 8, ..made };
    assert!(refused(&odd, LIMITS).contains("heads of 12"));
}

#[test]
fn numbers_that_are_none_are_no_answer() {
    let gpu = Gpu::open().unwrap();
    let gguf = Made::of(Format::F32).gguf();
    let config = Config::read(&gguf).unwrap();
    let variant = Variant::of(&gpu);
    let mut network = Network::new(&gpu, variant, config, Source::File(gguf), LIMITS).unwrap();
    let pages = network.pages.take(1).unwrap();
    network.assign(&gpu, 0, &pages);
    // As a hostile file could bring about.
    network.frequencies.fill(f32::NAN);
    let answer = network.forward(&gpu, &[Row { token: 1, position: 1, slot: 0 }], &[Pick { row: 0, wanted: 0 }]);
    assert!(matches!(answer.unwrap()[..], [Err(Error::BadOutput(_))]));
}
