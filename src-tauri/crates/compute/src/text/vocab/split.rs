//! How text is cut into words before byte pairs are merged: the `tokenizer.ggml.pre` of a GGUF file.
//!
//! The patterns are those of llama.cpp's `llama-vocab.cpp`. All but one of their features are regular, so that the
//! time for a prompt is linear in its length, whatever it contains; the one that is not, `\s+(?!\S)`, is
//! [`Stage::Words`]'s rule about white space.

use regex::Regex;

/// Cuts text in one stage after the other; what a stage leaves between its matches stays a word.
pub(super) struct Split {
    stages: Vec<Stage>,
}

enum Stage {
    /// Cuts out every match.
    Matches(Regex),
    /// The same; but a run of white space before other text leaves its last character to what follows. With
    /// `newlines`, runs that end in a line break keep it.
    Words { pattern: Regex, newlines: bool },
}

const CONTRACTIONS: &str = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

impl Split {
    /// The cutter called `name`, and whether a word that is a token as a whole is taken without merging.
    ///
    /// # Errors
    /// The names that are known.
    pub(super) fn of(name: &str) -> Result<(Self, bool), String> {
        let words = |pattern: &str, newlines: bool| regex(pattern).map(|pattern| Stage::Words { pattern, newlines });
        let matches = |pattern: &str| regex(pattern).map(Stage::Matches);
        // Letters, a number of so many digits, other signs, line breaks, white space.
        let llama = |digits: &str| {
            let pattern = format!(
                r"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+"
            );
            words(&pattern, true)
        };
        let (stages, whole_words) = match name {
            "gpt-2" => (vec![words(GPT2, false)?], false),
            "smollm" => (vec![matches(r"\p{N}")?, words(GPT2, false)?], false),
            "default" => {
                let signs = matches(r"[\p{P}$+<=>^~|]+")?;
                (vec![signs, words(GPT2, false)?, matches(r"\p{N}+")?, matches("[0-9][0-9][0-9]")?], false)
            }
            "llama3" | "llama-v3" | "llama-bpe" => (vec![llama(r"\p{N}{1,3}")?], true),
            "qwen2" | "deepseek-r1-qwen" => (vec![llama(r"\p{N}")?], false),
            "tekken" => {
                let pattern = r"[^\r\n\p{L}\p{N}]?[\p{L}--a-z]*[\p{L}--A-Z]+|[^\r\n\p{L}\p{N}]?[\p{L}--a-z]+[\p{L}--A-Z]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+";
                (vec![words(pattern, true)?], true)
            }
            _ => return Err("gpt-2, default, smollm, llama-bpe, qwen2 and tekken".to_owned()),
        };
        Ok((Self { stages }, whole_words))
    }

    /// Gives `each` the words of `text` in order; together they are the text.
    pub(super) fn words<'a>(&self, text: &'a str, each: &mut impl FnMut(&'a str)) {
        cut(&self.stages, text, each);
    }
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|e| format!("a pattern of this version is wrong: {e}"))
}

fn cut<'a>(stages: &[Stage], text: &'a str, each: &mut impl FnMut(&'a str)) {
    let Some((stage, rest)) = stages.split_first() else {
        if !text.is_empty() {
            each(text);
        }
        return;
    };
    let mut done = 0;
    while let Some(found) = stage.next(text, done) {
        if found.start > done {
            cut(rest, &text[done..found.start], each);
        }
        cut(rest, &text[found.clone()], each);
        done = found.end;
    }
    if done < text.len() {
        cut(rest, &text[done..], each);
    }
}

impl Stage {
    /// The first match from byte `from` on; never empty.
    fn next(&self, text: &str, from: usize) -> Option<std::ops::Range<usize>> {
        match self {
            Self::Matches(pattern) => pattern.find_at(text, from).map(|found| found.range()),
            Self::Words { pattern, newlines } => {
                let mut found = pattern.find_at(text, from)?.range();
                let run = &text[found.clone()];
                if run.chars().all(char::is_whitespace) && found.end < text.len() {
                    let last = run.chars().next_back().map_or(0, char::len_utf8);
                    let kept = *newlines && run.ends_with(['\r', '\n']);
                    if !kept && run.len() > last {
                        found.end -= last;
                    }
                }
                Some(found)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
        let mut words = Vec::new();
        Split::of(name).unwrap().0.words(text, &mut |word| words.push(word));
        words
    }

    #[test]
    fn words_are_cut_as_the_patterns_say() {
        let text = "Hello'Ve world 1234\n\n  foo's  ";
        assert_eq!(
            words("llama-bpe", text),
            ["Hello", "'Ve", " world", " ", "123", "4", "\n\n", " ", " foo", "'s", "  "]
        );
        assert_eq!(
            words("qwen2", text),
            ["Hello", "'Ve", " world", " ", "1", "2", "3", "4", "\n\n", " ", " foo", "'s", "  "]
        );
        assert_eq!(words("gpt-2", text), ["Hello", "'", "Ve", " world", " 1234", "\n\n ", " foo", "'s", "  "]);
        assert_eq!(
            words("smollm", text),
            ["Hello", "'", "Ve", " world", " ", "1", "2", "3", "4", "\n\n ", " foo", "'s", "  "]
        );
        assert_eq!(words("tekken", "helloWorld  XMLfile"), ["hello", "World", " ", " XMLfile"]);
        assert_eq!(words("default", "a+b 12345"), ["a", "+", "b", " ", "123", "45"]);
        assert_eq!(words("qwen2", ""), Vec::<&str>::new());
        assert!(Split::of("bloom").err().unwrap().contains("smollm"));
    }

    /// A mebibyte of whatever backtracking dislikes.
    #[test]
    fn long_runs_are_cut_in_linear_time() {
        for name in ["gpt-2", "default", "smollm", "llama-bpe", "qwen2", "tekken"] {
            for unit in [" ", "\n", "\t ", "a", "aA", "1", "!", "'", " \u{3000}"] {
                let text = unit.repeat((1 << 18) / unit.len()) + "x";
                let total: usize = words(name, &text).iter().map(|word| word.len()).sum();
                assert_eq!(total, text.len(), "{name} {unit:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            name in prop::sample::select(vec!["gpt-2", "default", "smollm", "llama-bpe", "qwen2", "tekken"]),
            text in "(\\PC|[ \\t\\r\\n'0-9a-zA-Z]){0,40}",
        ) {
            prop_assert_eq!(words(name, &text).concat(), text);
        }
    }
}
