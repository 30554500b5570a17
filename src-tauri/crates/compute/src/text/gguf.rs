//! GGUF, the model file of llama.cpp: versions 2 and 3, little-endian.
//!
//! A file comes from a stranger. The header is read once, and every count, length, shape and offset in it is held
//! against the file's size and the limits below before anything is allocated for it; what is kept in memory is never
//! more than the header itself and a few megabytes. Tensors stay in the file and are read on demand.

mod header;
#[cfg(test)]
pub(super) mod tests;

use super::format::Format;
use crate::Error;
use header::{Fault, Header, Kind};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufReader, Cursor, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Most bytes of header; the largest vocabularies in use need 20 MB.
pub const MAX_HEADER_BYTES: u64 = 128 << 20;
/// Most metadata entries; files in use have about forty.
pub const MAX_ENTRIES: u64 = 4096;
/// Most tensors; a model of 126 layers has 1,140.
pub const MAX_TENSORS: u64 = 16_384;
/// Most bytes of a key or of a tensor's name.
pub const MAX_NAME_BYTES: u64 = 256;

/// A model file: its metadata, the list of its tensors, and the way to their bytes.
pub struct Gguf {
    path: PathBuf,
    source: Mutex<Box<dyn Source>>,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<Tensor>,
    /// Where a tensor is in the list.
    names: BTreeMap<String, usize>,
}

/// Where the bytes are: a file, or memory.
trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

/// A tensor in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// For example `blk.0.attn_q.weight`.
    pub name: String,
    /// Numbers along each dimension, the one that lies together in the file first: a matrix is [columns, rows].
    /// One to four entries, none zero.
    pub shape: Vec<u64>,
    /// How the numbers are stored.
    pub format: Format,
    /// Where it begins, in bytes from the start of the file.
    pub offset: u64,
    /// How many bytes it has; all of them are in the file.
    pub bytes: u64,
}

#[derive(Debug)]
enum Value {
    Integer(i128),
    Float(f64),
    Flag(bool),
    Text(String),
    Strings(Strings),
    /// An array of numbers as it lies in the file.
    Numbers {
        kind: Kind,
        bytes: Vec<u8>,
    },
}

/// The strings of an array, one after the other in one piece of memory.
#[derive(Debug, Default)]
pub struct Strings {
    text: String,
    ends: Vec<u32>,
}

impl Strings {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The string at `at`.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&str> {
        let end = *self.ends.get(at)? as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.text.get(start..end)
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|at| self.get(at))
    }
}

