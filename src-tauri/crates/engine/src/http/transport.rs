//! Requests to one runtime: bounded in size and time, never redirected, never through a proxy. What the runtime says
//! about a failure is passed on, shortened and without the key.

use super::address::{Address, Place};
use bytes::{Bytes, BytesMut};
use reqwest::{
    Client, Method, RequestBuilder, Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
    redirect,
};
use serde_json::Value;
use std::{fmt, time::Duration};
use tender_base::{Code, Problem};
use tokio::time::timeout;
use zeroize::Zeroizing;

/// Largest answer that is not a stream: lists of a cloud's models and chat templates come to some hundred kB.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Most characters of a runtime's own words that are passed on.
const MAX_WORDS: usize = 200;
/// Longest key: providers' keys have up to some hundred characters.
const MAX_KEY_BYTES: usize = 4096;

/// How long a runtime may take for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// To accept a connection.
    pub(super) connect: Duration,
    /// To answer a question about itself.
    pub(super) question: Duration,
    /// To write one token when it is attached: it may have to load the model from disk first.
    pub(super) trial: Duration,
    /// Between two pieces of a text, once it has begun. The first piece waits for the prompt to be read, for which
    /// only the order's own limit counts.
    pub(super) silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            question: Duration::from_secs(10),
            trial: Duration::from_secs(120),
            silence: Duration::from_secs(60),
        }
    }
}

/// A secret that a runtime or cloud asks for. It is shown nowhere and zeroed when dropped.
#[derive(Clone)]
pub struct Key(Zeroizing<String>);

impl Key {
    /// A key as the provider issued it.
    ///
    /// # Errors
    /// [`Code::Invalid`] when it is empty, too long, or holds what no HTTP header may hold.
    pub fn new(text: &str) -> Result<Self, Problem> {
        let text = text.trim();
        if text.is_empty() || text.len() > MAX_KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Problem::new(
                Code::Invalid,
                "the key is empty or has characters that no key has",
                "copy it again from the provider's page",
            ));
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// One runtime and the connections to it.
pub(super) struct Transport {
    client: Client,
    pub(super) address: Address,
    pub(super) place: Place,
    pub(super) limits: Limits,
    key: Option<Key>,
}

impl Transport {
    pub(super) fn new(address: Address, place: Place, key: Option<Key>, limits: Limits) -> Result<Self, Problem> {
        // The one TLS of the house; an error means that it is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .connect_timeout(limits.connect)
            .tcp_nodelay(true)
            // One connection per answer: dropping it is how a runtime learns that nobody wants the rest.
            .http1_only()
            .user_agent(concat!("tender/", env!("CARGO_PKG_VERSION")));
        if place == Place::Cloud {
            client = client.https_only(true);
        }
        if let Some((name, found)) = &address.pinned {
            client = client.resolve_to_addrs(name, found);
        }
        let client = client.build().map_err(|e| {
            Problem::new(Code::Internal, format!("the HTTP client does not start: {e}"), "report this as a bug")
        })?;
        Ok(Self { client, address, place, limits, key })
    }

    /// What the runtime says at a path from its root, beside OpenAI's API; `None` when it knows no such path.
    pub(super) async fn ask(&self, path: &str) -> Result<Option<Value>, Problem> {
        let url = self.address.origin.join(path).map_err(|e| internal(&e))?;
        self.question(self.client.request(Method::GET, url)).await
    }

    /// As [`Self::ask`], at a path of OpenAI's API.
    pub(super) async fn ask_api(&self, path: &str) -> Result<Option<Value>, Problem> {
        let url = self.address.api.join(path).map_err(|e| internal(&e))?;
        self.question(self.client.request(Method::GET, url)).await
    }

    /// As [`Self::ask`], with something to work on.
    pub(super) async fn ask_about(&self, path: &str, body: &Value) -> Result<Option<Value>, Problem> {
        let url = self.address.origin.join(path).map_err(|e| internal(&e))?;
        self.question(self.client.request(Method::POST, url).json(body)).await
    }

    async fn question(&self, request: RequestBuilder) -> Result<Option<Value>, Problem> {
        let limit = self.limits.question;
        let asked = async {
            let response = self.send(request).await?;
            match response.status() {
                StatusCode::OK => {
                    let bytes = read_all(response, MAX_ANSWER_BYTES).await?;
                    // A web page at a path that nobody asked for is no answer.
                    Ok(serde_json::from_slice(&bytes).ok())
                }
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
                _ => Err(self.refused(response).await),
            }
        };
        timeout(limit, asked).await.unwrap_or_else(|_| Err(self.lost(&format!("has not answered for {limit:?}"))))
    }

