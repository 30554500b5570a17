//! The encoder: batches, buffers and the order of the kernels.

use super::{
    Tokens, WIDTH,
    weights::{INNER, Linear, Norm, WORDS, Weights},
};
use crate::{
    Error, Progress,
    device::{Gpu, dispatch},
    kernels::SHARED,
    matmul::{Matmul, Operand, Product, TILE, Tiling, up},
};
use std::path::{Path, PathBuf};
use tender_base::{
    Sha256,
    catalogue::{self, Model, ModelKind},
};

const KERNELS: &str = include_str!("kernels.wgsl");
/// How the attention kernel reads queries, keys and values (see [`Tiling`]).
const READ_BUFFER: &str = "
@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
fn qkv_at(token: u32, column: u32) -> vec4<f32> { return qkv[token * 3u * (WIDTH / 4u) + column]; }
";
const READ_TEXTURE: &str = "
@group(0) @binding(0) var qkv: texture_2d<f32>;
fn qkv_at(token: u32, column: u32) -> vec4<f32> { return textureLoad(qkv, vec2<u32>(column, token), 0); }
";
/// Tokens of one submission on a GPU: enough to fill it, and a few milliseconds on any that computes 1 TFLOP/s
/// (a token costs 21 MFLOP).
const BATCH_TOKENS: usize = 2048;
/// The same on a software adapter, so that progress is seen.
const CPU_BATCH_TOKENS: usize = 512;
/// Queries of one invocation of the attention kernel.
const QUERIES: u32 = 2;
/// Heads, and invocations of a workgroup, of the attention kernel.
const HEADS: u32 = 12;
const ATTEND_WORKGROUP: u32 = 32;

/// The encoder with its weights on the GPU, ready for any number of requests.
pub struct Encoder {
    model_dir: PathBuf,
    weights_sha256: Sha256,
    tokens: Tokens,
    weights: Weights,
    embed: wgpu::ComputePipeline,
    add_norm: wgpu::ComputePipeline,
    attend: wgpu::ComputePipeline,
    pool: wgpu::ComputePipeline,
}

/// Tokens of some passages one after the other, as the kernels read them.
#[derive(Default)]
struct Batch {
    /// Token id and position.
    tokens: Vec<[u32; 2]>,
    /// First token and number of tokens of each passage.
    spans: Vec<[u32; 2]>,
    /// First query, number of queries, and the passage's span.
    queries: Vec<[u32; 4]>,
}

impl Encoder {
    /// Loads the model of a folder, whose weights must hash to `weights_sha256`.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] for a hash outside the catalogue, [`Error::ModelFile`] and [`Error::ModelHash`] for
    /// missing or foreign files, or whatever the GPU reports.
    pub fn open(gpu: &Gpu, matmul: &Matmul, model_dir: &Path, weights_sha256: Sha256) -> Result<Self, Error> {
        let model = Model::with_weights(ModelKind::Embed, &weights_sha256);
        let tokenizer = model.and_then(|model| model.file(catalogue::TOKENIZER_FILE));
        let tokenizer = tokenizer.ok_or(Error::UnknownModel(weights_sha256))?;
        let tokens = Tokens::open(model_dir)?;
        if tokens.sha256() != tokenizer.sha256 {
            let path = model_dir.join(catalogue::TOKENIZER_FILE);
            return Err(Error::ModelHash { path, got: tokens.sha256(), expected: tokenizer.sha256 });
        }
        let path = model_dir.join(catalogue::WEIGHTS_FILE);
        let bytes = std::fs::read(&path).map_err(|e| Error::ModelFile { path: path.clone(), why: e.to_string() })?;
        let got = Sha256::of(&bytes);
        if got != weights_sha256 {
            return Err(Error::ModelHash { path, got, expected: weights_sha256 });
        }
        let attention = match matmul.tiling() {
            Tiling::Shared => READ_BUFFER,
            Tiling::Registers => READ_TEXTURE,
        };
        let kernels = format!("alias Real = vec2<f32>;\n{SHARED}{KERNELS}{attention}");
        let pipeline = |entry| gpu.trusted("embed", &kernels, entry);
        let encoder = Self {
            model_dir: model_dir.to_owned(),
            weights_sha256,
            tokens,
            weights: Weights::upload(gpu, matmul, &path, &bytes)?,
            embed: pipeline("embed"),
            add_norm: pipeline("add_norm"),
            attend: pipeline("attend"),
            pool: pipeline("pool"),
        };
        gpu.check()?;
        Ok(encoder)
    }

    /// Whether this is the model of that folder and hash.
    #[must_use]
    pub fn is(&self, model_dir: &Path, weights_sha256: &Sha256) -> bool {
        self.model_dir == model_dir && self.weights_sha256 == *weights_sha256
    }

