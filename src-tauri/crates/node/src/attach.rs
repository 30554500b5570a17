//! Attaching to a running node. Only `tender serve` hosts one; the command line and the desktop app talk to its
//! local API over loopback, with the token that only this user can read.

use crate::api::types::ApiProblem;
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tender_base::{Code, Problem};

/// Name of the file in the data directory by which a node is found.
pub const NODE_FILE: &str = "node.json";
/// How long a node that was just started may take to answer: migrations and a keyring prompt included.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long a node that runs may take to answer who looks for it.
const FIND_LIMIT: Duration = Duration::from_secs(10);
/// Longest event of a subscription, against a server that is not ours.
const MAX_EVENT_BYTES: usize = 8 << 20;

/// What a running node writes about itself (mode 0600).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeFile {
    /// Process id.
    pub pid: u32,
    /// `http://127.0.0.1:PORT` of the local API and UI.
    pub api: String,
    /// Base address of the A2A interface.
    pub a2a: String,
    /// File with the API token, beside this one.
    pub token_file: PathBuf,
    /// Version of the node.
    pub version: String,
}

/// A node that answers.
#[derive(Clone, Debug)]
pub struct Attached {
    http: reqwest::Client,
    api: String,
    token: String,
}

/// Where a node keeps its data when nothing else is said: `$TENDER_DATA_DIR`, else the platform's data folder.
#[must_use]
pub fn default_data_dir() -> PathBuf {
    let set = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(dir) = set("TENDER_DATA_DIR") {
        return dir;
    }
    let base = if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")))
    };
    base.unwrap_or_else(|| PathBuf::from(".")).join("tender")
}

impl Attached {
    /// The node of this data directory, if one runs and answers within 10 s.
    pub async fn find(data_dir: &Path) -> Option<Self> {
        Self::find_within(data_dir, FIND_LIMIT).await
    }

    async fn find_within(data_dir: &Path, limit: Duration) -> Option<Self> {
        let file: NodeFile = serde_json::from_slice(&fs::read(data_dir.join(NODE_FILE)).ok()?).ok()?;
        let token = fs::read_to_string(data_dir.join(&file.token_file)).ok()?;
        let attached = Self::at(&file.api, token.trim()).ok()?;
        let asked = attached.call("overview", Value::Object(serde_json::Map::new()), None);
        // One that is stopped, or a stranger on its port, takes the connection and says nothing.
        tokio::time::timeout(limit, asked).await.ok()?.ok().map(|_| attached)
    }

    /// The API at `address` with `token`; nothing is asked yet.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub fn at(address: &str, token: &str) -> Result<Self, Problem> {
        use_ring();
        // Loopback only: no proxy may see the token, and a connection that is not there fails at once.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(2))
            .build()
            .map_err(|e| Problem::new(Code::Internal, format!("the HTTP client does not start: {e}"), ""))?;
        Ok(Self { http, api: address.trim_end_matches('/').to_owned(), token: token.to_owned() })
    }

    /// The node of this data directory; starts `tender serve` when none runs.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when the executable is missing, refuses to start (with its own words) or does not
    /// answer in time.
    pub async fn find_or_start(data_dir: &Path, tender: &Path) -> Result<Self, Problem> {
        if let Some(found) = Self::find(data_dir).await {
            return Ok(found);
        }
        fs::create_dir_all(data_dir).map_err(|e| {
            Problem::new(
                Code::Storage,
                format!("cannot create {}: {e}", data_dir.display()),
                "choose another folder with --data-dir",
            )
        })?;
        let log_path = data_dir.join("serve.log");
        let log = fs::File::create(&log_path)
            .map_err(|e| Problem::new(Code::Storage, format!("cannot write {}: {e}", log_path.display()), ""))?;
        let mut child = tokio::process::Command::new(tender)
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|e| {
                Problem::new(
                    Code::Unavailable,
                    format!("cannot start {}: {e}", tender.display()),
                    "reinstall Tender, or start `tender serve` yourself",
                )
            })?;
        let started = tokio::time::Instant::now();
        while started.elapsed() < START_LIMIT {
            if let Some(found) = Self::find(data_dir).await {
                return Ok(found);
            }
            if let Ok(Some(status)) = child.try_wait() {
                let said = fs::read_to_string(&log_path).unwrap_or_default();
                let message = match said.lines().rev().find(|line| !line.trim().is_empty()) {
                    // Its own words, which name the remedy.
                    Some(last) => last.strip_prefix("tender: ").unwrap_or(last).to_owned(),
                    None => format!("the node ended with {status} and said nothing"),
                };
                return Err(Problem::new(Code::Unavailable, message, format!("all it said: {}", log_path.display())));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(Problem::new(
            Code::Unavailable,
            format!("the node did not answer within {} s", START_LIMIT.as_secs()),
            format!("see {}", log_path.display()),
        ))
    }

    /// Address of the UI with the token in its fragment, which browsers do not send.
    #[must_use]
    pub fn ui_address(&self) -> String {
        format!("{}/#token={}", self.api, self.token)
    }

    /// Calls a query or a command.
    ///
    /// # Errors
    /// What the node answered, or [`Code::Lost`] when it did not.
    pub async fn call(&self, name: &str, input: Value, key: Option<&str>) -> Result<Value, Problem> {
        let mut request = self.http.post(format!("{}/api/{name}", self.api)).bearer_auth(&self.token).json(&input);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = request.send().await.map_err(lost)?;
        if answer.status().is_success() {
            return answer.json().await.map_err(lost);
        }
        Err(problem_of(answer).await)
    }

    /// Calls an operation with its own types.
    ///
    /// # Errors
    /// As [`Attached::call`]; [`Code::Internal`] when the node speaks another version.
    pub async fn ask<I: Serialize, O: DeserializeOwned>(&self, name: &str, input: &I) -> Result<O, Problem> {
        let internal = |e: serde_json::Error| {
            Problem::new(
                Code::Internal,
                format!("the node answers `{name}` in another form: {e}"),
                "restart it with this version",
            )
        };
        let input = serde_json::to_value(input).map_err(internal)?;
        serde_json::from_value(self.call(name, input, None).await?).map_err(internal)
    }

    /// Opens a subscription: numbered snapshots, newer than `after`.
    ///
    /// # Errors
    /// What the node answered; in the stream, [`Code::Lost`] when it goes away.
    pub async fn subscribe(
        &self,
        name: &str,
        after: u64,
    ) -> Result<impl Stream<Item = Result<(u64, Value), Problem>> + Send + use<>, Problem> {
        let answer = self
            .http
            .get(format!("{}/api/{name}?after={after}", self.api))
            .bearer_auth(&self.token)
            .send()
            .await
            .map_err(lost)?;
        if !answer.status().is_success() {
            return Err(problem_of(answer).await);
        }
        let state = (answer.bytes_stream().boxed(), Vec::new());
        Ok(stream::unfold(state, |(mut bytes, mut buffer)| async move {
            loop {
                if let Some(event) = next_event(&mut buffer) {
                    return Some((Ok(event), (bytes, buffer)));
                }
                match bytes.next().await? {
                    Ok(chunk) if buffer.len() + chunk.len() <= MAX_EVENT_BYTES => buffer.extend_from_slice(&chunk),
                    Ok(_) => return None,
                    Err(e) => return Some((Err(lost(e)), (stream::empty().boxed(), Vec::new()))),
                }
            }
        }))
    }
}

