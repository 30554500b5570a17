//! The forward pass: all arrays on the GPU, and the order of the kernels over them.
//!
//! A pass takes rows. A row is one token of some sequence at some position: a token that is being written, or one of a
//! prompt. Rows of all kinds go through together, so that every weight is read once for all of them.

#[cfg(test)]
mod tests;

use super::{
    array::{Array, FOLD, Memory, Texel},
    cache::Pages,
    config::Config,
    kernels::{
        Interface, ProductKernels, Variant,
        attention::{self, Heads, PAGE},
        blocks::BLOCK,
        lanes, tiles,
    },
    layers::Builder,
    weights::Source,
};
use crate::{Error, device::Gpu, pace::Pace};
use std::{ops::Range, sync::Arc};
use tender_base::frames::TextLimits;

/// One token on its way through the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub token: u32,
    pub position: u32,
    /// Whose pages it sees.
    pub slot: u32,
}

/// A row whose logits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    /// Index among the rows.
    pub row: u32,
    /// A token whose logit is wanted.
    pub wanted: u32,
}

/// What is known of a picked row without reading all of its logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Best {
    /// The token with the highest logit; of equals the first.
    pub token: u32,
    pub highest: f32,
    /// The logit of the wanted token.
    pub wanted: f32,
}

/// Most sequences that are written together.
pub const MAX_SEQUENCES: u32 = 16;

/// How often a kernel runs.
#[derive(Clone, Copy)]
pub(super) enum Per {
    Row,
    Pick,
}

/// A kernel with what it is bound to.
pub(super) struct Dispatch {
    pub kernel: Kernel,
    pub group: wgpu::BindGroup,
    pub per: Per,
}

pub(super) enum Kernel {
    /// A product of this many texels of output per row.
    Product { kernels: Arc<ProductKernels>, texels: u32 },
    /// So many workgroups per row.
    Plain { pipeline: wgpu::ComputePipeline, groups: u32 },
}

/// A model on the GPU.
pub(crate) struct Network {
    pub(super) config: Config,
    pub(super) variant: Variant,
    source: Source,
    /// Radians per position of each pair.
    frequencies: Vec<f32>,
    /// Pages of a sequence at most.
    pub(super) pages_each: u32,
    table: Vec<u32>,
    pub(crate) pages: Pages,
    pub(super) arrays: Arrays,
    dispatches: Vec<Dispatch>,
    erase: wgpu::ComputePipeline,
    erase_groups: Vec<wgpu::BindGroup>,
}

/// What passes write and read, except weights.
pub(super) struct Arrays {
    /// The residual stream; every addition goes from one to the other.
    pub x: [Array; 2],
    pub qkv: Array,
    pub q: Array,
    pub attended: Array,
    pub inner: Array,
    pub picked: Array,
    pub logits: Array,
    pub results: wgpu::Buffer,
    pub rows: Array,
    pub picks: Array,
    pub angles: Array,
    pub pages: Array,
    pub freed: Array,
    /// Keys and values of each layer.
    pub cache: Vec<[Array; 2]>,
    /// Texels of a row of logits.
    pub logits_stride: u32,
    /// Rows of logits.
    pub logits_rows: u32,
}

