//! Text to tokens and back, as a GGUF file's tokenizer says: byte-pair encoding (`gpt2`) and SentencePiece (`llama`).
//!
//! The result is that of llama.cpp, with one difference: what a client says is never read as control tokens, wherever
//! a chat template puts it.

mod markers;
mod merge;
mod read;
mod split;
#[cfg(test)]
pub(super) mod tests;

use crate::Error;
use markers::{Markers, Piece};
use merge::{Part, merge};
use split::Split;
use std::collections::{BTreeSet, HashMap};

/// White space in SentencePiece vocabularies: `▁`.
const SPACE: &str = "\u{2581}";

/// The tokens of a model.
pub struct Vocab {
    method: Method,
    /// Ordinary tokens by their bytes, as the method writes them.
    index: HashMap<Box<[u8]>, u32>,
    pieces: Pieces,
    /// Control tokens, which only a template may write.
    control: Markers,
    /// Tokens that stand for a text as a whole, whoever writes it.
    whole: Markers,
    /// Texts of the tokens that begin and end a text, for templates.
    start: Option<(u32, String)>,
    end: Option<(u32, String)>,
    add_start: bool,
    ends: BTreeSet<u32>,
}

/// Rank and result of joining two tokens.
type Merges = HashMap<(u32, u32), (u32, u32)>;

/// How words become tokens.
enum Method {
    BytePairs {
        split: Split,
        merges: Merges,
        /// A word that is a token is not merged.
        whole_words: bool,
    },
    SentencePiece {
        /// A token's place in the order of merging, by score.
        ranks: Vec<u32>,
        /// The token of each byte, for what has no token.
        bytes: Vec<u32>,
        space_prefix: bool,
    },
}

/// What each token writes, one after the other in one piece of memory.
#[derive(Default)]
struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Pieces {
    fn get(&self, at: usize) -> Option<&[u8]> {
        let end = *self.ends.get(at)? as usize;
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.bytes.get(start..end)
    }
}

impl Vocab {
    /// How many tokens there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pieces.ends.len()
    }

    /// Never: a vocabulary without tokens is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.ends.is_empty()
    }

    /// The tokens of a text that is continued as it is. Control tokens are not read from it; the token that begins a
    /// text comes first where the model wants one.
    #[must_use]
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens: Vec<u32> = self.start.iter().filter(|_| self.add_start).map(|(start, _)| *start).collect();
        self.encode_text(text, true, &mut tokens);
        tokens
    }

    /// The tokens of what a chat template wrote, in which `guard` separates a client's words from control tokens; see
    /// [`Vocab::guarded`].
    pub(super) fn encode_chat(&self, rendered: &str, guard: char) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut after_token = true;
        for piece in self.control.cut(rendered) {
            match piece {
                Piece::Token(token) => tokens.push(token),
                Piece::Text(text) => self.encode_text(&text.replace(guard, ""), after_token, &mut tokens),
            }
            after_token = matches!(piece, Piece::Token(_));
        }
        match &self.start {
            Some((start, _)) if self.add_start && tokens.first() != Some(start) => tokens.insert(0, *start),
            _ => {}
        }
        tokens
    }

    /// A client's text with `guard` in every place where a template could make a control token of it.
    pub(super) fn guarded(&self, text: &str, guard: char) -> String {
        self.control.guarded(text, guard)
    }

    /// What the token writes; nothing for control tokens. A character may be spread over several tokens.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no such token.
    pub fn piece(&self, token: u32) -> Result<&[u8], Error> {
        let all = self.len();
        let none = || Error::Invalid(format!("there is no token {token}: the vocabulary has {all}"));
        self.pieces.get(token as usize).ok_or_else(none)
    }

    /// Whether the token ends what the model writes.
    #[must_use]
    pub fn ends(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The text of the token that begins a text; empty without one. For templates.
    pub(super) fn start_text(&self) -> &str {
        self.start.as_ref().map_or("", |(_, text)| text)
    }

    /// The text of the token that ends a text; empty without one. For templates.
    pub(super) fn end_text(&self) -> &str {
        self.end.as_ref().map_or("", |(_, text)| text)
    }

    /// `after_token`: nothing or a control token comes before the text.
    fn encode_text(&self, text: &str, mut after_token: bool, tokens: &mut Vec<u32>) {
        for piece in self.whole.cut(text) {
            match piece {
                Piece::Token(token) => tokens.push(token),
                Piece::Text(text) => match &self.method {
                    Method::BytePairs { split, merges, whole_words } => split.words(text, &mut |word| {
                        self.byte_pairs(word.as_bytes(), merges, *whole_words, tokens);
                    }),
                    Method::SentencePiece { ranks, bytes, space_prefix } => {
                        let prefix = if *space_prefix && after_token { SPACE } else { "" };
                        self.sentence_piece(&format!("{prefix}{}", text.replace(' ', SPACE)), ranks, bytes, tokens);
                    }
                },
            }
            after_token = matches!(piece, Piece::Token(_));
        }
    }

    /// As llama.cpp does, a byte that the vocabulary lacks is left out.
    fn byte_pairs(&self, word: &[u8], merges: &Merges, whole_words: bool, tokens: &mut Vec<u32>) {
        if whole_words && let Some(&token) = self.index.get(word) {
            tokens.push(token);
            return;
        }
        let parts = (0..word.len())
            .map(|at| Part { range: at..at + 1, token: self.index.get(&word[at..=at]).copied() })
            .collect();
        let join = |left: &Part, right: &Part| merges.get(&(left.token?, right.token?)).copied();
        tokens.extend(merge(parts, join).into_iter().filter_map(|part| part.token));
    }

    fn sentence_piece(&self, text: &str, ranks: &[u32], bytes: &[u32], tokens: &mut Vec<u32>) {
        let token = |range: &std::ops::Range<usize>| self.index.get(&text.as_bytes()[range.clone()]).copied();
        let parts = text
            .char_indices()
            .map(|(at, c)| at..at + c.len_utf8())
            .map(|range| Part { token: token(&range), range })
            .collect();
        let join = |left: &Part, right: &Part| {
            let token = token(&(left.range.start..right.range.end))?;
            Some((*ranks.get(token as usize)?, token))
        };
        for part in merge(parts, join) {
            match part.token {
                Some(token) => tokens.push(token),
                None => tokens.extend(text.as_bytes()[part.range].iter().map(|&byte| bytes[usize::from(byte)])),
            }
        }
    }
}
