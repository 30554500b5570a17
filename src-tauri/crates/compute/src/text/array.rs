//! Memory as the kernels of language models see it: arrays of texels, addressed by one number.
//!
//! A GPU keeps them in storage buffers. A software adapter reads a buffer lane by lane with a branch each, but a
//! texture for all lanes at once, so that there they are textures, folded into rows of [`FOLD`] texels. Kernels say
//! `NAME_at(i)` and `NAME_put(i, value)` and are the same text for both.

use crate::{Error, device::Gpu};
use std::{fmt::Write, ops::Range};

/// Texels in a row of a texture; a power of two, and a multiple of the 256 bytes that copies want.
pub(crate) const FOLD: u32 = 4096;
/// Rows of a texture that every adapter takes.
const MAX_TEXTURE_ROWS: u32 = 8192;
/// Bytes of a storage buffer that every adapter binds.
const MAX_BINDING: u64 = 128 << 20;

/// Where arrays live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Memory {
    Buffers,
    Textures,
}

/// An element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texel {
    /// `vec4<f32>`
    Float4,
    /// `vec4<u32>`
    Uint4,
    /// `u32`
    Uint1,
}

impl Texel {
    pub(crate) fn bytes(self) -> u32 {
        match self {
            Self::Float4 | Self::Uint4 => 16,
            Self::Uint1 => 4,
        }
    }

    fn wgsl(self) -> &'static str {
        match self {
            Self::Float4 => "vec4<f32>",
            Self::Uint4 => "vec4<u32>",
            Self::Uint1 => "u32",
        }
    }

    fn format(self) -> wgpu::TextureFormat {
        match self {
            Self::Float4 => wgpu::TextureFormat::Rgba32Float,
            Self::Uint4 => wgpu::TextureFormat::Rgba32Uint,
            Self::Uint1 => wgpu::TextureFormat::R32Uint,
        }
    }
}

/// How a kernel uses an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

impl Memory {
    /// Most texels of one array.
    pub(crate) fn most(self, texel: Texel) -> u32 {
        match self {
            Self::Buffers => (MAX_BINDING / u64::from(texel.bytes())) as u32,
            Self::Textures => FOLD * MAX_TEXTURE_ROWS,
        }
    }

    /// Declares an array and the function that reads or writes it.
    pub(crate) fn declare(self, source: &mut String, binding: u32, name: &str, texel: Texel, access: Access) {
        let ty = texel.wgsl();
        let (declared, function) = match (self, access) {
            (Self::Buffers, Access::Read) => (
                format!("var<storage, read> {name}: array<{ty}>;"),
                format!("fn {name}_at(i: u32) -> {ty} {{ return {name}[i]; }}"),
            ),
            (Self::Buffers, Access::Write) => (
                format!("var<storage, read_write> {name}: array<{ty}>;"),
                format!("fn {name}_put(i: u32, value: {ty}) {{ {name}[i] = value; }}"),
            ),
            (Self::Textures, Access::Read) => {
                let (kind, lane) = match texel {
                    Texel::Float4 => ("f32", ""),
                    Texel::Uint4 => ("u32", ""),
                    Texel::Uint1 => ("u32", ".x"),
                };
                (
                    format!("var {name}: texture_2d<{kind}>;"),
                    format!(
                        "fn {name}_at(i: u32) -> {ty} {{ \
                         return textureLoad({name}, vec2<u32>(i % {FOLD}u, i / {FOLD}u), 0){lane}; }}"
                    ),
                )
            }
            (Self::Textures, Access::Write) => {
                let (format, value) = match texel {
                    Texel::Float4 => ("rgba32float", "value"),
                    Texel::Uint4 => ("rgba32uint", "value"),
                    Texel::Uint1 => ("r32uint", "vec4<u32>(value)"),
                };
                (
                    format!("var {name}: texture_storage_2d<{format}, write>;"),
                    format!(
                        "fn {name}_put(i: u32, value: {ty}) {{ \
                         textureStore({name}, vec2<u32>(i % {FOLD}u, i / {FOLD}u), {value}); }}"
                    ),
                )
            }
        };
        // Writing to a String cannot fail.
        let _ = writeln!(source, "@group(0) @binding({binding}) {declared}\n{function}");
    }

    /// The entry of a bind group's layout for such an array.
    pub(crate) fn layout(self, texel: Texel, access: Access) -> wgpu::BindingType {
        match (self, access) {
            (Self::Buffers, _) => wgpu::BindingType::Buffer {
                ty: wgpu::BufferBindingType::Storage { read_only: access == Access::Read },
                has_dynamic_offset: false,
                min_binding_size: None,
            },
            (Self::Textures, Access::Read) => wgpu::BindingType::Texture {
                sample_type: match texel {
                    Texel::Float4 => wgpu::TextureSampleType::Float { filterable: false },
                    Texel::Uint4 | Texel::Uint1 => wgpu::TextureSampleType::Uint,
                },
                view_dimension: wgpu::TextureViewDimension::D2,
                multisampled: false,
            },
            (Self::Textures, Access::Write) => wgpu::BindingType::StorageTexture {
                access: wgpu::StorageTextureAccess::WriteOnly,
                format: texel.format(),
                view_dimension: wgpu::TextureViewDimension::D2,
            },
        }
    }
}

/// An array on the GPU, zero until something is written.
pub(crate) struct Array {
    texel: Texel,
    place: Place,
}