impl Gguf {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`Error::ModelFile`] that names the field when the file cannot be read or its header is broken;
    /// [`Error::ModelUnsupported`] when it holds a format that is not decoded here.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let unreadable = |e: std::io::Error| Error::ModelFile { path: path.to_owned(), why: e.to_string() };
        let file = File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if !about.is_file() {
            return Err(Error::ModelFile { path: path.to_owned(), why: "it is no regular file".into() });
        }
        Self::read_header(path.to_owned(), about.len(), Box::new(file))
    }

    /// As [`Gguf::open`], from memory.
    ///
    /// # Errors
    /// As [`Gguf::open`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        Self::read_header(PathBuf::from("(in memory)"), bytes.len() as u64, Box::new(Cursor::new(bytes)))
    }

    fn read_header(path: PathBuf, length: u64, mut source: Box<dyn Source>) -> Result<Self, Error> {
        let header = Header::read(BufReader::new(&mut source), length).map_err(|fault| match fault {
            Fault::Broken(why) => Error::ModelFile { path: path.clone(), why },
            Fault::Unsupported(why) => Error::ModelUnsupported { path: path.clone(), why },
        })?;
        let names = header.tensors.iter().enumerate().map(|(at, tensor)| (tensor.name.clone(), at)).collect();
        Ok(Self { path, source: Mutex::new(source), metadata: header.metadata, tensors: header.tensors, names })
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors in the order of the header.
    #[must_use]
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The tensor of a name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.names.get(name).and_then(|&at| self.tensors.get(at))
    }

    /// The bytes of a tensor, as they lie in the file.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when the file cannot be read or has become shorter.
    pub fn read(&self, tensor: &Tensor) -> Result<Vec<u8>, Error> {
        self.read_range(tensor, 0..tensor.bytes)
    }

    /// A part of a tensor's bytes; `range` counts from the tensor's start.
    ///
    /// # Errors
    /// As [`Gguf::read`], and [`Error::Invalid`] when the range is not within the tensor.
    pub fn read_range(&self, tensor: &Tensor, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let failed = |why: String| self.broken(format!("tensor {}: {why}", tensor.name));
        if range.start > range.end || range.end > tensor.bytes {
            return Err(Error::Invalid(format!("tensor {} has no bytes {range:?}", tensor.name)));
        }
        let length = usize::try_from(range.end - range.start).map_err(|e| failed(e.to_string()))?;
        let mut bytes = Vec::new();
        // The file has the length, but it may be larger than this machine's memory.
        bytes.try_reserve_exact(length).map_err(|e| failed(e.to_string()))?;
        bytes.resize(length, 0);
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source
            .seek(SeekFrom::Start(tensor.offset + range.start))
            .and_then(|_| source.read_exact(&mut bytes))
            .map_err(|e| failed(e.to_string()))?;
        Ok(bytes)
    }

    /// A text of the metadata.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when the value has another type; so for all that follow.
    pub fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        self.value(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A whole number of the metadata, of any integer type, zero or more.
    ///
    /// # Errors
    /// As [`Gguf::text`].
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, Error> {
        self.value(key, "a whole number", |value| match value {
            Value::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        })
    }

    /// A finite floating-point number of the metadata.
    ///
    /// # Errors
    /// As [`Gguf::text`].
    pub fn float(&self, key: &str) -> Result<Option<f64>, Error> {
        self.value(key, "a finite number", |value| match value {
            Value::Float(number) if number.is_finite() => Some(*number),
            _ => None,
        })
    }

    /// A truth value of the metadata.
    ///
    /// # Errors
    /// As [`Gguf::text`].
    pub fn flag(&self, key: &str) -> Result<Option<bool>, Error> {
        self.value(key, "true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// An array of texts of the metadata.
    ///
    /// # Errors
    /// As [`Gguf::text`].
    pub fn strings(&self, key: &str) -> Result<Option<&Strings>, Error> {
        self.value(key, "an array of texts", |value| match value {
            Value::Strings(strings) => Some(strings),
            _ => None,
        })
    }

    /// An array of 32-bit whole numbers of the metadata.
    ///
    /// # Errors
    /// As [`Gguf::text`].
    pub fn integers(&self, key: &str) -> Result<Option<Vec<i32>>, Error> {
        self.value(key, "an array of 32-bit whole numbers", |value| match value {
            Value::Numbers { kind: Kind::I32 | Kind::U32, bytes } => {
                Some(words(bytes).map(i32::from_le_bytes).collect())
            }
            _ => None,
        })
    }

    /// An array of 32-bit floating-point numbers of the metadata.
    ///
    /// # Errors
    /// As [`Gguf::text`].
    pub fn floats(&self, key: &str) -> Result<Option<Vec<f32>>, Error> {
        self.value(key, "an array of 32-bit floating-point numbers", |value| match value {
            Value::Numbers { kind: Kind::F32, bytes } => Some(words(bytes).map(f32::from_le_bytes).collect()),
            _ => None,
        })
    }

    /// Whether the metadata has the key, with whatever value.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.metadata.contains_key(key)
    }

    /// What `found`, or the error that `key` is missing.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when it is missing.
    pub fn required<T>(&self, key: &str, found: Option<T>) -> Result<T, Error> {
        found.ok_or_else(|| self.broken(format!("metadata {key} is missing")))
    }

    fn value<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        self.metadata
            .get(key)
            .map(|value| read(value).ok_or_else(|| self.broken(format!("metadata {key} is not {wanted}"))))
            .transpose()
    }

    /// The error that the file contradicts itself.
    #[must_use]
    pub fn broken(&self, why: impl Into<String>) -> Error {
        Error::ModelFile { path: self.path.clone(), why: why.into() }
    }

    /// The error that the file may be right, but asks for what is not there.
    #[must_use]
    pub fn unsupported(&self, why: impl Into<String>) -> Error {
        Error::ModelUnsupported { path: self.path.clone(), why: why.into() }
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 4]> + '_ {
    bytes.chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]])
}
