//! The weights on the GPU, laid out as the kernels read them.

use super::config::{BertConfig, Side};
use crate::{
    Error,
    device::Gpu,
    matmul::{Matmul, Operand},
};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;
use tender_base::job::Precision;

/// What the names of all tensors begin with when the file was saved from a model with a head, such as `BertForMaskedLM`.
const PREFIX: &str = "bert.";

/// A linear layer: the matrix transposed to inputs × outputs, and the bias.
pub(super) struct Linear {
    pub matrix: Operand,
    pub bias: wgpu::Buffer,
}

/// Gain and shift of a layer normalisation.
pub(super) struct Norm {
    pub gain: wgpu::Buffer,
    pub shift: wgpu::Buffer,
}

/// One encoder layer.
pub(super) struct Layer {
    /// Query, key and value side by side.
    pub qkv: Linear,
    pub out: Linear,
    pub norm: Norm,
    pub wide: Linear,
    pub narrow: Linear,
    pub last_norm: Norm,
}

/// The whole model. Rows are padded with zeros as [`Side`] says.
pub(super) struct Weights {
    pub words: wgpu::Buffer,
    /// Positions that a passage can have, with the embedding of token type 0 added to each.
    pub positions: wgpu::Buffer,
    pub norm: Norm,
    pub layers: Vec<Layer>,
}

struct File<'a> {
    path: &'a Path,
    matmul: &'a Matmul,
    tensors: SafeTensors<'a>,
    /// What every name begins with.
    prefix: &'static str,
}

impl Weights {
    /// Decodes a safetensors file and puts it on the GPU.
    pub(super) fn upload(
        gpu: &Gpu,
        matmul: &Matmul,
        config: &BertConfig,
        path: &Path,
        bytes: &[u8],
    ) -> Result<Self, Error> {
        let tensors = decode(path, bytes)?;
        let prefix = if tensors.iter().any(|(name, _)| name.starts_with(PREFIX)) { PREFIX } else { "" };
        let file = File { path, matmul, tensors, prefix };
        let (hidden, attended, wide) = (config.hidden(), config.attended(), config.wide());
        let width = config.width;
        let words = file.tensor("embeddings.word_embeddings.weight", &[config.words, width])?;
        let mut positions = file.tensor("embeddings.position_embeddings.weight", &[config.positions, width])?;
        positions.truncate(config.most_tokens() * width);
        let types = file.tensor("embeddings.token_type_embeddings.weight", &[config.types, width])?;
        for row in positions.chunks_exact_mut(width) {
            for (value, of_type) in row.iter_mut().zip(&types) {
                *value += of_type;
            }
        }
        let layer = |at: usize| -> Result<Layer, Error> {
            let name = |rest: &str| format!("encoder.layer.{at}.{rest}");
            let qkv = ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")));
            Ok(Layer {
                qkv: file.linear(gpu, &qkv, hidden, attended)?,
                out: file.linear(gpu, &[name("attention.output.dense")], attended, hidden)?,
                norm: file.norm(gpu, &name("attention.output.LayerNorm"), hidden)?,
                wide: file.linear(gpu, &[name("intermediate.dense")], hidden, wide)?,
                narrow: file.linear(gpu, &[name("output.dense")], wide, hidden)?,
                last_norm: file.norm(gpu, &name("output.LayerNorm"), hidden)?,
            })
        };
        let weights = Self {
            words: put(gpu, &padded(words, hidden)),
            positions: put(gpu, &padded(positions, hidden)),
            norm: file.norm(gpu, "embeddings.LayerNorm", hidden)?,
            layers: (0..config.layers).map(layer).collect::<Result<_, _>>()?,
        };
        gpu.check()?;
        Ok(weights)
    }
}

