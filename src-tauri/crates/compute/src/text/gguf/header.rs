//! The header of a GGUF file, read front to back.

use super::{MAX_ENTRIES, MAX_HEADER_BYTES, MAX_NAME_BYTES, MAX_TENSORS, Strings, Tensor, Value};
use crate::text::format::Format;
use std::{
    collections::{BTreeMap, HashSet},
    io::Read,
};

/// ggml's own limit.
const MAX_DIMENSIONS: u32 = 4;
/// Largest alignment of tensors; files in use have 32.
const MAX_ALIGNMENT: u64 = 1 << 20;
const DEFAULT_ALIGNMENT: u64 = 32;

/// Why a header is refused.
pub(super) enum Fault {
    Broken(String),
    Unsupported(String),
}

impl Fault {
    /// The same, with the place in front.
    fn at(self, place: &str) -> Self {
        match self {
            Self::Broken(why) => Self::Broken(format!("{place}: {why}")),
            Self::Unsupported(why) => Self::Unsupported(format!("{place}: {why}")),
        }
    }
}

fn broken<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Broken(why.into()))
}

pub(super) struct Header {
    pub metadata: BTreeMap<String, Value>,
    pub tensors: Vec<Tensor>,
}

impl Header {
    /// Reads a header from a file of `length` bytes.
    pub(super) fn read(source: impl Read, length: u64) -> Result<Self, Fault> {
        Reader { source, at: 0, length }.header()
    }
}

/// The type of a metadata value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Flag,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    /// Bytes of a number; none for texts and arrays.
    fn bytes(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Flag => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::Text | Self::Array => None,
        }
    }
}

/// Reads the header front to back; knows how much of the file is left.
struct Reader<R> {
    source: R,
    at: u64,
    length: u64,
}

impl<R: Read> Reader<R> {
    fn header(mut self) -> Result<Header, Fault> {
        if self.array::<4>("the magic number")? != *b"GGUF" {
            return broken("it is no GGUF file: it does not begin with \"GGUF\"");
        }
        match self.u32("the version")? {
            2 | 3 => {}
            1 => return Err(Fault::Unsupported("GGUF version 1 is too old; convert it with llama.cpp".into())),
            version if matches!(version.swap_bytes(), 1..=3) => {
                return Err(Fault::Unsupported("it is a big-endian GGUF file; fetch the little-endian one".into()));
            }
            version => return Err(Fault::Unsupported(format!("GGUF version {version} is not known; 2 and 3 are"))),
        }
        let tensors = self.u64("the number of tensors")?;
        let entries = self.u64("the number of metadata entries")?;
        // Shortest entry: length and one byte of key, type, one byte of value. Shortest tensor: length and one byte of
        // name, number of dimensions, one dimension, format, offset.
        self.bounded("the number of metadata entries", entries, MAX_ENTRIES, 14)?;
        self.bounded("the number of tensors", tensors, MAX_TENSORS, 33)?;

        let mut metadata = BTreeMap::new();
        for at in 0..entries {
            let key = self.name(&format!("the key of metadata entry {at}"))?;
            let value = self.entry().map_err(|fault| fault.at(&format!("metadata {key}")))?;
            if metadata.contains_key(&key) {
                return broken(format!("metadata {key} is there twice"));
            }
            metadata.insert(key, value);
        }
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(Value::Integer(number)) => match u64::try_from(*number) {
                Ok(number) if number.is_power_of_two() && number <= MAX_ALIGNMENT => number,
                _ => return broken(format!("metadata general.alignment is {number}, no power of two up to 2^20")),
            },
            Some(_) => return broken("metadata general.alignment is not a whole number"),
        };

