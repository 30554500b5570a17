//! Reading a streamed completion: server-sent events, the pieces of a text, and what the runtime says it used.
//!
//! Usage is never invented: a stream without it fails, and so does one whose usage contradicts what came.

use super::transport::{not_openai, words_in};
use serde::Deserialize;
use serde_json::Value;
use tender_base::{
    Code, Problem,
    text::{Finish, Generation},
};

/// Largest event: one token with its log-probability comes to less than 2 kB.
const MAX_EVENT_BYTES: usize = 256 << 10;
/// Bytes of stream per token that was asked for, with room for what runtimes add to each event.
const MAX_STREAM_BYTES_PER_TOKEN: usize = 4 << 10;
/// Bytes of stream beside the tokens: the last event of llama-server repeats its settings.
const MAX_STREAM_BYTES: usize = 1 << 20;
/// Longest token of known vocabularies, in bytes, with room.
const MAX_TOKEN_BYTES: usize = 1024;

/// Splits a byte stream into the data of its events.
///
/// After <https://html.spec.whatwg.org/multipage/server-sent-events.html>; comments and other fields are skipped, and
/// what follows the last empty line is no event.
pub(super) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// Bytes that may still come.
    left: usize,
}

impl Events {
    /// Of a completion of at most `max_tokens` tokens.
    pub(super) fn of(max_tokens: u32) -> Self {
        let left = MAX_STREAM_BYTES.saturating_add(MAX_STREAM_BYTES_PER_TOKEN.saturating_mul(max_tokens as usize));
        Self { line: Vec::new(), data: Vec::new(), has_data: false, left }
    }

    /// Takes what arrived and answers the events that it completes.
    ///
    /// # Errors
    /// [`Code::TooLarge`] when an event or the whole stream is larger than any honest one.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Problem> {
        self.left = self.left.checked_sub(bytes.len()).ok_or_else(|| too_large("stream"))?;
        let mut events = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.len() > MAX_EVENT_BYTES {
                return Err(too_large("event"));
            }
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                events.extend(self.take(line.trim_ascii_end()));
            }
        }
        Ok(events)
    }

    fn take(&mut self, line: &[u8]) -> Option<Vec<u8>> {
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return std::mem::take(&mut self.has_data).then_some(data);
        }
        // Older llama-servers put a failure into a field of its own.
        let value = line.strip_prefix(b"data:").or_else(|| line.strip_prefix(b"error:"))?;
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
        self.has_data = true;
        None
    }
}

fn too_large(what: &str) -> Problem {
    Problem::new(
        Code::TooLarge,
        format!("the runtime's {what} is larger than any text of this length comes to"),
        "check that a language model's runtime answers at this address",
    )
}

/// One event, of which all fields but these are ignored.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    index: u32,
    /// Of a chat.
    delta: Option<Delta>,
    /// Of a text that is continued.
    text: Option<String>,
    logprobs: Option<Logprobs>,
    /// vLLM's, when asked for.
    token_ids: Option<Vec<u32>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    /// What a model thinks before it answers, as llama-server and vLLM name it.
    reasoning_content: Option<String>,
    /// The same, as Ollama names it.
    reasoning: Option<String>,
}

#[derive(Deserialize)]
struct Logprobs {
    /// Of a chat, and of any text from llama-server.
    content: Option<Vec<Logprob>>,
    /// Of a text that is continued, in OpenAI's older form.
    token_logprobs: Option<Vec<Option<f64>>>,
}

#[derive(Deserialize)]
struct Logprob {
    /// llama-server's alone.
    id: Option<u32>,
}

/// What the runtime says it has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Usage {
    /// Tokens of the prompt, the template's included.
    pub(super) prompt_tokens: u32,
    /// Tokens written, the one that ended the text included.
    #[serde(default)]
    pub(super) completion_tokens: u32,
}

