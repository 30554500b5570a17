//! A model hub on loopback, which has the catalogue's files as this machine has them.

use std::{
    fs,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};
use tender_base::catalogue::MODELS;

/// A piece that is sent at once.
const PIECE: usize = 1 << 20;

/// The hub; it ends with the test's process.
pub(crate) struct Hub {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Hub {
    /// One that pauses between two mebibytes.
    pub(crate) fn pausing(pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<_>>> = Arc::default();
        let hub = Self { address, asked: asked.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let asked = asked.clone();
                // Whoever hangs up has seen enough.
                thread::spawn(move || drop(serve(stream, pause, &asked)));
            }
        });
        hub
    }

    /// What the setting `models_source` takes.
    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The files that were asked for, and from which byte on.
    pub(crate) fn asked(&self) -> Vec<(String, u64)> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where this machine has its models.
pub(crate) fn models() -> PathBuf {
    std::env::var_os("TENDER_MODELS").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME or TENDER_MODELS is set")).join(".cache/tender/models")
    })
}

fn serve(mut stream: TcpStream, pause: Duration, asked: &Mutex<Vec<(String, u64)>>) -> io::Result<()> {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        request.push(byte[0]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let range = request.lines().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let from: u64 = range.and_then(|range| range.trim().trim_end_matches('-').parse().ok()).unwrap_or(0);
    let known = MODELS.iter().find_map(|model| {
        let file = model.files.iter().find(|file| file.path() == path)?;
        Some((models().join(model.name).join(file.name), file.bytes))
    });
    let Some((file, bytes)) = known else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    asked.lock().unwrap_or_else(PoisonError::into_inner).push((path, from));
    let (status, place) = match from {
        0 => ("200 OK", String::new()),
        _ => ("206 Partial Content", format!("Content-Range: bytes {from}-{}/{bytes}\r\n", bytes - 1)),
    };
    let head = format!("HTTP/1.1 {status}\r\n{place}Content-Length: {}\r\nConnection: close\r\n\r\n", bytes - from);
    stream.write_all(head.as_bytes())?;
    let mut file = fs::File::open(file)?;
    file.seek(SeekFrom::Start(from))?;
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return stream.flush(),
            n => stream.write_all(&piece[..n])?,
        }
        thread::sleep(pause);
    }
}
