//! The forward pass as the papers define it, one token after the other. Keys and values are rounded to halves, as the
//! cache keeps them.

use crate::text::{
    config::{Config, RopeLayout},
    format::Format,
    gguf::Gguf,
};
use half::f16;
use std::collections::HashMap;

pub struct Reference {
    config: Config,
    tensors: HashMap<String, Vec<f64>>,
}

type Vector = Vec<f64>;

impl Reference {
    pub fn new(gguf: &Gguf, config: Config) -> Self {
        let decode = |format: Format, bytes: &[u8]| format.dequantise(bytes).into_iter().map(f64::from).collect();
        let tensors = gguf.tensors().iter().map(|t| (t.name.clone(), decode(t.format, &gguf.read(t).unwrap())));
        Self { config, tensors: tensors.collect() }
    }

    /// The logits after each token.
    pub fn logits(&self, tokens: &[u32]) -> Vec<Vector> {
        let config = &self.config;
        let (width, head) = (config.width as usize, config.head_dim as usize);
        let mut cache = vec![Vec::<(Vector, Vector)>::new(); config.layers as usize];
        let mut all = Vec::new();
        for (position, &token) in tokens.iter().enumerate() {
            let mut x = self.tensor("token_embd.weight")[token as usize * width..][..width].to_vec();
            for layer in 0..config.layers {
                let name = |rest: &str| format!("blk.{layer}.{rest}");
                let input = self.norm(&x, &name("attn_norm.weight"));
                let mut q = self.linear(&name("attn_q"), &input);
                let mut k = self.linear(&name("attn_k"), &input);
                let mut v = self.linear(&name("attn_v"), &input);
                for (vector, norm) in [(&mut q, "attn_q_norm.weight"), (&mut k, "attn_k_norm.weight")] {
                    for part in vector.chunks_exact_mut(head) {
                        if config.head_norm {
                            let normed = self.norm(part, &name(norm));
                            part.copy_from_slice(&normed);
                        }
                        self.rotate(part, position);
                    }
                }
                k.iter_mut().chain(&mut v).for_each(|x| *x = f16::from_f64(*x).to_f64());
                let past = &mut cache[layer as usize];
                past.push((k, v));
                let mut mixed = Vec::new();
                for (at, q) in q.chunks_exact(head).enumerate() {
                    let own = at / (config.heads / config.kv_heads) as usize * head..;
                    let score = |k: &Vector| dot(q, &k[own.clone()][..head]) / (head as f64).sqrt();
                    let scores: Vector = past.iter().map(|(k, _)| score(k)).collect();
                    let most = scores.iter().copied().fold(f64::MIN, f64::max);
                    let weights: Vector = scores.iter().map(|s| (s - most).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    mixed.extend(
                        (own.start..own.start + head)
                            .map(|d| weights.iter().zip(past.iter()).map(|(w, (_, v))| w * v[d]).sum::<f64>() / total),
                    );
                }
                add(&mut x, &self.linear(&name("attn_output"), &mixed));
                let input = self.norm(&x, &name("ffn_norm.weight"));
                let (gate, up) = (self.linear(&name("ffn_gate"), &input), self.linear(&name("ffn_up"), &input));
                let inner: Vector = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
                add(&mut x, &self.linear(&name("ffn_down"), &inner));
            }
            let output = if config.tied_output { "token_embd" } else { "output" };
            all.push(self.linear(output, &self.norm(&x, "output_norm.weight")));
        }
        all
    }

    fn tensor(&self, name: &str) -> &Vector {
        &self.tensors[name]
    }

    fn linear(&self, name: &str, x: &[f64]) -> Vector {
        let weights = self.tensor(&format!("{name}.weight"));
        let mut y: Vector = weights.chunks_exact(x.len()).map(|row| dot(row, x)).collect();
        if let Some(bias) = self.tensors.get(&format!("{name}.bias")) {
            add(&mut y, bias);
        }
        y
    }

    fn norm(&self, x: &[f64], gain: &str) -> Vector {
        let scale = (dot(x, x) / x.len() as f64 + f64::from(self.config.rms_epsilon)).sqrt();
        x.iter().zip(self.tensor(gain)).map(|(x, g)| x / scale * g).collect()
    }

    fn rotate(&self, head: &mut [f64], position: usize) {
        let half = head.len() / 2;
        let rope = &self.config.rope;
        for pair in 0..half {
            let factor = rope.factors.get(pair).map_or(1.0, |f| f64::from(*f));
            let frequency = rope.base.powf(-2.0 * pair as f64 / head.len() as f64) / rope.linear / factor;
            let (sin, cos) = (position as f64 * frequency).sin_cos();
            let (a, b) = match rope.layout {
                RopeLayout::Neighbours => (2 * pair, 2 * pair + 1),
                RopeLayout::Halves => (pair, pair + half),
            };
            (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}
