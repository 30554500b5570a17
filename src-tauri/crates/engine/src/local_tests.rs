//! Process handling against shell scripts: what a broken, silent or dying worker does to the node. The real worker
//! is tested where both are built.

use super::*;
use std::{fs, os::unix::fs::PermissionsExt as _, time::Instant};
use tempfile::TempDir;
use tender_base::{
    Did, Signer,
    frames::{Sandbox, write_frame},
    job::{Access, Element, WgslBuffer, WgslWork},
    signed::KeySigner,
};

/// A folder with a script that stands in for the worker.
struct Stage {
    folder: TempDir,
}

impl Stage {
    /// `script` runs in `sh` after `echo $$ >> pids`; `ready`, `progress`, `done` and `failed` name files that hold
    /// such a frame.
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let info = WorkerInfo {
            adapter: "scripted".into(),
            driver: String::new(),
            backend: String::new(),
            version: "0".into(),
            runtime: None,
        };
        let problem = Problem::new(Code::Invalid, "the kernel does not parse", "correct it");
        for (name, reply, payload) in [
            ("ready", Reply::Ready { worker: info, sandbox: Sandbox::default(), main_memory: None }, &b""[..]),
            ("progress", Reply::Progress { done: 1, total: 2 }, b""),
            ("done", Reply::Done { units: 2, wall_ms: 1 }, b"\0\0\x80\x3f"),
            ("long", Reply::Done { units: 2, wall_ms: 1 }, b"\0\0\x80\x3f\0\0\0\0"),
            ("short", Reply::Done { units: 2, wall_ms: 1 }, b""),
            ("failed", Reply::Failed { problem }, b""),
            ("counted", Reply::Counted { tokens: vec![3, 5] }, b""),
            ("measured", Reply::Measured { units: 7, seconds: 2.0 }, b""),
        ] {
            let mut frame = Vec::new();
            write_frame(&mut frame, &reply, payload).unwrap();
            fs::write(folder.path().join(name), frame).unwrap();
        }
        let text = format!("#!/bin/sh\ncd {}\necho $$ >> pids\n{script}\n", folder.path().display());
        let path = folder.path().join("worker.sh");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Self { folder }
    }

    fn engine(&self) -> LocalEngine {
        self.engine_with_idle(DEFAULT_IDLE)
    }

    fn engine_with_idle(&self, idle_timeout: Duration) -> LocalEngine {
        LocalEngine::new(Settings {
            worker: Some(self.folder.path().join("worker.sh")),
            idle_timeout,
            ..Settings::default()
        })
    }

    /// Process ids of all workers started so far.
    fn pids(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.folder.path().join("pids")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    fn none_is_alive(&self) -> bool {
        self.pids().iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    }
}

fn order(tenant: Tenant) -> Order {
    Order {
        work: Work::Gemm { m: 1, k: 1, n: 1, precision: tender_base::job::Precision::F32 },
        input: vec![0; 8].into(),
        model: None,
        parts: None,
        wall_limit: Duration::from_secs(10),
        tenant,
    }
}

fn kernel(tenant: Tenant) -> Order {
    let work = Work::Wgsl(WgslWork {
        source_bytes: 8,
        entry: "main".into(),
        workgroups: 1,
        workgroup_size: 1,
        fuel: 1,
        buffers: vec![WgslBuffer { binding: 0, access: Access::Write, bytes: 4 }],
        element: Element::U32,
    });
    Order { work, ..order(tenant) }
}

fn peer(seed: u8) -> Tenant {
    let did: Did = KeySigner::from_seed(&[seed; 32]).did();
    Tenant::Peer(did)
}

async fn run(engine: &LocalEngine, order: Order) -> Result<Output, Problem> {
    engine.run(order, watch::channel(Progress::default()).0).await
}

#[tokio::test]
async fn an_order_starts_the_worker_reports_progress_and_leaves_it_warm() {
    let stage = Stage::new("cat ready progress done done; sleep 60");
    let engine = stage.engine();
    assert!(!engine.is_running() && engine.info().is_none(), "nothing starts before there is work");
    let (progress, seen) = watch::channel(Progress::default());
    let output = engine.run(order(Tenant::Own), progress).await.unwrap();
    assert_eq!((output.bytes.as_ref(), output.units), (&b"\0\0\x80\x3f"[..], 2));
    assert_eq!(*seen.borrow(), Progress { done: 1, total: 2, ..Progress::default() });
    run(&engine, order(Tenant::Own)).await.unwrap();
    assert_eq!(stage.pids().len(), 1);
    assert!(engine.is_running() && engine.info().is_some_and(|info| info.adapter == "scripted"));
}

