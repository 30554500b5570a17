//! The decoders over the inputs that fuzzing starts from and found, and over changed ones of each. `cargo xtask fuzz`
//! goes on from there.

use std::{
    collections::BTreeMap,
    env, fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};
use tender_a2a::{
    bearer, card,
    fuzz::{NOW, TARGETS, audience, signer},
    wire::{AgentCard, AgentInterface, TRANSPORT_PROTOCOL_JSONRPC},
};
use tender_base::{Clock, Signer, Timestamp};
use tender_tests::draw;

/// Changed inputs of each input.
const MUTANTS: u64 = 300;
/// Fewest inputs of a target.
const LEAST: usize = 10;
/// What a change inserts: what decoders look for.
const WORDS: [&str; 16] =
    ["\"", "{", "}", "[", "]", ":", ",", "null", "1e999", "-0", "\\ud800", "\u{202e}", "\r\n\r\n", "data:", "%ff", "="];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/fuzz")
}

struct At;

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW)
    }
}

/// Inputs that only a key can make.
fn signed() -> [(&'static str, Vec<u8>); 2] {
    let mut card: AgentCard = serde_json::from_str(CARD).unwrap();
    card.supported_interfaces = vec![AgentInterface::new("https://192.0.2.7:7420/", TRANSPORT_PROTOCOL_JSONRPC)];
    card::sign(&mut card, &signer()).unwrap();
    let token = format!("Bearer {}", bearer(&signer(), &audience(), &At));
    [("card/signed", serde_json::to_vec(&card).unwrap()), ("token/peer", token.into_bytes())]
}

const CARD: &str = r#"{"name":"Tender","description":"A card.","version":"1","supportedInterfaces":[],
"capabilities":{"streaming":true,"extensions":[{"uri":"urn:x","required":false,"params":{"n":5.0}}]},
"defaultInputModes":["text/plain"],"defaultOutputModes":["text/plain"],
"skills":[{"id":"a","name":"a","description":"a","tags":["a"]}]}"#;

/// One to four changes: a byte, a piece left out, a piece twice, a word, the rest cut off.
fn mutant(input: &[u8], seed: &mut u64) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=draw(seed, 4) {
        let at = draw(seed, bytes.len() as u64 + 1) as usize;
        let end = (at + draw(seed, 16) as usize).min(bytes.len());
        match draw(seed, 5) {
            0 if at < bytes.len() => bytes[at] = draw(seed, 256) as u8,
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => {
                let word = WORDS[draw(seed, WORDS.len() as u64) as usize];
                bytes.splice(at..at, word.bytes());
            }
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn inputs(target: &str) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder().join(target)).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.display().to_string(), fs::read(path).unwrap())).collect()
}

#[test]
fn decoders_hold_over_every_input_and_changed_ones() {
    let mut seed = 1;
    for (target, run) in TARGETS {
        let inputs = inputs(target);
        assert!(inputs.len() >= LEAST, "{target} has {} inputs", inputs.len());
        for (name, input) in inputs {
            run(&input);
            for _ in 0..MUTANTS {
                let changed = mutant(&input, &mut seed);
                let outcome = catch_unwind(AssertUnwindSafe(|| run(&changed)));
                assert!(outcome.is_ok(), "{target}, from {name}: {:?}", String::from_utf8_lossy(&changed));
            }
        }
    }
}

/// With `TENDER_WRITE_INPUTS=1` they are written anew.
#[test]
fn signed_inputs_still_hold() {
    for (name, input) in signed() {
        let path = folder().join(name);
        if env::var_os("TENDER_WRITE_INPUTS").is_some() {
            fs::write(&path, &input).unwrap();
        }
        assert_eq!(fs::read(&path).unwrap(), input, "{name}: run with TENDER_WRITE_INPUTS=1");
    }
    let signed = fs::read(folder().join("card/signed")).unwrap();
    assert!(card::verify(&signed, &signer().did()).is_ok());
}