        let mut list = Vec::new();
        for at in 0..tensors {
            let name = self.name(&format!("the name of tensor {at}"))?;
            let place = format!("tensor {name}");
            list.push(self.tensor(name).map_err(|fault| fault.at(&place))?);
        }
        let mut names = HashSet::new();
        if let Some(twice) = list.iter().find(|tensor| !names.insert(tensor.name.as_str())) {
            return broken(format!("tensor {} is there twice", twice.name));
        }
        // The header is at most MAX_HEADER_BYTES, so that this does not overflow.
        let start = self.at.next_multiple_of(alignment);
        place(&mut list, start, alignment, self.length)?;
        Ok(Header { metadata, tensors: list })
    }

    fn entry(&mut self) -> Result<Value, Fault> {
        match self.kind("its type")? {
            Kind::Text => Ok(Value::Text(self.text("the text", MAX_HEADER_BYTES)?)),
            Kind::Array => {
                let kind = self.kind("the type of its elements")?;
                let count = self.u64("the number of elements")?;
                match (kind, kind.bytes()) {
                    (_, Some(size)) => {
                        self.bounded("the number of elements", count, MAX_HEADER_BYTES, size)?;
                        Ok(Value::Numbers { kind, bytes: self.take("the elements", count * size)? })
                    }
                    (Kind::Text, _) => Ok(Value::Strings(self.strings(count)?)),
                    _ => Err(Fault::Unsupported("arrays of arrays are not supported".into())),
                }
            }
            kind => self.number(kind),
        }
    }

    fn number(&mut self, kind: Kind) -> Result<Value, Fault> {
        let what = "the value";
        Ok(match kind {
            Kind::U8 => Value::Integer(u8::from_le_bytes(self.array(what)?).into()),
            Kind::I8 => Value::Integer(i8::from_le_bytes(self.array(what)?).into()),
            Kind::U16 => Value::Integer(u16::from_le_bytes(self.array(what)?).into()),
            Kind::I16 => Value::Integer(i16::from_le_bytes(self.array(what)?).into()),
            Kind::U32 => Value::Integer(u32::from_le_bytes(self.array(what)?).into()),
            Kind::I32 => Value::Integer(i32::from_le_bytes(self.array(what)?).into()),
            Kind::U64 => Value::Integer(u64::from_le_bytes(self.array(what)?).into()),
            Kind::I64 => Value::Integer(i64::from_le_bytes(self.array(what)?).into()),
            Kind::F32 => Value::Float(f32::from_le_bytes(self.array(what)?).into()),
            Kind::F64 => Value::Float(f64::from_le_bytes(self.array(what)?)),
            Kind::Flag => match self.array::<1>(what)?[0] {
                0 => Value::Flag(false),
                1 => Value::Flag(true),
                other => return broken(format!("{other} is neither true (1) nor false (0)")),
            },
            Kind::Text | Kind::Array => return broken("it is no number"),
        })
    }

    fn strings(&mut self, count: u64) -> Result<Strings, Fault> {
        self.bounded("the number of elements", count, MAX_HEADER_BYTES, 8)?;
        let mut strings = Strings::default();
        for at in 0..count {
            let what = format!("element {at}");
            strings.text.push_str(&self.text(&what, MAX_HEADER_BYTES)?);
            // All text is within the header, which is at most MAX_HEADER_BYTES.
            strings.ends.push(strings.text.len() as u32);
        }
        Ok(strings)
    }

    fn tensor(&mut self, name: String) -> Result<Tensor, Fault> {
        let dimensions = self.u32("the number of dimensions")?;
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return broken(format!("it has {dimensions} dimensions, not one to four"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.push(self.u64("a dimension")?);
        }
        let code = self.u32("its format")?;
        let offset = self.u64("its offset")?;
        let count = shape.iter().try_fold(1u64, |product, size| product.checked_mul(*size));
        let Some(count) = count.filter(|count| *count > 0) else {
            return broken(format!("the shape {shape:?} is impossible"));
        };
        let format = Format::from_code(code).map_err(|name| {
            let known = Format::ALL.map(Format::name).join(", ");
            Fault::Unsupported(format!(
                "the format {name} is not supported; use a file in {known}, for example one called Q4_K_M"
            ))
        })?;
        if !shape[0].is_multiple_of(format.block_len() as u64) {
            let (name, len) = (format.name(), format.block_len());
            return broken(format!("its rows have {} numbers, not whole blocks of {len} as {name} needs", shape[0]));
        }
        let Some(bytes) = format.bytes(count) else {
            return broken(format!("the shape {shape:?} is impossible"));
        };
        Ok(Tensor { name, shape, format, offset, bytes })
    }

    /// Refuses a count before anything is allocated for it: `least` is the fewest bytes that one takes in the file.
    fn bounded(&self, what: &str, count: u64, limit: u64, least: u64) -> Result<(), Fault> {
        if count > limit {
            return broken(format!("{what} is {count}; at most {limit} is allowed"));
        }
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.left() => Ok(()),
            _ => broken(format!("{what} is {count}, but only {} bytes follow", self.left())),
        }
    }

    fn left(&self) -> u64 {
        self.length.min(MAX_HEADER_BYTES) - self.at
    }

    fn take(&mut self, what: &str, count: u64) -> Result<Vec<u8>, Fault> {
        if count > self.left() {
            return match self.length {
                ..=MAX_HEADER_BYTES => {
                    broken(format!("the file ends within {what}: {count} bytes are due, {} are left", self.left()))
                }
                _ => broken(format!("{what} has {count} bytes, which makes the header longer than 128 MiB")),
            };
        }
        let mut bytes = vec![0; count as usize];
        self.source.read_exact(&mut bytes).map_err(|e| Fault::Broken(format!("{what} cannot be read: {e}")))?;
        self.at += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Fault> {
        let bytes = self.take(what, N as u64)?;
        let mut array = [0; N];
        array.copy_from_slice(&bytes);
        Ok(array)
    }

    fn u32(&mut self, what: &str) -> Result<u32, Fault> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64, Fault> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn kind(&mut self, what: &str) -> Result<Kind, Fault> {
        Ok(match self.u32(what)? {
            0 => Kind::U8,
            1 => Kind::I8,
            2 => Kind::U16,
            3 => Kind::I16,
            4 => Kind::U32,
            5 => Kind::I32,
            6 => Kind::F32,
            7 => Kind::Flag,
            8 => Kind::Text,
            9 => Kind::Array,
            10 => Kind::U64,
            11 => Kind::I64,
            12 => Kind::F64,
            other => return broken(format!("{what} is {other}, which is not known")),
        })
    }

    fn text(&mut self, what: &str, limit: u64) -> Result<String, Fault> {
        let length = self.u64(&format!("the length of {what}"))?;
        if length > limit {
            return broken(format!("{what} has {length} bytes; at most {limit} are allowed"));
        }
        String::from_utf8(self.take(what, length)?).map_err(|_| Fault::Broken(format!("{what} is not UTF-8")))
    }

    fn name(&mut self, what: &str) -> Result<String, Fault> {
        let name = self.text(what, MAX_NAME_BYTES)?;
        if name.is_empty() { broken(format!("{what} is empty")) } else { Ok(name) }
    }
}

/// Makes offsets count from the start of the file, and checks that the tensors are in it and do not overlap.
fn place(tensors: &mut [Tensor], start: u64, alignment: u64, length: u64) -> Result<(), Fault> {
    for tensor in tensors.iter_mut() {
        if !tensor.offset.is_multiple_of(alignment) {
            return broken(format!(
                "tensor {}: its offset {} is not aligned to {alignment}",
                tensor.name, tensor.offset
            ));
        }
        let end = start.checked_add(tensor.offset).and_then(|offset| offset.checked_add(tensor.bytes));
        if end.is_none_or(|end| end > length) {
            return broken(format!(
                "tensor {}: its {} bytes at offset {} are not in the file, which has {length} bytes; fetch it again",
                tensor.name, tensor.bytes, tensor.offset
            ));
        }
        tensor.offset += start;
    }
    let mut sorted: Vec<&Tensor> = tensors.iter().collect();
    sorted.sort_by_key(|tensor| tensor.offset);
    match sorted.windows(2).find(|pair| pair[0].offset + pair[0].bytes > pair[1].offset) {
        Some(pair) => broken(format!("the tensors {} and {} overlap", pair[0].name, pair[1].name)),
        None => Ok(()),
    }
}
