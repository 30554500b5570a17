//! A vocabulary from a file, checked so that encoding cannot fail.

use super::{
    Markers, Merges, Method, Pieces, Split, Vocab,
    markers::{MAX_MARKER_BYTES, MAX_MARKERS},
};
use crate::{
    Error,
    text::gguf::{Gguf, Strings},
};
use std::collections::{BTreeSet, HashMap};

/// Most tokens.
const MAX_TOKENS: usize = 1 << 20;
/// Longest token in bytes; in use up to some hundred (runs of spaces).
const MAX_TOKEN_BYTES: usize = 1024;
/// Most merges; vocabularies in use have about as many as tokens.
const MAX_MERGES: usize = 2 << 20;

/// Tokens that end a message under these names, though many files do not say so; llama.cpp knows the same.
const END_TEXTS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "<|end_of_text|>",
];

/// ggml's numbers of token types.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Vocab {
    /// Reads the tokenizer of a file.
    ///
    /// # Errors
    /// [`Error::ModelUnsupported`] for a kind of tokenizer that is not known here, by name; [`Error::ModelFile`] that
    /// names the field when the file contradicts itself.
    pub fn read(gguf: &Gguf) -> Result<Self, Error> {
        let tokens = gguf.required("tokenizer.ggml.tokens", gguf.strings("tokenizer.ggml.tokens")?)?;
        if tokens.is_empty() || tokens.len() > MAX_TOKENS {
            return Err(gguf.broken(format!("the vocabulary has {} tokens, not 1 to {MAX_TOKENS}", tokens.len())));
        }
        if let Some(at) = tokens.iter().position(|token| token.len() > MAX_TOKEN_BYTES) {
            return Err(gguf.broken(format!("token {at} is longer than {MAX_TOKEN_BYTES} bytes")));
        }
        let file = File { gguf, tokens, kinds: kinds(gguf, tokens)? };
        match gguf.required("tokenizer.ggml.model", gguf.text("tokenizer.ggml.model")?)? {
            "gpt2" => file.byte_pairs(),
            "llama" => file.sentence_piece(),
            other => Err(gguf.unsupported(format!("the tokenizer {other} is not supported; gpt2 and llama are"))),
        }
    }
}

struct File<'a> {
    gguf: &'a Gguf,
    tokens: &'a Strings,
    kinds: Vec<Kind>,
}

fn kinds(gguf: &Gguf, tokens: &Strings) -> Result<Vec<Kind>, Error> {
    let key = "tokenizer.ggml.token_type";
    let numbers = gguf.required(key, gguf.integers(key)?)?;
    if numbers.len() != tokens.len() {
        return Err(gguf.broken(format!("metadata {key} has {} entries for {} tokens", numbers.len(), tokens.len())));
    }
    let kind = |(at, number): (usize, &i32)| match number {
        1 => Ok(Kind::Normal),
        2 => Ok(Kind::Unknown),
        3 => Ok(Kind::Control),
        4 => Ok(Kind::UserDefined),
        5 => Ok(Kind::Unused),
        6 => Ok(Kind::Byte),
        other => Err(gguf.broken(format!("metadata {key} has {other} for token {at}, which is not known"))),
    };
    let mut kinds: Vec<Kind> = numbers.iter().enumerate().map(kind).collect::<Result<_, _>>()?;
    // Converters that do not know better call every added token user-defined. What looks like a control token is one:
    // a client must not be able to write it.
    for (kind, text) in kinds.iter_mut().zip(tokens.iter()) {
        let brackets = [("<|", "|>"), ("<\u{ff5c}", "\u{ff5c}>")];
        let looks_special = brackets.iter().any(|(open, close)| text.starts_with(open) && text.ends_with(close));
        if (*kind == Kind::UserDefined && looks_special) || END_TEXTS.contains(&text) {
            *kind = Kind::Control;
        }
    }
    Ok(kinds)
}

