//! The encoder: batches, buffers and the order of the kernels.

use super::{
    Tokens,
    config::{BertConfig, Pooling, Side},
    folder::Folder,
    weights::{Linear, Norm, Weights},
};
use crate::{
    Error, Progress,
    device::{Gpu, dispatch},
    kernels::SHARED,
    matmul::{Matmul, Operand, Product, Tiling, up},
};
use std::path::{Path, PathBuf};
use tender_base::{
    Sha256,
    catalogue::{Model, ModelKind, TOKENIZER_FILE, WEIGHTS_FILE},
    job::MAX_PASSAGE_TOKENS,
};

const KERNELS: &str = include_str!("kernels.wgsl");
/// How the attention kernel reads queries, keys and values (see [`Tiling`]).
const READ_BUFFER: &str = "
@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
fn qkv_at(token: u32, column: u32) -> vec4<f32> { return qkv[token * 3u * ATTENDED + column]; }
";
const READ_TEXTURE: &str = "
@group(0) @binding(0) var qkv: texture_2d<f32>;
fn qkv_at(token: u32, column: u32) -> vec4<f32> { return textureLoad(qkv, vec2<u32>(column, token), 0); }
";
/// Most tokens of one submission on a GPU: enough to fill it.
const BATCH_TOKENS: u64 = 2048;
/// The same on a software adapter, so that progress is seen.
const CPU_BATCH_TOKENS: u64 = 512;
/// Floating-point operations of one submission, unless a single passage has more: what [`BATCH_TOKENS`] cost with
/// MiniLM, which any GPU does in a fraction of the two seconds after which Windows resets it.
const BATCH_FLOP: u64 = 44_000_000_000;
/// Queries of one invocation of the attention kernel.
const QUERIES: u32 = 2;
/// Invocations of a workgroup of the attention kernel.
const ATTEND_WORKGROUP: u32 = 32;

/// The encoder with its weights on the GPU, ready for any number of requests.
pub struct Encoder {
    model_dir: PathBuf,
    weights_sha256: Sha256,
    config: BertConfig,
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
    /// First token and number of tokens of what is pooled of each passage.
    spans: Vec<[u32; 2]>,
    /// First query, number of queries, and the passage's span.
    queries: Vec<[u32; 4]>,
}

impl Encoder {
    /// Loads a model of the catalogue from its folder; its weights must hash to `weights_sha256`.
    ///
    /// # Errors
    /// [`Error::UnknownModel`] for a hash outside the catalogue, [`Error::ModelHash`] for a file that is not the pinned
    /// one, or as [`Self::load`].
    pub fn open(gpu: &Gpu, matmul: &Matmul, model_dir: &Path, weights_sha256: Sha256) -> Result<Self, Error> {
        let model = Model::with_weights(ModelKind::Embed, &weights_sha256);
        let model = model.ok_or(Error::UnknownModel(weights_sha256))?;
        Self::from_folder(gpu, matmul, &Folder { dir: model_dir, model: Some(model) }, |_| weights_sha256)
    }

    /// Loads any BERT encoder from a folder as sentence-transformers writes it: `config.json`, `tokenizer.json`,
    /// `model.safetensors` in F32, and `1_Pooling/config.json` unless pooling is by mean.
    ///
    /// # Errors
    /// [`Error::ModelUnsupported`] naming the field of a configuration that asks for what is not computed here, before
    /// weights are read; [`Error::ModelFile`] for a file that is missing or broken; or whatever the GPU reports.
    pub fn load(gpu: &Gpu, matmul: &Matmul, model_dir: &Path) -> Result<Self, Error> {
        Self::from_folder(gpu, matmul, &Folder { dir: model_dir, model: None }, Sha256::of)
    }

