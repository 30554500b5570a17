//! The desk for text against scripted workers: interleaved requests, refusals, cancelling, limits and death. The real
//! worker is tested where both are built.

use crate::{Engine, LocalEngine, Order, Output, Progress, Scores, Settings, Tenant};
use bytes::Bytes;
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tender_base::{
    Code, Problem, Sha256, Signer, Work,
    job::{GenerateWork, ModelRef, Sampling},
    signed::KeySigner,
};
use tokio::sync::watch;

/// What every scripted worker can do; the script goes on after the model is loaded.
const PRELUDE: &str = r#"#!/usr/bin/env python3
import json, os, struct, sys, time
os.chdir(os.path.dirname(os.path.abspath(__file__)))
open("pids", "a").write(f"{os.getpid()}\n")
def receive():
    head, body = struct.unpack("<II", sys.stdin.buffer.read(8))
    request = json.loads(sys.stdin.buffer.read(head))
    open("log", "a").write(request["request"] + str(request.get("id", "")) + "\n")
    return request, sys.stdin.buffer.read(body)
def send(reply, payload=b"", **fields):
    head = json.dumps({"reply": reply, **fields}).encode()
    sys.stdout.buffer.write(struct.pack("<II", len(head), len(payload)) + head + payload)
    sys.stdout.buffer.flush()
def fail(reply, **fields):
    send(reply, problem={"code": "invalid", "message": "no such word", "hint": "use another"}, **fields)
def load(sequences=2):
    assert receive()[0]["request"] == "open"
    send("ready", worker={"adapter": "scripted", "driver": "", "backend": "", "version": "0"})
    assert receive()[0]["request"] == "load"
    send("loaded", limits={"context_tokens": 64, "sequences": sequences, "cache_bytes": 0})
"#;

struct Stage {
    folder: TempDir,
}

