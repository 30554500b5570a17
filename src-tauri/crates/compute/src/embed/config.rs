//! What an encoder is: its hyper-parameters, read from the files beside the weights as transformers and
//! sentence-transformers write them. What they ask for beyond BERT is refused by name, before a weight is read.

#[cfg(test)]
mod tests;

use super::folder::Folder;
use crate::Error;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use tender_base::{catalogue::CONFIG_FILE, job::MAX_PASSAGE_TOKENS};

/// Where sentence-transformers says how the vectors of a passage's tokens become one.
pub(super) const POOLING_FILE: &str = "1_Pooling/config.json";

// Above every BERT in use (large: 24 layers, width 1024, feed-forward 4096, heads of 64 numbers), and low enough for
// the textures and buffers that every adapter has.
const MAX_WIDTH: u64 = 2048;
const MAX_INNER: u64 = 8192;
const MAX_LAYERS: u64 = 64;
const MAX_HEADS: u64 = 64;
const MAX_HEAD_DIM: usize = 128;
const MAX_POSITIONS: u64 = 1 << 16;
const MAX_TYPES: u64 = 1 << 10;
/// A table of embeddings is one storage buffer, and WebGPU's limit for that is 128 MiB.
const MAX_TABLE_BYTES: u64 = 128 << 20;
/// Bounds of the number that keeps a layer normalisation from dividing by zero.
const EPSILON: std::ops::RangeInclusive<f64> = 1e-20..=0.1;

/// Widths are padded with zeros to multiples of this: whole tiles of a product, and a vec4 for each of the 32
/// invocations that normalise a token together.
const ROW: usize = 128;

/// The hyper-parameters of a BERT encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct BertConfig {
    /// Length of a token's vector, and of a passage's: `hidden_size`, 1 to 2048.
    pub width: usize,
    /// Width of the feed-forward layer: `intermediate_size`, 1 to 8192.
    pub inner: usize,
    /// Layers: `num_hidden_layers`, 1 to 64.
    pub layers: usize,
    /// Heads, which share the width evenly: `num_attention_heads`, 1 to 64. Each has at most 128 numbers.
    pub heads: usize,
    /// Tokens of the vocabulary: `vocab_size`. The table of their vectors has at most 128 MiB.
    pub words: usize,
    /// Tokens of the longest text that it was trained on: `max_position_embeddings`, 1 to 65,536.
    pub positions: usize,
    /// Kinds of tokens: `type_vocab_size`, 1 to 1024. Passages are of kind 0.
    pub types: usize,
    /// Added to the variance in every layer normalisation: `layer_norm_eps`, 1e-20 to 0.1.
    pub epsilon: f32,
    /// How the vectors of a passage's tokens become one.
    pub pooling: Pooling,
}

/// How the vectors of a passage's tokens become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The first one, of `[CLS]`.
    Cls,
}

/// One side of a matrix: how many numbers there are, and where each lies in a row that is padded with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Side {
    groups: usize,
    /// Numbers of a group.
    group: usize,
    /// From the first number of a group to that of the next.
    stride: usize,
}

impl Side {
    /// Numbers without padding.
    pub fn len(self) -> usize {
        self.groups * self.group
    }

    /// Numbers of a row, padding included.
    pub fn padded(self) -> usize {
        (self.groups * self.stride).next_multiple_of(ROW)
    }

    /// Where each number lies in the row.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..self.groups).flat_map(move |group| group * self.stride..group * self.stride + self.group)
    }
}

impl BertConfig {
    /// Reads what the folder of a model says about it.
    ///
    /// # Errors
    /// [`Error::ModelUnsupported`] naming the field that asks for what is not computed here; [`Error::ModelFile`] for
    /// a file that is missing or broken, naming the field; [`Error::ModelHash`] for another file than is pinned.
    pub(super) fn read(folder: &Folder<'_>) -> Result<Self, Error> {
        let pooling = folder.has(POOLING_FILE).then(|| folder.read(POOLING_FILE)).transpose()?;
        let file = folder.read(CONFIG_FILE)?;
        let config = Self::from_json(&folder.path(CONFIG_FILE), &file)?;
        match pooling {
            Some(file) => {
                let pooling = Pooling::from_json(&folder.path(POOLING_FILE), &file, config.width)?;
                Ok(Self { pooling, ..config })
            }
            None => Ok(config),
        }
    }

