//! What goes into text generation and what comes out: the layouts of a `generate` job's input and output blobs.

use crate::problem::{Code, Problem};
use serde::{Deserialize, Serialize};

/// Most messages of a chat.
pub const MAX_MESSAGES: usize = 1024;
/// Largest prompt, 1 MiB of JSON: far more than any context of [`crate::job::MAX_CONTEXT_TOKENS`] holds.
pub const MAX_PROMPT_BYTES: u64 = 1 << 20;

/// The input blob, as JSON: a chat that the model's own template renders, or text that is continued as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// `{"messages": [{"role": "user", "content": "…"}]}`
    Chat(Chat),
    /// `{"prompt": "…"}`
    Raw(Raw),
}

/// A conversation so far; the model writes the next message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// From the first to the last, which is usually the user's.
    pub messages: Vec<ChatMessage>,
}

/// Text to continue, without any template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The text.
    pub prompt: String,
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: ChatRole,
    /// What was said. Never read as control tokens.
    pub content: String,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    /// Instructions that stand above the conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl ChatRole {
    /// The name in templates.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// The output blob, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// The text, without the stop sequence that ended it.
    pub text: String,
    /// Every token that was chosen, the one that ended the text included. Absent from runtimes that do not tell.
    pub tokens: Option<Vec<u32>>,
    /// Why it ended.
    pub finish: Finish,
}

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// The model ended its message, or wrote a stop sequence.
    Stop,
    /// `max_tokens` were written.
    Length,
}

impl Prompt {
    /// Reads an input blob.
    ///
    /// # Errors
    /// [`Code::Invalid`] for JSON of another shape or no message, [`Code::TooLarge`] above the limits.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        let invalid =
            |why: String| Problem::new(Code::Invalid, why, "send messages with role and content, or a prompt");
        if bytes.len() as u64 > MAX_PROMPT_BYTES {
            let why = format!("the prompt has {} bytes, more than the limit of {MAX_PROMPT_BYTES}", bytes.len());
            return Err(Problem::new(Code::TooLarge, why, "shorten it"));
        }
        // Parsed in two steps: an untagged enumeration would hide what is wrong.
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|e| invalid(format!("the prompt is no JSON: {e}")))?;
        let prompt = if value.get("messages").is_some() {
            Self::Chat(serde_json::from_value(value).map_err(|e| invalid(format!("the chat is not understood: {e}")))?)
        } else {
            Self::Raw(serde_json::from_value(value).map_err(|e| invalid(format!("the prompt is not understood: {e}")))?)
        };
        match &prompt {
            Self::Chat(chat) if chat.messages.is_empty() || chat.messages.len() > MAX_MESSAGES => {
                Err(invalid(format!("messages has {}, but must have 1 to {MAX_MESSAGES}", chat.messages.len())))
            }
            Self::Chat(chat) if chat.messages.iter().all(|message| message.content.is_empty()) => {
                Err(invalid("messages have no content".to_owned()))
            }
            Self::Raw(raw) if raw.prompt.is_empty() => Err(invalid("prompt is empty".to_owned())),
            _ => Ok(prompt),
        }
    }

    /// A chat of one message of the user.
    #[must_use]
    pub fn of_user(content: String) -> Self {
        Self::Chat(Chat { messages: vec![ChatMessage { role: ChatRole::User, content }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_read_as_written_and_mistakes_are_named() {
        let chat = Prompt::of_user("Hello".to_owned());
        assert_eq!(Prompt::from_json(&serde_json::to_vec(&chat).unwrap()), Ok(chat));
        let raw = Prompt::Raw(Raw { prompt: "Once".to_owned() });
        assert_eq!(Prompt::from_json(br#"{"prompt": "Once"}"#), Ok(raw));
        for (bytes, named) in [
            (&b"no"[..], "no JSON"),
            (br#"{"messages": []}"#, "messages has 0"),
            (br#"{"messages": [{"role": "root", "content": ""}]}"#, "root"),
            (br#"{"messages": [{"role": "user", "content": "a", "name": "b"}]}"#, "name"),
            (br#"{"messages": [{"role": "user", "content": ""}]}"#, "no content"),
            (br#"{"prompt": ""}"#, "empty"),
            (br#"{"prompt": "a", "temperature": 1}"#, "temperature"),
            (br#"{"text": "a"}"#, "text"),
        ] {
            let problem = Prompt::from_json(bytes).unwrap_err();
            assert!(problem.code == Code::Invalid && problem.message.contains(named), "{problem}");
        }
        let long = serde_json::to_vec(&Prompt::of_user("a".repeat(2 << 20))).unwrap();
        assert_eq!(Prompt::from_json(&long).unwrap_err().code, Code::TooLarge);
    }
}
