//! The chat template of a GGUF file: Jinja, as Hugging Face's tokenizers run it.
//!
//! A template comes with the file, from a stranger. It sees the chat and nothing else: no clock, no files. Its steps
//! and what it writes are limited.

use super::gguf::Gguf;
use crate::Error;
use minijinja::{Environment, ErrorKind, Value, context, syntax::SyntaxConfig};
use std::io;
use tender_base::text::{Chat, ChatRole, MAX_PROMPT_BYTES};

/// Longest template; the longest in use, with tools, have 20 kB.
const MAX_TEMPLATE_BYTES: usize = 256 << 10;
/// Steps of one rendering: a message takes some tens, and there are at most 1,024 of them.
const MAX_STEPS: u64 = 1_000_000;
/// Most bytes that a template may write: the prompt, and as much again for what it adds.
const MAX_RENDERED_BYTES: usize = 2 * MAX_PROMPT_BYTES as usize;

/// Noncharacters of Unicode, which no text for interchange holds: they keep a client's words apart from control tokens
/// while a template puts them together.
pub(super) const GUARDS: [char; 4] = ['\u{fdd0}', '\u{fdd1}', '\u{fdd2}', '\u{fdd3}'];

/// A chat template, ready to render.
pub struct Template {
    environment: Environment<'static>,
}

const NAME: &str = "chat";

impl Template {
    /// The template of a file; none when it has none.
    ///
    /// # Errors
    /// [`Error::ModelFile`] when it is too long or no Jinja.
    pub fn read(gguf: &Gguf) -> Result<Option<Self>, Error> {
        let key = "tokenizer.chat_template";
        let Some(source) = gguf.text(key)? else { return Ok(None) };
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(gguf.broken(format!("metadata {key} has {} bytes, too many", source.len())));
        }
        let broken = |e: &dyn std::fmt::Display| gguf.broken(format!("metadata {key} is no Jinja template: {e}"));
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(|e| broken(&e))?;
        environment.set_syntax(syntax);
        environment.set_fuel(Some(MAX_STEPS));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("strftime_now", |format: String| date(&format));
        environment.add_function("raise_exception", |why: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, why))
        });
        environment.add_template_owned(NAME, source.to_owned()).map_err(|e| broken(&e))?;
        Ok(Some(Self { environment }))
    }

    /// What the model reads so that it writes the assistant's next message. `start` and `end` are the texts of the
    /// tokens that begin and end a text.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the template refuses the chat or does not come to an end.
    pub fn render(&self, chat: &Chat, start: &str, end: &str) -> Result<String, Error> {
        let messages: Vec<Value> = chat
            .messages
            .iter()
            .map(|message| context! { role => message.role.name(), content => message.content.as_str() })
            .collect();
        let values = context! { messages, bos_token => start, eos_token => end, add_generation_prompt => true };
        let mut out = Limited { bytes: Vec::new() };
        let failed = |e: minijinja::Error| {
            let why = match e.kind() {
                ErrorKind::OutOfFuel => "it takes too many steps".to_owned(),
                ErrorKind::WriteFailure => format!("it writes more than {MAX_RENDERED_BYTES} bytes"),
                _ => e.detail().map_or_else(|| e.to_string(), str::to_owned),
            };
            let hint = match chat.messages.iter().any(|message| message.role == ChatRole::System) {
                true => "leave out the system message, or send a raw prompt",
                false => "let user and assistant alternate, or send a raw prompt",
            };
            Error::Invalid(format!("the model's chat template refuses this chat: {why}; {hint}"))
        };
        let template = self.environment.get_template(NAME).map_err(failed)?;
        template.render_captured_to(values, &mut out).map_err(failed)?;
        String::from_utf8(out.bytes).map_err(|e| Error::Invalid(format!("the chat template wrote no UTF-8: {e}")))
    }
}

/// What a template takes for today, in the notation of C's `strftime`. Always Friday, 26 July 2024, which Llama's
/// templates use where there is no clock: both sides of a trade, and whoever checks it later, must read the same prompt.
fn date(format: &str) -> Result<String, minijinja::Error> {
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        text.push_str(match letters.next() {
            Some('Y') => "2024",
            Some('y') => "24",
            Some('m') => "07",
            Some('B') => "July",
            Some('b') => "Jul",
            Some('d') => "26",
            Some('A') => "Friday",
            Some('a') => "Fri",
            Some('H' | 'M' | 'S') => "00",
            _ => return Err(minijinja::Error::new(ErrorKind::InvalidOperation, format!("the date format {format}"))),
        });
    }
    Ok(text)
}

