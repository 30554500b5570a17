//! Prompts to tokens: the vocabulary and the chat template of a file together.

use super::{
    gguf::Gguf,
    template::{GUARDS, Template},
    vocab::Vocab,
};
use crate::Error;
use tender_base::text::{Chat, ChatMessage, Prompt};

/// The tokenizer of a model.
pub struct Tokenizer {
    vocab: Vocab,
    template: Option<Template>,
}

impl Tokenizer {
    /// Reads vocabulary and template.
    ///
    /// # Errors
    /// As [`Vocab::read`] and [`Template::read`].
    pub fn read(gguf: &Gguf) -> Result<Self, Error> {
        Ok(Self { vocab: Vocab::read(gguf)?, template: Template::read(gguf)? })
    }

    /// The tokens.
    #[must_use]
    pub fn vocab(&self) -> &Vocab {
        &self.vocab
    }

    /// The tokens of a prompt. A client's words never become control tokens; those are the template's alone.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a chat when the model has no template or its template refuses it, or when the prompt
    /// comes to no token.
    pub fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>, Error> {
        let tokens = match prompt {
            Prompt::Raw(raw) => self.vocab.encode(&raw.prompt),
            Prompt::Chat(chat) => self.encode_chat(chat)?,
        };
        if tokens.is_empty() {
            return Err(Error::Invalid("the prompt has no text that the model knows; send some words".into()));
        }
        Ok(tokens)
    }

    fn encode_chat(&self, chat: &Chat) -> Result<Vec<u32>, Error> {
        let Some(template) = &self.template else {
            return Err(Error::Invalid("the model has no chat template; send a raw prompt instead of messages".into()));
        };
        let unused = |guard: &char| chat.messages.iter().all(|message| !message.content.contains(*guard));
        let Some(guard) = GUARDS.into_iter().find(unused) else {
            return Err(Error::Invalid(
                "the messages hold noncharacters of Unicode; leave U+FDD0 to U+FDD3 out".into(),
            ));
        };
        let guarded = |message: &ChatMessage| ChatMessage {
            role: message.role,
            content: self.vocab.guarded(&message.content, guard),
        };
        let chat = Chat { messages: chat.messages.iter().map(guarded).collect() };
        let rendered = template.render(&chat, self.vocab.start_text(), self.vocab.end_text())?;
        Ok(self.vocab.encode_chat(&rendered, guard))
    }
}
