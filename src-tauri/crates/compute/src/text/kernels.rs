//! The kernels of language models: what they bind, and the WGSL they are made of.
//!
//! Where a GPU and a software adapter want different things, there are two variants of a kernel with the same
//! bindings: `tiles` reduces through workgroup memory and reads coalesced, `lanes` keeps everything in the registers
//! of one subgroup. The texts are generated, because named variables (an array would be indexed at run time and land
//! in memory), the formats and the number of columns make them differ.

pub(crate) mod attention;
pub(crate) mod blocks;
pub(crate) mod lanes;
pub(crate) mod logits;
#[cfg(test)]
mod tests;
pub(crate) mod tiles;

use super::array::{Access, Memory, Texel};
use crate::device::Gpu;
use crate::text::format::Format;
use std::{
    fmt::Write,
    sync::{Arc, OnceLock},
};

/// Which variants suit an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Variant {
    /// For GPUs.
    Tiles,
    /// For software adapters with subgroups of this size, 4 or 8.
    Lanes(u32),
}

impl Variant {
    /// The one for an adapter.
    pub(crate) fn of(gpu: &Gpu) -> Self {
        match gpu.subgroup_size() {
            Some(size @ (4 | 8)) if gpu.is_cpu() => Self::Lanes(size),
            _ => Self::Tiles,
        }
    }

    /// Where its arrays live.
    pub(crate) fn memory(self) -> Memory {
        match self {
            Self::Tiles => Memory::Buffers,
            Self::Lanes(_) => Memory::Textures,
        }
    }

    /// Invocations of a workgroup in kernels that are the same text for all.
    pub(crate) fn workgroup(self) -> u32 {
        match self {
            Self::Tiles => 64,
            Self::Lanes(size) => size,
        }
    }

    /// Most rows (tokens) of one forward pass. On a software adapter a pass of 32 takes some tenths of a second.
    pub(crate) fn most_rows(self) -> u32 {
        match self {
            // As the owner is told: of a text that is checked, all logits of a pass are kept.
            Self::Tiles => tender_base::catalogue::LOGITS_ROWS,
            Self::Lanes(_) => 32,
        }
    }
}

/// What a kernel binds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A uniform of this WGSL type.
    Uniform(&'static str),
    Array(Texel, Access),
    /// A storage buffer of `vec4<u32>` that is written, whatever the variant, because the host reads it.
    Results,
}

/// What a set of kernels binds, so that they share bind groups.
pub(crate) struct Interface {
    declarations: String,
    group: wgpu::BindGroupLayout,
    layout: wgpu::PipelineLayout,
}

impl Interface {
    pub(crate) fn new(gpu: &Gpu, memory: Memory, bindings: &[(&str, Kind)]) -> Self {
        let mut declarations = String::new();
        let mut entries = Vec::new();
        for (binding, &(name, kind)) in (0..).zip(bindings) {
            let ty = match kind {
                Kind::Uniform(ty) => {
                    let _ = writeln!(declarations, "@group(0) @binding({binding}) var<uniform> {name}: {ty};");
                    wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Uniform,
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    }
                }
                Kind::Array(texel, access) => {
                    memory.declare(&mut declarations, binding, name, texel, access);
                    memory.layout(texel, access)
                }
                Kind::Results => {
                    Memory::Buffers.declare(&mut declarations, binding, name, Texel::Uint4, Access::Write);
                    Memory::Buffers.layout(Texel::Uint4, Access::Write)
                }
            };
            entries.push(wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty,
                count: None,
            });
        }
        let group =
            gpu.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let layout = gpu.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&group)],
            ..wgpu::PipelineLayoutDescriptor::default()
        });
        Self { declarations, group, layout }
    }

    /// A pipeline of the kernel `main` in `body`.
    pub(crate) fn pipeline(&self, gpu: &Gpu, label: &str, body: &str) -> wgpu::ComputePipeline {
        gpu.trusted_with(Some(&self.layout), label, &format!("{}{body}", self.declarations), "main")
    }

    /// A bind group of the resources in the order of the bindings.
    pub(crate) fn bind(&self, gpu: &Gpu, resources: Vec<wgpu::BindingResource<'_>>) -> wgpu::BindGroup {
        let entries: Vec<_> =
            (0..).zip(resources).map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource }).collect();
        gpu.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &self.group, entries: &entries })
    }
}

