//! The real binary, spoken to through its pipes.

use crate::model_dir;
use std::{
    io::{BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};
use tender_base::{
    Code, Problem, Work,
    catalogue::MINILM,
    frames::{Reply, Request, read_frame, write_frame},
    job::{Access, Element, WgslBuffer, WgslWork},
};

pub(crate) struct Worker {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Worker {
    pub(crate) fn spawn(change: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tender-worker"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).env_remove("XDG_RUNTIME_DIR");
        change(&mut command);
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, input, output }
    }

    pub(crate) fn send(&mut self, request: &Request, payload: &[u8]) {
        write_frame(self.input.as_mut().unwrap(), request, payload).unwrap();
    }

    /// The answer, after any progress.
    pub(crate) fn ask(&mut self, request: &Request, payload: &[u8]) -> (Reply, Vec<u8>) {
        self.send(request, payload);
        self.answer()
    }

    pub(crate) fn answer(&mut self) -> (Reply, Vec<u8>) {
        loop {
            match read_frame(&mut self.output).unwrap().expect("the worker answers") {
                (Reply::Progress { done, total }, _) => assert!(done <= total),
                answer => return answer,
            }
        }
    }

    pub(crate) fn problem(&mut self, request: &Request, payload: &[u8]) -> Problem {
        match self.ask(request, payload).0 {
            Reply::Failed { problem } => problem,
            other => panic!("expected a problem, got {other:?}"),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn job(work: Work) -> Request {
    Request::Run { work, model_dir: None, model_sha256: None, parts: None }
}

#[test]
fn a_worker_serves_every_kind_survives_bad_requests_and_ends_with_its_input() {
    let mut worker = Worker::spawn(|command| {
        command.arg("--read").arg(model_dir());
    });
    let (ready, _) = worker.ask(&Request::Open, &[]);
    let Reply::Ready { worker: info, sandbox, .. } = &ready else { panic!("{ready:?}") };
    assert!(!info.adapter.is_empty(), "{ready:?}");
    assert_eq!(sandbox.syscalls, cfg!(target_os = "linux"), "{ready:?}");

    let gemm = job(Work::Gemm { m: 2, k: 1, n: 2, precision: tender_base::job::Precision::F32 });
    let input: Vec<u8> = [2.0_f32, 3.0, 5.0, 7.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let (done, output) = worker.ask(&gemm, &input);
    assert!(matches!(done, Reply::Done { units: 8, .. }), "{done:?}");
    let expected: Vec<u8> = [10.0_f32, 14.0, 15.0, 21.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    assert_eq!(output, expected);
    assert_eq!(worker.problem(&gemm, &input[..12]).code, Code::Invalid);
    assert_eq!(
        worker.problem(&job(Work::Gemm { m: 0, k: 1, n: 2, precision: tender_base::job::Precision::F32 }), &[]).code,
        Code::Invalid
    );

    // A header that is no request: refused, and the stream stays in step.
    let header = br#"{"request":"dance"}"#;
    let mut frame = (header.len() as u32).to_le_bytes().to_vec();
    frame.extend([3, 0, 0, 0]);
    frame.extend(header);
    frame.extend(b"abc");
    worker.input.as_mut().unwrap().write_all(&frame).unwrap();
    assert!(matches!(worker.answer().0, Reply::Failed { problem } if problem.code == Code::Invalid));

    let model_dir = model_dir().to_string_lossy().into_owned();
    let passages = br#"["one two three", "four"]"#;
    let (counted, _) = worker.ask(&Request::CountTokens { model_dir: model_dir.clone() }, passages);
    assert_eq!(counted, Reply::Counted { tokens: vec![5, 3] });
    let embed = |tokens| Request::Run {
        work: Work::Embed { model: MINILM.to_ref(), passages: 2, tokens },
        model_dir: Some(model_dir.clone()),
        model_sha256: Some(MINILM.weights().sha256),
        parts: None,
    };
    let (done, output) = worker.ask(&embed(8), passages);
    assert!(matches!(done, Reply::Done { units: 8, .. }), "{done:?}");
    assert_eq!(output.len(), 2 * 384 * 4);
    assert_eq!(worker.problem(&embed(9), passages).code, Code::Invalid);

    drop(worker.input.take());
    assert!(worker.child.wait().unwrap().success());
}

#[test]
fn a_model_that_was_not_granted_cannot_be_read() {
    let mut worker = Worker::spawn(|_| {});
    let (ready, _) = worker.ask(&Request::Open, &[]);
    let Reply::Ready { sandbox, .. } = ready else { panic!("{ready:?}") };
    let model_dir = model_dir().to_string_lossy().into_owned();
    let counted = worker.ask(&Request::CountTokens { model_dir }, br#"["one"]"#).0;
    // Without Landlock the worker reads what its user may read, and says so.
    assert_eq!(matches!(counted, Reply::Failed { .. }), sandbox.files, "{counted:?}");
}

#[test]
fn impossible_lengths_end_the_worker() {
    let mut worker = Worker::spawn(|_| {});
    worker.input.as_mut().unwrap().write_all(&[0xff; 8]).unwrap();
    assert!(!worker.child.wait().unwrap().success());
}

#[test]
fn without_an_adapter_the_remedy_is_named() {
    let mut worker = Worker::spawn(|c| {
        c.env("VK_DRIVER_FILES", "/nonexistent").env("VK_ICD_FILENAMES", "/nonexistent");
    });
    let problem = worker.problem(&Request::Open, &[]);
    assert_eq!(problem.code, Code::Unavailable);
    assert!(problem.hint.contains("mesa-vulkan-drivers"), "{problem}");

    let mut worker = Worker::spawn(|c| {
        c.env("WGPU_ADAPTER_NAME", "no such card");
    });
    let problem = worker.problem(&Request::Open, &[]);
    assert!(problem.message.contains("no such card"), "{problem}");
    assert!(problem.hint.contains("WGPU_ADAPTER_NAME"), "{problem}");
}

#[test]
fn a_kernel_that_runs_for_hours_dies_with_its_process() {
    let source = "@group(0) @binding(0) var<storage, read_write> out: array<u32>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) g: vec3<u32>, @builtin(local_invocation_index) i: u32) {
    var x = i;
    for (var n = 0u; n < 50000u; n += 1u) { x = x * 1664525u + 1013904223u; }
    if x == 1u { out[g.x] = x; }
}";
    let work = WgslWork {
        source_bytes: source.len() as u32,
        entry: "main".into(),
        workgroups: 65_535,
        workgroup_size: 256,
        fuel: 60_000,
        buffers: vec![WgslBuffer { binding: 0, access: Access::Write, bytes: 4 * 65_535 }],
        element: Element::U32,
    };
    let mut worker = Worker::spawn(|_| {});
    worker.send(&job(Work::Wgsl(work)), source.as_bytes());
    let (progress, _) = read_frame::<Reply>(&mut worker.output).unwrap().unwrap();
    assert!(matches!(progress, Reply::Progress { .. }), "{progress:?}");
    let started = Instant::now();
    worker.child.kill().unwrap();
    worker.child.wait().unwrap();
    println!("killed and reaped in {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(1));
}
