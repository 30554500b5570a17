//! Requests of HTTP/1.1 over connections that stay open. Not the A2A client: what measures should cost little beside
//! what is measured.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tender_base::{Code, Problem};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};

/// Longest wait for one answer: the peer takes a second under the full load.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Largest answer.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Where requests go, and what every one of them carries.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: SocketAddr,
    headers: String,
}

/// A request: the API key that it is made with, if any, and its body.
pub(super) type Request = (Option<String>, String);
/// The request with a number; none when there are no more.
pub(super) type Requests = Arc<dyn Fn(u64) -> Option<Request> + Send + Sync>;
/// An answer beside the request's key and its time in milliseconds.
pub(super) type Answered = (Option<String>, f64, Vec<u8>);

impl Target {
    /// Of a base address such as `http://127.0.0.1:7420`.
    pub(super) fn new(url: &str) -> Result<Self, Problem> {
        let host = url.trim_start_matches("http://").trim_end_matches('/');
        let address = host.parse().map_err(|_| failed(format!("{url} is no address on loopback")))?;
        let headers = format!("Host: {host}\r\nA2A-Version: 1.0\r\nContent-Type: application/json\r\n");
        Ok(Self { address, headers })
    }

    pub(super) async fn connect(&self) -> Result<Connection, Problem> {
        let stream = TcpStream::connect(self.address).await.map_err(|e| failed(format!("no connection: {e}")))?;
        stream.set_nodelay(true).map_err(|e| failed(e.to_string()))?;
        Ok(Connection { stream: BufReader::new(stream), target: self.clone() })
    }

    /// `count` requests, `per_second` of them, over so many connections. Each has its intended start; one that finds all
    /// connections busy begins later, and its time in milliseconds counts from the intended start all the same.
    pub(super) async fn open_loop(
        &self,
        connections: usize,
        per_second: u32,
        count: u64,
        requests: &Requests,
    ) -> Result<Vec<Answered>, Problem> {
        let opened = self.all(connections).await?;
        let (next, begin) = (Arc::new(AtomicU64::new(0)), Instant::now() + Duration::from_millis(50));
        let mut tasks = JoinSet::new();
        for mut connection in opened {
            let (next, requests) = (next.clone(), requests.clone());
            tasks.spawn(async move {
                let mut answers = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((key, body)) = requests(number).filter(|_| number < count) else { return Ok(answers) };
                    let intended = begin + Duration::from_secs(1).mul_f64(number as f64 / f64::from(per_second));
                    sleep_until(intended).await;
                    let answer = connection.ask(key.as_deref(), &body).await?;
                    answers.push((key, intended.elapsed().as_secs_f64() * 1e3, answer));
                }
            });
        }
        joined(tasks).await
    }

    /// Requests for `duration` over so many connections, or as many as there are, each as soon as the one before is
    /// answered: the answers, and how many there were per second.
    pub(super) async fn closed_loop(
        &self,
        connections: usize,
        duration: Duration,
        requests: &Requests,
    ) -> Result<(f64, Vec<Answered>), Problem> {
        let opened = self.all(connections).await?;
        let (next, begin) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let mut tasks = JoinSet::new();
        for mut connection in opened {
            let (next, requests) = (next.clone(), requests.clone());
            tasks.spawn(async move {
                let mut answers = Vec::new();
                while begin.elapsed() < duration {
                    let Some((key, body)) = requests(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    let started = Instant::now();
                    let answer = connection.ask(key.as_deref(), &body).await?;
                    answers.push((key, started.elapsed().as_secs_f64() * 1e3, answer));
                }
                Ok(answers)
            });
        }
        let answers = joined(tasks).await?;
        // Until the last answer: those that were under way at the end count, and so does their time.
        Ok((answers.len() as f64 / begin.elapsed().as_secs_f64(), answers))
    }

    async fn all(&self, connections: usize) -> Result<Vec<Connection>, Problem> {
        let mut opened = Vec::with_capacity(connections);
        for _ in 0..connections {
            opened.push(self.connect().await?);
        }
        Ok(opened)
    }
}

async fn joined<T: 'static>(mut tasks: JoinSet<Result<Vec<T>, Problem>>) -> Result<Vec<T>, Problem> {
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done.map_err(|e| failed(e.to_string()))??);
    }
    Ok(all)
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    target: Target,
}