    /// Most tokens of a passage: those that the model has positions for, and at most [`MAX_PASSAGE_TOKENS`].
    pub fn most_tokens(&self) -> usize {
        self.positions.min(MAX_PASSAGE_TOKENS as usize)
    }

    /// Numbers of a head.
    pub fn head_dim(&self) -> usize {
        self.width / self.heads
    }

    /// A head in vec4, the last one padded with zeros.
    pub(super) fn head_quads(&self) -> usize {
        self.head_dim().div_ceil(4)
    }

    /// A token's vector.
    pub(super) fn hidden(&self) -> Side {
        plain(self.width)
    }

    /// The same cut into heads: a query, a key or a value.
    pub(super) fn attended(&self) -> Side {
        Side { groups: self.heads, group: self.head_dim(), stride: 4 * self.head_quads() }
    }

    /// Inside the feed-forward layer.
    pub(super) fn wide(&self) -> Side {
        plain(self.inner)
    }

    /// Floating-point operations of a token's matrix products.
    pub(super) fn token_flop(&self) -> u64 {
        2 * (self.layers * self.width * (4 * self.width + 2 * self.inner)) as u64
    }

    /// Reads `config.json`; pooling is by mean, unless another file says otherwise.
    pub(super) fn from_json(path: &Path, json: &[u8]) -> Result<Self, Error> {
        let file = Fields::read(path, json)?;
        file.must_be("model_type", "bert", None)?;
        file.must_be("hidden_act", "gelu", None)?;
        file.must_be("position_embedding_type", "absolute", Some("absolute"))?;
        if file.switch("is_decoder")? {
            return Err(file.unsupported("is_decoder is true, but only encoders are supported".into()));
        }
        let width = file.size("hidden_size", MAX_WIDTH)?;
        let heads = file.size("num_attention_heads", MAX_HEADS)?;
        if !width.is_multiple_of(heads) {
            let why = format!("hidden_size is {width}, which num_attention_heads = {heads} cannot share evenly");
            return Err(file.broken(why));
        }
        if width / heads > MAX_HEAD_DIM {
            return Err(file.unsupported(format!(
                "num_attention_heads is {heads} for a hidden_size of {width}: a head may have at most {MAX_HEAD_DIM} \
                 numbers, not {}",
                width / heads
            )));
        }
        let row = 4 * plain(width).padded() as u64;
        let epsilon = file.number("layer_norm_eps")?;
        if !EPSILON.contains(&epsilon) {
            let (least, most) = EPSILON.into_inner();
            return Err(file.unsupported(format!("layer_norm_eps is {epsilon:e}, not {least:e} to {most}")));
        }
        Ok(Self {
            width,
            inner: file.size("intermediate_size", MAX_INNER)?,
            layers: file.size("num_hidden_layers", MAX_LAYERS)?,
            heads,
            words: file.size("vocab_size", MAX_TABLE_BYTES / row)?,
            positions: file.size("max_position_embeddings", MAX_POSITIONS)?,
            types: file.size("type_vocab_size", MAX_TYPES)?,
            epsilon: epsilon as f32,
            pooling: Pooling::Mean,
        })
    }
}

