//! Files made to do harm: whatever is in them, reading ends with a value or an error, in bounded memory.

use super::{
    config::{Config, tests::tiny},
    format::Format,
    gguf::{Gguf, tests::Writer},
    tokenizer::Tokenizer,
    vocab::tests::small,
};
use proptest::prelude::*;
use tender_base::text::{Prompt, Raw};

/// Reads all that is read of a file before its weights, and uses it. The entry for a fuzzer, too.
fn read_all(bytes: Vec<u8>) -> Result<(), crate::Error> {
    let gguf = Gguf::from_bytes(bytes)?;
    for tensor in gguf.tensors() {
        drop(tensor.format.dequantise(&gguf.read(tensor)?));
    }
    let config = Config::read(&gguf);
    let tokenizer = Tokenizer::read(&gguf)?;
    let prompts = [
        Prompt::of_user("Hello <|end|>, how do you do?\n".into()),
        Prompt::Raw(Raw { prompt: "hello  hell 123 \u{1f680}".into() }),
    ];
    for prompt in prompts {
        // A damaged template may refuse; a damaged vocabulary may know none of the words.
        for token in tokenizer.encode(&prompt).unwrap_or_default() {
            tokenizer.vocab().piece(token)?;
        }
    }
    config.map(|config| drop(config.rope.frequencies(config.head_dim)))
}

/// A whole model in a few kilobytes.
fn whole() -> Writer {
    let vocabulary = small();
    let tokens: Vec<String> =
        vocabulary.gguf().strings("tokenizer.ggml.tokens").unwrap().unwrap().iter().map(String::from).collect();
    let mut file = tiny("llama", &tokens);
    file.take_entries(&vocabulary);
    file.text(
        "tokenizer.chat_template",
        "{% for m in messages %}{{ m.role + ': ' + m.content | trim + eos_token }}{% endfor %}",
    );
    file
}

#[test]
fn the_whole_file_is_read() {
    read_all(whole().bytes()).unwrap();
}

#[test]
fn no_truncated_file_is_accepted() {
    let bytes = whole().bytes();
    // Every place in the header, where the fields are, and some in the tensors behind it.
    let header = Gguf::from_bytes(bytes.clone()).unwrap().tensors()[0].offset as usize;
    for length in (0..header).step_by(3).chain((header..bytes.len()).step_by(997)) {
        assert!(read_all(bytes[..length].to_vec()).is_err(), "{length} of {} bytes", bytes.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn damaged_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        of_header in any::<bool>(),
    ) {
        let mut bytes = whole().bytes();
        let length = if of_header { 8000 } else { bytes.len() };
        for (at, value) in changes {
            bytes[at.index(length)] = value;
        }
        let _ = read_all(bytes);
    }

    /// Numbers where they hurt most: zero, one, powers of two and their neighbours, in every field of eight bytes.
    #[test]
    fn enormous_numbers_never_panic(at in any::<prop::sample::Index>(), shift in 0u32..64, less in 0u64..3) {
        let mut bytes = whole().bytes();
        let at = at.index(8000);
        bytes[at..at + 8].copy_from_slice(&(1u64 << shift).wrapping_sub(less).to_le_bytes());
        let _ = read_all(bytes);
    }

    #[test]
    fn wrong_types_never_panic(at in any::<prop::sample::Index>(), kind in 0u32..14, value in any::<[u8; 8]>()) {
        let mut file = whole();
        let keys = file.keys();
        file.raw(&keys[at.index(keys.len())], kind, &value);
        let _ = read_all(file.bytes());
    }
}

/// What a file claims is not allocated. Runs itself again with little memory, where an allocation of that size ends
/// the process.
#[cfg(target_os = "linux")]
#[test]
fn claims_cost_no_memory() {
    const CHILD: &str = "TENDER_TEST_LITTLE_MEMORY";
    if std::env::var_os(CHILD).is_some() {
        little_memory();
        println!("survived");
        return;
    }
    let test = std::thread::current().name().unwrap().to_owned();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -v 1500000 && exec \"$0\" --exact \"$1\" --nocapture --test-threads 1"])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("survived"), "{output:?}");
}

#[cfg(target_os = "linux")]
fn little_memory() {
    use std::io::Write;
    // A sparse file of 64 GiB: every claim below would fit into it.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let open = |file: &mut tempfile::NamedTempFile, bytes: &[u8]| {
        file.as_file().set_len(0).unwrap();
        file.write_all(bytes).unwrap();
        file.as_file().set_len(64 << 30).unwrap();
        std::io::Seek::rewind(file).unwrap();
        Gguf::open(file.path())
    };
    let head =
        |tensors: u64, entries: u64| [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &entries.to_le_bytes()].concat();
    let entry = |kind: u32, rest: &[u8]| [&1u64.to_le_bytes()[..], b"k", &kind.to_le_bytes(), rest].concat();
    let many = |count: u64| count.to_le_bytes();
    for count in [1u64 << 27, 1 << 31, 1 << 33, 1 << 40, u64::MAX] {
        for kind in [0u32, 4, 8, 10] {
            let array = entry(9, &[&kind.to_le_bytes()[..], &many(count)].concat());
            if let Ok(gguf) = open(&mut file, &[head(0, 1), array].concat()) {
                // Only bytes fit into the longest header allowed.
                assert!((count, kind) == (1 << 27, 0) && gguf.tensors().is_empty());
            }
        }
        assert!(open(&mut file, &[head(0, 1), entry(8, &many(count))].concat()).is_err());
        assert!(open(&mut file, &head(count, 0)).is_err());
        assert!(open(&mut file, &head(0, count)).is_err());
    }
    // A tensor of 60 GiB is in the file, but not in this machine's memory.
    let mut tensor = [head(1, 0), 1u64.to_le_bytes().to_vec(), b"t".to_vec()].concat();
    tensor.extend([&1u32.to_le_bytes()[..], &many(60 << 30), &many(0)[..4]].concat());
    tensor.extend(many(0));
    let claimed = open(&mut file, &tensor).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(claimed.contains("not in the file"), "{claimed}");
    let at = tensor.len() - 20;
    tensor[at..at + 8].copy_from_slice(&many(15 << 30));
    let gguf = open(&mut file, &tensor).unwrap();
    let tensor = gguf.tensors()[0].clone();
    assert_eq!((tensor.format, tensor.bytes), (Format::F32, 60 << 30));
    assert!(gguf.read(&tensor).unwrap_err().to_string().contains("tensor t"));
    assert_eq!(gguf.read_range(&tensor, (59 << 30)..(59 << 30) + 4).unwrap(), [0; 4]);
}