#[tokio::test]
async fn tokens_are_counted() {
    let stage = Stage::new("cat counted; sleep 60");
    let engine = stage.engine();
    let counted = engine.count_tokens(stage.folder.path(), Bytes::from_static(b"[]"), Tenant::Own).await;
    assert_eq!(counted, Ok(vec![3, 5]));
}

#[tokio::test]
async fn counting_for_peers_leaves_the_owners_queue_free() {
    let stage = Stage::new("exec sleep 60");
    let (engine, prompt) = (Arc::new(stage.engine()), stage.folder.path().join("model.gguf"));
    let count = |tenant| {
        let (engine, prompt) = (engine.clone(), prompt.clone());
        async move { engine.count_tokens(&prompt, Bytes::new(), tenant).await }
    };
    // One is being counted; the others wait.
    let waiting: Vec<_> = (0..=MAX_QUEUED).map(|_| tokio::spawn(count(peer(1)))).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(waiting.iter().filter(|waiting| !waiting.is_finished()).count() >= MAX_QUEUED);
    let own = timeout(Duration::from_millis(300), count(Tenant::Own)).await;
    assert!(own.is_err(), "it waits for its turn: {own:?}");
}

#[tokio::test]
async fn a_refusal_of_the_worker_is_passed_on_and_the_worker_lives() {
    let stage = Stage::new("cat ready failed done; sleep 60");
    let engine = stage.engine();
    let problem = run(&engine, order(Tenant::Own)).await.unwrap_err();
    assert_eq!((problem.code, problem.message.as_str()), (Code::Invalid, "the kernel does not parse"));
    run(&engine, order(Tenant::Own)).await.unwrap();
    assert_eq!(stage.pids().len(), 1);
}

/// What failed may still run, or may have broken the device.
#[tokio::test]
async fn a_process_in_which_a_kernel_failed_is_not_used_again() {
    let stage = Stage::new("cat ready failed; sleep 60");
    let engine = stage.engine();
    for started in 1..=2 {
        assert_eq!(run(&engine, kernel(Tenant::Own)).await.unwrap_err().code, Code::Invalid);
        assert!(!engine.is_running() && stage.none_is_alive());
        assert_eq!(stage.pids().len(), started);
    }
}

#[tokio::test]
async fn a_worker_is_granted_the_models_that_orders_named_and_nothing_else() {
    let stage = Stage::new("echo \"$@\" >> granted; cat counted counted counted; sleep 60");
    let engine = stage.engine();
    let (one, other) = (stage.folder.path().join("one"), stage.folder.path().join("other"));
    fs::create_dir_all(one.join("inside")).unwrap();
    fs::create_dir(&other).unwrap();
    for model in [&one, &one.join("inside"), &other, &one] {
        engine.count_tokens(model, Bytes::from_static(b"[]"), Tenant::Own).await.unwrap();
    }
    let granted = fs::read_to_string(stage.folder.path().join("granted")).unwrap();
    let (one, other) = (one.display(), other.display());
    assert_eq!(granted, format!("--read {one}\n--read {one} --read {other}\n"), "started once per new model");
}

#[tokio::test]
async fn how_a_worker_is_confined_is_known_before_it_runs() {
    let layers = r#"{"namespaces":false,"files":true,"syscalls":true}"#;
    let stage = Stage::new(&format!("[ \"$1\" = --check ] && echo '{layers}' && exit; cat ready; sleep 60"));
    let engine = stage.engine();
    let said = engine.sandbox().await.unwrap();
    assert!(said.holds_strangers() && !said.namespaces && engine.info().is_none(), "{said:?}");
    // What the process itself says counts more.
    engine.open().await.unwrap();
    assert_eq!(engine.sandbox().await, Ok(Sandbox::default()));
}

#[tokio::test]
async fn a_worker_that_dies_is_lost_with_its_last_words_and_the_next_order_gets_a_new_one() {
    let stage = Stage::new("cat ready; head -c 8 > /dev/null; echo the driver gave up >&2; sleep 0.1; exit 3");
    let engine = stage.engine();
    for started in 1..=2 {
        let problem = run(&engine, order(Tenant::Own)).await.unwrap_err();
        assert_eq!(problem.code, Code::Lost, "{problem}");
        assert!(problem.message.contains("the driver gave up") && problem.message.contains('3'), "{problem}");
        assert_eq!(stage.pids().len(), started, "nothing is retried by itself");
    }
    assert!(!engine.is_running());
}