impl Stage {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.py");
        fs::write(&path, format!("{PRELUDE}{script}\ntime.sleep(60)\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self { folder }
    }

    fn engine(&self) -> LocalEngine {
        LocalEngine::new(Settings { worker: Some(self.folder.path().join("worker.py")), ..Settings::default() })
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn order(tenant: Tenant) -> Order {
    Order {
        work: Work::Generate(GenerateWork {
            model: ModelRef { name: "m".into(), sha256: Sha256::of(b"m") },
            prompt_tokens: 1,
            max_tokens: 4,
            sampling: Sampling::GREEDY,
            stop: Vec::new(),
        }),
        input: Bytes::from_static(br#"{"prompt":"a"}"#),
        model: Some("/models/m.gguf".into()),
        parts: None,
        wall_limit: Duration::from_secs(10),
        tenant,
    }
}

fn peer() -> Tenant {
    Tenant::Peer(KeySigner::from_seed(&[7; 32]).did())
}

async fn write(engine: &LocalEngine, order: Order) -> Result<Output, Problem> {
    engine.run(order, watch::channel(Progress::default()).0).await
}

#[tokio::test]
async fn requests_share_a_worker_and_their_texts_stay_apart() {
    let stage = Stage::new(
        r#"
load()
a, b = receive()[0]["id"], receive()[0]["id"]
send("text", "Gr".encode(), id=a, tokens=1)
send("text", "B".encode(), id=b, tokens=1)
send("text", "üß".encode(), id=a, tokens=2)
time.sleep(0.1)
send("generated", b"{2}", id=b, units=2, wall_ms=5)
send("generated", b"{1}", id=a, units=3, wall_ms=6)
"#,
    );
    let engine = stage.engine();
    let (progress, seen) = watch::channel(Progress::default());
    let (first, second) = tokio::join!(engine.run(order(Tenant::Own), progress), write(&engine, order(peer())));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.bytes.as_ref(), first.units, first.wall_ms), (&b"{1}"[..], 3, 6));
    assert_eq!((second.bytes.as_ref(), second.units), (&b"{2}"[..], 2));
    assert_eq!(*seen.borrow(), Progress { done: 2, total: 4, text: Arc::from("Grüß") });
    assert_eq!(stage.lines("pids").len(), 1);
    assert!(engine.is_running());
}

#[tokio::test]
async fn what_is_over_the_workers_room_waits_and_the_owner_goes_first() {
    let stage = Stage::new(
        r#"
load(sequences=1)
for _ in range(3):
    request, prompt = receive()
    send("generated", prompt, id=request["id"], units=2, wall_ms=1)
    time.sleep(0.1)
"#,
    );
    let engine = stage.engine();
    let finished = std::sync::Mutex::new(Vec::new());
    let one = async |tenant: Tenant, name: &str, after: u64| {
        tokio::time::sleep(Duration::from_millis(after)).await;
        write(&engine, order(tenant)).await.unwrap();
        finished.lock().unwrap().push(name.to_owned());
    };
    // All are queued while the model loads.
    tokio::join!(one(peer(), "first", 0), one(peer(), "second", 1), one(Tenant::Own, "own", 2));
    let finished = finished.into_inner().unwrap();
    assert!(finished.iter().position(|n| n == "own") < finished.iter().position(|n| n == "second"), "{finished:?}");
}

#[tokio::test]
async fn a_refused_request_ends_alone() {
    let stage = Stage::new(
        r#"
load()
a, b = receive()[0]["id"], receive()[0]["id"]
fail("refused", id=a)
send("generated", b"{}", id=b, units=2, wall_ms=1)
"#,
    );
    let engine = stage.engine();
    let (refused, done) = tokio::join!(write(&engine, order(peer())), write(&engine, order(peer())));
    done.unwrap();
    let problem = refused.unwrap_err();
    assert_eq!((problem.code, problem.message.as_str()), (Code::Invalid, "no such word"));
    assert!(engine.is_running());
}

#[tokio::test]
async fn who_gives_up_is_cancelled_and_who_takes_too_long_expires() {
    let stage = Stage::new(
        r#"
load()
receive(); receive()
request = receive()[0]
# Until here it waits for room, which takes no time of its limit.
time.sleep(0.3)
send("text", id=request["id"], tokens=0)
receive()
"#,
    );
    let engine = stage.engine();
    let given_up = tokio::time::timeout(Duration::from_secs(2), write(&engine, order(Tenant::Own))).await;
    assert!(given_up.is_err());
    let late = Order { wall_limit: Duration::from_millis(50), ..order(peer()) };
    let begun = std::time::Instant::now();
    assert_eq!(write(&engine, late).await.unwrap_err().code, Code::Expired);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(stage.lines("log"), ["open", "load", "generate1", "cancel1", "generate2", "cancel2"]);
    assert_eq!(stage.lines("pids").len(), 1, "the others' worker lives on");
}

#[tokio::test]
async fn work_begins_when_the_worker_has_room() {
    let stage = Stage::new(
        r#"
load()
a, b = receive()[0]["id"], receive()[0]["id"]
send("text", id=a, tokens=0)
time.sleep(0.3)
send("generated", b"{}", id=a, units=2, wall_ms=1)
send("text", id=b, tokens=0)
time.sleep(0.1)
send("generated", b"{}", id=b, units=2, wall_ms=1)
"#,
    );
    let engine = stage.engine();
    let (first, mut of_first) = watch::channel(Progress::default());
    let (second, mut of_second) = watch::channel(Progress::default());
    // Far shorter than what the second waits.
    let short = Order { wall_limit: Duration::from_millis(200), ..order(peer()) };
    let (one, two, ()) = tokio::join!(engine.run(order(peer()), first), engine.run(short, second), async {
        of_first.changed().await.unwrap();
        assert_eq!(*of_first.borrow(), Progress { done: 0, total: 4, text: Arc::default() });
        // It is in the worker, too, and yet nothing is said of it.
        assert!(stage.lines("log").contains(&"generate2".to_owned()));
        assert!(!of_second.has_changed().unwrap());
        of_second.changed().await.unwrap();
        assert_eq!(of_second.borrow().total, 4);
    });
    one.unwrap();
    two.unwrap();
}

#[tokio::test]
async fn a_worker_that_reads_nothing_is_killed_and_does_not_hold_up_a_stop() {
    let stage = Stage::new(
        "load()
",
    );
    let engine = stage.engine();
    // More than a pipe holds.
    let long = || Order { input: vec![b' '; 1 << 20].into(), ..order(peer()) };
    let loaded = async {
        while engine.text_model().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let (written, stopped) = tokio::join!(write(&engine, long()), async {
        loaded.await;
        tokio::time::timeout(Duration::from_secs(3), engine.stop()).await
    });
    stopped.expect("the stop is carried out");
    assert_eq!(written.unwrap_err().code, Code::Unavailable);
    assert!(!engine.is_running());

    let problem = tokio::time::timeout(Duration::from_secs(8), write(&engine, long())).await.unwrap().unwrap_err();
    assert!(problem.code == Code::Expired && problem.message.contains("took no request"), "{problem}");
    while engine.is_running() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_the_owner_has_one_of_its_own() {
    let stage = Stage::new(
        r#"
load(sequences=1)
while True:
    receive()
"#,
    );
    let engine = Arc::new(stage.engine());
    // One in the worker, and 64 that wait, one after the other so that the desk sees each.
    let mut held = Vec::new();
    for at in 0..65 {
        let engine = Arc::clone(&engine);
        held.push(tokio::spawn(async move { write(&engine, order(peer())).await }));
        while at == 0 && !stage.lines("log").contains(&"generate1".to_owned()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let soon = async |tenant| tokio::time::timeout(Duration::from_millis(500), write(&engine, order(tenant))).await;
    let refused = soon(peer()).await.expect("an answer at once").unwrap_err();
    assert_eq!(refused.code, Code::TooMany, "{refused}");
    assert!(soon(Tenant::Own).await.is_err(), "the owner waits");
    // Who gives up makes room.
    held.pop().unwrap().abort();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(soon(peer()).await.is_err(), "it waits");
    held.into_iter().for_each(|one| one.abort());
}

#[tokio::test]
async fn a_text_longer_than_its_tokens_can_be_ends_alone() {
    let stage = Stage::new(
        r#"
load()
a, b = receive()[0]["id"], receive()[0]["id"]
send("text", b"x" * 4000, id=a, tokens=1)
send("text", b"x" * 4000, id=a, tokens=2)
assert receive()[0] == {"request": "cancel", "id": a}
send("generated", b"{}", id=b, units=2, wall_ms=1)
c = receive()[0]["id"]
send("generated", b"x" * 8000, id=c, units=2, wall_ms=1)
"#,
    );
    let engine = stage.engine();
    let (long, other) = tokio::join!(write(&engine, order(peer())), write(&engine, order(peer())));
    other.unwrap();
    for problem in [long.unwrap_err(), write(&engine, order(peer())).await.unwrap_err()] {
        assert!(problem.code == Code::WorkFailed && problem.message.contains("5120 bytes"), "{problem}");
    }
    assert!(engine.is_running());
}

#[tokio::test]
async fn a_worker_that_dies_takes_what_was_in_it_along_and_the_next_gets_a_new_one() {
    let stage = Stage::new(
        r#"
load()
request = receive()[0]
if len(open("pids").readlines()) == 1:
    sys.stderr.write("out of memory\n"); sys.stderr.flush(); time.sleep(0.2); sys.exit(3)
send("generated", b"{}", id=request["id"], units=2, wall_ms=1)
"#,
    );
    let engine = stage.engine();
    let problem = write(&engine, order(peer())).await.unwrap_err();
    assert!(problem.code == Code::Lost && problem.message.contains("out of memory"), "{problem}");
    write(&engine, order(peer())).await.unwrap();
    assert_eq!(stage.lines("pids").len(), 2);
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_said_and_stop_leaves_nothing() {
    let stage = Stage::new(
        r#"
assert receive()[0]["request"] == "open"
send("ready", worker={"adapter": "scripted", "driver": "", "backend": "", "version": "0"})
receive()
fail("failed")
"#,
    );
    let engine = stage.engine();
    assert_eq!(write(&engine, order(Tenant::Own)).await.unwrap_err().message, "no such word");
    assert!(!engine.is_running());

    let stage = Stage::new("load(); receive()");
    let engine = stage.engine();
    let (written, ()) = tokio::join!(write(&engine, order(Tenant::Own)), async {
        while !stage.lines("log").contains(&"generate1".to_owned()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        engine.stop().await;
        for pid in stage.lines("pids") {
            assert!(!Path::new(&format!("/proc/{pid}")).exists());
        }
    });
    assert_eq!(written.unwrap_err().code, Code::Unavailable);
}

#[tokio::test]
async fn margins_come_back_as_numbers_and_garbage_breaks_the_stream() {
    let stage = Stage::new(
        r#"
load()
request, payload = receive()
assert payload[request["prompt_bytes"]:] == b"claimed", payload
send("text", id=request["id"], tokens=0)
send("text", id=request["id"], tokens=0)
send("scored", struct.pack("<2f", 0.0, 0.25), id=request["id"], fault=None)
request, payload = receive()
send("scored", id=request["id"], fault="the text is another")
request, payload = receive()
send("text", b"x" * 100000, id=request["id"], tokens=1)
"#,
    );
    let engine = stage.engine();
    let claimed = Bytes::from_static(b"claimed");
    let scores = engine.score(order(Tenant::Own), claimed.clone()).await.unwrap();
    assert_eq!(scores, Scores { margins: vec![0.0, 0.25], fault: None });
    let scores = engine.score(order(Tenant::Own), claimed).await.unwrap();
    assert_eq!(scores, Scores { margins: Vec::new(), fault: Some("the text is another".into()) });
    let problem = write(&engine, order(Tenant::Own)).await.unwrap_err();
    assert!(problem.code == Code::Lost && problem.message.contains("100000 bytes"), "{problem}");
}
