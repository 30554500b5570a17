use super::*;
use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";
const QUICK: Patience =
    Patience { connect: Duration::from_secs(2), silence: Duration::from_millis(300), pause: Duration::from_millis(1) };

/// How the source behaves, request by request; the last goes on for all that follow.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// As it should.
    Honest,
    /// The connection ends after so many bytes.
    BreaksAfter(usize),
    /// So many bytes, then nothing, while the connection stays open.
    FallsSilentAfter(usize),
    /// Says that the file has so many bytes.
    ClaimsLength(usize),
    /// Says no length and sends this much more than the file has.
    SendsMore(usize),
    /// Sends the whole file whatever range was asked for.
    IgnoresRanges,
    /// Begins so many bytes too late.
    WrongRange(usize),
    /// Sends elsewhere, without TLS.
    RedirectsWithoutTls,
    Answers(&'static str),
}

/// A source on loopback, and what it was asked for.
struct Source {
    address: SocketAddr,
    ranges: Arc<Mutex<Vec<String>>>,
}

impl Source {
    async fn of(content: Vec<u8>, manners: &'static [Manner]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let asked = ranges.clone();
        tokio::spawn(async move {
            for request in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let manner = manners[request.min(manners.len() - 1)];
                let (content, asked) = (content.clone(), asked.clone());
                tokio::spawn(async move {
                    // Whoever hangs up has seen enough.
                    drop(answer(stream, &content, manner, &asked).await);
                });
            }
        });
        Self { address, ranges }
    }

    fn asked(&self) -> Vec<String> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn fetch(&self) -> Fetch {
        self.patient_fetch(QUICK)
    }

    fn patient_fetch(&self, patience: Patience) -> Fetch {
        Fetch::new(&format!("http://{}/", self.address), patience).unwrap()
    }
}

