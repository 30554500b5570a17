//! What each kind of runtime is asked, so that it samples as the job says and tells what it can.
//!
//! Every sampler that a runtime would otherwise add by default is turned off by name.

use super::runtime::{Runtime, RuntimeKind};
use crate::Tenant;
use serde_json::{Map, Value, json};
use tender_base::{
    Code, Problem,
    job::{GenerateWork, Sampling},
    text::Prompt,
};

/// OpenAI's path for a chat.
const CHAT: &str = "chat/completions";
/// OpenAI's path for text that is continued.
const TEXT: &str = "completions";

/// Path and body for a piece of work.
///
/// # Errors
/// [`Code::Unavailable`] when this kind of runtime cannot do it as the job says.
pub(super) fn of(
    runtime: &Runtime,
    work: &GenerateWork,
    prompt: &Prompt,
    tenant: Tenant,
) -> Result<(&'static str, Value), Problem> {
    let Sampling { temperature, top_k, top_p, seed } = work.sampling;
    if temperature > 0.0 && tenant != Tenant::Own {
        return Err(cannot(runtime, "draws tokens in its own way, which nobody could check", "ask for temperature 0"));
    }
    if top_k != 0 && matches!(runtime.engine, RuntimeKind::Ollama | RuntimeKind::Other) {
        return Err(cannot(runtime, "does not take top_k", "leave top_k away"));
    }
    if runtime.engine == RuntimeKind::Ollama && matches!(prompt, Prompt::Raw(_)) {
        return Err(cannot(runtime, "puts every prompt into its template", "send messages"));
    }
    let (path, mut body) = base(runtime, prompt, work.max_tokens, runtime.has_logprobs);
    body.insert("temperature".to_owned(), json!(temperature));
    if temperature > 0.0 {
        body.insert("top_p".to_owned(), json!(top_p));
        // Runtimes read 32 bits.
        body.insert("seed".to_owned(), json!(seed % (1 << 31)));
        match runtime.engine {
            RuntimeKind::LlamaServer => body.insert("top_k".to_owned(), json!(top_k)),
            RuntimeKind::Vllm if top_k > 0 => body.insert("top_k".to_owned(), json!(top_k)),
            _ => None,
        };
    }
    if !work.stop.is_empty() {
        body.insert("stop".to_owned(), json!(work.stop));
    }
    if runtime.engine == RuntimeKind::LlamaServer {
        // What is kept of a client's prompt could be measured by the next one.
        body.insert("cache_prompt".to_owned(), json!(tenant == Tenant::Own));
    }
    Ok((path, Value::Object(body)))
}

/// Path and body for one token, to see what comes with it.
pub(super) fn trial(runtime: &Runtime, logprobs: bool) -> (&'static str, Value) {
    let prompt = match runtime.engine {
        RuntimeKind::LlamaServer | RuntimeKind::Vllm => {
            Prompt::Raw(tender_base::text::Raw { prompt: "Hello".to_owned() })
        }
        _ => Prompt::of_user("Hello".to_owned()),
    };
    let (path, mut body) = base(runtime, &prompt, 1, logprobs);
    body.insert("temperature".to_owned(), json!(0.0));
    (path, Value::Object(body))
}

fn base(runtime: &Runtime, prompt: &Prompt, max_tokens: u32, logprobs: bool) -> (&'static str, Map<String, Value>) {
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| body.insert(name.to_owned(), value);
    put("model", json!(runtime.model));
    put("stream", json!(true));
    put("stream_options", json!({"include_usage": true}));
    put("max_tokens", json!(max_tokens));
    let path = match prompt {
        Prompt::Chat(chat) => {
            put("messages", json!(chat.messages));
            if logprobs {
                put("logprobs", json!(true));
                // llama-server takes 0 as none at all.
                put("top_logprobs", json!(1));
            }
            CHAT
        }
        Prompt::Raw(raw) => {
            put("prompt", json!(raw.prompt));
            if logprobs {
                put("logprobs", json!(1));
            }
            TEXT
        }
    };
    match runtime.engine {
        RuntimeKind::LlamaServer => {
            put("top_k", json!(0));
            put("top_p", json!(1.0));
            put("min_p", json!(0.0));
            put("repeat_penalty", json!(1.0));
        }
        RuntimeKind::Vllm => {
            put("top_k", json!(-1));
            put("top_p", json!(1.0));
            put("min_p", json!(0.0));
            put("repetition_penalty", json!(1.0));
            put("return_token_ids", json!(true));
        }
        // Ollama takes its repeat penalty from the Modelfile alone.
        RuntimeKind::Ollama | RuntimeKind::Other => {}
    }
    (path, body)
}

fn cannot(runtime: &Runtime, why: &str, hint: &str) -> Problem {
    Problem::new(Code::Unavailable, format!("the runtime {} {why}", runtime.engine.name()), hint)
}