impl Network {
    /// Brings the weights to the GPU. All memory is asked for before the first weight is read.
    ///
    /// # Errors
    /// [`Error::Invalid`] for limits that no text fits in, [`Error::ModelUnsupported`] for shapes that the kernels do
    /// not compute, [`Error::OutOfMemory`], or what reading the file or the GPU reports.
    pub(crate) fn new(
        gpu: &Gpu,
        variant: Variant,
        config: Config,
        source: Source,
        limits: TextLimits,
    ) -> Result<Self, Error> {
        if !gpu.has_subgroups() {
            return Err(Error::Driver("language models need subgroup operations; update the driver".into()));
        }
        check_shapes(&config, &source)?;
        let memory = variant.memory();
        let heads = Heads {
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            norm: config.head_norm,
            epsilon: config.rms_epsilon,
        };
        let context = limits.context_tokens.min(config.context);
        let pages_each = context.div_ceil(PAGE);
        let page_bytes = u64::from(config.layers) * 2 * 16 * u64::from(heads.page_texels());
        let total = (limits.cache_bytes / page_bytes)
            .min(u64::from(memory.most(Texel::Uint4) / heads.page_texels()))
            .min(u64::from(pages_each) * u64::from(limits.sequences)) as u32;
        if !(1..=MAX_SEQUENCES).contains(&limits.sequences) || total == 0 {
            return Err(Error::Invalid(format!(
                "no text fits: {} sequences (1 to {MAX_SEQUENCES} are possible), {context} tokens each, and {} bytes for \
                 keys and values, of which {page_bytes} make a page of {PAGE} tokens",
                limits.sequences, limits.cache_bytes
            )));
        }
        let arrays = Arrays::new(gpu, variant, &config, &heads, pages_each * limits.sequences, total)?;
        let mut builder = Builder::new(gpu, variant, &config, &source, &arrays, heads);
        builder.layers()?;
        builder.head()?;
        gpu.check()?;
        let dispatches = builder.finish()?;
        let interface = Interface::new(gpu, memory, &attention::erase_bindings());
        let erase = interface.pipeline(gpu, "erase", &attention::erase(variant, &heads));
        let erase_groups = arrays
            .cache
            .iter()
            .map(|[keys, values]| {
                interface.bind(gpu, vec![arrays.freed.resource(), keys.resource(), values.resource()])
            })
            .collect();
        gpu.check()?;
        Ok(Self {
            variant,
            source,
            frequencies: config.rope.frequencies(config.head_dim),
            pages_each,
            table: vec![0; (pages_each * limits.sequences) as usize],
            pages: Pages::new(total),
            arrays,
            dispatches,
            erase,
            erase_groups,
            config,
        })
    }

    /// Tokens that one sequence may have.
    pub(crate) fn context(&self) -> u32 {
        (self.pages_each * PAGE).min(self.config.context)
    }

    pub(crate) fn vocabulary(&self) -> u32 {
        self.config.vocabulary
    }

    /// Bytes of keys and values of a page, all layers together.
    pub(crate) fn page_bytes(&self) -> u64 {
        u64::from(PAGE) * self.config.cache_bytes_per_token()
    }

    /// Rows of one pass at most.
    pub(crate) fn most_rows(&self) -> u32 {
        self.variant.most_rows()
    }

    /// Picks of one pass at most.
    pub(crate) fn most_picks(&self) -> u32 {
        self.arrays.logits_rows
    }

    /// Gives pages to the sequence of a slot.
    pub(crate) fn assign(&mut self, gpu: &Gpu, slot: u32, pages: &[u32]) {
        self.table[(slot * self.pages_each) as usize..][..pages.len()].copy_from_slice(pages);
        self.arrays.pages.write(gpu, 0, bytemuck::cast_slice(&self.table));
    }

    /// Zeroes pages and takes them back.
    ///
    /// # Errors
    /// Whatever wgpu reports; the pages are lost then, as is the device.
    pub(crate) fn release(&mut self, gpu: &Gpu, pages: Vec<u32>) -> Result<(), Error> {
        if pages.is_empty() {
            return Ok(());
        }
        self.arrays.freed.write(gpu, 0, bytemuck::cast_slice(&pages));
        gpu.submit(|encoder| {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(&self.erase);
            for group in &self.erase_groups {
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(1, pages.len() as u32, 1);
            }
        })?;
        self.pages.give_back(pages);
        Ok(())
    }