#[tokio::test]
async fn garbage_wrong_lengths_and_wrong_replies_are_refused_and_the_worker_is_killed() {
    for (script, code) in [
        ("echo this is certainly not a frame of the protocol; sleep 60", Code::Lost),
        ("cat done; sleep 60", Code::Lost),
        ("cat ready ready; sleep 60", Code::Lost),
        ("cat ready long; sleep 60", Code::Lost),
        ("cat ready short; sleep 60", Code::WorkFailed),
        ("cat failed; sleep 60", Code::Invalid),
    ] {
        let stage = Stage::new(script);
        let engine = stage.engine();
        let problem = run(&engine, order(Tenant::Own)).await.unwrap_err();
        assert!(problem.code == code && !problem.hint.is_empty(), "{script}: {problem:?}");
        assert!(!engine.is_running() && stage.none_is_alive(), "{script}");
    }
}

#[tokio::test]
async fn a_silent_worker_is_killed_at_the_wall_limit() {
    let stage = Stage::new("cat ready; exec sleep 60");
    let engine = stage.engine();
    engine.open().await.unwrap();
    let start = Instant::now();
    let limited = Order { wall_limit: Duration::from_millis(200), ..order(Tenant::Own) };
    let problem = run(&engine, limited).await.unwrap_err();
    assert!(problem.code == Code::Expired && problem.message.contains("200 ms"), "{problem}");
    assert!(start.elapsed() < Duration::from_secs(2) && stage.none_is_alive());
}

#[tokio::test]
async fn a_worker_that_never_reads_does_not_block_past_the_wall_limit() {
    let stage = Stage::new("cat ready; exec sleep 60");
    let engine = stage.engine();
    let large = Order {
        work: Work::Gemm { m: 1024, k: 1024, n: 1024, precision: tender_base::job::Precision::F32 },
        input: vec![0; 8 << 20].into(),
        wall_limit: Duration::from_millis(300),
        ..order(Tenant::Own)
    };
    assert_eq!(run(&engine, large).await.unwrap_err().code, Code::Expired);
}

