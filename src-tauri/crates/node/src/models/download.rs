//! Downloading a model: one at a time, resumed where it broke off, and put into its place only when the whole file has
//! the pinned hash.

use super::{Busy, Stage, Task, absent, folder};
use crate::node::Node;
use reqwest::{StatusCode, header, redirect};
use sha2::Digest;
use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tender_base::{
    Code, Problem, Sha256,
    catalogue::{Model, ModelFile},
};
use tokio::{
    io::{AsyncSeekExt, AsyncWriteExt},
    task::spawn_blocking,
};

/// Disk space that a download leaves free.
const SPARE_DISK_BYTES: u64 = 512 << 20;
/// Redirects on the way to a file: a model hub sends to its storage, and that to a nearby copy.
const MAX_REDIRECTS: usize = 5;
/// Attempts in a row without a byte of progress.
const TRIES: u32 = 4;
/// How often progress is shown.
const BETWEEN_REPORTS: Duration = Duration::from_millis(200);
/// A piece of a file that is hashed at once.
const PIECE_BYTES: usize = 1 << 20;

/// How long the source may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// To accept a connection.
    pub(super) connect: Duration,
    /// From one piece of the file to the next.
    pub(super) silence: Duration,
    /// Pause before the first new attempt, doubled each time.
    pub(super) pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), silence: Duration::from_secs(60), pause: Duration::from_secs(2) }
    }
}

/// One download.
pub(super) struct Fetch {
    client: reqwest::Client,
    source: String,
    patience: Patience,
}

/// Why an attempt ended.
enum Ended {
    /// The connection: another attempt may get further.
    Broken(Problem),
    /// Something that another attempt does not change.
    Final(Problem),
}

impl Fetch {
    /// From `source`, an address that every file's path is appended to.
    ///
    /// # Errors
    /// When the HTTP client cannot be built.
    pub(super) fn new(source: &str, patience: Patience) -> Result<Self, Problem> {
        crate::attach::use_ring();
        // What the first address says is trusted to lead further, but never off TLS: who can read along could
        // otherwise see what is fetched.
        let policy = redirect::Policy::custom(|attempt| {
            if attempt.previous().len() > MAX_REDIRECTS {
                return attempt.error("it redirects too often");
            }
            if attempt.url().scheme() != "https" {
                return attempt.error("it redirects to an address without TLS");
            }
            attempt.follow()
        });
        let mut builder = reqwest::Client::builder()
            .redirect(policy)
            .connect_timeout(patience.connect)
            .read_timeout(patience.silence)
            .user_agent(concat!("tender/", env!("CARGO_PKG_VERSION")));
        if source.starts_with("http://") {
            // Loopback, or it would not have been accepted: no proxy is asked for that.
            builder = builder.no_proxy();
        }
        let client = builder
            .build()
            .map_err(|e| Problem::new(Code::Internal, format!("the HTTP client does not start: {e}"), ""))?;
        Ok(Self { client, source: source.trim_end_matches('/').to_owned(), patience })
    }