    fn from_folder(
        gpu: &Gpu,
        matmul: &Matmul,
        folder: &Folder<'_>,
        hash: impl FnOnce(&[u8]) -> Sha256,
    ) -> Result<Self, Error> {
        let tokenizer = folder.read(TOKENIZER_FILE)?;
        let config = BertConfig::read(folder)?;
        let tokens = Tokens::from_json(&folder.path(TOKENIZER_FILE), &tokenizer, &config)?;
        let bytes = folder.read(WEIGHTS_FILE)?;
        let attention = match matmul.tiling() {
            Tiling::Shared => READ_BUFFER,
            Tiling::Registers => READ_TEXTURE,
        };
        let sizes = sizes(&config);
        let kernels = format!("alias Real = vec2<f32>;\n{sizes}{SHARED}{KERNELS}{attention}");
        let pipeline = |entry| gpu.trusted("embed", &kernels, entry);
        let encoder = Self {
            model_dir: folder.dir.to_owned(),
            weights_sha256: hash(&bytes),
            tokens,
            weights: Weights::upload(gpu, matmul, &config, &folder.path(WEIGHTS_FILE), &bytes)?,
            config,
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

    /// What the model is.
    #[must_use]
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    /// One vector of length one per passage of token ids, in their order.
    ///
    /// # Errors
    /// [`Error::Invalid`] on an id outside the vocabulary or a passage with no or too many tokens, or whatever the GPU
    /// reports.
    pub fn encode(
        &self,
        gpu: &Gpu,
        matmul: &Matmul,
        passages: &[&Vec<u32>],
        progress: Progress<'_>,
    ) -> Result<Vec<f32>, Error> {
        if let Some(id) = passages.iter().flat_map(|p| p.iter()).find(|id| **id as usize >= self.config.words) {
            return Err(Error::Invalid(format!("token {id} is outside the vocabulary")));
        }
        let tokens = 1..=self.config.most_tokens();
        if let Some(passage) = passages.iter().find(|p| !tokens.contains(&p.len())) {
            let (found, most) = (passage.len(), tokens.end());
            return Err(Error::Invalid(format!("a passage has {found} tokens, not 1 to {most}")));
        }
        // By length, so that the invocations of the attention kernel run equally long.
        let mut order: Vec<usize> = (0..passages.len()).collect();
        order.sort_by_key(|&i| passages[i].len());
        let most = self.batch_tokens(gpu);
        let width = self.config.width;
        let mut vectors = vec![0.0; passages.len() * width];
        let mut done = 0;
        while done < order.len() {
            let mut batch = Batch::default();
            let first = done;
            while done < order.len()
                && (batch.tokens.is_empty() || batch.tokens.len() + passages[order[done]].len() <= most)
            {
                batch.add(passages[order[done]], self.config.pooling);
                done += 1;
            }
            let output = self.encode_batch(gpu, matmul, &batch)?;
            for (&passage, vector) in order[first..done].iter().zip(output.chunks_exact(self.config.hidden().padded()))
            {
                vectors[passage * width..][..width].copy_from_slice(&vector[..width]);
            }
            // At most MAX_PASSAGES, so that the numbers fit.
            progress(done as u32, passages.len() as u32);
        }
        Ok(vectors)
    }

    /// Most tokens of one submission: a passage at least.
    fn batch_tokens(&self, gpu: &Gpu) -> usize {
        let most = if gpu.is_cpu() { CPU_BATCH_TOKENS } else { BATCH_TOKENS };
        (BATCH_FLOP / self.config.token_flop()).clamp(u64::from(MAX_PASSAGE_TOKENS), most) as usize
    }

    /// Rows of vectors, with their padding.
    fn encode_batch(&self, gpu: &Gpu, matmul: &Matmul, batch: &Batch) -> Result<Vec<f32>, Error> {
        let count = batch.tokens.len() as u32;
        let rows = up(count);
        let (hidden_side, attended, wide) = (self.config.hidden(), self.config.attended(), self.config.wide());
        let (width, qkv_width, wide) = (hidden_side.padded(), 3 * attended.padded(), wide.padded());
        let activations = |width: usize| gpu.storage(4 * u64::from(rows) * width as u64);
        let (hidden, qkv, mixed) = (activations(width), activations(qkv_width), activations(attended.padded()));
        let (inner, added) = (activations(wide), activations(width));
        let shown = |columns: usize, buffer| matmul.written(gpu, columns as u32, buffer);
        let (hidden_in, mixed_in) = (shown(width, &hidden), shown(attended.padded(), &mixed));
        let (inner_in, qkv_in) = (shown(wide, &inner), shown(qkv_width, &qkv));
        let tokens = gpu.upload(bytemuck::cast_slice(&batch.tokens));
        let queries = gpu.upload(bytemuck::cast_slice(&batch.queries));
        let spans = gpu.upload(bytemuck::cast_slice(&batch.spans));
        let vectors = gpu.storage((4 * batch.spans.len() * width) as u64);
        let attend_groups = (batch.queries.len() as u32 * self.config.heads as u32).div_ceil(ATTEND_WORKGROUP);
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
                linear(encoder, &hidden_in, &layer.qkv, &qkv, width, qkv_width, false);
                qkv_in.refresh(encoder);
                let group = gpu.bind(&self.attend, [qkv_in.resource(), all(&queries), all(&mixed)]);
                dispatch(encoder, &self.attend, &group, attend_groups);
                linear(encoder, &mixed_in, &layer.out, &added, attended.padded(), width, false);
                add_norm(encoder, &layer.norm);
                linear(encoder, &hidden_in, &layer.wide, &inner, width, wide, true);
                linear(encoder, &inner_in, &layer.narrow, &added, wide, width, false);
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
    fn add(&mut self, ids: &[u32], pooling: Pooling) {
        let (first, count) = (self.tokens.len() as u32, ids.len() as u32);
        self.tokens.extend((0..).zip(ids).map(|(position, &id)| [id, position]));
        self.spans.push(match pooling {
            Pooling::Mean => [first, count],
            Pooling::Cls => [first, 1],
        });
        for query in (0..count).step_by(QUERIES as usize) {
            self.queries.push([first + query, (count - query).min(QUERIES), first, count]);
        }
    }
}

/// The constants that the kernels are compiled with.
fn sizes(config: &BertConfig) -> String {
    let quads = |side: Side| side.padded() / 4;
    let scale = (1.0 / (config.head_dim() as f64).sqrt()) as f32;
    format!(
        "const WIDTH: u32 = {}u;\nconst ROW: u32 = {}u;\nconst HEADS: u32 = {}u;\nconst HEAD: u32 = {}u;\n\
         const ATTENDED: u32 = {}u;\nconst SCALE: f32 = {scale:e}f;\nconst EPSILON: f32 = {:e}f;\n",
        config.width,
        quads(config.hidden()),
        config.heads,
        config.head_quads(),
        quads(config.attended()),
        config.epsilon,
    )
}
