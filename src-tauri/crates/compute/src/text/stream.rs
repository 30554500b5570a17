//! Tokens to text while it is written: whole characters only, and nothing of a stop sequence.

/// The end of a text that cannot be shown yet.
#[derive(Debug, Default)]
pub struct Stream {
    stops: Vec<String>,
    /// Bytes that are no whole character yet.
    bytes: Vec<u8>,
    /// Text that may turn out to begin a stop sequence.
    held: String,
}

impl Stream {
    /// A text that ends before the first of `stops`.
    #[must_use]
    pub fn new(stops: &[String]) -> Self {
        Self { stops: stops.to_vec(), ..Self::default() }
    }

    /// Takes what a token writes and appends to `text` what is certain. True when a stop sequence is complete: `text`
    /// is the whole text then.
    ///
    /// Bytes that never become a character are replaced by U+FFFD, as Unicode's maximal-subpart practice asks.
    pub fn push(&mut self, piece: &[u8], text: &mut String) -> bool {
        self.bytes.extend_from_slice(piece);
        let whole = whole_characters(&self.bytes);
        self.held.push_str(&String::from_utf8_lossy(&self.bytes[..whole]));
        self.bytes.drain(..whole);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            text.push_str(&self.held[..at]);
            self.held.clear();
            self.bytes.clear();
            return true;
        }
        let certain = self.held.len() - self.possible_stop();
        text.push_str(&self.held[..certain]);
        self.held.drain(..certain);
        false
    }

    /// Appends what was held back, since nothing follows.
    pub fn finish(&mut self, text: &mut String) {
        text.push_str(&std::mem::take(&mut self.held));
        text.push_str(&String::from_utf8_lossy(&std::mem::take(&mut self.bytes)));
    }

    /// Bytes at the end of `held` with which a stop sequence may begin.
    fn possible_stop(&self) -> usize {
        let begins = |stop: &String| {
            let longest = self.held.len().min(stop.len() - 1);
            (1..=longest).rev().find(|&n| self.held.as_bytes().ends_with(&stop.as_bytes()[..n])).unwrap_or(0)
        };
        // A character is held back whole: stop sequences are text, so their beginnings end inside one only when the
        // rest of it cannot match.
        let most = self.stops.iter().map(begins).max().unwrap_or(0);
        (most..=self.held.len()).find(|n| self.held.is_char_boundary(self.held.len() - n)).unwrap_or(0)
    }
}

/// How many bytes can be decoded now: all but the beginning of a character at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    // A character has four bytes at most.
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        let length = match bytes[at] {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            0x80..=0xbf => continue,
            _ => break,
        };
        let begun = std::str::from_utf8(&bytes[at..]).is_err_and(|e| e.error_len().is_none());
        return if length > back && begun { at } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(pieces: &[&[u8]], stops: &[&str]) -> (Vec<String>, bool) {
        let mut stream = Stream::new(&stops.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        let mut text = String::new();
        let mut seen = Vec::new();
        for piece in pieces {
            let stopped = stream.push(piece, &mut text);
            seen.push(text.clone());
            if stopped {
                return (seen, true);
            }
        }
        stream.finish(&mut text);
        seen.push(text);
        (seen, false)
    }

    #[test]
    fn characters_come_whole() {
        let (seen, _) = run(&[b"Gr", b"\xc3", b"\xbc", b"\xc3\x9f ", b"\xf0\x9f", b"\x98\x80"], &[]);
        assert_eq!(seen, ["Gr", "Gr", "Grü", "Grüß ", "Grüß ", "Grüß 😀", "Grüß 😀"]);
        let (seen, _) = run(&[b"a\xff", b"b\xe2\x82"], &[]);
        assert_eq!(seen, ["a\u{fffd}", "a\u{fffd}b", "a\u{fffd}b\u{fffd}"]);
    }

    #[test]
    fn a_stop_sequence_is_found_over_tokens_and_never_shown() {
        let (seen, stopped) = run(&[b"one\n", b"\ntwo"], &["\n\n"]);
        assert_eq!((seen, stopped), (vec!["one".into(), "one".into()], true));
        let (seen, stopped) = run(&[b"one\n", b"two"], &["\n\n"]);
        assert_eq!((seen, stopped), (vec!["one".into(), "one\ntwo".into(), "one\ntwo".into()], false));
        let (seen, _) = run(&[b"a END", b"ING"], &["ENDE", "x"]);
        assert_eq!(seen.last().unwrap(), "a ENDING");
        // The first in the text counts, not the first in the list.
        assert_eq!(run(&[b"a|b#c"], &["#", "|"]), (vec!["a".into()], true));
        assert_eq!(run(&[b"\xe2\x82", b"\xac!"], &["€!"]), (vec![String::new(), String::new()], true));
    }

    proptest! {
        #[test]
        fn however_it_is_cut_the_text_is_the_same(text in "[ab€\n]{0,24}", cuts: Vec<u8>, stop in "[ab€\n]{1,4}") {
            let expected = text.split(&stop).next().unwrap_or_default();
            let mut pieces: Vec<&[u8]> = Vec::new();
            let mut rest = text.as_bytes();
            for cut in cuts {
                let (piece, after) = rest.split_at(usize::from(cut % 4).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            let (seen, stopped) = run(&pieces, &[&stop]);
            prop_assert_eq!(seen.last().unwrap(), expected);
            prop_assert_eq!(stopped, text.contains(&stop));
            prop_assert!(seen.windows(2).all(|pair| pair[1].starts_with(&pair[0])));
        }
    }
}