/// A text as it grows.
pub(super) struct Reader {
    max_tokens: u32,
    pub(super) text: String,
    /// Tokens whose number the runtime told.
    pub(super) ids: Vec<u32>,
    /// Pieces of text, each of at least one token.
    pub(super) pieces: u32,
    has_logprobs: bool,
    thoughts: bool,
    finish: Option<Finish>,
    usage: Option<Usage>,
    done: bool,
}

/// A text that has ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) text: String,
    pub(super) finish: Finish,
    pub(super) usage: Usage,
    /// The tokens that the runtime told; all of them when they are as many as were used.
    pub(super) ids: Vec<u32>,
    /// Whether log-probabilities came.
    pub(super) has_logprobs: bool,
    /// Whether the model wrote what is not in the text.
    pub(super) thoughts: bool,
}

impl Reader {
    /// Of a completion of at most `max_tokens` tokens.
    pub(super) fn of(max_tokens: u32) -> Self {
        Self {
            max_tokens,
            text: String::new(),
            ids: Vec::new(),
            pieces: 0,
            has_logprobs: false,
            thoughts: false,
            finish: None,
            usage: None,
            done: false,
        }
    }

    /// Takes one event. `failed` words a failure that the runtime reports.
    ///
    /// # Errors
    /// [`Code::Invalid`] when it is not an event of a completion, what `failed` says, and [`Code::WorkFailed`] when the
    /// text was withheld or is longer than its tokens could be.
    pub(super) fn take(&mut self, data: &[u8], failed: impl Fn(&str) -> Problem) -> Result<(), Problem> {
        if data == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let value: Value = serde_json::from_slice(data).map_err(|_| not_openai("an event is not JSON"))?;
        if value["error"].is_null() && !value["code"].is_null() && value["choices"].is_null() {
            return Err(failed(&words_in(&value)));
        }
        let chunk = Chunk::deserialize(&value).map_err(|e| not_openai(&format!("an event is not understood: {e}")))?;
        if chunk.error.is_some() {
            return Err(failed(&words_in(&value)));
        }
        self.usage = chunk.usage.or(self.usage);
        for choice in chunk.choices {
            self.choose(choice)?;
        }
        if self.text.len() > (self.max_tokens as usize).saturating_mul(MAX_TOKEN_BYTES) {
            return Err(lies("wrote more text than the tokens asked for can hold"));
        }
        Ok(())
    }

    fn choose(&mut self, choice: Choice) -> Result<(), Problem> {
        if choice.index != 0 {
            return Err(not_openai("it writes several texts where one was asked for"));
        }
        let piece = match choice.delta {
            Some(delta) => {
                self.thoughts |= [delta.reasoning_content, delta.reasoning].iter().flatten().any(|it| !it.is_empty());
                delta.content.unwrap_or_default()
            }
            None => choice.text.unwrap_or_default(),
        };
        if !piece.is_empty() {
            self.text.push_str(&piece);
            self.pieces = self.pieces.saturating_add(1);
        }
        if let Some(logprobs) = choice.logprobs {
            let told = logprobs.content.unwrap_or_default();
            self.has_logprobs |= !told.is_empty() || logprobs.token_logprobs.is_some_and(|list| !list.is_empty());
            if choice.token_ids.is_none() {
                self.ids.extend(told.iter().filter_map(|one| one.id));
            }
        }
        self.ids.extend(choice.token_ids.unwrap_or_default());
        match choice.finish_reason.as_deref() {
            None | Some("") => {}
            Some("stop") => self.finish = Some(Finish::Stop),
            Some("length") => self.finish = Some(Finish::Length),
            Some("content_filter") => {
                return Err(Problem::new(
                    Code::WorkFailed,
                    "the runtime's filter withheld the text",
                    "change the prompt, or use a runtime without a filter",
                ));
            }
            Some(other) => {
                return Err(not_openai(&format!("the text ended by {}", super::transport::readable(other))));
            }
        }
        Ok(())
    }

