//! The loop of `tender-worker`: one request at a time, from frames on the standard input to frames on the standard
//! output. A request that fails is answered with a problem and the worker lives on. Once a language model is loaded,
//! [`text::serve`] takes over.

use crate::{
    Error, Gpu, Output,
    embed::{self, Encoder, Tokens},
    gemm,
    kernels::Kernels,
    matmul::Matmul,
    measure, sandbox,
    text::{self, TextModel, gguf::Gguf, inspect::inspect, tokenizer::Tokenizer},
    wgsl,
};
use std::{
    io::{self, Read, Write},
    path::Path,
    time::{Duration, Instant},
};
use tender_base::{
    BlobRef, Code, Problem, Sha256, Work,
    frames::{self, Reply, Request, Sandbox, TextLimits},
    job::Precision,
    text::Prompt,
};

/// Least time between two progress frames: twenty a second look fluid, and the pipe never fills.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(50);

/// What stays open between requests.
struct Session {
    sandbox: Sandbox,
    open: Option<Open>,
    tokens: Option<(String, Tokens)>,
    tokenizer: Option<(String, Tokenizer)>,
}

struct Open {
    gpu: Gpu,
    matmul: Matmul,
    kernels: Kernels,
    encoder: Option<Encoder>,
    /// What was last measured, since bringing it takes long.
    passes: Option<text::bench::Bench>,
}

/// Serves requests until the input ends, in a process that is confined as `sandbox` says.
///
/// # Errors
/// What reading or writing says; after a frame with impossible lengths the stream is lost and this returns, too.
pub fn serve(mut input: impl Read + Send, mut output: impl Write, sandbox: Sandbox) -> io::Result<()> {
    let mut session = Session { sandbox, open: None, tokens: None, tokenizer: None };
    loop {
        let (request, payload) = match frames::read_frame::<Request>(&mut input) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            // The frame's lengths held, only its header makes no sense: the next frame is where it should be.
            Err(e) if e.get_ref().is_some_and(|inner| inner.is::<serde_json::Error>()) => {
                let problem = Problem::new(
                    Code::Invalid,
                    format!("the request is not understood: {e}"),
                    "use a worker of the node's own version",
                );
                frames::write_frame(&mut output, &Reply::Failed { problem }, &[])?;
                continue;
            }
            Err(e) => return Err(e),
        };
        if let Request::Load { model_path, model_sha256, limits } = request {
            match session.load(Path::new(&model_path), model_sha256, limits) {
                Ok((gpu, mut model)) => {
                    let loaded = Reply::Loaded { limits: model.limits() };
                    frames::write_frame(&mut output, &loaded, &[])?;
                    return text::serve(&gpu, &mut model, input, &mut output);
                }
                Err(error) => {
                    eprintln!("tender-worker: {error}");
                    frames::write_frame(&mut output, &Reply::Failed { problem: error.into() }, &[])?;
                    continue;
                }
            }
        }
        let mut ends = false;
        let (reply, content) = session.answer(request, &payload, &mut output).unwrap_or_else(|error| {
            ends = error.ends_process();
            if error.ends_device() {
                session.open = None;
            }
            eprintln!("tender-worker: {error}");
            (Reply::Failed { problem: error.into() }, Vec::new())
        });
        frames::write_frame(&mut output, &reply, &content)?;
        if ends {
            sandbox::end();
        }
    }
}

impl Session {
    fn answer(&mut self, request: Request, payload: &[u8], output: &mut impl Write) -> Result<(Reply, Vec<u8>), Error> {
        match request {
            Request::Open => {
                let gpu = &self.open()?.gpu;
                let (worker, main_memory) = (gpu.info().clone(), gpu.uses_main_memory());
                Ok((Reply::Ready { worker, sandbox: self.sandbox, main_memory }, Vec::new()))
            }
            Request::CountTokens { model_dir } => {
                let passages = embed::passages(payload)?;
                let tokens = self.tokens(model_dir)?.count(&passages)?;
                Ok((Reply::Counted { tokens }, Vec::new()))
            }
            Request::Inspect { model_path } => {
                let model = inspect(Path::new(&model_path))?;
                Ok((Reply::Inspected { model }, Vec::new()))
            }
            Request::CountPrompt { model_path } => {
                let prompt = Prompt::from_json(payload)?;
                let tokens = self.tokenizer(model_path)?.encode(&prompt)?.len();
                Ok((Reply::Counted { tokens: vec![u32::try_from(tokens).unwrap_or(u32::MAX)] }, Vec::new()))
            }
            Request::Load { .. } | Request::Generate { .. } | Request::Score { .. } | Request::Cancel { .. } => {
                Err(Error::Invalid("no language model is loaded".into()))
            }
            Request::Measure { what } => {
                let Open { gpu, matmul, kernels, passes, .. } = self.open()?;
                let (units, seconds) = measure::measure(gpu, matmul, kernels, passes, &what)?;
                Ok((Reply::Measured { units, seconds }, Vec::new()))
            }
            Request::Run { work, model_dir, model_sha256, parts } => {
                let started = Instant::now();
                let mut last = started;
                let mut progress = |done, total| {
                    if last.elapsed() >= PROGRESS_INTERVAL {
                        last = Instant::now();
                        // A node that is gone shows in the next read; the work cannot be stopped here.
                        let _ = frames::write_frame(output, &Reply::Progress { done, total }, &[]);
                    }
                };
                let model = model_dir.as_deref().map(Path::new).zip(model_sha256);
                let done = self.run(&work, model, parts.as_deref(), payload, &mut progress)?;
                let wall_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                Ok((Reply::Done { units: done.units, wall_ms }, done.bytes))
            }
        }
    }