impl File<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        numbers(self.path, &self.tensors, &format!("{}{name}", self.prefix), shape)
    }

    /// The layers of `names` side by side; PyTorch stores each as outputs × inputs.
    fn linear(&self, gpu: &Gpu, names: &[String], inputs: Side, outputs: Side) -> Result<Linear, Error> {
        let columns = names.len() * outputs.padded();
        let mut matrix = vec![0.0; inputs.padded() * columns];
        let mut bias = Vec::with_capacity(columns);
        let rows: Vec<usize> = inputs.places().collect();
        for (part, name) in names.iter().enumerate() {
            let weight = self.tensor(&format!("{name}.weight"), &[outputs.len(), inputs.len()])?;
            for (output, values) in outputs.places().zip(weight.chunks_exact(inputs.len())) {
                let column = part * outputs.padded() + output;
                for (row, value) in rows.iter().zip(values) {
                    matrix[row * columns + column] = *value;
                }
            }
            bias.extend(padded(self.tensor(&format!("{name}.bias"), &[outputs.len()])?, outputs));
        }
        // At most 8192 columns, so that the number fits.
        let matrix = self.matmul.constant(gpu, columns as u32, Precision::F32, bytemuck::cast_slice(&matrix));
        Ok(Linear { matrix, bias: put(gpu, &bias) })
    }

    fn norm(&self, gpu: &Gpu, name: &str, side: Side) -> Result<Norm, Error> {
        let part = |rest: &str| {
            let values = self.tensor(&format!("{name}.{rest}"), &[side.len()])?;
            Ok::<_, Error>(put(gpu, &padded(values, side)))
        };
        Ok(Norm { gain: part("weight")?, shift: part("bias")? })
    }
}

/// Rows of numbers, each padded with zeros.
fn padded(rows: Vec<f32>, side: Side) -> Vec<f32> {
    if side.len() == side.padded() {
        return rows;
    }
    let mut all = vec![0.0; rows.len() / side.len() * side.padded()];
    for (to, from) in all.chunks_exact_mut(side.padded()).zip(rows.chunks_exact(side.len())) {
        for (place, value) in side.places().zip(from) {
            to[place] = *value;
        }
    }
    all
}

/// Reads the header, which says where in `bytes` the tensors lie.
fn decode<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, Error> {
    SafeTensors::deserialize(bytes).map_err(|e| broken(path, &e))
}

fn numbers(path: &Path, tensors: &SafeTensors<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
    let view = tensors.tensor(name).map_err(|e| broken(path, &e))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        let why = format!("{name} is {:?} {:?}, not F32 {shape:?}", view.dtype(), view.shape());
        return Err(Error::ModelFile { path: path.to_owned(), why });
    }
    Ok(bytemuck::pod_collect_to_vec(view.data()))
}

fn put(gpu: &Gpu, values: &[f32]) -> wgpu::Buffer {
    gpu.upload(bytemuck::cast_slice(values))
}

fn broken(path: &Path, error: &safetensors::SafeTensorError) -> Error {
    Error::ModelFile { path: path.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &str = r#"{"gain":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"half":{"dtype":"F16","shape":[2],"data_offsets":[16,20]}}"#;

    fn file(header: &str) -> Vec<u8> {
        let length = header.len() as u64;
        [&length.to_le_bytes()[..], header.as_bytes(), &[0, 0, 128, 63].repeat(5)].concat()
    }

    fn gain(bytes: &[u8]) -> Result<Vec<f32>, Error> {
        let path = Path::new("model.safetensors");
        numbers(path, &decode(path, bytes)?, "gain", &[2, 2])
    }

    #[test]
    fn broken_files_are_refused_by_name() {
        assert_eq!(gain(&file(HEADER)).unwrap(), [1.0; 4]);
        for header in [
            HEADER.replace("gain", "loss"),
            HEADER.replace("[2,2]", "[4]"),
            HEADER.replace("[2,2]", "[2,18446744073709551615]"),
            HEADER.replace("[2,2]", "[-2,-2]"),
            HEADER.replace("\"F32\"", "\"F64\""),
            HEADER.replace("[0,16]", "[0,1600000]"),
            HEADER.replace("[0,16]", "[16,0]"),
            HEADER.replace("[16,20]", "[8,12]"),
            HEADER.replace("[16,20]", "[16,18446744073709551615]"),
            HEADER.replace('{', "["),
            "{}".to_owned(),
        ] {
            let error = gain(&file(&header)).unwrap_err();
            assert!(matches!(error, Error::ModelFile { .. }), "{header}: {error}");
        }
        for length in 0..file(HEADER).len() {
            assert!(gain(&file(HEADER)[..length]).is_err(), "{length} bytes");
        }
        let enormous = [&u64::MAX.to_le_bytes()[..], HEADER.as_bytes()].concat();
        assert!(gain(&enormous).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn damaged_files_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
            let mut bytes = file(HEADER);
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(numbers) = gain(&bytes) {
                prop_assert_eq!(numbers.len(), 4);
            }
        }
    }
}