impl File<'_> {
    fn byte_pairs(self) -> Result<Vocab, Error> {
        let gguf = self.gguf;
        let Some(name) = gguf.text("tokenizer.ggml.pre")? else {
            let why = "metadata tokenizer.ggml.pre is missing: the file is too old; fetch a newer conversion";
            return Err(gguf.unsupported(why));
        };
        let (split, whole_words) = Split::of(name).map_err(|known| {
            gguf.unsupported(format!("the pre-tokenizer {name} is not supported; there are: {known}"))
        })?;
        let alphabet = alphabet();
        let mut index = HashMap::with_capacity(self.tokens.len());
        let mut pieces = Pieces::default();
        for (text, (kind, id)) in self.tokens.iter().zip(self.kinds.iter().zip(0..)) {
            let decoded: Option<Vec<u8>> = text.chars().map(|c| alphabet.get(&c).copied()).collect();
            match (kind, decoded) {
                (Kind::Normal | Kind::Unused, Some(bytes)) => {
                    pieces.push(&bytes);
                    if !bytes.is_empty() {
                        index.entry(bytes.into_boxed_slice()).or_insert(id);
                    }
                }
                (Kind::Control | Kind::Unknown, _) => pieces.push(&[]),
                (Kind::Normal | Kind::Unused | Kind::UserDefined | Kind::Byte, _) => pieces.push(text.as_bytes()),
            }
        }
        let merges = self.merges(&index, &alphabet)?;
        let starts = matches!(name, "llama3" | "llama-v3" | "llama-bpe" | "tekken");
        self.finish(Method::BytePairs { split, merges, whole_words }, index, pieces, starts)
    }

    fn merges(&self, index: &HashMap<Box<[u8]>, u32>, alphabet: &HashMap<char, u8>) -> Result<Merges, Error> {
        let (gguf, key) = (self.gguf, "tokenizer.ggml.merges");
        let lines = gguf.required(key, gguf.strings(key)?)?;
        if lines.len() > MAX_MERGES {
            return Err(gguf.broken(format!("metadata {key} has {} entries; at most {MAX_MERGES} are", lines.len())));
        }
        let known: BTreeSet<&str> = self
            .tokens
            .iter()
            .zip(&self.kinds)
            .filter(|(_, kind)| **kind != Kind::Normal)
            .map(|(text, _)| text)
            .collect();
        let mut merges = HashMap::with_capacity(lines.len());
        for (line, rank) in lines.iter().zip(0..) {
            let wrong = |why: String| gguf.broken(format!("metadata {key}, entry {rank}: {why}"));
            // A part may begin with a space in vocabularies that do not write bytes as letters.
            let from = line.chars().next().map_or(0, char::len_utf8);
            let Some(at) = line[from..].find(' ').map(|at| at + from) else {
                return Err(wrong(format!("{line:?} is no pair")));
            };
            let (left, right) = (&line[..at], &line[at + 1..]);
            let token = |text: &str| {
                let bytes: Option<Vec<u8>> = text.chars().map(|c| alphabet.get(&c).copied()).collect();
                match bytes.and_then(|bytes| index.get(bytes.as_slice())) {
                    Some(&token) => Ok(Some(token)),
                    // Text never becomes a control token by merging.
                    None if known.contains(text) => Ok(None),
                    None => Err(wrong(format!("{text:?} is no token"))),
                }
            };
            let joined = format!("{left}{right}");
            if let (Some(left), Some(right), Some(joined)) = (token(left)?, token(right)?, token(&joined)?) {
                merges.entry((left, right)).or_insert((rank, joined));
            }
        }
        Ok(merges)
    }

    fn sentence_piece(self) -> Result<Vocab, Error> {
        let (gguf, key) = (self.gguf, "tokenizer.ggml.scores");
        let scores = gguf.required(key, gguf.floats(key)?)?;
        if scores.len() != self.tokens.len() {
            let (scores, tokens) = (scores.len(), self.tokens.len());
            return Err(gguf.broken(format!("metadata {key} has {scores} entries for {tokens} tokens")));
        }
        if let Some(at) = scores.iter().position(|score| score.is_nan()) {
            return Err(gguf.broken(format!("metadata {key} has no number for token {at}")));
        }
        let mut index = HashMap::with_capacity(self.tokens.len());
        let mut pieces = Pieces::default();
        let mut bytes: Vec<Option<u32>> = vec![None; 256];
        for (text, (kind, id)) in self.tokens.iter().zip(self.kinds.iter().zip(0..)) {
            match kind {
                Kind::Byte => {
                    let hex = text.strip_prefix("<0x").and_then(|text| text.strip_suffix('>'));
                    let byte = hex.filter(|hex| hex.len() == 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                    let Some(byte) = byte else {
                        return Err(gguf.broken(format!("token {id} is of type byte, but called {text:?}")));
                    };
                    bytes[usize::from(byte)].get_or_insert(id);
                    pieces.push(&[byte]);
                }
                Kind::Control | Kind::Unknown => pieces.push(&[]),
                Kind::UserDefined => pieces.push(text.as_bytes()),
                Kind::Normal | Kind::Unused => {
                    pieces.push(text.replace(super::SPACE, " ").as_bytes());
                    if !text.is_empty() {
                        index.entry(text.as_bytes().into()).or_insert(id);
                    }
                }
            }
        }
        let bytes: Vec<u32> = bytes.into_iter().flatten().collect();
        if bytes.len() != 256 {
            return Err(gguf.unsupported("the vocabulary lacks tokens of single bytes"));
        }
        let method = Method::SentencePiece {
            ranks: ranks(&scores),
            bytes,
            space_prefix: gguf.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
        };
        self.finish(method, index, pieces, true)
    }

    /// `starts`: whether such vocabularies begin a text with a token of its own, unless the file says otherwise.
    fn finish(
        self,
        method: Method,
        index: HashMap<Box<[u8]>, u32>,
        pieces: Pieces,
        starts: bool,
    ) -> Result<Vocab, Error> {
        let gguf = self.gguf;
        let markers = |wanted: &[Kind]| {
            let tokens = self.markers(wanted)?;
            Markers::new(tokens).map_err(|e| gguf.broken(format!("the special tokens cannot be looked for: {e}")))
        };
        let (start, end) = (self.named("bos")?, self.named("eos")?);
        let add_start = gguf.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(starts && start.is_some());
        if add_start && start.is_none() {
            return Err(gguf.broken("metadata tokenizer.ggml.bos_token_id is missing, but add_bos_token is true"));
        }
        let named = [self.named("eot")?, self.named("eom")?];
        let by_text = self.tokens.iter().zip(0..).filter(|(text, _)| END_TEXTS.contains(text)).map(|(_, id)| id);
        let ends: BTreeSet<u32> = by_text.chain(end.iter().chain(named.iter().flatten()).map(|(id, _)| *id)).collect();
        if ends.is_empty() {
            return Err(gguf.broken("metadata tokenizer.ggml.eos_token_id is missing: a text would never end"));
        }
        Ok(Vocab {
            control: markers(&[Kind::Control, Kind::Unknown])?,
            whole: markers(&[Kind::UserDefined])?,
            method,
            index,
            pieces,
            start,
            end,
            add_start,
            ends,
        })
    }

    /// The tokens of some kinds that are looked for in a text.
    fn markers(&self, wanted: &[Kind]) -> Result<Vec<(u32, String)>, Error> {
        let mut found = Vec::new();
        for (text, (kind, id)) in self.tokens.iter().zip(self.kinds.iter().zip(0..)) {
            let control = *kind != Kind::UserDefined;
            // One character, or one with white space, could not be kept out of a client's text.
            let unusable = control && (text.chars().count() < 2 || text.contains(char::is_whitespace));
            if !wanted.contains(kind) || unusable || text.is_empty() {
                continue;
            }
            if text.len() > MAX_MARKER_BYTES || found.len() == MAX_MARKERS {
                let why = format!("special tokens are limited to {MAX_MARKERS} of {MAX_MARKER_BYTES} bytes");
                return Err(self.gguf.unsupported(format!("token {id}: {why}")));
            }
            if text.contains(crate::text::template::GUARDS) {
                return Err(self.gguf.broken(format!("the special token {id} contains a noncharacter")));
            }
            found.push((id, text.to_owned()));
        }
        Ok(found)
    }

    /// The token that `tokenizer.ggml.NAME_token_id` names, with its text.
    fn named(&self, name: &str) -> Result<Option<(u32, String)>, Error> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let Some(number) = self.gguf.unsigned(&key)? else { return Ok(None) };
        let text = usize::try_from(number).ok().and_then(|at| self.tokens.get(at));
        match (text, u32::try_from(number)) {
            (Some(text), Ok(id)) => Ok(Some((id, text.to_owned()))),
            _ => Err(self.gguf.broken(format!("metadata {key} is {number}, but there are {}", self.tokens.len()))),
        }
    }
}

impl Pieces {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // The pieces are no longer than the header that they come from.
        self.ends.push(self.bytes.len() as u32);
    }
}

/// GPT-2 writes each byte as a letter: printable Latin-1 as itself, the rest from U+0100 on.
pub(super) fn alphabet() -> HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=255).filter(|byte| !printable(*byte)).zip('\u{100}'..).map(|(byte, letter)| (letter, byte));
    (0..=255).filter(|byte| printable(*byte)).map(|byte| (char::from(byte), byte)).chain(others).collect()
}

/// The place of each score in descending order; equal scores share one.
fn ranks(scores: &[f32]) -> Vec<u32> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.dedup();
    scores.iter().map(|score| sorted.partition_point(|other| other > score) as u32).collect()
}
