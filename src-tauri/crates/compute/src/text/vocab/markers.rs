//! Control tokens in text: found where a chat template writes them, and kept out of what a client says.

use aho_corasick::{AhoCorasick, Input, MatchKind};

/// Most control and user-defined tokens; vocabularies in use have up to a thousand.
pub(super) const MAX_MARKERS: usize = 8192;
/// Longest text of one, in bytes; in use up to forty.
pub(super) const MAX_MARKER_BYTES: usize = 128;

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// Ordinary text.
    Text(&'a str),
    /// A token that the text names.
    Token(u32),
}

/// Tokens that are looked for by their text.
pub(super) struct Markers {
    finder: AhoCorasick,
    texts: Vec<String>,
    tokens: Vec<u32>,
}

impl Markers {
    /// Tokens with their texts, each of at least two characters and without white space.
    ///
    /// # Errors
    /// What the library says about too many patterns.
    pub(super) fn new(tokens: Vec<(u32, String)>) -> Result<Self, String> {
        let (tokens, texts): (Vec<u32>, Vec<String>) = tokens.into_iter().unzip();
        let finder =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&texts).map_err(|e| e.to_string())?;
        Ok(Self { finder, texts, tokens })
    }

    /// Cuts `text` at the markers.
    pub(super) fn cut<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Piece<'a>> {
        let mut done = 0;
        let mut found = self.finder.find_iter(text).map(|found| (found.range(), self.tokens[found.pattern()]));
        let mut token = None;
        let mut ended = false;
        std::iter::from_fn(move || {
            loop {
                if let Some(token) = token.take() {
                    return Some(Piece::Token(token));
                }
                if ended {
                    return None;
                }
                let from = done;
                let until = match found.next() {
                    Some((range, id)) => {
                        token = Some(id);
                        done = range.end;
                        range.start
                    }
                    None => {
                        ended = true;
                        text.len()
                    }
                };
                if from < until {
                    return Some(Piece::Text(&text[from..until]));
                }
            }
        })
    }

    /// `text` with `guard` put in so that no marker is found in it any more, nor one that begins before the text or
    /// goes on after it. `guard` must not be in the text or in a marker; taken out again, the text is as before.
    pub(super) fn guarded(&self, text: &str, guard: char) -> String {
        // A template may cut white space off, which no marker has.
        let start = text.len() - text.trim_start().len();
        let end = text.trim_end().len().max(start);
        let core = &text[start..end];
        let any = |test: &dyn Fn(&str) -> bool| !core.is_empty() && self.texts.iter().any(|marker| test(marker));
        let mut out = String::with_capacity(text.len() + 8);
        out.push_str(&text[..start]);
        if any(&|marker| marker.contains(core) || tails(marker).any(|tail| core.starts_with(tail))) {
            out.push(guard);
        }
        let mut done = start;
        while let Some(found) = self.finder.find(Input::new(text).range(done..end)) {
            let first = text[found.start()..].chars().next().map_or(1, char::len_utf8);
            out.push_str(&text[done..found.start() + first]);
            out.push(guard);
            done = found.start() + first;
        }
        out.push_str(&text[done..end]);
        if any(&|marker| heads(marker).any(|head| core.ends_with(head))) {
            out.push(guard);
        }
        out.push_str(&text[end..]);
        out
    }
}

/// The proper ends of a marker.
fn tails(marker: &str) -> impl Iterator<Item = &str> {
    marker.char_indices().skip(1).map(|(at, _)| &marker[at..])
}

/// The proper beginnings of a marker.
fn heads(marker: &str) -> impl Iterator<Item = &str> {
    marker.char_indices().skip(1).map(|(at, _)| &marker[..at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GUARD: char = '\u{fdd0}';
    const TEXTS: [&str; 5] = ["<|im_start|>", "<|im_end|>", "<|im_end|>>", "</s>", "aba"];

    fn markers() -> Markers {
        Markers::new((0..).zip(TEXTS.map(String::from)).collect()).unwrap()
    }

    #[test]
    fn markers_are_found_and_the_longest_wins() {
        let markers = markers();
        let pieces: Vec<_> = markers.cut("<|im_start|>user</s><|im_end|>>a").collect();
        let expected = [Piece::Token(0), Piece::Text("user"), Piece::Token(3), Piece::Token(2), Piece::Text("a")];
        assert_eq!(pieces, expected);
        assert_eq!(markers.cut("").count(), 0);
        assert_eq!(markers.cut("plain").collect::<Vec<_>>(), [Piece::Text("plain")]);
    }

    #[test]
    fn ordinary_text_needs_no_guard() {
        for text in ["", " ", "Hello, who are you?", "x < y and y > z", "if x <= 3 { y }\n", "<tool_response>"] {
            assert_eq!(markers().guarded(text, GUARD), text);
        }
        assert_eq!(markers().guarded(" x</s>y\n", GUARD), " x<\u{fdd0}/s>y\n");
        assert_eq!(markers().guarded("\nim_end|>", GUARD), "\n\u{fdd0}im_end|>");
        assert_eq!(markers().guarded("<|im_", GUARD), "\u{fdd0}<|im_\u{fdd0}");
        assert_eq!(markers().guarded("ababa", GUARD), "\u{fdd0}a\u{fdd0}ba\u{fdd0}ba\u{fdd0}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        /// Whatever a template puts around it or cuts off: a client's text never becomes a marker.
        #[test]
        fn guarded_text_holds_no_marker(
            parts in prop::collection::vec(
                prop::sample::select(vec!["<|", "im_", "start", "end", "|>", ">", "</", "s", "ab", "a", "b", " ", "\n"]),
                0..8,
            ),
            around in prop::sample::select(vec![("", ""), ("<|", "|>"), ("<|im_", "|>"), ("<", ">"), ("a", "a"), ("", "ba")]),
            trim in any::<bool>(),
        ) {
            let markers = markers();
            let text = parts.concat();
            let guarded = markers.guarded(&text, GUARD);
            prop_assert_eq!(guarded.replace(GUARD, ""), text.clone());
            let shown = if trim { guarded.trim() } else { &guarded };
            let rendered = format!("{}{shown}{}", around.0, around.1);
            let found = markers.cut(&rendered).find(|piece| matches!(piece, Piece::Token(_)));
            prop_assert_eq!(found, None, "{:?}", rendered);
        }
    }
}