enum Place {
    Buffer(wgpu::Buffer),
    Texture(wgpu::Texture, wgpu::TextureView),
}

impl Array {
    /// An array of `length` texels or, in a texture, the next multiple of [`FOLD`]; at least one.
    pub(crate) fn new(gpu: &Gpu, memory: Memory, texel: Texel, length: u32) -> Self {
        let length = length.max(1);
        let place = match memory {
            Memory::Buffers => Place::Buffer(gpu.storage(u64::from(length) * u64::from(texel.bytes()))),
            Memory::Textures => {
                let texture = gpu.device.create_texture(&wgpu::TextureDescriptor {
                    label: None,
                    size: wgpu::Extent3d { width: FOLD, height: length.div_ceil(FOLD), depth_or_array_layers: 1 },
                    mip_level_count: 1,
                    sample_count: 1,
                    dimension: wgpu::TextureDimension::D2,
                    format: texel.format(),
                    usage: wgpu::TextureUsages::TEXTURE_BINDING
                        | wgpu::TextureUsages::STORAGE_BINDING
                        | wgpu::TextureUsages::COPY_DST
                        | wgpu::TextureUsages::COPY_SRC,
                    view_formats: &[],
                });
                let view = texture.create_view(&wgpu::TextureViewDescriptor::default());
                Place::Texture(texture, view)
            }
        };
        Self { texel, place }
    }

    /// An array that holds `content`.
    pub(crate) fn holding(gpu: &Gpu, memory: Memory, texel: Texel, content: &[u8]) -> Self {
        let array = Self::new(gpu, memory, texel, content.len() as u32 / texel.bytes());
        array.write(gpu, 0, content);
        array
    }

    /// Writes whole texels from texel `first` on; in a texture, `first` is a multiple of [`FOLD`].
    pub(crate) fn write(&self, gpu: &Gpu, first: u32, content: &[u8]) {
        let bytes = self.texel.bytes();
        match &self.place {
            Place::Buffer(buffer) => gpu.queue.write_buffer(buffer, u64::from(first) * u64::from(bytes), content),
            Place::Texture(texture, _) => {
                let whole = content.len() - content.len() % (FOLD * bytes) as usize;
                let (rows, rest) = content.split_at(whole);
                let mut y = first / FOLD;
                for part in [rows, rest].into_iter().filter(|part| !part.is_empty()) {
                    let width = FOLD.min(part.len() as u32 / bytes);
                    let height = part.len() as u32 / (width * bytes);
                    gpu.queue.write_texture(
                        wgpu::TexelCopyTextureInfo {
                            origin: wgpu::Origin3d { x: 0, y, z: 0 },
                            ..texture.as_image_copy()
                        },
                        part,
                        wgpu::TexelCopyBufferLayout {
                            offset: 0,
                            bytes_per_row: Some(width * bytes),
                            rows_per_image: None,
                        },
                        wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
                    );
                    y += height;
                }
            }
        }
    }

    /// Copies ranges of texels here, one after the other, in one round trip; in a texture, each starts at a multiple
    /// of [`FOLD`].
    ///
    /// # Errors
    /// Whatever wgpu reports.
    pub(crate) fn read(&self, gpu: &Gpu, ranges: &[Range<u32>]) -> Result<Vec<u8>, Error> {
        let texel = u64::from(self.texel.bytes());
        let bytes = |texels: u32| u64::from(texels) * texel;
        match &self.place {
            Place::Buffer(buffer) => {
                let ranges: Vec<_> = ranges.iter().map(|range| bytes(range.start)..bytes(range.end)).collect();
                gpu.read(buffer, &ranges)
            }
            Place::Texture(texture, _) => {
                let mut rows = 0;
                let mut copies = Vec::with_capacity(ranges.len());
                for range in ranges {
                    let count = range.end - range.start;
                    copies.push((range.start / FOLD, count.div_ceil(FOLD), bytes(rows * FOLD)));
                    rows += count.div_ceil(FOLD);
                }
                let staging = gpu.storage(bytes(rows * FOLD));
                let record = |encoder: &mut wgpu::CommandEncoder| {
                    for &(y, height, offset) in &copies {
                        let origin = wgpu::Origin3d { x: 0, y, z: 0 };
                        encoder.copy_texture_to_buffer(
                            wgpu::TexelCopyTextureInfo { origin, ..texture.as_image_copy() },
                            wgpu::TexelCopyBufferInfo {
                                buffer: &staging,
                                layout: wgpu::TexelCopyBufferLayout {
                                    offset,
                                    bytes_per_row: Some(FOLD * self.texel.bytes()),
                                    rows_per_image: None,
                                },
                            },
                            wgpu::Extent3d { width: FOLD, height, depth_or_array_layers: 1 },
                        );
                    }
                };
                let wanted = ranges.iter().zip(&copies);
                let wanted: Vec<_> =
                    wanted.map(|(range, copy)| copy.2..copy.2 + bytes(range.end - range.start)).collect();
                gpu.submit_and_read(record, &staging, &wanted)
            }
        }
    }

    /// What a bind group takes.
    pub(crate) fn resource(&self) -> wgpu::BindingResource<'_> {
        match &self.place {
            Place::Buffer(buffer) => buffer.as_entire_binding(),
            Place::Texture(_, view) => wgpu::BindingResource::TextureView(view),
        }
    }
}