    /// Brings a file to `place`. What came so far is kept beside it, as `place.part`, and is continued. Dropping the
    /// future stops it; `report` hears the stage and its bytes.
    ///
    /// # Errors
    /// [`Code::Conflict`] when another process downloads it, [`Code::Lost`] when the connection breaks again and
    /// again, [`Code::Forged`] when another file came, [`Code::NotFound`] and [`Code::Forbidden`] as the source says.
    pub(super) async fn file(
        &self,
        file: &ModelFile,
        place: &Path,
        report: impl Fn(Stage, u64),
    ) -> Result<(), Problem> {
        let part = part(place);
        let stored = |e: io::Error| storage(&part, &e);
        let opened = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&part);
        let opened = opened.map_err(stored)?;
        opened.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => Problem::new(
                Code::Conflict,
                format!("{} is being written by another download", part.display()),
                "wait for it, or end it first",
            ),
            fs::TryLockError::Error(e) => storage(&part, &e),
        })?;
        let mut target = tokio::fs::File::from_std(opened);
        let mut tries = 0;
        loop {
            let before = target.metadata().await.map_err(stored)?.len();
            let outcome = self.attempt(file, &part, &mut target, &report).await;
            // What came is kept also when the connection broke.
            target.flush().await.map_err(stored)?;
            match outcome {
                Ok(()) => break,
                Err(Ended::Final(problem)) => return Err(problem),
                Err(Ended::Broken(problem)) => {
                    let after = target.metadata().await.map_err(stored)?.len();
                    tries = if after > before { 1 } else { tries + 1 };
                    if tries > TRIES {
                        return Err(problem);
                    }
                    tracing::info!(file = file.name, code = %problem.code, %problem, "trying again");
                    tokio::time::sleep(self.patience.pause * (1 << (tries - 1))).await;
                }
            }
        }
        target.sync_all().await.map_err(stored)?;
        check(file, &part, report).await?;
        fs::rename(&part, place).map_err(stored)
    }

    /// Fetches what is missing of the part.
    async fn attempt(
        &self,
        file: &ModelFile,
        part: &Path,
        target: &mut tokio::fs::File,
        report: &impl Fn(Stage, u64),
    ) -> Result<(), Ended> {
        let stored = |e: io::Error| Ended::Final(storage(part, &e));
        let mut have = target.metadata().await.map_err(stored)?.len();
        if have > file.bytes {
            // Not what this program leaves behind.
            target.set_len(0).await.map_err(stored)?;
            have = 0;
        }
        report(Stage::Downloading, have);
        if have == file.bytes {
            return Ok(());
        }
        let mut request = self.client.get(format!("{}/{}", self.source, file.path()));
        // Lengths and ranges are those of the file, not of a compressed form.
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if have > 0 {
            request = request.header(header::RANGE, format!("bytes={have}-"));
        }
        let mut answer = request.send().await.map_err(|e| self.refused(e))?;
        have = self.begins(file, &answer, have)?;
        target.set_len(have).await.map_err(stored)?;
        target.seek(io::SeekFrom::Start(have)).await.map_err(stored)?;
        let mut shown = tokio::time::Instant::now();
        while let Some(bytes) = answer.chunk().await.map_err(|e| self.refused(e))? {
            if bytes.len() as u64 > file.bytes - have {
                let another = self.another(file, "more bytes than that");
                target.set_len(0).await.map_err(stored)?;
                return Err(Ended::Final(another));
            }
            target.write_all(&bytes).await.map_err(stored)?;
            have += bytes.len() as u64;
            if shown.elapsed() >= BETWEEN_REPORTS {
                shown = tokio::time::Instant::now();
                report(Stage::Downloading, have);
            }
        }
        report(Stage::Downloading, have);
        if have == file.bytes {
            return Ok(());
        }
        Err(Ended::Broken(self.lost(&format!("it ended after {have} of {} bytes", file.bytes))))
    }

    /// Where the bytes of an answer belong.
    fn begins(&self, file: &ModelFile, answer: &reqwest::Response, have: u64) -> Result<u64, Ended> {
        let status = answer.status();
        let length = answer.content_length();
        let fits = |rest: u64| match length {
            Some(length) if length != rest => {
                Err(Ended::Final(self.another(file, &format!("{length} bytes where {rest} are missing"))))
            }
            _ => Ok(()),
        };
        match status {
            // Without the range that was asked for: from the start.
            StatusCode::OK => fits(file.bytes).map(|()| 0),
            StatusCode::PARTIAL_CONTENT => {
                let range = answer.headers().get(header::CONTENT_RANGE).and_then(|value| value.to_str().ok());
                if range != Some(&format!("bytes {have}-{}/{}", file.bytes - 1, file.bytes)) {
                    let what = format!("the range {} where {have} bytes are here", range.unwrap_or("(not said)"));
                    return Err(Ended::Final(self.another(file, &what)));
                }
                fits(file.bytes - have).map(|()| have)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Err(Ended::Final(self.another(file, "no byte after those here"))),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(Ended::Final(Problem::new(
                Code::NotFound,
                format!("{} has no {}", self.source, file.path()),
                "the file has been moved: get it elsewhere, and use `tender models add FILE`",
            ))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Ended::Final(Problem::new(
                Code::Forbidden,
                format!("{} does not give {} to everyone ({status})", self.source, file.path()),
                "accept its terms there with your browser, download it, and use `tender models add FILE`",
            ))),
            _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Ended::Broken(self.lost(&format!("it answers {status}"))))
            }
            _ => {
                let hint = "check the setting models_source";
                Err(Ended::Final(Problem::new(Code::Unavailable, format!("{} answers {status}", self.source), hint)))
            }
        }
    }

    fn refused(&self, error: reqwest::Error) -> Ended {
        let mut why = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(next) = cause {
            why = next.to_string();
            cause = next.source();
        }
        if error.is_redirect() {
            let message = format!("{} cannot be used: {why}", self.source);
            return Ended::Final(Problem::new(Code::Forbidden, message, "set models_source to another address"));
        }
        Ended::Broken(self.lost(&why))
    }

    fn lost(&self, why: &str) -> Problem {
        Problem::new(
            Code::Lost,
            format!("the download from {} broke off: {why}", self.source),
            "check the network and start it again; it goes on where it broke off",
        )
    }

    fn another(&self, file: &ModelFile, what: &str) -> Problem {
        Problem::new(
            Code::Forged,
            format!("{} sends another file than {}, which has {} bytes: {what}", self.source, file.name, file.bytes),
            "check the network (a hotel's login page?) and the setting models_source, then start it again",
        )
    }
}

