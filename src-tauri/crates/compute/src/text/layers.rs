//! From a model's tensors to the list of kernels that a pass runs.

use super::{
    array::{Array, Texel},
    config::Config,
    kernels::{
        Epilogue, Interface, Product, ProductKernels, Variant,
        attention::{self, Heads},
        blocks::BLOCK,
        logits, product_bindings,
    },
    network::{Arrays, Dispatch, Kernel, Per},
    weights::{Matrix, Source, most_rows, neighbours},
};
use crate::{Error, device::Gpu};
use std::{collections::HashMap, ops::Range, sync::Arc};

/// Allocates the weights and lists the kernels; brings the weights last.
pub(super) struct Builder<'a> {
    gpu: &'a Gpu,
    variant: Variant,
    config: &'a Config,
    source: &'a Source,
    arrays: &'a Arrays,
    heads: Heads,
    interface: Arc<Interface>,
    /// What is bound where a kernel reads nothing.
    nothing: [Array; 3],
    products: HashMap<Product, Arc<ProductKernels>>,
    dispatches: Vec<Dispatch>,
    matrices: Vec<(Matrix, Vec<Rows>)>,
}

/// A tensor whose rows are, with others', those of one matrix.
#[derive(Clone)]
struct Rows {
    tensor: String,
    count: u32,
    /// Whether the rows are queries or keys, which are reordered.
    rotated: bool,
}