#[tokio::test]
async fn stop_kills_at_once_and_refuses_what_waits() {
    let stage = Stage::new("cat ready; exec sleep 60");
    let engine = Arc::new(stage.engine());
    let orders: Vec<_> = [Tenant::Own, peer(1), peer(2)]
        .map(|tenant| {
            let engine = Arc::clone(&engine);
            tokio::spawn(async move { run(&engine, order(tenant)).await })
        })
        .into();
    let mut state = engine.state.clone();
    state.wait_for(|state| state.process.is_some()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let start = Instant::now();
    engine.stop().await;
    let took = start.elapsed();
    assert!(stage.none_is_alive() && !engine.is_running() && took < Duration::from_secs(1), "{took:?}");
    for order in orders {
        assert_eq!(order.await.unwrap().unwrap_err().code, Code::Unavailable);
    }
    assert_eq!(stage.pids().len(), 1, "nothing that waited started a new worker");
    engine.open().await.unwrap();
    engine.stop().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_dropped_order_kills_what_it_runs() {
    let stage = Stage::new("cat ready; exec sleep 60");
    let engine = stage.engine();
    let cancelled = timeout(Duration::from_millis(300), run(&engine, order(Tenant::Own))).await;
    assert!(cancelled.is_err());
    let mut state = engine.state.clone();
    timeout(Duration::from_secs(2), state.wait_for(|state| state.process.is_none())).await.unwrap().unwrap();
    assert!(stage.none_is_alive());
}

#[tokio::test]
async fn an_idle_worker_is_stopped_and_a_dropped_engine_leaves_none() {
    let stage = Stage::new("cat ready; exec sleep 60");
    let engine = stage.engine_with_idle(Duration::from_millis(100));
    engine.open().await.unwrap();
    let mut state = engine.state.clone();
    timeout(Duration::from_secs(2), state.wait_for(|state| state.process.is_none())).await.unwrap().unwrap();
    assert!(stage.none_is_alive());

    let engine = stage.engine();
    engine.open().await.unwrap();
    let mut state = engine.state.clone();
    drop(engine);
    // Either the desk says so, or it is gone.
    let _ = timeout(Duration::from_secs(2), state.wait_for(|state| state.process.is_none())).await.unwrap();
    assert!(stage.none_is_alive());
}

#[tokio::test]
async fn the_owners_orders_go_first() {
    let stage = Stage::new("sleep 0.3; cat ready done done done; sleep 60");
    let engine = Arc::new(stage.engine());
    let finished = Arc::new(Mutex::new(Vec::new()));
    let mut orders = Vec::new();
    for (name, tenant) in [("first", peer(1)), ("peer", peer(1)), ("own", Tenant::Own)] {
        let (engine, finished) = (Arc::clone(&engine), Arc::clone(&finished));
        orders.push(tokio::spawn(async move {
            run(&engine, order(tenant)).await.unwrap();
            finished.lock().unwrap().push(name);
        }));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for order in orders {
        order.await.unwrap();
    }
    assert_eq!(*finished.lock().unwrap(), ["first", "own", "peer"]);
}

#[tokio::test]
async fn tenants_never_share_a_process_with_a_kernel() {
    let stage = Stage::new("cat ready done done done done done; sleep 60");
    let engine = stage.engine();
    for (next, started, why) in [
        (order(peer(1)), 1, "the first order"),
        (order(peer(2)), 1, "our own kernels leave nothing behind"),
        (kernel(peer(2)), 1, "the same tenant"),
        (kernel(peer(2)), 1, "the same tenant"),
        (order(peer(1)), 2, "after another tenant's kernel"),
        (kernel(peer(3)), 3, "a kernel of another tenant"),
        (kernel(Tenant::Own), 4, "the owner is a tenant too"),
    ] {
        run(&engine, next).await.unwrap();
        assert_eq!(stage.pids().len(), started, "{why}");
    }
}

#[tokio::test]
async fn nothing_is_opened_counted_or_measured_in_a_process_where_a_strangers_kernel_ran() {
    let stage = Stage::new("if [ $(wc -l < pids) = 1 ]; then cat ready done; else cat counted counted; fi; sleep 60");
    let (engine, prompt) = (stage.engine(), stage.folder.path().join("model.gguf"));
    // The model is granted from the start, so that only the kernel is a reason for another process.
    let with_model = Order { model: Some(prompt.clone()), ..kernel(peer(1)) };
    run(&engine, with_model).await.unwrap();
    assert_eq!(engine.count_tokens(&prompt, Bytes::new(), Tenant::Own).await.unwrap(), [3, 5]);
    assert_eq!(stage.pids().len(), 2, "the stranger's process has ended");
    assert_eq!(engine.count_tokens(&prompt, Bytes::new(), Tenant::Own).await.unwrap(), [3, 5]);
    assert_eq!(stage.pids().len(), 2, "the owner's own is kept");

    for task in ["open", "measure"] {
        let stage = Stage::new("cat ready; if [ $(wc -l < pids) = 1 ]; then cat done; else cat measured; fi; sleep 60");
        let engine = stage.engine();
        run(&engine, kernel(peer(1))).await.unwrap();
        match task {
            "open" => drop(engine.open().await.unwrap()),
            _ => assert_eq!(engine.measure(Measurement::Prefill8b).await.unwrap(), 3.5),
        }
        assert_eq!(stage.pids().len(), 2, "{task}");
    }
}

#[tokio::test]
async fn a_full_queue_and_impossible_orders_are_refused_without_touching_the_worker() {
    let missing = LocalEngine::new(Settings { worker: Some("/nowhere/tender-worker".into()), ..Settings::default() });
    assert_eq!(run(&missing, order(Tenant::Own)).await.unwrap_err().code, Code::Unavailable);
    assert_eq!(missing.open().await.unwrap_err().code, Code::Unavailable);

    let stage = Stage::new("cat ready; exec sleep 60");
    let engine = Arc::new(stage.engine());
    for parts in [vec![], vec![0]] {
        let odd = Order { parts: Some(parts), ..order(Tenant::Own) };
        assert_eq!(run(&engine, odd).await.unwrap_err().code, Code::Invalid);
    }
    let odd = Order { parts: Some(vec![1]), ..kernel(Tenant::Own) };
    assert_eq!(run(&engine, odd).await.unwrap_err().code, Code::Invalid);
    assert!(stage.pids().is_empty());

    let submit = || {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move { run(&engine, order(peer(1))).await })
    };
    let mut waiting = vec![submit()];
    let mut state = engine.state.clone();
    state.wait_for(|state| state.process.is_some()).await.unwrap();
    waiting.extend((0..MAX_QUEUED).map(|_| submit()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    // One runs and 64 wait.
    let refused = timeout(Duration::from_secs(5), run(&engine, order(peer(2)))).await.unwrap();
    assert_eq!(refused.unwrap_err().code, Code::TooMany);
    engine.stop().await;
    for order in waiting {
        assert_eq!(order.await.unwrap().unwrap_err().code, Code::Unavailable);
    }
}