impl Connection {
    /// Sends a body and reads the answer's.
    pub(super) async fn ask(&mut self, key: Option<&str>, body: &str) -> Result<Vec<u8>, Problem> {
        timeout(ANSWER_LIMIT, async {
            self.send(key, body).await?;
            let length = self.head("content-length").await?;
            let length: usize = length.parse().ok().filter(|length| *length <= MAX_ANSWER_BYTES).ok_or_else(cut)?;
            let mut answer = vec![0; length];
            self.stream.read_exact(&mut answer).await.map_err(|_| cut())?;
            Ok(answer)
        })
        .await
        .map_err(|_| failed(format!("no answer within {} s", ANSWER_LIMIT.as_secs())))?
    }

    /// Sends a body whose answer is a stream of events, and reads up to the data of the first.
    pub(super) async fn stream(&mut self, key: Option<&str>, body: &str) -> Result<String, Problem> {
        timeout(ANSWER_LIMIT, async {
            self.send(key, body).await?;
            self.head("content-type").await?;
            self.line("data:").await
        })
        .await
        .map_err(|_| failed(format!("no event within {} s", ANSWER_LIMIT.as_secs())))?
    }

    /// The rest of the next line that begins with `start`.
    pub(super) async fn line(&mut self, start: &str) -> Result<String, Problem> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line).await.map_err(|_| cut())? == 0 {
                return Err(cut());
            }
            if let Some(rest) = line.strip_prefix(start) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    async fn send(&mut self, key: Option<&str>, body: &str) -> Result<(), Problem> {
        let headers = &self.target.headers;
        let key = key.map_or_else(String::new, |key| format!("X-API-Key: {key}\r\n"));
        let request = format!("POST / HTTP/1.1\r\n{headers}{key}Content-Length: {}\r\n\r\n{body}", body.len());
        self.stream.write_all(request.as_bytes()).await.map_err(|_| cut())
    }

    /// Reads the head of an answer, which must say 200, and returns one of its headers.
    async fn head(&mut self, wanted: &str) -> Result<String, Problem> {
        let (mut line, mut found) = (String::new(), None);
        self.stream.read_line(&mut line).await.map_err(|_| cut())?;
        if line.split(' ').nth(1) != Some("200") {
            let more = self.stream.fill_buf().await.map_err(|_| cut())?;
            return Err(failed(format!("an answer is {} {}", line.trim(), String::from_utf8_lossy(more))));
        }
        loop {
            line.clear();
            self.stream.read_line(&mut line).await.map_err(|_| cut())?;
            if line.trim().is_empty() {
                return found.ok_or_else(|| failed(format!("an answer has no {wanted}")));
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case(wanted)
            {
                found = Some(value.trim().to_owned());
            }
        }
    }
}

fn cut() -> Problem {
    failed("a connection broke, or its answer is no HTTP/1.1 with a length")
}

fn failed(what: impl Into<String>) -> Problem {
    Problem::new(Code::WorkFailed, what, "look at what the server says")
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// Answers every request after `wait`, one at a time.
    async fn slow(wait: Duration) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let one = Arc::new(tokio::sync::Mutex::new(()));
            while let Ok((stream, _)) = listener.accept().await {
                let one = one.clone();
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    let mut line = String::new();
                    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                        if line == "\r\n" {
                            let mut body = [0; 1];
                            stream.read_exact(&mut body).await.unwrap();
                            let _turn = one.lock().await;
                            tokio::time::sleep(wait).await;
                            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                        }
                        line.clear();
                    }
                });
            }
        });
        Target::new(&format!("http://{address}")).unwrap()
    }

    #[tokio::test]
    async fn waiting_for_a_connection_counts_and_a_closed_loop_does_not_wait() {
        let requests: Requests = Arc::new(|_| Some((None, "x".to_owned())));
        let target = slow(Duration::from_millis(20)).await;
        // Ten requests are due within 10 ms, and each keeps the others waiting.
        let answers = target.open_loop(2, 1000, 10, &requests).await.unwrap();
        let longest = answers.iter().map(|(_, time, _)| *time).fold(0.0, f64::max);
        assert!(answers.len() == 10 && longest >= 180.0, "{longest}");
        assert!(answers.iter().all(|(_, _, answer)| answer == b"ok"));
        let (rate, answers) = target.closed_loop(2, Duration::from_millis(200), &requests).await.unwrap();
        assert!(rate <= 50.0 && !answers.is_empty(), "{rate}");
    }
}