    /// Whether all keys and values of a page are zero.
    ///
    /// # Errors
    /// Whatever wgpu reports.
    pub(crate) fn is_zero(&self, gpu: &Gpu, page: u32) -> Result<bool, Error> {
        let texels = self.config.kv_heads * self.config.head_dim / 8 * PAGE;
        for array in self.arrays.cache.iter().flatten() {
            let first = page * texels;
            let from = first - first % FOLD;
            let bytes = array.read(gpu, std::slice::from_ref(&(from..first + texels)))?;
            if bytes[16 * (first - from) as usize..].iter().any(|&byte| byte != 0) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes rows through all layers: their keys and values enter the cache, and the picks are answered. Within one
    /// call, a sequence's positions follow one another and the cache holds those before. Texts that are only written
    /// go in one submission; a part of a prompt, which takes longer, in slices between which the GPU serves others.
    /// A pick is [`Error::BadOutput`] when no logit of its row is a number; that says nothing of the other rows.
    ///
    /// # Errors
    /// What the file or the GPU reports.
    pub(crate) fn forward(&self, gpu: &Gpu, rows: &[Row], picks: &[Pick]) -> Result<Vec<Result<Best, Error>>, Error> {
        self.bring(gpu, rows, picks)?;
        let counts = (rows.len() as u32, picks.len() as u32);
        // What is left for the last submission, whose results are read.
        let mut rest = 0..self.dispatches.len();
        if counts.0 > MAX_SEQUENCES {
            Pace::new().run(0..rest.end as u32 - 1, |first, count| {
                gpu.submit(|encoder| self.record(gpu, encoder, counts, first as usize..(first + count) as usize))
            })?;
            rest.start = rest.end - 1;
        }
        if picks.is_empty() {
            gpu.submit(|encoder| self.record(gpu, encoder, counts, rest))?;
            return Ok(Vec::new());
        }
        let results = gpu.submit_and_read(
            |encoder| self.record(gpu, encoder, counts, rest),
            &self.arrays.results,
            std::slice::from_ref(&(0..16 * picks.len() as u64)),
        )?;
        let results: Vec<[u32; 4]> = bytemuck::pod_collect_to_vec(&results);
        let best = |[token, highest, wanted, _]: [u32; 4]| {
            let best = Best { token, highest: f32::from_bits(highest), wanted: f32::from_bits(wanted) };
            if token >= self.config.vocabulary || !best.highest.is_finite() {
                return Err(Error::BadOutput("the model computed no finite number for any next token".into()));
            }
            Ok(best)
        };
        Ok(results.into_iter().map(best).collect())
    }

    /// Records some of the kernels in one compute pass.
    fn record(&self, gpu: &Gpu, encoder: &mut wgpu::CommandEncoder, (rows, picks): (u32, u32), range: Range<usize>) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for dispatch in &self.dispatches[range] {
            let count = match dispatch.per {
                Per::Row => rows,
                Per::Pick => picks,
            };
            if count > 0 {
                dispatch.record(gpu, &mut pass, count);
            }
        }
    }

    /// All logits of some picks of the last pass, in one round trip; nothing is asked of the GPU when there are none.
    ///
    /// # Errors
    /// Whatever wgpu reports.
    pub(crate) fn logits(&self, gpu: &Gpu, picks: &[u32]) -> Result<Vec<Vec<f32>>, Error> {
        if picks.is_empty() {
            return Ok(Vec::new());
        }
        let (stride, texels) = (self.arrays.logits_stride, self.config.vocabulary.div_ceil(4));
        let ranges: Vec<_> = picks.iter().map(|pick| pick * stride..pick * stride + texels).collect();
        let bytes = self.arrays.logits.read(gpu, &ranges)?;
        let row = |bytes: &[u8]| {
            let mut logits: Vec<f32> = bytemuck::pod_collect_to_vec(bytes);
            logits.truncate(self.config.vocabulary as usize);
            logits
        };
        Ok(bytes.chunks_exact(16 * texels as usize).map(row).collect())
    }

    /// Brings what a pass needs of its rows.
    fn bring(&self, gpu: &Gpu, rows: &[Row], picks: &[Pick]) -> Result<(), Error> {
        let format = self.source.format("token_embd.weight")?;
        let mut x = Vec::with_capacity(rows.len() * self.config.width as usize);
        let mut angles: Vec<f32> = Vec::with_capacity(rows.len() * self.config.head_dim as usize);
        let mut about: Vec<[u32; 4]> = Vec::with_capacity(rows.len());
        for row in rows {
            let bytes = self.source.rows("token_embd.weight", self.config.width, row.token..row.token + 1)?;
            x.extend(format.dequantise(&bytes));
            for &frequency in &self.frequencies {
                let (sin, cos) = (f64::from(row.position) * f64::from(frequency)).sin_cos();
                angles.extend([cos as f32, sin as f32]);
            }
            about.push([row.position, row.slot * self.pages_each, 0, 0]);
        }
        let picks: Vec<[u32; 4]> = picks.iter().map(|pick| [pick.row, pick.wanted, 0, 0]).collect();
        self.arrays.x[0].write(gpu, 0, bytemuck::cast_slice(&x));
        self.arrays.angles.write(gpu, 0, bytemuck::cast_slice(&angles));
        self.arrays.rows.write(gpu, 0, bytemuck::cast_slice(&about));
        if !picks.is_empty() {
            self.arrays.picks.write(gpu, 0, bytemuck::cast_slice(&picks));
        }
        Ok(())
    }
}

impl Dispatch {
    fn record(&self, gpu: &Gpu, pass: &mut wgpu::ComputePass<'_>, count: u32) {
        pass.set_bind_group(0, &self.group, &[]);
        match &self.kernel {
            Kernel::Plain { pipeline, groups } => {
                pass.set_pipeline(pipeline);
                pass.dispatch_workgroups(*groups, count, 1);
            }
            Kernel::Product { kernels, texels } => {
                let (columns, rows, pipeline) = kernels.of(gpu, count);
                pass.set_pipeline(pipeline);
                pass.dispatch_workgroups((4 * texels).div_ceil(rows), count.div_ceil(columns), 1);
            }
        }
    }
}

impl Arrays {
    fn new(gpu: &Gpu, variant: Variant, config: &Config, heads: &Heads, table: u32, pages: u32) -> Result<Self, Error> {
        let memory = variant.memory();
        // Products write whole groups of columns.
        let group = match variant {
            Variant::Tiles => tiles::COLUMNS.into_iter().max().unwrap_or(1),
            Variant::Lanes(_) => lanes::COLUMNS.into_iter().max().unwrap_or(1),
        };
        let rows = variant.most_rows().next_multiple_of(group);
        let logits_stride = match memory {
            Memory::Buffers => config.vocabulary.div_ceil(4),
            Memory::Textures => config.vocabulary.div_ceil(4).next_multiple_of(FOLD),
        };
        let most = memory.most(Texel::Float4) / logits_stride;
        let logits_rows = rows.min(most - most % group);
        if logits_rows == 0 {
            return Err(Error::Invalid(format!("a vocabulary of {} tokens is too large", config.vocabulary)));
        }
        let (queries, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        for columns in [config.width, config.feed_forward, queries + 2 * keys] {
            if rows * (columns / 4) > memory.most(Texel::Float4) {
                return Err(Error::Invalid(format!("layers of {columns} numbers are too wide")));
            }
        }
        let floats = |columns: u32| Array::new(gpu, memory, Texel::Float4, rows * (columns / 4));
        let words = |length: u32| Array::new(gpu, memory, Texel::Uint1, length);
        let per_row = || Array::new(gpu, memory, Texel::Uint4, rows);
        let cached = || Array::new(gpu, memory, Texel::Uint4, pages * heads.page_texels());
        let arrays = Self {
            x: [floats(config.width), floats(config.width)],
            qkv: floats(queries + 2 * keys),
            q: floats(queries),
            attended: floats(queries),
            inner: floats(config.feed_forward),
            picked: floats(config.width),
            logits: Array::new(gpu, memory, Texel::Float4, logits_rows * logits_stride),
            results: gpu.storage(16 * u64::from(logits_rows)),
            rows: per_row(),
            picks: per_row(),
            angles: floats(config.head_dim),
            pages: words(table),
            freed: words(table.max(pages)),
            cache: (0..config.layers).map(|_| [cached(), cached()]).collect(),
            logits_stride,
            logits_rows,
        };
        gpu.check()?;
        Ok(arrays)
    }
}

/// Refuses shapes that the kernels do not compute.
fn check_shapes(config: &Config, source: &Source) -> Result<(), Error> {
    let refused = |why: String| match source {
        Source::File(gguf) => gguf.unsupported(why),
        Source::Synthetic(_) => Error::Invalid(why),
    };
    let queries = config.heads * config.head_dim;
    for (what, size) in [("width", config.width), ("feed-forward width", config.feed_forward), ("heads", queries)] {
        if !size.is_multiple_of(BLOCK) {
            return Err(refused(format!("{what} of {size} numbers is no multiple of {BLOCK}")));
        }
    }
    if !config.head_dim.is_multiple_of(8) {
        return Err(refused(format!("heads of {} numbers are no multiple of 8", config.head_dim)));
    }
    Ok(())
}
