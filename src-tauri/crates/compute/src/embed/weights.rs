//! The weights on the GPU, laid out as the kernels read them.

use super::WIDTH;
use crate::{
    Error,
    device::Gpu,
    matmul::{Matmul, Operand},
};
use safetensors::{Dtype, SafeTensors};
use std::path::Path;
use tender_base::job::Precision;

/// Width of the feed-forward layer.
pub(super) const INNER: usize = 1536;
/// Layers of the encoder.
pub(super) const LAYERS: usize = 6;
/// Rows of the vocabulary.
pub(super) const WORDS: usize = 30_522;
/// Rows of the position table.
const POSITIONS: usize = 512;

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

/// The whole model.
pub(super) struct Weights {
    pub words: wgpu::Buffer,
    /// Positions, with the embedding of token type 0 added to each.
    pub positions: wgpu::Buffer,
    pub norm: Norm,
    pub layers: Vec<Layer>,
}

struct File<'a> {
    path: &'a Path,
    matmul: &'a Matmul,
    tensors: SafeTensors<'a>,
}

impl Weights {
    /// Decodes a safetensors file and puts it on the GPU.
    pub(super) fn upload(gpu: &Gpu, matmul: &Matmul, path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let tensors = decode(path, bytes)?;
        let file = File { path, matmul, tensors };
        let mut positions = file.tensor("embeddings.position_embeddings.weight", &[POSITIONS, WIDTH])?;
        let types = file.tensor("embeddings.token_type_embeddings.weight", &[2, WIDTH])?;
        for row in positions.chunks_exact_mut(WIDTH) {
            for (value, of_type) in row.iter_mut().zip(&types) {
                *value += of_type;
            }
        }
        let layer = |at: usize| -> Result<Layer, Error> {
            let name = |rest: &str| format!("encoder.layer.{at}.{rest}");
            Ok(Layer {
                qkv: file.linear(
                    gpu,
                    &[&name("attention.self.query"), &name("attention.self.key"), &name("attention.self.value")],
                    WIDTH,
                    WIDTH,
                )?,
                out: file.linear(gpu, &[&name("attention.output.dense")], WIDTH, WIDTH)?,
                norm: file.norm(gpu, &name("attention.output.LayerNorm"))?,
                wide: file.linear(gpu, &[&name("intermediate.dense")], WIDTH, INNER)?,
                narrow: file.linear(gpu, &[&name("output.dense")], INNER, WIDTH)?,
                last_norm: file.norm(gpu, &name("output.LayerNorm"))?,
            })
        };
        let weights = Self {
            words: put(gpu, &file.tensor("embeddings.word_embeddings.weight", &[WORDS, WIDTH])?),
            positions: put(gpu, &positions),
            norm: file.norm(gpu, "embeddings.LayerNorm")?,
            layers: (0..LAYERS).map(layer).collect::<Result<_, _>>()?,
        };
        gpu.check()?;
        Ok(weights)
    }
}

impl File<'_> {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        numbers(self.path, &self.tensors, name, shape)
    }

    /// The layers of `names` side by side; PyTorch stores each as outputs × inputs.
    fn linear(&self, gpu: &Gpu, names: &[&str], inputs: usize, outputs: usize) -> Result<Linear, Error> {
        let columns = names.len() * outputs;
        let mut matrix = vec![0.0; inputs * columns];
        let mut bias = Vec::with_capacity(columns);
        for (part, name) in names.iter().enumerate() {
            let weight = self.tensor(&format!("{name}.weight"), &[outputs, inputs])?;
            for (output, row) in weight.chunks_exact(inputs).enumerate() {
                for (input, value) in row.iter().enumerate() {
                    matrix[input * columns + part * outputs + output] = *value;
                }
            }
            bias.extend(self.tensor(&format!("{name}.bias"), &[outputs])?);
        }
        // At most 1536 columns.
        let matrix = self.matmul.constant(gpu, columns as u32, Precision::F32, bytemuck::cast_slice(&matrix));
        Ok(Linear { matrix, bias: put(gpu, &bias) })
    }

    fn norm(&self, gpu: &Gpu, name: &str) -> Result<Norm, Error> {
        let part = |rest: &str| Ok::<_, Error>(put(gpu, &self.tensor(&format!("{name}.{rest}"), &[WIDTH])?));
        Ok(Norm { gain: part("weight")?, shift: part("bias")? })
    }
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