    /// Asks for a text; the answer is a stream of events.
    pub(super) async fn stream(&self, path: &str, body: &Value) -> Result<Response, Problem> {
        let url = self.address.api.join(path).map_err(|e| internal(&e))?;
        let request = self.client.request(Method::POST, url).header(header::ACCEPT, "text/event-stream").json(body);
        let response = self.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response).await);
        }
        let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            return Ok(response);
        }
        let kind = if kind.is_empty() { "something without a type".to_owned() } else { readable(kind) };
        Err(not_openai(&format!("it answered {kind} where a stream of events was asked for")))
    }

    /// The next bytes of a stream; `None` at its end.
    pub(super) async fn next(&self, response: &mut Response, has_begun: bool) -> Result<Option<Bytes>, Problem> {
        let next = response.chunk();
        let next = if has_begun {
            timeout(self.limits.silence, next).await.map_err(|_| self.lost("stopped in the middle of the text"))?
        } else {
            next.await
        };
        next.map_err(|e| self.broken(&e))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Problem> {
        let request = match &self.key {
            Some(key) => {
                let text = Zeroizing::new(format!("Bearer {}", *key.0));
                let mut value = HeaderValue::from_str(&text).map_err(|e| internal(&e))?;
                value.set_sensitive(true);
                request.header(header::AUTHORIZATION, value)
            }
            None => request,
        };
        request.send().await.map_err(|e| self.broken(&e))
    }

    /// A status other than OK, as a person may read it.
    async fn refused(&self, response: Response) -> Problem {
        let (status, headers) = (response.status(), response.headers().clone());
        let said = match timeout(self.limits.question, read_all(response, MAX_ANSWER_BYTES)).await {
            Ok(Ok(bytes)) => serde_json::from_slice(&bytes).map(|value| words_in(&value)).unwrap_or_default(),
            _ => String::new(),
        };
        refusal(status, &headers, &self.passed_on(&said), self.place)
    }

    /// An error that came as an event, in the middle of a stream.
    pub(super) fn failed(&self, said: &str) -> Problem {
        Problem::new(
            Code::WorkFailed,
            format!("the runtime gave up in the middle of the text: {}", self.passed_on(said)),
            "look into the runtime's own log",
        )
    }

    /// The runtime's own words as others may see them. The key goes first: shortening could leave half of it.
    fn passed_on(&self, said: &str) -> String {
        match &self.key {
            Some(key) => readable(&said.replace(key.0.as_str(), "…")),
            None => readable(said),
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Problem {
        let at = self.address.origin.as_str().trim_end_matches('/');
        // The innermost cause says what happened; the outer ones only where.
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        let why = readable(&cause.to_string());
        if !error.is_connect() && !error.is_timeout() {
            return self.lost(&format!("broke the connection: {why}"));
        }
        if why.to_ascii_lowercase().contains("certificate") {
            return Problem::new(
                Code::Forged,
                format!("{at} does not prove who it is: {why}"),
                "check the address; somebody may be between you and the provider",
            );
        }
        let hint = match self.place {
            Place::Loopback => "start the runtime (such as llama-server) there, or detach it",
            Place::Cloud => "check the network and the address, or detach the cloud",
        };
        Problem::new(Code::Unavailable, format!("nothing answers at {at}: {why}"), hint)
    }

    pub(super) fn lost(&self, what: &str) -> Problem {
        let at = self.address.origin.as_str().trim_end_matches('/');
        Problem::new(
            Code::Lost,
            format!("the runtime at {at} {what}"),
            "look into the runtime's own log, and try again",
        )
    }
}

async fn read_all(mut response: Response, limit: usize) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|e| not_openai(&format!("its answer broke off: {}", readable(&e.to_string()))))?
    {
        if bytes.len() + chunk.len() > limit {
            return Err(Problem::new(
                Code::TooLarge,
                format!("the runtime's answer is larger than {limit} bytes"),
                "check that a language model's runtime answers at this address",
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// What a status means for the owner.
fn refusal(status: StatusCode, headers: &HeaderMap, said: &str, place: Place) -> Problem {
    let with = |what: &str| if said.is_empty() { what.to_owned() } else { format!("{what}: {said}") };
    // Each runtime has its own words for a prompt that does not fit, and llama-server a type.
    let no_room =
        said.contains("context") && ["exceed", "longer", "maximum", "larger"].iter().any(|w| said.contains(w));
    let (code, message, hint) = match status.as_u16() {
        401 => {
            (Code::Unauthenticated, with("the runtime does not accept the key"), "store a valid key for it".to_owned())
        }
        402 => (Code::OverLimit, with("the account has no credit left"), "pay the provider, or detach it".to_owned()),
        403 => (Code::Forbidden, with("the key does not allow this"), "use a key that may use this model".to_owned()),
        404 => (
            Code::NotFound,
            with("the runtime does not have this model"),
            "load the model there, or attach the runtime with a model that it has".to_owned(),
        ),
        413 => (Code::TooLarge, with("the prompt is too large for the runtime"), "shorten the prompt".to_owned()),
        400 | 422 if no_room => {
            (Code::TooLarge, with("the prompt does not fit the runtime's context"), "shorten the prompt".to_owned())
        }
        400 | 422 => (Code::Invalid, with("the runtime refuses the request"), "correct the job".to_owned()),
        408 | 504 => (Code::Lost, with("the runtime took too long"), "try again".to_owned()),
        429 => {
            let after = headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()).map(readable);
            let hint = match after.and_then(|after| after.parse::<u64>().ok()) {
                Some(seconds) => format!("try again in {seconds} s"),
                None => "try again later".to_owned(),
            };
            (Code::TooMany, with("the runtime is asked too often"), hint)
        }
        300..=399 => (
            Code::Invalid,
            format!("the runtime sends to another address ({status}), which is not followed"),
            "attach the address that it sends to".to_owned(),
        ),
        503 => (Code::Unavailable, with("the runtime is not ready"), "wait until its model is loaded".to_owned()),
        500.. => (
            Code::WorkFailed,
            with(&format!("the runtime failed ({status})")),
            match place {
                Place::Loopback => "look into the runtime's own log".to_owned(),
                Place::Cloud => "try again, or look at the provider's status page".to_owned(),
            },
        ),
        _ => return not_openai(&with(&format!("it answered {status}"))),
    };
    Problem::new(code, message, hint)
}

/// The words in `{"error": {"message"}}`, `{"error"}`, `{"message"}` or `{"detail"}`, as they came.
pub(super) fn words_in(value: &Value) -> String {
    [&value["error"]["message"], &value["error"], &value["message"], &value["detail"]]
        .iter()
        .find_map(|said| said.as_str())
        .map(str::to_owned)
        .unwrap_or_default()
}

/// What another program said, on one line and of bounded length.
pub(super) fn readable(text: &str) -> String {
    let mut line: String = text
        .chars()
        .take(MAX_WORDS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned();
    if text.chars().nth(MAX_WORDS).is_some() {
        line.push('…');
    }
    line
}

pub(super) fn not_openai(message: &str) -> Problem {
    Problem::new(
        Code::Invalid,
        format!("what answers there does not speak OpenAI's API: {message}"),
        "attach the address of llama-server, Ollama, vLLM or a cloud that speaks it",
    )
}

fn internal(why: &dyn fmt::Display) -> Problem {
    Problem::new(Code::Internal, format!("the request cannot be made: {why}"), "report this as a bug")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_refusal_names_cause_and_remedy() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        let of =
            |status: u16, said: &str| refusal(StatusCode::from_u16(status).unwrap(), &headers, said, Place::Loopback);
        for (status, said, code, named) in [
            (401, "Incorrect API key", Code::Unauthenticated, "Incorrect API key"),
            (402, "", Code::OverLimit, "credit"),
            (403, "", Code::Forbidden, "key"),
            (404, "model 'x' not found", Code::NotFound, "'x'"),
            (413, "", Code::TooLarge, "prompt"),
            (400, "the request exceeds the available context size", Code::TooLarge, "context"),
            (400, "temperature must be positive", Code::Invalid, "temperature"),
            (429, "", Code::TooMany, "try again in 7 s"),
            (307, "", Code::Invalid, "not followed"),
            (503, "Loading model", Code::Unavailable, "Loading"),
            (500, "", Code::WorkFailed, "500"),
            (418, "", Code::Invalid, "418"),
        ] {
            let problem = of(status, said);
            assert!(problem.code == code && problem.to_string().contains(named), "{status}: {problem}");
            assert!(!problem.hint.is_empty(), "{status}");
        }
    }

    #[test]
    fn another_programs_words_are_short_and_on_one_line() {
        assert_eq!(words_in(&json!({"error": {"message": "no such model"}})), "no such model");
        assert_eq!(words_in(&json!({"error": "flat"})), "flat");
        assert_eq!(words_in(&json!({"detail": "Not Found"})), "Not Found");
        assert_eq!(words_in(&json!([1])), "");
        assert_eq!(readable("no\nsuch model "), "no such model");
        assert_eq!(readable(&"x".repeat(1000)).chars().count(), MAX_WORDS + 1);
    }

    #[test]
    fn keys_are_checked_and_not_shown() {
        let key = Key::new(" sk-secret\n").unwrap();
        assert!(!format!("{key:?}").contains("secret"));
        for text in ["", " ", "two words", "line\nbreak", "ü"] {
            assert_eq!(Key::new(text).unwrap_err().code, Code::Invalid, "{text:?}");
        }
    }
}