async fn answer(mut stream: TcpStream, file: &[u8], manner: Manner, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    assert!(request.starts_with(&format!("get /owner/name/resolve/{REVISION}/weights.gguf http/1.1")), "{request}");
    let range = request.lines().find_map(|line| line.strip_prefix("range: ")).unwrap_or_default().to_owned();
    let from: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap_or(0);
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(range);
    let partial = |from: usize, rest: usize| {
        let last = file.len() - 1;
        let all = file.len();
        let place = if from > 0 { format!("Content-Range: bytes {from}-{last}/{all}\r\n") } else { String::new() };
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\n{place}Content-Length: {rest}\r\nConnection: close\r\n\r\n")
    };
    let (head, body) = match manner {
        Manner::Honest => (partial(from, file.len() - from), file[from..].to_vec()),
        Manner::BreaksAfter(bytes) | Manner::FallsSilentAfter(bytes) => {
            let rest = &file[from..];
            (partial(from, rest.len()), rest[..bytes.min(rest.len())].to_vec())
        }
        Manner::ClaimsLength(bytes) => (partial(0, bytes), file.to_vec()),
        Manner::SendsMore(bytes) => {
            let more = [file, &vec![7; bytes]].concat();
            ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(), more)
        }
        Manner::IgnoresRanges => (partial(0, file.len()), file.to_vec()),
        Manner::WrongRange(late) => (partial(from + late, file.len() - from - late), file[from + late..].to_vec()),
        Manner::RedirectsWithoutTls => {
            let head = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/else\r\nContent-Length: 0\r\n\r\n";
            (head.to_owned(), Vec::new())
        }
        Manner::Answers(status) => (format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"), Vec::new()),
    };
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    stream.flush().await?;
    if let Manner::FallsSilentAfter(_) = manner {
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// Content that no two places share.
fn content(bytes: u32) -> Vec<u8> {
    (0..bytes / 4).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn pinned(content: &[u8]) -> ModelFile {
    let (bytes, sha256) = (content.len() as u64, Sha256::of(content));
    ModelFile { name: "weights.gguf", bytes, sha256, repository: "owner/name", revision: REVISION }
}

/// A folder with a file of another model in it, which nothing may touch.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.0.path().join("neighbour.gguf"), b"mine").unwrap();
        folder
    }

    fn place(&self) -> PathBuf {
        self.0.path().join("weights.gguf")
    }

    fn part(&self) -> PathBuf {
        part(&self.place())
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(fs::read(self.0.path().join("neighbour.gguf")).unwrap(), b"mine");
        names
    }
}

/// Fetches `file` from a source of these manners.
async fn fetched(folder: &Folder, file: &[u8], manners: &'static [Manner]) -> (Result<(), Problem>, Source) {
    let source = Source::of(file.to_vec(), manners).await;
    let outcome = source.fetch().file(&pinned(file), &folder.place(), |_, _| {}).await;
    (outcome, source)
}

#[tokio::test]
async fn a_file_comes_whole_and_its_progress_is_told() {
    let (folder, file) = (Folder::new(), content(3 << 20));
    let source = Source::of(file.clone(), &[Manner::Honest]).await;
    let stages = Mutex::new(Vec::new());
    let report = |stage, bytes| stages.lock().unwrap().push((stage, bytes));
    source.fetch().file(&pinned(&file), &folder.place(), report).await.unwrap();
    assert_eq!(fs::read(folder.place()).unwrap(), file);
    assert_eq!(folder.names(), ["neighbour.gguf", "weights.gguf"]);
    assert_eq!(source.asked(), [""], "a first download asks for no range");
    let stages = stages.into_inner().unwrap();
    assert_eq!(stages[0], (Stage::Downloading, 0));
    assert!(
        stages.contains(&(Stage::Downloading, 3 << 20)) && stages.contains(&(Stage::Checking, 3 << 20)),
        "{stages:?}"
    );
    let told: Vec<u64> =
        stages.iter().filter(|(stage, _)| *stage == Stage::Downloading).map(|(_, bytes)| *bytes).collect();
    assert!(told.is_sorted(), "{told:?}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_resumed_where_it_broke() {
    let (folder, file) = (Folder::new(), content(1 << 20));
    let manners = &[Manner::BreaksAfter(300_000), Manner::BreaksAfter(500_000), Manner::Honest];
    let (outcome, source) = fetched(&folder, &file, manners).await;
    outcome.unwrap();
    assert_eq!(fs::read(folder.place()).unwrap(), file);
    assert_eq!(source.asked(), ["", "bytes=300000-", "bytes=800000-"]);
}

#[tokio::test]
async fn what_came_before_the_program_ended_is_not_fetched_again() {
    let (folder, file) = (Folder::new(), content(1 << 20));
    fs::write(folder.part(), &file[..700_000]).unwrap();
    let (outcome, source) = fetched(&folder, &file, &[Manner::Honest]).await;
    outcome.unwrap();
    assert_eq!(fs::read(folder.place()).unwrap(), file);
    assert_eq!(source.asked(), ["bytes=700000-"]);

    // Ended between the last byte and the check.
    fs::rename(folder.place(), folder.part()).unwrap();
    let (outcome, source) = fetched(&folder, &file, &[Manner::Answers("500 Internal Server Error")]).await;
    outcome.unwrap();
    assert_eq!(source.asked(), [""; 0], "nothing is missing");
}

#[tokio::test]
async fn a_download_that_is_stopped_keeps_what_came() {
    let (folder, file) = (Folder::new(), content(1 << 20));
    let source = Source::of(file.clone(), &[Manner::FallsSilentAfter(400_000), Manner::Honest]).await;
    let fetch = source.patient_fetch(Patience { silence: Duration::from_secs(60), ..QUICK });
    let (pinned, place) = (pinned(&file), folder.place());
    let some_came = async {
        while length(&folder.part()).unwrap_or(0) < 100_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = fetch.file(&pinned, &place, |_, _| {}) => panic!("it should wait for more: {outcome:?}"),
        () = some_came => {}
    }
    assert_eq!(folder.names(), ["neighbour.gguf", "weights.gguf.part"]);
    // What was being written when it was stopped may still be written.
    let (mut kept, mut before) = (fs::read(folder.part()).unwrap(), 0);
    while kept.len() > before {
        before = kept.len();
        tokio::time::sleep(Duration::from_millis(100)).await;
        kept = fs::read(folder.part()).unwrap();
    }
    assert!(file.starts_with(&kept), "{} bytes", kept.len());
    fetch.file(&pinned, &place, |_, _| {}).await.unwrap();
    assert_eq!(fs::read(place).unwrap(), file);
    assert_eq!(source.asked()[1], format!("bytes={}-", kept.len()));
}

#[tokio::test]
async fn a_source_that_never_gets_further_is_given_up_and_the_part_is_kept() {
    let (folder, file) = (Folder::new(), content(1 << 20));
    let manners = &[Manner::BreaksAfter(1000), Manner::FallsSilentAfter(0), Manner::BreaksAfter(0)];
    let (outcome, source) = fetched(&folder, &file, manners).await;
    let problem = outcome.unwrap_err();
    assert_eq!(problem.code, Code::Lost);
    assert!(problem.hint.contains("goes on where it broke off"), "{problem}");
    assert_eq!(source.asked().len() as u32, TRIES + 1, "{:?}", source.asked());
    assert_eq!(folder.names(), ["neighbour.gguf", "weights.gguf.part"]);
    assert_eq!(fs::read(folder.part()).unwrap(), file[..1000]);
}

#[tokio::test]
async fn a_busy_source_is_asked_again() {
    let (folder, file) = (Folder::new(), content(1 << 16));
    let manners =
        &[Manner::Answers("503 Service Unavailable"), Manner::Answers("429 Too Many Requests"), Manner::Honest];
    fetched(&folder, &file, manners).await.0.unwrap();
    assert_eq!(fs::read(folder.place()).unwrap(), file);
}

#[tokio::test]
async fn another_file_of_the_same_length_deletes_its_part_only() {
    let (folder, file) = (Folder::new(), content(1 << 16));
    let source = Source::of(vec![0; 1 << 16], &[Manner::Honest]).await;
    let problem = source.fetch().file(&pinned(&file), &folder.place(), |_, _| {}).await.unwrap_err();
    assert_eq!(problem.code, Code::Forged);
    assert!(problem.message.contains(&Sha256::of(&file).to_string()), "{problem}");
    assert_eq!(folder.names(), ["neighbour.gguf"]);

    // A whole file that was there before stays, too.
    fs::write(folder.place(), b"older").unwrap();
    source.fetch().file(&pinned(&file), &folder.place(), |_, _| {}).await.unwrap_err();
    assert_eq!(fs::read(folder.place()).unwrap(), b"older");
}

#[tokio::test]
async fn a_length_that_is_not_the_pinned_one_is_refused_at_once() {
    let (folder, file) = (Folder::new(), content(1 << 16));
    for manners in [&[Manner::ClaimsLength(1 << 20)], &[Manner::ClaimsLength(100)], &[Manner::SendsMore(1)]] {
        let (outcome, source) = fetched(&folder, &file, manners).await;
        let problem = outcome.unwrap_err();
        assert_eq!(problem.code, Code::Forged, "{problem}");
        assert_eq!(source.asked().len(), 1, "another attempt would bring the same");
        assert_eq!(fs::read(folder.part()).unwrap(), b"", "{manners:?}");
    }
    let page =
        [Manner::Answers("404 Not Found"), Manner::Answers("401 Unauthorized"), Manner::Answers("400 Bad Request")];
    let codes = [Code::NotFound, Code::Forbidden, Code::Unavailable];
    let leaked: &'static [Manner] = Box::leak(Box::new(page));
    for (at, code) in codes.into_iter().enumerate() {
        assert_eq!(fetched(&folder, &file, &leaked[at..=at]).await.0.unwrap_err().code, code);
    }
}

#[tokio::test]
async fn ranges_are_held_against_what_is_here() {
    let (folder, file) = (Folder::new(), content(1 << 16));
    fs::write(folder.part(), &file[..1000]).unwrap();
    let (outcome, _) = fetched(&folder, &file, &[Manner::WrongRange(4)]).await;
    assert_eq!(outcome.unwrap_err().code, Code::Forged);
    assert_eq!(fs::read(folder.part()).unwrap(), file[..1000], "nothing was put in a wrong place");
    // A source without ranges starts from the first byte.
    let (outcome, source) = fetched(&folder, &file, &[Manner::IgnoresRanges]).await;
    outcome.unwrap();
    assert_eq!(source.asked(), ["bytes=1000-"]);
    assert_eq!(fs::read(folder.place()).unwrap(), file);
    // A part that is longer than the file is none.
    fs::write(folder.part(), vec![1; 1 << 17]).unwrap();
    let (outcome, source) = fetched(&folder, &file, &[Manner::Honest]).await;
    outcome.unwrap();
    assert_eq!(source.asked(), [""]);
}

#[tokio::test]
async fn redirects_never_lead_off_tls() {
    let (folder, file) = (Folder::new(), content(1 << 10));
    let (outcome, source) = fetched(&folder, &file, &[Manner::RedirectsWithoutTls]).await;
    let problem = outcome.unwrap_err();
    assert_eq!(problem.code, Code::Forbidden);
    assert!(problem.message.contains("without TLS"), "{problem}");
    assert_eq!(source.asked().len(), 1);
}

#[tokio::test]
async fn a_part_that_another_process_writes_is_left_alone() {
    let (folder, file) = (Folder::new(), content(1 << 10));
    let other = fs::File::create(folder.part()).unwrap();
    other.lock().unwrap();
    let (outcome, source) = fetched(&folder, &file, &[Manner::Honest]).await;
    assert_eq!(outcome.unwrap_err().code, Code::Conflict);
    assert_eq!(source.asked(), [""; 0]);
}

#[test]
fn a_download_that_would_fill_the_disk_does_not_begin() {
    let dir = tempfile::tempdir().unwrap();
    let model = &tender_base::catalogue::SMOLLM2;
    room(dir.path(), 0, model).unwrap();
    let problem = room(dir.path(), 1 << 60, model).unwrap_err();
    assert_eq!(problem.code, Code::Storage);
    assert!(problem.hint.contains("models_dir"), "{problem}");
}