/// Hashes the whole part. Another file is deleted: nothing of it can be continued.
async fn check(file: &ModelFile, part: &Path, report: impl Fn(Stage, u64)) -> Result<(), Problem> {
    let got = hash(part, |bytes| report(Stage::Checking, bytes)).await?;
    if got == file.sha256 {
        return Ok(());
    }
    delete(part)?;
    Err(Problem::new(
        Code::Forged,
        format!("what came for {} has SHA-256 {got}, not {}; it was deleted", file.name, file.sha256),
        "start it again; if it repeats, set models_source to a source that you trust",
    ))
}

/// Stops a thread when nobody waits for it any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Hashes a file without holding up the runtime; `report` hears the bytes so far.
///
/// # Errors
/// [`Code::Storage`] when it cannot be read.
pub(super) async fn hash(path: &Path, report: impl Fn(u64)) -> Result<Sha256, Problem> {
    let stop = Arc::new(AtomicBool::new(false));
    let _stop = StopOnDrop(stop.clone());
    let (done, mut told) = tokio::sync::watch::channel(0);
    let file = path.to_owned();
    let hashing = spawn_blocking(move || {
        hash_file(&file, &stop, |bytes| {
            done.send_replace(bytes);
        })
    });
    while told.changed().await.is_ok() {
        let bytes = *told.borrow_and_update();
        report(bytes);
        tokio::time::sleep(BETWEEN_REPORTS).await;
    }
    hashing.await.map_err(|e| storage(path, &io::Error::other(e)))?.map_err(|e| storage(path, &e))
}

/// Hashes a file; `report` hears the bytes so far. Blocks.
///
/// # Errors
/// What reading says; `Interrupted` when `stop` was set.
fn hash_file(path: &Path, stop: &AtomicBool, mut report: impl FnMut(u64)) -> io::Result<Sha256> {
    let mut file = fs::File::open(path)?;
    let mut hasher = sha2::Sha256::new();
    let mut piece = vec![0; PIECE_BYTES];
    let mut done = 0;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match file.read(&mut piece)? {
            0 => return Ok(Sha256::from_bytes(hasher.finalize().into())),
            n => {
                hasher.update(&piece[..n]);
                done += n as u64;
                report(done);
            }
        }
    }
}

/// Length of a file; none when there is no such file.
pub(super) fn length(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|about| about.len())
}

/// Where a file is while it is being downloaded.
pub(super) fn part(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    place.with_file_name(name)
}

/// Deletes a file, if it is there.
pub(super) fn delete(path: &Path) -> Result<(), Problem> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(storage(path, &e)),
        _ => Ok(()),
    }
}

fn storage(path: &Path, error: &io::Error) -> Problem {
    let hint = "free the disk, or set models_dir to a folder that this user may write to";
    Problem::new(Code::Storage, format!("{}: {error}", path.display()), hint)
}