/// What is done with a product before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Epilogue {
    Store,
    /// A vector is added.
    Bias,
    /// The matrix of the same shape is added.
    Residual,
    /// Two products g and u become silu(g) · u.
    SwiGlu,
}

/// Which text a matrix product needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Product {
    pub formats: [Format; 2],
    /// Each row of x is RMS-normalised on the way in: multiplied by a gain, and the product by 1 / rms.
    pub norm: bool,
    pub epilogue: Epilogue,
}

impl Product {
    /// Matrices that are multiplied at once.
    pub(crate) fn matrices(&self) -> u32 {
        if self.epilogue == Epilogue::SwiGlu { 2 } else { 1 }
    }

    /// The lines that turn `v`, and `w` of the second matrix, into texel `own` of this matrix's part of row `column`.
    pub(crate) fn finish(&self, s: &mut String, scale: &str) {
        // Rows beyond the matrix only fill the last tile.
        s.push_str("if own < op.texels {\nlet at = op.out_first + own;\n");
        if self.norm {
            let _ = writeln!(s, "v *= {scale};");
        }
        let _ = match self.epilogue {
            Epilogue::Store => Ok(()),
            Epilogue::Bias => writeln!(s, "v += extra_at(at);"),
            Epilogue::Residual => writeln!(s, "v += extra_at(column * op.out_stride + at);"),
            Epilogue::SwiGlu => {
                let scale = if self.norm { scale } else { "1.0" };
                writeln!(s, "w *= {scale};\nv = v / (1.0 + exp(-v)) * w;")
            }
        };
        s.push_str("out_put(column * op.out_stride + at, v);\n}\n");
    }
}

/// The kernels of a product, one per number of columns. They are compiled when they are first needed: of the many that
/// there could be, most models and loads use few.
pub(crate) struct ProductKernels {
    interface: Arc<Interface>,
    variant: Variant,
    product: Product,
    pipelines: Vec<(u32, OnceLock<wgpu::ComputePipeline>)>,
}

impl ProductKernels {
    pub(crate) fn new(interface: Arc<Interface>, variant: Variant, product: Product) -> Self {
        let columns: &[u32] = match variant {
            Variant::Tiles => &tiles::COLUMNS,
            Variant::Lanes(_) => &lanes::COLUMNS,
        };
        let pipelines = columns.iter().map(|&columns| (columns, OnceLock::new())).collect();
        Self { interface, variant, product, pipelines }
    }

    /// Columns and rows of a workgroup, and the kernel: the one for the fewest columns that takes all `count`, or the
    /// one for the most.
    pub(crate) fn of(&self, gpu: &Gpu, count: u32) -> (u32, u32, &wgpu::ComputePipeline) {
        let last = self.pipelines.len() - 1;
        let at = self.pipelines.iter().position(|(columns, _)| *columns >= count).unwrap_or(last);
        let (columns, compiled) = &self.pipelines[at];
        let pipeline = compiled.get_or_init(|| {
            let body = match self.variant {
                Variant::Tiles => tiles::product(&self.product, *columns),
                Variant::Lanes(lanes) => lanes::product(lanes, &self.product, *columns),
            };
            self.interface.pipeline(gpu, "product", &body)
        });
        let rows = match self.variant {
            Variant::Tiles => tiles::rows(&self.product, *columns),
            Variant::Lanes(lanes) => lanes::ROWS * lanes,
        };
        (*columns, rows, pipeline)
    }
}

/// What describes a product to its kernel.
pub(crate) const OP: &str = "struct Op { blocks: u32, x_stride: u32, out_stride: u32, out_first: u32, \
    per_width: f32, epsilon: f32, texels: u32, unused: u32 }\n";

/// What a matrix product binds.
pub(crate) fn product_bindings() -> [(&'static str, Kind); 9] {
    use Access::{Read, Write};
    use Texel::{Float4, Uint1, Uint4};
    [
        ("op", Kind::Uniform("Op")),
        ("x", Kind::Array(Float4, Read)),
        ("gain", Kind::Array(Float4, Read)),
        ("extra", Kind::Array(Float4, Read)),
        ("out", Kind::Array(Float4, Write)),
        ("n0", Kind::Array(Uint4, Read)),
        ("s0", Kind::Array(Uint1, Read)),
        ("n1", Kind::Array(Uint4, Read)),
        ("s1", Kind::Array(Uint1, Read)),
    ]
}