impl Pooling {
    /// Reads [`POOLING_FILE`], which must be for vectors of `width`.
    fn from_json(path: &Path, json: &[u8], width: usize) -> Result<Self, Error> {
        let file = Fields::read(path, json)?;
        if file.fields.contains_key("word_embedding_dimension") {
            let found = file.size("word_embedding_dimension", MAX_WIDTH)?;
            if found != width {
                let why = format!("word_embedding_dimension is {found}, but hidden_size in {CONFIG_FILE} is {width}");
                return Err(file.broken(why));
            }
        }
        let mut on = Vec::new();
        for name in file.fields.keys().filter(|name| name.starts_with("pooling_mode_")) {
            if file.switch(name)? {
                on.push(name.as_str());
            }
        }
        match on[..] {
            ["pooling_mode_mean_tokens"] => Ok(Self::Mean),
            ["pooling_mode_cls_token"] => Ok(Self::Cls),
            [] => Err(file.broken("it turns on neither pooling_mode_mean_tokens nor pooling_mode_cls_token".into())),
            [one] => Err(file.unsupported(format!(
                "{one} is true, but only pooling_mode_mean_tokens and pooling_mode_cls_token are supported"
            ))),
            _ => Err(file.unsupported(format!("{} are true, but only one may be", on.join(" and ")))),
        }
    }
}

fn plain(width: usize) -> Side {
    Side { groups: 1, group: width, stride: width }
}

/// The fields of a JSON file.
struct Fields {
    path: PathBuf,
    fields: Map<String, Value>,
}

impl Fields {
    fn read(path: &Path, json: &[u8]) -> Result<Self, Error> {
        let broken = |why: String| Error::ModelFile { path: path.to_owned(), why };
        match serde_json::from_slice(json) {
            Ok(Value::Object(fields)) => Ok(Self { path: path.to_owned(), fields }),
            Ok(_) => Err(broken("it holds no JSON object".into())),
            Err(e) => Err(broken(format!("it is no JSON: {e}"))),
        }
    }

    fn broken(&self, why: String) -> Error {
        Error::ModelFile { path: self.path.clone(), why }
    }

    fn unsupported(&self, why: String) -> Error {
        Error::ModelUnsupported { path: self.path.clone(), why }
    }

    fn field(&self, name: &str) -> Result<&Value, Error> {
        self.fields.get(name).ok_or_else(|| self.broken(format!("the field {name} is missing")))
    }

    /// A number of things, from one to `most`.
    fn size(&self, name: &str, most: u64) -> Result<usize, Error> {
        let value = self.field(name)?;
        match value.as_u64() {
            // At most 2^25, so that it fits.
            Some(size) if (1..=most).contains(&size) => Ok(size as usize),
            Some(size) if size > most => {
                Err(self.unsupported(format!("{name} is {size}, but at most {most} is supported")))
            }
            _ => Err(self.broken(format!("{name} is {}, not a whole number from 1 to {most}", shown(value)))),
        }
    }

    fn number(&self, name: &str) -> Result<f64, Error> {
        let value = self.field(name)?;
        value.as_f64().ok_or_else(|| self.broken(format!("{name} is {}, not a number", shown(value))))
    }

    /// Whether something is on; off when the field is missing.
    fn switch(&self, name: &str) -> Result<bool, Error> {
        match self.fields.get(name) {
            None => Ok(false),
            Some(Value::Bool(on)) => Ok(*on),
            Some(value) => Err(self.broken(format!("{name} is {}, not true or false", shown(value)))),
        }
    }

    /// That a field has the one value that is supported.
    fn must_be(&self, name: &str, supported: &str, default: Option<&str>) -> Result<(), Error> {
        let found = match (self.fields.get(name), default) {
            (None, Some(default)) => default,
            (None, None) => return Err(self.broken(format!("the field {name} is missing"))),
            (Some(value), _) => {
                value.as_str().ok_or_else(|| self.broken(format!("{name} is {}, not a word", shown(value))))?
            }
        };
        if found == supported {
            return Ok(());
        }
        Err(self.unsupported(format!("{name} is {}, but only \"{supported}\" is supported", shown(&found.into()))))
    }
}

/// A value as a message shows it: short, whatever the file holds.
fn shown(value: &Value) -> String {
    const MOST: usize = 40;
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.chars().count() > MOST => {
            format!("\"{}…\"", text.chars().take(MOST).collect::<String>().escape_debug())
        }
        Value::String(text) => format!("\"{}\"", text.escape_debug()),
        other => other.to_string(),
    }
}