    /// Opens the device and checks that it computes correctly, unless that is done.
    fn open(&mut self) -> Result<&mut Open, Error> {
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let gpu = Gpu::open()?;
                let matmul = Matmul::new(&gpu);
                gpu.check()?;
                matmul.known_answer(&gpu, Precision::F32)?;
                eprintln!("tender-worker: {} through {} is ready", gpu.info().adapter, gpu.info().backend);
                Open { gpu, matmul, kernels: Kernels::default(), encoder: None, passes: None }
            }
        };
        Ok(self.open.insert(open))
    }

    /// A language model on a device of its own; what else was open is closed for it.
    fn load(&mut self, path: &Path, sha256: Sha256, limits: TextLimits) -> Result<(Gpu, TextModel), Error> {
        self.open()?;
        let Some(Open { gpu, .. }) = self.open.take() else {
            return Err(Error::Invalid("the adapter is not open".into()));
        };
        let model = TextModel::open(&gpu, path, sha256, limits)?;
        Ok((gpu, model))
    }

    /// The tokenizer of a GGUF file; the last one is kept.
    fn tokenizer(&mut self, model_path: String) -> Result<&Tokenizer, Error> {
        let tokenizer = match self.tokenizer.take() {
            Some(kept) if kept.0 == model_path => kept,
            _ => {
                let tokenizer = Tokenizer::read(&Gguf::open(Path::new(&model_path))?)?;
                (model_path, tokenizer)
            }
        };
        Ok(&self.tokenizer.insert(tokenizer).1)
    }

    fn tokens(&mut self, model_dir: String) -> Result<&Tokens, Error> {
        let tokens = match self.tokens.take() {
            Some(tokens) if tokens.0 == model_dir => tokens,
            _ => {
                let tokens = Tokens::open(Path::new(&model_dir))?;
                (model_dir, tokens)
            }
        };
        Ok(&self.tokens.insert(tokens).1)
    }

    fn run(
        &mut self,
        work: &Work,
        model: Option<(&Path, Sha256)>,
        parts: Option<&[u32]>,
        payload: &[u8],
        progress: crate::Progress<'_>,
    ) -> Result<Output, Error> {
        // The hash is the node's concern; only the length matters here.
        work.check(&BlobRef { sha256: Sha256::from_bytes([0; 32]), bytes: payload.len() as u64 })?;
        if parts.is_some_and(<[u32]>::is_empty) {
            return Err(Error::Invalid("parts is empty".into()));
        }
        let output = match work {
            Work::Embed { passages, tokens, model: wanted } => {
                let (model_dir, sha256) =
                    model.ok_or_else(|| Error::Invalid("embed needs model_dir and model_sha256".into()))?;
                if wanted.sha256 != sha256 {
                    return Err(Error::Invalid("model_sha256 is not the hash that the work names".into()));
                }
                let open = self.open()?;
                let encoder = match open.encoder.take() {
                    Some(encoder) if encoder.is(model_dir, &sha256) => encoder,
                    _ => Encoder::open(&open.gpu, &open.matmul, model_dir, sha256)?,
                };
                let encoder = open.encoder.insert(encoder);
                embed::run(&open.gpu, &open.matmul, encoder, (*passages, *tokens), payload, parts, progress)?
            }
            Work::Gemm { m, k, n, precision } => {
                if parts.is_some() {
                    return Err(Error::Invalid("gemm has no parts; it is checked as a whole".into()));
                }
                let open = self.open()?;
                gemm::run(&open.gpu, &open.matmul, *precision, (*m, *k, *n), payload, progress)?
            }
            Work::Kernel(work) => {
                let open = self.open()?;
                open.kernels.run(&open.gpu, work, payload, parts, progress)?
            }
            Work::Wgsl(kernel) => wgsl::run(&self.open()?.gpu, kernel, payload, parts, progress)?,
            Work::Generate(_) => {
                return Err(Error::Invalid("text is asked for by its own request, after a model is loaded".into()));
            }
        };
        let whole = parts.is_none();
        if whole && let Some(exact) = work.output_bytes().filter(|exact| output.bytes.len() as u64 != *exact) {
            return Err(Error::BadOutput(format!("the output has {} bytes, not {exact}", output.bytes.len())));
        }
        if whole && output.units != work.units() {
            return Err(Error::Invalid(format!(
                "the {} work is {} units, but declares {}",
                work.kind().name(),
                output.units,
                work.units()
            )));
        }
        Ok(output)
    }
}
