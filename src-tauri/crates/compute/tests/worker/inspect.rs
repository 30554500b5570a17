//! What is said of a model file before it is loaded.

use std::{fs, path::PathBuf};
use tender_base::{
    Code, Problem,
    catalogue::{Footprint, SMOLLM2},
};
use tender_compute::text::inspect::inspect;

/// The file of SmolLM2. A missing model fails the test: texts are not optional.
pub(crate) fn smollm2() -> PathBuf {
    let file = super::model_dir().with_file_name(SMOLLM2.name).join(SMOLLM2.weights().name);
    assert!(file.is_file(), "no model at {}; run: cargo xtask test", file.display());
    file
}

#[test]
fn the_catalogue_says_of_smollm2_what_its_file_says() {
    let facts = inspect(&smollm2()).unwrap();
    assert_eq!((facts.architecture.as_str(), facts.layers, facts.chat_template), ("llama", 30, true));
    assert_eq!(facts.parameters, SMOLLM2.parameters);
    let file = SMOLLM2.weights().bytes;
    assert!(facts.footprint.weight_bytes <= file && file - facts.footprint.weight_bytes < 8 << 20, "{facts:?}");
    assert_eq!(Footprint { weight_bytes: file, ..facts.footprint }, SMOLLM2.footprint);
    assert_eq!(facts.quantisation(), "Q4_1 79 %, Q8_0 21 %");
}

#[test]
fn a_file_that_is_cut_off_or_no_model_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(smollm2()).unwrap();
    let refused = |content: &[u8]| {
        let path = dir.path().join("model.gguf");
        fs::write(&path, content).unwrap();
        let problem = Problem::from(inspect(&path).unwrap_err());
        assert!(problem.message.contains("model.gguf"), "{problem}");
        problem.code
    };
    for length in [0, 3, 4, 24, 1000, 1 << 20, whole.len() / 2, whole.len() - 1] {
        assert_eq!(refused(&whole[..length]), Code::NotFound, "the first {length} bytes");
    }
    assert_eq!(refused(&[0; 4096]), Code::NotFound);
    let missing = Problem::from(inspect(&dir.path().join("nothing.gguf")).unwrap_err());
    assert_eq!(missing.code, Code::NotFound);
}