impl Node {
    /// Starts to download a model of the catalogue, or goes on with a download that broke off.
    ///
    /// # Errors
    /// [`Code::NotFound`] for a name that is not in the catalogue, [`Code::Conflict`] while another one is downloaded,
    /// [`Code::Storage`] when the disk has not enough space.
    pub(crate) fn download_model(self: &Arc<Self>, name: &str) -> Result<(), Problem> {
        let model = Model::named(name).ok_or_else(|| {
            let hint = "`tender models` lists what can be downloaded; `tender models add FILE` takes any other";
            Problem::new(Code::NotFound, format!("there is no model {name} in the catalogue"), hint)
        })?;
        let settings = self.settings();
        let dir = folder(&settings).join(model.name);
        let missing: Vec<&ModelFile> =
            model.files.iter().filter(|file| length(&dir.join(file.name)) != Some(file.bytes)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let there = |file: &ModelFile| length(&part(&dir.join(file.name))).unwrap_or(0).min(file.bytes);
        room(&dir, missing.iter().map(|file| file.bytes - there(file)).sum(), model)?;
        let fetch = Fetch::new(&settings.models_source, Patience::default())?;
        fs::create_dir_all(&dir).map_err(|e| storage(&dir, &e))?;
        let cancel = self.shutdown.child_token();
        {
            let mut busy = self.models.busy();
            if let Some((other, _)) = busy.iter().find(|(_, busy)| matches!(busy.task, Task::Download)) {
                return Err(Problem::new(
                    Code::Conflict,
                    format!("{other} is being downloaded"),
                    format!("wait for it, or end it: tender models cancel {other}"),
                ));
            }
            let task = Task::Download;
            busy.insert(
                model.name.to_owned(),
                Busy { task, stage: Stage::Downloading, done: 0, cancel: cancel.clone() },
            );
        }
        self.models.faults().remove(model.name);
        let node = self.clone();
        self.spawn(async move {
            let outcome = tokio::select! {
                biased;
                // Ended by the owner: no fault, and what came is kept.
                () = cancel.cancelled() => Ok(()),
                outcome = node.fetch_all(&fetch, model, &dir) => outcome,
            };
            if let Err(problem) = &outcome {
                tracing::warn!(model = model.name, code = %problem.code, %problem, "the download ended");
            }
            node.models.ended(model.name, outcome);
            node.live.touch();
        });
        self.live.touch();
        Ok(())
    }

    async fn fetch_all(&self, fetch: &Fetch, model: &'static Model, dir: &Path) -> Result<(), Problem> {
        let mut before = 0;
        for file in model.files {
            let place = dir.join(file.name);
            if length(&place) != Some(file.bytes) {
                let report = |stage, bytes| {
                    if let Some(busy) = self.models.busy().get_mut(model.name) {
                        (busy.stage, busy.done) = (stage, before + bytes);
                    }
                    self.live.touch();
                };
                fetch.file(file, &place, report).await?;
            }
            before += file.bytes;
        }
        Ok(())
    }

    /// Ends a download; what came is kept for the next time.
    ///
    /// # Errors
    /// [`Code::NotFound`] when nothing of that name is under way.
    pub(crate) fn cancel_download(&self, name: &str) -> Result<(), Problem> {
        let busy = self.models.busy().get(name).cloned().ok_or_else(|| {
            Problem::new(Code::NotFound, format!("{name} is not being downloaded"), "`tender models` shows what is")
        })?;
        busy.cancel.cancel();
        Ok(())
    }

    /// Deletes the files of a model of the catalogue, also those that came only in part.
    ///
    /// # Errors
    /// [`Code::Storage`] when a file cannot be deleted.
    pub(super) fn delete_downloaded(&self, model: &'static Model) -> Result<(), Problem> {
        let dir = folder(&self.settings()).join(model.name);
        if !dir.is_dir() {
            return Err(absent(model, &dir));
        }
        for file in model.files {
            delete(&dir.join(file.name))?;
            delete(&part(&dir.join(file.name)))?;
        }
        // Unless the owner has put something else there.
        let _ = fs::remove_dir(&dir);
        Ok(())
    }
}

/// Whether the disk has space for so many bytes more.
fn room(dir: &Path, missing: u64, model: &Model) -> Result<(), Problem> {
    let free = match tender_host::free::disk_space(dir) {
        Ok(free) => free,
        // Then the disk says so itself when it is full.
        Err(_) => return Ok(()),
    };
    if free >= missing.saturating_add(SPARE_DISK_BYTES) {
        return Ok(());
    }
    let size = super::fit::size;
    Err(Problem::new(
        Code::Storage,
        format!(
            "{} needs {} more on the disk and {} to spare, but {} has {}",
            model.name,
            size(missing),
            size(SPARE_DISK_BYTES),
            dir.display(),
            size(free)
        ),
        "free the disk, or set models_dir to a folder on another one",
    ))
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