/// Every HTTP client of the process needs a TLS provider, also those that speak to loopback only. Installing it twice
/// (another node in this process, the desktop shell) is harmless.
pub(crate) fn use_ring() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Takes the first complete event with data out of the buffer.
fn next_event(buffer: &mut Vec<u8>) -> Option<(u64, Value)> {
    loop {
        let end = buffer.windows(2).position(|pair| pair == b"\n\n")?;
        let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end + 2);
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let id = field("id:").and_then(|id| id.parse().ok());
        let data = field("data:").and_then(|data| serde_json::from_str(data).ok());
        if let (Some(id), Some(data)) = (id, data) {
            return Some((id, data));
        }
    }
}

async fn problem_of(answer: reqwest::Response) -> Problem {
    let status = answer.status();
    match answer.json::<ApiProblem>().await {
        Ok(p) => {
            Problem::new(serde_json::from_value(Value::String(p.code)).unwrap_or(Code::Internal), p.message, p.hint)
        }
        Err(_) => Problem::new(Code::Lost, format!("the node answered {status}"), "restart it"),
    }
}

fn lost(error: reqwest::Error) -> Problem {
    Problem::new(
        Code::Lost,
        format!("the node does not answer: {}", error.without_url()),
        "start it with `tender serve`; what it acknowledged is stored",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_takes_the_connection_and_says_nothing_is_no_node() {
        let dir = tempfile::tempdir().unwrap();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let file = NodeFile {
            pid: 1,
            api: format!("http://{}", silent.local_addr().unwrap()),
            a2a: String::new(),
            token_file: "api.token".into(),
            version: String::new(),
        };
        fs::write(dir.path().join(NODE_FILE), serde_json::to_vec(&file).unwrap()).unwrap();
        fs::write(dir.path().join("api.token"), "token").unwrap();
        let limit = Duration::from_millis(200);
        let found = tokio::time::timeout(limit * 50, Attached::find_within(dir.path(), limit)).await;
        assert!(found.unwrap().is_none());
    }

    #[test]
    fn events_are_read_across_chunks_and_comments_are_skipped() {
        let mut buffer = b": keep-alive\n\nid: 7\ndata: {\"a\":1}\n\nid: 8\nda".to_vec();
        assert_eq!(next_event(&mut buffer), Some((7, serde_json::json!({"a": 1}))));
        assert_eq!(next_event(&mut buffer), None);
        buffer.extend_from_slice(b"ta: 2\n\n");
        assert_eq!(next_event(&mut buffer), Some((8, serde_json::json!(2))));
    }
}