/// Takes at most [`MAX_RENDERED_BYTES`].
struct Limited {
    bytes: Vec<u8>,
}

impl io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > MAX_RENDERED_BYTES {
            return Err(io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::gguf::tests::{Writer, smollm2};
    use tender_base::text::ChatMessage;

    fn template(source: &str) -> Result<Option<Template>, Error> {
        Template::read(&Writer::new().text("tokenizer.chat_template", source).gguf())
    }

    fn chat(messages: &[(ChatRole, &str)]) -> Chat {
        let message = |(role, content): &(ChatRole, &str)| ChatMessage { role: *role, content: (*content).to_owned() };
        Chat { messages: messages.iter().map(message).collect() }
    }

    fn rendered(source: &str, chat: &Chat) -> Result<String, Error> {
        template(source)?.unwrap().render(chat, "<s>", "</s>")
    }

    #[test]
    fn smollm2_chats_as_its_card_shows() {
        let template = Template::read(&smollm2()).unwrap().unwrap();
        let text = template.render(&chat(&[(ChatRole::User, "Hi")]), "", "").unwrap();
        let expected = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n\
            <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
        assert_eq!(text, expected);
        let text = template.render(&chat(&[(ChatRole::System, "Be brief."), (ChatRole::User, "Hi")]), "", "").unwrap();
        assert_eq!(
            text,
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn what_templates_in_use_need_is_there() {
        let one = chat(&[(ChatRole::System, " S "), (ChatRole::User, "a<think>b</think>\n c ")]);
        for (source, expected) in [
            ("{{ bos_token }}{{ messages[0]['content'] | trim }}{{ eos_token }}", "<s>S</s>"),
            ("{{ messages[1].content.split('</think>')[-1].lstrip('\\n') }}", " c "),
            ("{{ messages[0].content.strip().startswith('S') }}", "True"),
            ("{{ messages[0].content.upper().endswith(' ') }}", "True"),
            ("{{ messages[1:] | length }}", "1"),
            ("{%- for m in messages[::-1] %}{{ loop.index0 }}{{ m.role }}{% endfor %}", "0user1system"),
            (
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
                "2",
            ),
            ("{% for m in messages %}\n  {% if loop.last %}\n{{ m.role }}\n  {% endif %}\n{% endfor %}", "user\n"),
            ("{% macro f(m) %}[{{ m.role }}]{% endmacro %}{{ f(messages[0]) }}", "[system]"),
            ("{{ messages[0] | tojson }}", "{\"role\": \"system\", \"content\": \" S \"}"),
            ("{{ strftime_now('%d %b %Y') }}, {{ strftime_now('%A %Y-%m-%d') }}", "26 Jul 2024, Friday 2024-07-26"),
            ("{% if tools is not none and tools %}t{% endif %}{% if not tools is defined %}none{% endif %}", "none"),
            ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}", "user"),
            ("{% generation %}{{ messages[0].role }}{% endgeneration %}", ""),
        ] {
            match rendered(source, &one) {
                Ok(text) => assert_eq!(text, expected, "{source}"),
                Err(error) => assert!(expected.is_empty(), "{source}: {error}"),
            }
        }
    }

    #[test]
    fn refusals_name_the_reason_and_the_way_out() {
        let one = chat(&[(ChatRole::User, "Hi")]);
        for (source, named) in [
            ("{{ raise_exception('Only user and assistant roles') }}", "Only user and assistant roles"),
            ("{{ nothing.at.all }}", "undefined"),
            ("{{ strftime_now('%Q') }}", "the date format %Q"),
            ("{{ getenv('HOME') }}", "getenv"),
            ("{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}", "too many steps"),
            ("{% for a in range(3000) %}{{ 'x' * 1000 }}{% endfor %}", "writes more than"),
            ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
            ("{{ 'x' * 1000000000000 }}", "too large"),
            ("{% include 'other' %}", "other"),
        ] {
            let error = rendered(source, &one).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("raw prompt"), "{source}: {error}");
        }
        let error = template("{% if %}").err().unwrap().to_string();
        assert!(error.contains("tokenizer.chat_template is no Jinja template"), "{error}");
        assert!(template(&"x".repeat(MAX_TEMPLATE_BYTES + 1)).is_err());
        assert!(Template::read(&Writer::new().gguf()).unwrap().is_none());
    }
}
