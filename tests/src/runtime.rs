//! A runtime beside Tender: answers as a vLLM would, with the text that a test gives it. By HTTP on this machine, or
//! by HTTPS as a cloud, under an authority of the test's own.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread,
};
use tender_base::text::{Finish, Generation};

/// What the runtime writes, and how many tokens its prompt has.
#[derive(Clone, Debug)]
pub struct Says {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// The text and its tokens.
    pub text: Generation,
}

/// A running stand-in for a runtime. It answers until the test ends.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// Where it is, as its owner would type it.
    pub address: String,
    says: Arc<Mutex<Option<Says>>>,
    fails: Arc<Mutex<Option<u16>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Runtime {
    /// On this machine, by plain HTTP.
    #[must_use]
    pub fn here() -> Self {
        Self::start(None)
    }

    /// A cloud on `localhost`; the file holds the certificate of the authority that vouches for it.
    #[must_use]
    pub fn cloud(dir: &Path) -> (Self, PathBuf) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&authority_key).unwrap();
        let file = dir.join("authority.pem");
        fs::write(&file, authority.pem()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &Issuer::from_params(&params, &authority_key)).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        (Self::start(Some(Arc::new(config))), file)
    }

    /// What it writes from now on.
    pub fn says(&self, says: Says) {
        *self.says.lock().unwrap_or_else(PoisonError::into_inner) = Some(says);
    }

    /// Answers every request for a text with this status from now on.
    pub fn fails(&self, status: Option<u16>) {
        *self.fails.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Heads of the requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = match tls {
            None => format!("http://127.0.0.1:{port}"),
            Some(_) => format!("https://localhost:{port}/v1"),
        };
        let runtime = Self { address, says: Arc::default(), fails: Arc::default(), seen: Arc::default() };
        let shared = runtime.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (runtime, tls) = (shared.clone(), tls.clone());
                // Who hangs up in the middle ends only his own connection.
                thread::spawn(move || match tls {
                    None => runtime.serve(stream),
                    Some(config) => runtime.serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)),
                });
            }
        });
        runtime
    }

    fn serve(&self, stream: impl Read + Write) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let length = head
            .to_ascii_lowercase()
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body)?;
        let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(head);
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let (status, kind, answer) = self.answer(&path, &body);
        let stream = stream.get_mut();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            answer.len()
        );
        stream.write_all(head.as_bytes())?;
        stream.write_all(answer.as_bytes())?;
        stream.flush()
    }

    fn answer(&self, path: &str, body: &Value) -> (u16, &'static str, String) {
        let json = |value: Value| (200, "application/json", value.to_string());
        match path {
            "/health" => json(json!({})),
            "/version" => json(json!({"version": "0.11.0"})),
            "/v1/models" => json(json!({"data": [{"id": "the-model", "owned_by": "vllm", "max_model_len": 2048}]})),
            "/v1/chat/completions" | "/v1/completions" => {
                if let Some(status) = *self.fails.lock().unwrap_or_else(PoisonError::into_inner) {
                    return (status, "application/json", json!({"error": {"message": "no"}}).to_string());
                }
                let greeting = Generation { text: "Hi".to_owned(), tokens: Some(vec![1]), finish: Finish::Length };
                let trial = Says { prompt_tokens: 1, text: greeting };
                let says = self.says.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let says = says.filter(|_| body["max_tokens"] != 1).unwrap_or(trial);
                (200, "text/event-stream", events(&says))
            }
            _ => (404, "application/json", json!({"error": "not found"}).to_string()),
        }
    }
}

fn events(says: &Says) -> String {
    let Says { prompt_tokens, text } = says;
    let tokens = text.tokens.clone().unwrap_or_default();
    let finish = match text.finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    };
    let piece = json!({"delta": {"content": text.text}, "text": text.text, "token_ids": tokens, "finish_reason": null});
    let all = [
        json!({"choices": [piece]}),
        json!({"choices": [{"delta": {}, "text": "", "finish_reason": finish}]}),
        json!({"choices": [], "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": tokens.len()}}),
    ];
    all.iter().map(|event| format!("data: {event}\n\n")).collect::<String>() + "data: [DONE]\n\n"
}