    /// The model's tokenizer.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// One vector of length one per passage of token ids, in their order.
    ///
    /// # Errors
    /// [`Error::Invalid`] on an id outside the vocabulary, or whatever the GPU reports.
    pub fn encode(
        &self,
        gpu: &Gpu,
        matmul: &Matmul,
        passages: &[&Vec<u32>],
        progress: Progress<'_>,
    ) -> Result<Vec<f32>, Error> {
        if let Some(id) = passages.iter().flat_map(|p| p.iter()).find(|id| **id as usize >= WORDS) {
            return Err(Error::Invalid(format!("token {id} is outside the vocabulary")));
        }
        // By length, so that the invocations of the attention kernel run equally long.
        let mut order: Vec<usize> = (0..passages.len()).collect();
        order.sort_by_key(|&i| passages[i].len());
        let most = if gpu.is_cpu() { CPU_BATCH_TOKENS } else { BATCH_TOKENS };
        let mut vectors = vec![0.0; passages.len() * WIDTH];
        let mut done = 0;
        while done < order.len() {
            let mut batch = Batch::default();
            let first = done;
            while done < order.len()
                && (batch.tokens.is_empty() || batch.tokens.len() + passages[order[done]].len() <= most)
            {
                batch.add(passages[order[done]]);
                done += 1;
            }
            let output = self.encode_batch(gpu, matmul, &batch)?;
            for (&passage, vector) in order[first..done].iter().zip(output.chunks_exact(WIDTH)) {
                vectors[passage * WIDTH..][..WIDTH].copy_from_slice(vector);
            }
            // At most MAX_PASSAGES, so that the numbers fit.
            progress(done as u32, passages.len() as u32);
        }
        Ok(vectors)
    }

    fn encode_batch(&self, gpu: &Gpu, matmul: &Matmul, batch: &Batch) -> Result<Vec<f32>, Error> {
        let count = batch.tokens.len() as u32;
        let rows = up(count);
        let activations = |width: usize| gpu.storage(4 * u64::from(rows) * width as u64);
        let (hidden, qkv, mixed) = (activations(WIDTH), activations(3 * WIDTH), activations(WIDTH));
        let (inner, added) = (activations(INNER), activations(WIDTH));
        let shown = |columns: usize, buffer| matmul.written(gpu, columns as u32, buffer);
        let (hidden_in, mixed_in) = (shown(WIDTH, &hidden), shown(WIDTH, &mixed));
        let (inner_in, qkv_in) = (shown(INNER, &inner), shown(3 * WIDTH, &qkv));
        let tokens = gpu.upload(bytemuck::cast_slice(&batch.tokens));
        let queries = gpu.upload(bytemuck::cast_slice(&batch.queries));
        let spans = gpu.upload(bytemuck::cast_slice(&batch.spans));
        let vectors = gpu.storage((4 * batch.spans.len() * WIDTH) as u64);
        let attend_groups = (batch.queries.len() as u32 * HEADS).div_ceil(ATTEND_WORKGROUP);
        gpu.submit(|encoder| {
            let all = wgpu::Buffer::as_entire_binding;
            let linear = |encoder: &mut _, a: &Operand, layer: &Linear, c, k: usize, n: usize, gelu| {
                a.refresh(encoder);
                let (b, bias) = (&layer.matrix, Some(&layer.bias));
                let product = Product { a, b, bias, c, m: rows, k: k as u32, n: n as u32, gelu };
                matmul.record(gpu, encoder, &product);
            };
            let add_norm = |encoder: &mut _, norm: &Norm| {
                let bound = [&hidden, &norm.gain, &norm.shift, &added].map(all);
                dispatch(encoder, &self.add_norm, &gpu.bind(&self.add_norm, bound), count);
            };
            let w = &self.weights;
            let bound = [&hidden, &w.norm.gain, &w.norm.shift, &tokens, &w.words, &w.positions].map(all);
            dispatch(encoder, &self.embed, &gpu.bind(&self.embed, bound), count);
            for layer in &w.layers {
                linear(encoder, &hidden_in, &layer.qkv, &qkv, WIDTH, 3 * WIDTH, false);
                qkv_in.refresh(encoder);
                let group = gpu.bind(&self.attend, [qkv_in.resource(), all(&queries), all(&mixed)]);
                dispatch(encoder, &self.attend, &group, attend_groups);
                linear(encoder, &mixed_in, &layer.out, &added, WIDTH, WIDTH, false);
                add_norm(encoder, &layer.norm);
                linear(encoder, &hidden_in, &layer.wide, &inner, WIDTH, INNER, true);
                linear(encoder, &inner_in, &layer.narrow, &added, INNER, WIDTH, false);
                add_norm(encoder, &layer.last_norm);
            }
            let group = gpu.bind(&self.pool, [&hidden, &spans, &vectors].map(all));
            dispatch(encoder, &self.pool, &group, batch.spans.len() as u32);
        })?;
        let bytes = gpu.read_head(&vectors, vectors.size())?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }
}

impl Batch {
    fn add(&mut self, ids: &[u32]) {
        let (first, count) = (self.tokens.len() as u32, ids.len() as u32);
        self.tokens.extend((0..).zip(ids).map(|(position, &id)| [id, position]));
        self.spans.push([first, count]);
        for query in (0..count).step_by(QUERIES as usize) {
            self.queries.push([first + query, (count - query).min(QUERIES), first, count]);
        }
    }
}

// Every side of the model's products is whole tiles; only the number of tokens is padded.
const _: () = assert!((WIDTH as u32).is_multiple_of(TILE) && (INNER as u32).is_multiple_of(TILE));
