//! The merge loop that byte-pair encoding and SentencePiece share: of all neighbours that may be joined, the pair of
//! the best rank is joined first, the leftmost of equals, until none is left.

use std::{cmp::Reverse, collections::BinaryHeap, ops::Range};

/// A piece of the text that stands for a token, or for none yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Bytes of the text.
    pub range: Range<usize>,
    /// The token, if there is one of this text.
    pub token: Option<u32>,
}

const NONE: usize = usize::MAX;

/// Two neighbours that may be joined, in the order in which they are: rank, then place.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    rank: u32,
    left: usize,
    right: usize,
    /// Where the joined part ends: a candidate whose parts have grown since is out of date.
    end: usize,
    start: usize,
    token: u32,
}

/// Joins neighbours for as long as `join` gives a pair's rank (less is sooner) and token.
pub(super) fn merge(mut parts: Vec<Part>, join: impl Fn(&Part, &Part) -> Option<(u32, u32)>) -> Vec<Part> {
    // A list linked by places; a part that was joined to the one before is marked by an empty range.
    let mut next: Vec<usize> = (1..parts.len()).chain([NONE]).collect();
    let mut previous: Vec<usize> = [NONE].into_iter().chain(0..parts.len().saturating_sub(1)).collect();
    let mut queue = BinaryHeap::new();
    let push = |queue: &mut BinaryHeap<Reverse<Candidate>>, parts: &[Part], left: usize, right: usize| {
        if left == NONE || right == NONE {
            return;
        }
        if let Some((rank, token)) = join(&parts[left], &parts[right]) {
            let (start, end) = (parts[left].range.start, parts[right].range.end);
            queue.push(Reverse(Candidate { rank, left, right, end, start, token }));
        }
    };
    for right in 1..parts.len() {
        push(&mut queue, &parts, right - 1, right);
    }
    while let Some(Reverse(candidate)) = queue.pop() {
        let Candidate { left, right, .. } = candidate;
        let stale = parts[left].range.is_empty()
            || next[left] != right
            || parts[left].range.start != candidate.start
            || parts[right].range.end != candidate.end;
        if stale {
            continue;
        }
        parts[left] = Part { range: candidate.start..candidate.end, token: Some(candidate.token) };
        parts[right].range = 0..0;
        next[left] = next[right];
        if next[right] != NONE {
            previous[next[right]] = left;
        }
        push(&mut queue, &parts, previous[left], left);
        push(&mut queue, &parts, left, next[left]);
    }
    parts.retain(|part| !part.range.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins by a list of texts, the first of which goes first.
    fn joined(text: &str, ranks: &[&str]) -> Vec<String> {
        let parts = text.char_indices().map(|(at, c)| Part { range: at..at + c.len_utf8(), token: None }).collect();
        let join = |left: &Part, right: &Part| {
            let rank = ranks.iter().position(|known| *known == &text[left.range.start..right.range.end])?;
            Some((rank as u32, rank as u32))
        };
        merge(parts, join).into_iter().map(|part| text[part.range].to_owned()).collect()
    }

    #[test]
    fn the_best_pair_goes_first_and_the_leftmost_of_equals() {
        assert_eq!(joined("", &["a"]), Vec::<String>::new());
        assert_eq!(joined("a", &["a"]), ["a"]);
        assert_eq!(joined("abc", &["bc", "ab"]), ["a", "bc"]);
        assert_eq!(joined("abc", &["ab", "bc"]), ["ab", "c"]);
        assert_eq!(joined("aaaaa", &["aa"]), ["aa", "aa", "a"]);
        assert_eq!(joined("aaaaa", &["aa", "aaaa"]), ["aaaa", "a"]);
        assert_eq!(joined("hellohe", &["he", "ll", "llo", "hello"]), ["hello", "he"]);
    }
}