    /// Whether nothing more is to come.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// What it came to.
    ///
    /// # Errors
    /// [`Code::Lost`] when the stream broke off, [`Code::WorkFailed`] when usage is missing or contradicts the text.
    pub(super) fn end(self) -> Result<Ended, Problem> {
        let Some(finish) = self.finish else {
            return Err(Problem::new(
                Code::Lost,
                "the runtime's stream ended before its text did",
                "look into the runtime's own log, and try again",
            ));
        };
        let Some(usage) = self.usage else {
            return Err(Problem::new(
                Code::WorkFailed,
                "the runtime does not say how many tokens it used, so nothing can be billed or booked",
                "use a runtime that reports usage in streams (llama-server, Ollama and vLLM of 2025 or later do)",
            ));
        };
        let written = usage.completion_tokens;
        if usage.prompt_tokens == 0 {
            return Err(lies("counts no token in the prompt"));
        }
        if written > self.max_tokens {
            let max = self.max_tokens;
            return Err(lies(&format!("counts {written} tokens in a text of at most {max}")));
        }
        if self.text.len() > (written as usize).saturating_mul(MAX_TOKEN_BYTES) {
            return Err(lies(&format!("counts {written} tokens in a text of {} bytes", self.text.len())));
        }
        if self.ids.len() > written as usize {
            return Err(lies(&format!("counts {written} tokens, but told {}", self.ids.len())));
        }
        Ok(Ended {
            text: self.text,
            finish,
            usage,
            ids: self.ids,
            has_logprobs: self.has_logprobs,
            thoughts: self.thoughts,
        })
    }
}

impl Ended {
    /// Whether every token was told.
    pub(super) fn has_all_ids(&self) -> bool {
        !self.thoughts && self.ids.len() == self.usage.completion_tokens as usize && !self.ids.is_empty()
    }

    /// Fills in tokens that the runtime kept to itself, from its own tokenization of the text: llama-server does not
    /// tell those that are only a part of a character. Taken only when the count fits and nothing that was told is
    /// contradicted.
    pub(super) fn complete_ids(&mut self, tokenized: &[u32]) {
        let written = self.usage.completion_tokens as usize;
        // The token that ends a text is not in it.
        let ending = match (self.finish, self.ids.last()) {
            (Finish::Stop, Some(last)) if tokenized.len() + 1 == written => Some(*last),
            _ => None,
        };
        let candidate: Vec<u32> = tokenized.iter().copied().chain(ending).collect();
        let mut rest = candidate.iter();
        if candidate.len() == written && self.ids.iter().all(|id| rest.any(|other| other == id)) {
            self.ids = candidate;
        }
    }

    /// As the output blob states it.
    pub(super) fn generation(self) -> Generation {
        let tokens = self.has_all_ids().then(|| self.ids.clone());
        Generation { text: self.text, tokens, finish: self.finish }
    }
}

