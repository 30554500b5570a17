use super::*;
use proptest::prelude::*;

/// Writes GGUF files for tests, well-formed or not.
pub(in crate::text) struct Writer {
    entries: Vec<(String, Vec<u8>)>,
    tensors: Vec<(String, Vec<u64>, Format, Vec<u8>)>,
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

impl Writer {
    pub fn new() -> Self {
        Self { entries: Vec::new(), tensors: Vec::new() }
    }

    /// Adds or replaces an entry: `kind` and the bytes of its value.
    pub fn raw(&mut self, key: &str, kind: u32, value: &[u8]) -> &mut Self {
        self.entries.retain(|(known, _)| known != key);
        self.entries.push((key.to_owned(), [&kind.to_le_bytes()[..], value].concat()));
        self
    }

    pub fn u32(&mut self, key: &str, value: u32) -> &mut Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub fn f32(&mut self, key: &str, value: f32) -> &mut Self {
        self.raw(key, 6, &value.to_le_bytes())
    }

    pub fn flag(&mut self, key: &str, value: bool) -> &mut Self {
        self.raw(key, 7, &[value.into()])
    }

    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        let mut bytes = Vec::new();
        text(&mut bytes, value);
        self.raw(key, 8, &bytes)
    }

    pub fn strings<T: AsRef<str>>(&mut self, key: &str, values: &[T]) -> &mut Self {
        let mut bytes = [&8u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        values.iter().for_each(|value| text(&mut bytes, value.as_ref()));
        self.raw(key, 9, &bytes)
    }

    pub fn integers(&mut self, key: &str, values: &[i32]) -> &mut Self {
        let mut bytes = [&5u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.raw(key, 9, &bytes)
    }

    pub fn floats(&mut self, key: &str, values: &[f32]) -> &mut Self {
        let mut bytes = [&6u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes()].concat();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.raw(key, 9, &bytes)
    }

    pub fn without(&mut self, key: &str) -> &mut Self {
        self.entries.retain(|(known, _)| known != key);
        self
    }

    /// Takes over all entries of another file.
    pub fn take_entries(&mut self, other: &Self) -> &mut Self {
        for (key, value) in &other.entries {
            self.without(key);
            self.entries.push((key.clone(), value.clone()));
        }
        self
    }

    pub fn keys(&self) -> Vec<String> {
        self.entries.iter().map(|(key, _)| key.clone()).collect()
    }

    /// Adds or replaces a tensor of zeros.
    pub fn zeros(&mut self, name: &str, shape: &[u64], format: Format) -> &mut Self {
        let bytes = format.bytes(shape.iter().product()).unwrap();
        self.tensor(name, shape, format, &vec![0; bytes as usize])
    }

    pub fn tensor(&mut self, name: &str, shape: &[u64], format: Format, bytes: &[u8]) -> &mut Self {
        self.drop_tensor(name);
        self.tensors.push((name.to_owned(), shape.to_vec(), format, bytes.to_vec()));
        self
    }

    pub fn drop_tensor(&mut self, name: &str) -> &mut Self {
        self.tensors.retain(|(known, ..)| known != name);
        self
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let offsets = self.tensors.iter().scan(0, |next: &mut u64, (.., bytes)| {
            let offset = *next;
            *next = (offset + bytes.len() as u64).next_multiple_of(32);
            Some(offset)
        });
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            text(&mut out, key);
            out.extend(value);
        }
        for ((name, shape, format, _), offset) in self.tensors.iter().zip(offsets) {
            text(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            shape.iter().for_each(|size| out.extend(size.to_le_bytes()));
            out.extend(format.code().to_le_bytes());
            out.extend(offset.to_le_bytes());
        }
        for (.., bytes) in &self.tensors {
            out.resize(out.len().next_multiple_of(32), 0);
            out.extend(bytes);
        }
        out
    }

    pub fn gguf(&self) -> Gguf {
        Gguf::from_bytes(self.bytes()).unwrap()
    }
}

/// The demo model. A missing one fails the test: language models are not optional.
pub(in crate::text) fn smollm2() -> Gguf {
    let models = std::env::var_os("TENDER_MODELS").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME or TENDER_MODELS is set")).join(".cache/tender/models")
    });
    let path = models.join("SmolLM2-135M-Instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.is_file(), "there is no {}; run: cargo xtask test", path.display());
    Gguf::open(&path).unwrap()
}

fn small() -> Writer {
    let mut file = Writer::new();
    file.u32("a.count", 7)
        .f32("a.ratio", 0.5)
        .flag("a.flag", true)
        .text("a.text", "häuser")
        .strings("a.strings", &["", "two", "três"])
        .integers("a.integers", &[1, -2])
        .floats("a.floats", &[0.25])
        .raw("a.negative", 5, &(-1i32).to_le_bytes())
        .raw("a.nan", 6, &f32::NAN.to_le_bytes())
        .raw("a.bytes", 9, &[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 8, 9]);
    file.tensor("matrix", &[32, 2], Format::Q8_0, &[7; 68]).tensor("column", &[1], Format::F32, &[0, 0, 128, 63]);
    file
}

fn why(bytes: Vec<u8>) -> String {
    Gguf::from_bytes(bytes).err().map(|e| e.to_string()).unwrap_or_default()
}

/// `bytes` with the first `from` replaced by `to`.
fn patched(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.gguf");
    std::fs::write(&path, small().bytes()).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    assert_eq!(gguf.unsigned("a.count").unwrap(), Some(7));
    assert_eq!(gguf.float("a.ratio").unwrap(), Some(0.5));
    assert_eq!(gguf.flag("a.flag").unwrap(), Some(true));
    assert_eq!(gguf.text("a.text").unwrap(), Some("häuser"));
    let strings = gguf.strings("a.strings").unwrap().unwrap();
    assert_eq!(strings.iter().collect::<Vec<_>>(), ["", "two", "três"]);
    assert_eq!((strings.len(), strings.get(3)), (3, None));
    assert_eq!(gguf.integers("a.integers").unwrap(), Some(vec![1, -2]));
    assert_eq!(gguf.floats("a.floats").unwrap(), Some(vec![0.25]));
    assert_eq!(gguf.text("b").unwrap(), None);
    assert!(gguf.has("a.nan") && !gguf.has("b"));
    let matrix = gguf.tensor("matrix").unwrap().clone();
    assert_eq!((matrix.shape.as_slice(), matrix.format, matrix.bytes), (&[32, 2][..], Format::Q8_0, 68));
    assert_eq!(gguf.read(&matrix).unwrap(), [7; 68]);
    assert_eq!(Format::F32.dequantise(&gguf.read(gguf.tensor("column").unwrap()).unwrap()), [1.0]);
    assert_eq!(gguf.read_range(&matrix, 66..68).unwrap(), [7, 7]);
    assert!(gguf.read_range(&matrix, 66..69).is_err());
    #[expect(clippy::reversed_empty_ranges, reason = "what a caller may get wrong")]
    let backwards = 3..2;
    assert!(gguf.read_range(&matrix, backwards).is_err());

    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(500).unwrap();
    let error = gguf.read(&matrix).unwrap_err().to_string();
    assert!(error.contains("tensor matrix") && error.contains("small.gguf"), "{error}");
    assert!(Gguf::open(folder.path()).is_err());
    assert!(Gguf::open(&folder.path().join("none")).is_err());
}

#[test]
fn wrong_types_are_named() {
    let gguf = small().gguf();
    let errors = [
        gguf.unsigned("a.text").err(),
        gguf.unsigned("a.negative").err(),
        gguf.float("a.count").err(),
        gguf.float("a.nan").err(),
        gguf.flag("a.count").err(),
        gguf.text("a.flag").err(),
        gguf.strings("a.integers").err(),
        gguf.integers("a.bytes").err(),
        gguf.integers("a.floats").err(),
        gguf.floats("a.integers").err(),
        gguf.required("a.none", None::<u32>).err(),
    ];
    for (at, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("case {at} is accepted"));
        assert!(matches!(error, Error::ModelFile { .. }) && error.to_string().contains("metadata a."), "{error}");
    }
}