/// A product with everything it reads and writes. Strides and `first` count texels.
struct Linear<'a> {
    /// One matrix or, for SwiGLU, gate and up.
    matrices: Vec<Vec<Rows>>,
    columns: u32,
    x: &'a Array,
    gain: Option<&'a Array>,
    epilogue: Epilogue,
    extra: Option<&'a Array>,
    out: &'a Array,
    out_stride: u32,
    first: u32,
    per: Per,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        gpu: &'a Gpu,
        variant: Variant,
        config: &'a Config,
        source: &'a Source,
        arrays: &'a Arrays,
        heads: Heads,
    ) -> Self {
        let memory = variant.memory();
        Self {
            gpu,
            variant,
            config,
            source,
            arrays,
            heads,
            interface: Arc::new(Interface::new(gpu, memory, &product_bindings())),
            nothing: [Texel::Float4, Texel::Uint4, Texel::Uint1].map(|texel| Array::new(gpu, memory, texel, 1)),
            products: HashMap::new(),
            dispatches: Vec::new(),
            matrices: Vec::new(),
        }
    }

    /// The transformer layers, from `x[0]` to `x[0]`.
    pub(super) fn layers(&mut self) -> Result<(), Error> {
        let (gpu, config, arrays) = (self.gpu, self.config, self.arrays);
        let memory = self.variant.memory();
        let rotate = Interface::new(gpu, memory, &attention::rotate_bindings());
        let rotate_pipeline = rotate.pipeline(gpu, "rotate", &attention::rotate(self.variant, &self.heads));
        let attend = Interface::new(gpu, memory, &attention::attend_bindings());
        let attend_pipeline = attend.pipeline(gpu, "attend", &attention::attend(self.variant, &self.heads));
        let queries = config.heads * config.head_dim;
        for layer in 0..config.layers {
            let named = |name: &str| format!("blk.{layer}.{name}");
            let gain = self.vector(&named("attn_norm.weight"), config.width)?;
            self.queries_keys_values(layer, &gain)?;

            let gains = self.head_gains(layer)?;
            let [keys, values] = &arrays.cache[layer as usize];
            let a = arrays;
            let bound =
                [&a.qkv, &a.angles, gains.as_ref().unwrap_or(&self.nothing[0]), &a.rows, &a.pages, &a.q, keys, values];
            let group = rotate.bind(gpu, bound.map(Array::resource).into());
            self.plain(&rotate_pipeline, group, config.heads + 2 * config.kv_heads, Per::Row);
            let bound = [&a.q, &a.rows, &a.pages, keys, values, &a.attended];
            let group = attend.bind(gpu, bound.map(Array::resource).into());
            self.plain(&attend_pipeline, group, attention::attend_groups(self.variant, &self.heads), Per::Row);

            let rows = |name: &str, count| vec![Rows { tensor: named(name), count, rotated: false }];
            self.linear(&Linear {
                matrices: vec![rows("attn_output.weight", config.width)],
                columns: queries,
                x: &arrays.attended,
                gain: None,
                epilogue: Epilogue::Residual,
                extra: Some(&arrays.x[0]),
                out: &arrays.x[1],
                out_stride: config.width / 4,
                first: 0,
                per: Per::Row,
            })?;
            let gain = self.vector(&named("ffn_norm.weight"), config.width)?;
            self.linear(&Linear {
                matrices: vec![
                    rows("ffn_gate.weight", config.feed_forward),
                    rows("ffn_up.weight", config.feed_forward),
                ],
                columns: config.width,
                x: &arrays.x[1],
                gain: Some(&gain),
                epilogue: Epilogue::SwiGlu,
                extra: None,
                out: &arrays.inner,
                out_stride: config.feed_forward / 4,
                first: 0,
                per: Per::Row,
            })?;
            self.linear(&Linear {
                matrices: vec![rows("ffn_down.weight", config.width)],
                columns: config.feed_forward,
                x: &arrays.inner,
                gain: None,
                epilogue: Epilogue::Residual,
                extra: Some(&arrays.x[1]),
                out: &arrays.x[0],
                out_stride: config.width / 4,
                first: 0,
                per: Per::Row,
            })?;
        }
        Ok(())
    }

    /// Queries, keys and values: one matrix as far as their formats are the same.
    fn queries_keys_values(&mut self, layer: u32, gain: &Array) -> Result<(), Error> {
        let (config, arrays) = (self.config, self.arrays);
        let parts =
            [("attn_q", config.heads, true), ("attn_k", config.kv_heads, true), ("attn_v", config.kv_heads, false)];
        let mut matrices: Vec<Vec<Rows>> = Vec::new();
        let mut biases = Vec::new();
        let mut last = None;
        for (name, heads, rotated) in parts {
            let count = heads * config.head_dim;
            let tensor = format!("blk.{layer}.{name}.weight");
            let format = self.source.format(&tensor)?;
            let rows = Rows { tensor, count, rotated };
            match matrices.last_mut() {
                Some(matrix) if last == Some(format) => matrix.push(rows),
                _ => matrices.push(vec![rows]),
            }
            last = Some(format);
            if config.qkv_bias {
                let bias = self.source.vector(&format!("blk.{layer}.{name}.bias"), count)?;
                biases.extend((0..count).map(|row| bias[if rotated { neighbours(config, row) } else { row } as usize]));
            }
        }
        let bias = config.qkv_bias.then(|| self.holding(&biases));
        let mut first = 0;
        for matrix in matrices {
            let rows: u32 = matrix.iter().map(|rows| rows.count).sum();
            self.linear(&Linear {
                matrices: vec![matrix],
                columns: config.width,
                x: &arrays.x[0],
                gain: Some(gain),
                epilogue: if bias.is_some() { Epilogue::Bias } else { Epilogue::Store },
                extra: bias.as_ref(),
                out: &arrays.qkv,
                out_stride: (config.heads + 2 * config.kv_heads) * config.head_dim / 4,
                first,
                per: Per::Row,
            })?;
            first += rows / 4;
        }
        Ok(())
    }

    /// Gains of a query head and of a key head, one after the other.
    fn head_gains(&self, layer: u32) -> Result<Option<Array>, Error> {
        if !self.config.head_norm {
            return Ok(None);
        }
        let mut gains = Vec::new();
        for name in ["attn_q_norm", "attn_k_norm"] {
            let read = self.source.vector(&format!("blk.{layer}.{name}.weight"), self.config.head_dim)?;
            gains.extend((0..self.config.head_dim).map(|at| read[neighbours(self.config, at) as usize]));
        }
        Ok(Some(self.holding(&gains)))
    }

    /// From the picked rows of `x[0]` to their logits and the best of them.
    pub(super) fn head(&mut self) -> Result<(), Error> {
        let (gpu, config, arrays) = (self.gpu, self.config, self.arrays);
        let memory = self.variant.memory();
        let gather = Interface::new(gpu, memory, &logits::gather_bindings());
        let pipeline = gather.pipeline(gpu, "gather", &logits::gather(self.variant, config.width / 4));
        let bound = [&arrays.picks, &arrays.x[0], &arrays.picked];
        let group = gather.bind(gpu, bound.map(Array::resource).into());
        self.plain(&pipeline, group, 1, Per::Pick);

        let gain = self.vector("output_norm.weight", config.width)?;
        let tensor = if config.tied_output { "token_embd.weight" } else { "output.weight" };
        self.linear(&Linear {
            matrices: vec![vec![Rows { tensor: tensor.to_owned(), count: config.vocabulary, rotated: false }]],
            columns: config.width,
            x: &arrays.picked,
            gain: Some(&gain),
            epilogue: Epilogue::Store,
            extra: None,
            out: &arrays.logits,
            out_stride: arrays.logits_stride,
            first: 0,
            per: Per::Pick,
        })?;

        let best = Interface::new(gpu, memory, &logits::best_bindings());
        let text = logits::best(self.variant, config.vocabulary, arrays.logits_stride);
        let pipeline = best.pipeline(gpu, "best", &text);
        let results = arrays.results.as_entire_binding();
        let group = best.bind(gpu, vec![arrays.logits.resource(), arrays.picks.resource(), results]);
        self.plain(&pipeline, group, 1, Per::Pick);
        Ok(())
    }

    /// Brings the weights of all matrices that were allocated.
    pub(super) fn finish(self) -> Result<Vec<Dispatch>, Error> {
        for (matrix, tensors) in &self.matrices {
            matrix.fill(self.gpu, self.variant, |range| read_rows(self.config, self.source, matrix, tensors, range))?;
        }
        Ok(self.dispatches)
    }

    fn vector(&self, name: &str, length: u32) -> Result<Array, Error> {
        Ok(self.holding(&self.source.vector(name, length)?))
    }

    fn holding(&self, numbers: &[f32]) -> Array {
        Array::holding(self.gpu, self.variant.memory(), Texel::Float4, bytemuck::cast_slice(numbers))
    }

    fn plain(&mut self, pipeline: &wgpu::ComputePipeline, group: wgpu::BindGroup, groups: u32, per: Per) {
        let kernel = Kernel::Plain { pipeline: pipeline.clone(), groups };
        self.dispatches.push(Dispatch { kernel, group, per });
    }

    fn linear(&mut self, linear: &Linear<'_>) -> Result<(), Error> {
        let (gpu, variant, columns) = (self.gpu, self.variant, linear.columns);
        let formats =
            linear.matrices.iter().map(|m| self.source.format(&m[0].tensor)).collect::<Result<Vec<_>, _>>()?;
        let most = most_rows(variant, &formats, columns);
        if most == 0 {
            return Err(Error::Invalid(format!("rows of {columns} numbers are too long")));
        }
        let product = Product {
            formats: [formats[0], *formats.last().unwrap_or(&formats[0])],
            norm: linear.gain.is_some(),
            epilogue: linear.epilogue,
        };
        let interface = &self.interface;
        let kernels = self
            .products
            .entry(product)
            .or_insert_with(|| Arc::new(ProductKernels::new(Arc::clone(interface), variant, product)))
            .clone();
        let matrices: Vec<Matrix> = linear
            .matrices
            .iter()
            .zip(&formats)
            .map(|(tensors, &format)| {
                let rows = tensors.iter().map(|t| t.count).sum();
                Matrix::allocate(gpu, variant, format, (columns, rows), most)
            })
            .collect();
        for (at, part) in matrices[0].parts.iter().enumerate() {
            let texels = (part.rows.end - part.rows.start).div_ceil(4);
            let op = gpu.uniform(&[
                columns / BLOCK,
                columns / 4,
                linear.out_stride,
                linear.first + part.rows.start / 4,
                (1.0 / columns as f32).to_bits(),
                self.config.rms_epsilon.to_bits(),
                texels,
                0,
            ]);
            let [no_floats, no_numbers, no_scales] = &self.nothing;
            let second = matrices.get(1).map(|matrix| &matrix.parts[at]);
            let arrays = [
                linear.x,
                linear.gain.unwrap_or(no_floats),
                linear.extra.unwrap_or(no_floats),
                linear.out,
                &part.numbers,
                &part.scales,
                second.map_or(no_numbers, |part| &part.numbers),
                second.map_or(no_scales, |part| &part.scales),
            ];
            let bound = std::iter::once(op.as_entire_binding()).chain(arrays.map(Array::resource)).collect();
            let group = self.interface.bind(gpu, bound);
            let kernel = Kernel::Product { kernels: Arc::clone(&kernels), texels };
            self.dispatches.push(Dispatch { kernel, group, per: linear.per });
        }
        self.matrices.extend(matrices.into_iter().zip(linear.matrices.iter().cloned()));
        Ok(())
    }
}

/// Rows of a matrix that is made of several tensors, as they lie in the file.
fn read_rows(
    config: &Config,
    source: &Source,
    matrix: &Matrix,
    tensors: &[Rows],
    range: Range<u32>,
) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut first = 0;
    for tensor in tensors {
        let (from, to) = (range.start.max(first), range.end.min(first + tensor.count));
        if from < to {
            let own = from - first..to - first;
            if tensor.rotated {
                let all = source.rows(&tensor.tensor, matrix.columns, 0..tensor.count)?;
                let each = all.len() / tensor.count as usize;
                for row in own {
                    bytes.extend_from_slice(&all[neighbours(config, row) as usize * each..][..each]);
                }
            } else {
                bytes.extend(source.rows(&tensor.tensor, matrix.columns, own)?);
            }
        }
        first += tensor.count;
    }
    Ok(bytes)
}