fn lies(what: &str) -> Problem {
    Problem::new(
        Code::WorkFailed,
        format!("the runtime {what}: its usage cannot be believed"),
        "update the runtime; if it repeats, remove it from the settings",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn failed(said: &str) -> Problem {
        Problem::new(Code::WorkFailed, said, "")
    }

    fn read(max_tokens: u32, events: &[Value]) -> Result<Ended, Problem> {
        let mut reader = Reader::of(max_tokens);
        for event in events {
            reader.take(event.to_string().as_bytes(), failed)?;
        }
        reader.end()
    }

    fn piece(text: &str, ids: &[u32]) -> Value {
        let told: Vec<Value> = ids.iter().map(|id| json!({"id": id, "token": "x", "logprob": -0.5})).collect();
        json!({"choices": [{"index": 0, "delta": {"content": text}, "logprobs": {"content": told}}]})
    }

    fn end(finish: &str, prompt: u32, completion: u32) -> Value {
        json!({"choices": [{"delta": {}, "finish_reason": finish}],
               "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": 0}})
    }

    #[test]
    fn pieces_ids_end_and_usage_are_read() {
        let ended = read(8, &[piece("Pa", &[5]), piece("ris", &[6]), piece("", &[2]), end("stop", 9, 3)]).unwrap();
        assert_eq!((ended.text.as_str(), ended.finish), ("Paris", Finish::Stop));
        assert_eq!(ended.usage, Usage { prompt_tokens: 9, completion_tokens: 3 });
        assert!(ended.has_logprobs && ended.has_all_ids());
        assert_eq!(ended.generation().tokens, Some(vec![5, 6, 2]));
    }

    #[test]
    fn other_forms_are_read() {
        // vLLM's numbers stand beside its log-probabilities; usage comes after the choices, in an event of its own.
        let vllm = [
            json!({"choices": [{"text": "a", "token_ids": [3], "logprobs": {"token_logprobs": [-1.0]}}], "usage": null}),
            json!({"choices": [{"text": "", "token_ids": [4], "finish_reason": "length"}]}),
            json!({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        ];
        let ended = read(2, &vllm).unwrap();
        assert!(ended.has_logprobs && ended.has_all_ids());
        assert_eq!(
            ended.generation(),
            Generation { text: "a".into(), tokens: Some(vec![3, 4]), finish: Finish::Length }
        );
        // A cloud tells no numbers, and a thought is no part of the text.
        let cloud = read(9, &[piece("a", &[]), end("stop", 1, 2)]).unwrap();
        assert!(!cloud.has_logprobs);
        assert_eq!(cloud.generation().tokens, None);
        let thought = json!({"choices": [{"delta": {"reasoning_content": "hm"}, "token_ids": [1]}]});
        let ended = read(9, &[thought, piece("a", &[2]), end("stop", 1, 2)]).unwrap();
        assert_eq!((ended.text.as_str(), ended.thoughts), ("a", true));
        assert_eq!(ended.generation().tokens, None);
    }

    #[test]
    fn usage_is_neither_invented_nor_believed_blindly() {
        let of = |events: &[Value]| read(4, events).unwrap_err();
        let missing = of(&[piece("a", &[]), json!({"choices": [{"finish_reason": "stop"}]})]);
        assert!(missing.code == Code::WorkFailed && missing.message.contains("how many tokens"), "{missing}");
        for (events, named) in [
            (vec![piece("a", &[]), end("stop", 9, 5)], "5 tokens in a text of at most 4"),
            (vec![piece("a", &[]), end("stop", 0, 1)], "no token in the prompt"),
            (vec![piece("a", &[]), end("stop", 9, 0)], "0 tokens in a text of 1 bytes"),
            (vec![piece("ab", &[1, 2, 3]), end("stop", 9, 2)], "told 3"),
            (vec![piece(&"x".repeat(5000), &[1])], "more text"),
            (vec![piece(&"x".repeat(3000), &[1]), end("stop", 9, 1)], "1 tokens in a text of 3000"),
        ] {
            let problem = of(&events);
            assert!(problem.code == Code::WorkFailed && problem.message.contains(named), "{problem}");
        }
    }

    #[test]
    fn a_stream_that_ends_badly_is_no_text() {
        for (events, code, named) in [
            (vec![], Code::Lost, "ended before"),
            (vec![piece("a", &[])], Code::Lost, "ended before"),
            (vec![json!({"error": {"code": 500, "message": "out of memory"}})], Code::WorkFailed, "out of memory"),
            (vec![json!({"code": 500, "message": "bang"})], Code::WorkFailed, "bang"),
            (vec![json!({"choices": [{"finish_reason": "content_filter"}]})], Code::WorkFailed, "filter"),
            (vec![json!({"choices": [{"finish_reason": "tool_calls"}]})], Code::Invalid, "tool_calls"),
            (vec![json!({"choices": [{"index": 1, "text": "b"}]})], Code::Invalid, "several"),
            (vec![json!({"choices": 7})], Code::Invalid, "not understood"),
            (vec![json!({"usage": {"prompt_tokens": -1}})], Code::Invalid, "not understood"),
            (vec![json!([])], Code::Invalid, "not understood"),
        ] {
            let problem = read(4, &events).unwrap_err();
            assert!(problem.code == code && problem.message.contains(named), "{problem}");
        }
        assert_eq!(Reader::of(4).take(b"<html>", failed).unwrap_err().code, Code::Invalid);
    }

    #[test]
    fn kept_tokens_are_filled_in_only_when_all_agrees() {
        let ended = |ids: &[u32], written: u32, finish| Ended {
            text: "…".into(),
            finish,
            usage: Usage { prompt_tokens: 1, completion_tokens: written },
            ids: ids.to_vec(),
            has_logprobs: true,
            thoughts: false,
        };
        let completed = |mut ended: Ended, tokenized: &[u32]| {
            ended.complete_ids(tokenized);
            ended.generation().tokens
        };
        assert_eq!(completed(ended(&[1, 4], 4, Finish::Length), &[1, 2, 3, 4]), Some(vec![1, 2, 3, 4]));
        assert_eq!(completed(ended(&[1, 9], 4, Finish::Stop), &[1, 2, 3]), Some(vec![1, 2, 3, 9]));
        // Another number of tokens, another order, one that was told and is not there, an unknown end.
        assert_eq!(completed(ended(&[1, 4], 5, Finish::Length), &[1, 2, 3, 4]), None);
        assert_eq!(completed(ended(&[4, 1], 4, Finish::Length), &[1, 2, 3, 4]), None);
        assert_eq!(completed(ended(&[1, 7], 4, Finish::Length), &[1, 2, 3, 4]), None);
        assert_eq!(completed(ended(&[], 4, Finish::Stop), &[1, 2, 3]), None);
    }

    #[test]
    fn events_are_bounded() {
        let mut events = Events::of(1);
        assert_eq!(events.push(&vec![b'x'; MAX_EVENT_BYTES + 1]).unwrap_err().code, Code::TooLarge);
        let mut events = Events::of(1);
        let line = b"data: {}\n".repeat(1000);
        let mut refused = None;
        for _ in 0..1000 {
            refused = refused.or_else(|| events.push(&line).err());
        }
        assert_eq!(refused.unwrap().code, Code::TooLarge);
        let mut events = Events::of(1);
        let comments = b": ping\n\n".repeat(1000);
        let mut sent = 0;
        while events.push(&comments).is_ok() {
            sent += comments.len();
            assert!(sent <= MAX_STREAM_BYTES + MAX_STREAM_BYTES_PER_TOKEN, "pings without end");
        }
    }

    proptest! {
        #[test]
        fn events_do_not_depend_on_how_they_arrive(
            lines in prop::collection::vec("(data: ?[a-z{}]{0,9}|: ping|event: x|error: e|)\r?\n", 0..20),
            cuts in prop::collection::vec(1_usize..12, 1..40),
        ) {
            let bytes = lines.concat().into_bytes();
            let whole = Events::of(1).push(&bytes).unwrap();
            let (mut events, mut found, mut rest) = (Events::of(1), Vec::new(), bytes.as_slice());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                found.extend(events.push(now).unwrap());
                rest = later;
            }
            prop_assert_eq!(found, whole);
        }

        #[test]
        fn nothing_that_arrives_breaks_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..400), json in "[\\[\\]{}\":,a-z0-9]{0,60}") {
            let mut reader = Reader::of(4);
            let _ = reader.take(&bytes, failed);
            let _ = reader.take(json.as_bytes(), failed);
            let _ = reader.take(format!("{{\"choices\":[{json}]}}").as_bytes(), failed);
            let _ = reader.end();
        }
    }
}