#[test]
fn contradictions_are_refused_by_name() {
    let good = small().bytes();
    let name = |name: &str| [&(name.len() as u64).to_le_bytes()[..], name.as_bytes()].concat();
    let count_of =
        |key: &str, kind: u32| [name(key), 9u32.to_le_bytes().to_vec(), kind.to_le_bytes().to_vec()].concat();
    let huge = u64::MAX.to_le_bytes();
    let replace = |from: &[u8], to: &[u8]| patched(&good, from, to);
    let after = |before: Vec<u8>, to: &[u8]| {
        let at = good.windows(before.len()).position(|window| window == before).unwrap() + before.len();
        [&good[..at], to, &good[at + to.len()..]].concat()
    };
    let matrix = |dimensions: u32, shape: [u64; 2], format: u32, offset: u64| {
        let mut entry = [name("matrix"), dimensions.to_le_bytes().to_vec()].concat();
        shape.iter().for_each(|size| entry.extend(size.to_le_bytes()));
        [entry, format.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat()
    };
    let column = |offset: u64| {
        let entry = [name("column"), 1u32.to_le_bytes().to_vec(), 1u64.to_le_bytes().to_vec()].concat();
        [entry, 0u32.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat()
    };
    let as_written = matrix(2, [32, 2], 8, 0);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "magic number"),
        (b"GGML".to_vec(), "no GGUF file"),
        (replace(b"GGUF\x03", b"GGUF\x01"), "version 1"),
        (replace(b"GGUF\x03", b"GGUF\x09"), "version 9"),
        (replace(b"GGUF\x03\0\0\0", b"GGUF\0\0\0\x03"), "big-endian"),
        ([&good[..8], &huge, &good[16..]].concat(), "number of tensors"),
        ([&good[..8], &9000u64.to_le_bytes(), &good[16..]].concat(), "number of tensors"),
        ([&good[..16], &huge, &good[24..]].concat(), "number of metadata entries"),
        ([&good[..16], &4000u64.to_le_bytes(), &good[24..]].concat(), "number of metadata entries"),
        (after(count_of("a.strings", 8), &huge), "metadata a.strings: the number of elements"),
        (after(count_of("a.strings", 8), &1000u64.to_le_bytes()), "metadata a.strings"),
        (
            after([count_of("a.strings", 8), 3u64.to_le_bytes().to_vec()].concat(), &huge),
            "metadata a.strings: element 0",
        ),
        (after(count_of("a.integers", 5), &huge), "metadata a.integers: the number of elements"),
        (after(count_of("a.integers", 5), &(1u64 << 62).to_le_bytes()), "metadata a.integers"),
        (replace(&count_of("a.integers", 5), &count_of("a.integers", 9)), "arrays of arrays"),
        (replace(&count_of("a.integers", 5), &count_of("a.integers", 99)), "type of its elements is 99"),
        (after(name("a.count"), &13u32.to_le_bytes()), "metadata a.count: its type is 13"),
        (after([name("a.flag"), 7u32.to_le_bytes().to_vec()].concat(), &[2]), "metadata a.flag: 2"),
        (after([name("a.text"), 8u32.to_le_bytes().to_vec()].concat(), &huge), "metadata a.text"),
        (replace("häuser".as_bytes(), b"h\xff\xffuser"), "metadata a.text: the text is not UTF-8"),
        (replace(&name("a.ratio"), &name("a.count")), "metadata a.count is there twice"),
        (replace(&7u64.to_le_bytes(), &300u64.to_le_bytes()), "at most 256"),
        (replace(&7u64.to_le_bytes(), &0u64.to_le_bytes()), "is empty"),
        (replace(&as_written, &matrix(0, [32, 2], 8, 0)), "tensor matrix: it has 0 dimensions"),
        (replace(&as_written, &matrix(5, [32, 2], 8, 0)), "tensor matrix: it has 5 dimensions"),
        (replace(&as_written, &matrix(2, [0, 2], 8, 0)), "tensor matrix: the shape"),
        (replace(&as_written, &matrix(2, [1 << 40, 1 << 40], 8, 0)), "tensor matrix: the shape"),
        (replace(&as_written, &matrix(2, [1 << 32, 1 << 31], 0, 0)), "tensor matrix: the shape"),
        (replace(&as_written, &matrix(2, [32, 1 << 50], 8, 0)), "tensor matrix: its"),
        (replace(&as_written, &matrix(2, [33, 2], 8, 0)), "whole blocks of 32"),
        (replace(&as_written, &matrix(2, [32, 2], 13, 0)), "Q5_K is not supported"),
        (replace(&as_written, &matrix(2, [32, 2], 500, 0)), "ggml type 500"),
        (replace(&as_written, &matrix(2, [32, 2], 8, 8)), "not aligned"),
        (replace(&column(96), &column(64)), "the tensors matrix and column overlap"),
        (replace(&as_written, &matrix(2, [32, 2], 8, u64::MAX - 31)), "tensor matrix: its"),
        (small().tensor("colume", &[1], Format::F32, &[0; 4]).bytes(), ""),
        (
            patched(&small().tensor("colume", &[1], Format::F32, &[0; 4]).bytes(), b"colume", b"column"),
            "is there twice",
        ),
        (small().u32("general.alignment", 24).bytes(), "general.alignment"),
        (small().u32("general.alignment", 0).bytes(), "general.alignment"),
        (small().text("general.alignment", "32").bytes(), "general.alignment"),
        (small().raw("general.alignment", 10, &(1u64 << 40).to_le_bytes()).bytes(), "general.alignment"),
    ];
    for (at, (bytes, named)) in cases.into_iter().enumerate() {
        let why = why(bytes);
        assert!(why.contains(named) && why.is_empty() == named.is_empty(), "case {at}: {named:?} is not in {why:?}");
    }
}

#[test]
fn no_truncation_is_accepted() {
    let good = small().bytes();
    for length in 0..good.len() {
        assert!(!why(good[..length].to_vec()).is_empty(), "{length} of {} bytes are accepted", good.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever is accepted is consistent: every tensor can be read in full.
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = small().bytes();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(gguf) = Gguf::from_bytes(bytes) {
            for tensor in gguf.tensors() {
                prop_assert_eq!(gguf.read(tensor).unwrap().len() as u64, tensor.bytes);
            }
        }
    }

    #[test]
    fn noise_after_the_magic_number_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let bytes = [b"GGUF\x03\0\0\0".to_vec(), noise].concat();
        if let Ok(gguf) = Gguf::from_bytes(bytes) {
            prop_assert!(gguf.tensors().len() <= 400 / 33);
        }
    }
}
