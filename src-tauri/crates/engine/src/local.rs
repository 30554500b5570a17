//! The own card: one worker process, started when there is something to do and stopped when there is not, behind a
//! queue in which the owner's orders go first.

use crate::{
    Engine, Order, Output, Progress, ProgressSender, Scores, Tenant,
    gate::{Closed, Gate, Passed},
    prepare::{prepare, text_of, text_order, total},
    text::TextEngine,
    worker::{Worker, find_worker},
};
use bytes::Bytes;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tender_base::{
    Code, Problem, Sha256, Work,
    documents::WorkerInfo,
    frames::{Measurement, Reply, Request, Sandbox, TextLimits},
};
use tokio::{
    sync::{OnceCell, mpsc, oneshot, watch},
    time::timeout,
};

/// Orders that may wait per class: more would outlive any deadline.
const MAX_QUEUED: usize = 64;
/// Longest time from starting the process to its passed known-answer test. A cold driver compiles shaders; a CPU
/// adapter on a busy two-core machine needs a few seconds.
const OPEN_LIMIT: Duration = Duration::from_secs(60);
/// Longest time to count the tokens of the largest input.
const COUNT_LIMIT: Duration = Duration::from_secs(60);
/// Longest time to measure one kernel: the largest product on a CPU adapter takes half a minute, twice.
const MEASURE_LIMIT: Duration = Duration::from_secs(300);
/// How long a worker without work stays warm, unless set otherwise.
pub(crate) const DEFAULT_IDLE: Duration = Duration::from_secs(60);
/// What is kept for text unless set otherwise: a chat of ordinary length for sixteen clients at once.
pub(crate) const DEFAULT_TEXT: TextLimits = TextLimits { context_tokens: 8192, sequences: 16, cache_bytes: 1 << 30 };
/// How the own card is run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The worker's executable; the sibling of this one when absent.
    pub worker: Option<PathBuf>,
    /// How long a worker without work stays warm. It holds video memory that long.
    pub idle_timeout: Duration,
    /// What the worker keeps on the card for text.
    pub text: TextLimits,
}

impl Default for Settings {
    fn default() -> Self {
        Self { worker: None, idle_timeout: DEFAULT_IDLE, text: DEFAULT_TEXT }
    }
}

/// Runs orders on the own card: texts together in one worker, everything else one at a time in another.
///
/// Dropping it ends the worker. Nothing is retried: an order that killed its worker would kill the next one too, and
/// who pays for the repetition is the caller's decision.
pub struct LocalEngine {
    own: mpsc::Sender<Ticket>,
    peers: mpsc::Sender<Ticket>,
    text: TextEngine,
    gate: Gate,
    /// How often the engine was stopped.
    stops: watch::Sender<u64>,
    state: watch::Receiver<State>,
    info: Arc<Mutex<Option<Opened>>>,
    /// The executable that the settings name, and how a worker of it is confined.
    executable: Option<PathBuf>,
    checked: OnceCell<Sandbox>,
}

/// Tells when a worker process starts or ends. What has changed before the first call counts as well.
pub struct Processes(watch::Receiver<State>, watch::Receiver<crate::text::State>);

impl Processes {
    /// Returns when something has changed since the last call; never, once the engine is gone.
    pub async fn changed(&mut self) {
        let changed = tokio::select! {
            changed = self.0.changed() => changed,
            changed = self.1.changed() => changed,
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What a worker said when it opened its adapter.
#[derive(Clone)]
struct Opened {
    worker: WorkerInfo,
    sandbox: Sandbox,
    main_memory: Option<bool>,
}

/// One thing in the queue.
struct Ticket {
    task: Task,
    /// How often the engine had been stopped when this was queued.
    epoch: u64,
    answer: oneshot::Sender<Result<Answer, Problem>>,
}

enum Task {
    Open,
    /// Tokens of passages (the model is a folder) or of a prompt (a GGUF file).
    Count {
        model: PathBuf,
        content: Bytes,
        tenant: Box<Tenant>,
    },
    Measure(Measurement),
    Run {
        order: Box<Order>,
        progress: ProgressSender,
    },
}

enum Answer {
    Opened(WorkerInfo),
    Counted(Vec<u32>),
    Measured { units: u64, seconds: f64 },
    Done(Output),
}

impl LocalEngine {
    /// An engine that has not started its worker yet. Must be called within a Tokio runtime.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (own, own_queue) = mpsc::channel(MAX_QUEUED);
        let (peers, peer_queue) = mpsc::channel(MAX_QUEUED);
        let (stops, stopped) = watch::channel(0);
        let (published, state) = watch::channel(State::default());
        let info = Arc::new(Mutex::new(None));
        let text = TextEngine::new(settings.clone(), stops.subscribe());
        let executable = settings.worker.clone();
        let desk = Desk {
            settings,
            worker: None,
            models: Vec::new(),
            stops: stopped,
            state: published,
            info: Arc::clone(&info),
        };
        tokio::spawn(desk.serve(own_queue, peer_queue));
        Self { own, peers, text, gate: Gate::default(), stops, state, info, executable, checked: OnceCell::new() }
    }

    /// Starts the worker if it is not running and returns what it is.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when the executable or a usable adapter is missing, [`Code::Lost`] when it dies.
    pub async fn open(&self) -> Result<WorkerInfo, Problem> {
        let (_passed, epoch) = self.admit(&Tenant::Own)?;
        match self.submit(&self.own, Task::Open, epoch).await? {
            Answer::Opened(info) => Ok(info),
            _ => Err(unexpected()),
        }
    }

    /// Counts tokens, in the queue and in the process of whom it is for. With the folder of an encoder, `content` is a JSON array of passages, and each one's tokens
    /// after truncation are counted; with a GGUF file it is a [`tender_base::text::Prompt`], and there is one number.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub async fn count_tokens(&self, model: &Path, content: Bytes, tenant: Tenant) -> Result<Vec<u32>, Problem> {
        let task = Task::Count { model: model.to_owned(), content, tenant: Box::new(tenant) };
        let epoch = *self.stops.borrow();
        match self.submit(self.queue(&tenant), task, epoch).await? {
            Answer::Counted(tokens) => Ok(tokens),
            _ => Err(unexpected()),
        }
    }

    /// Lets the worker measure a kernel: floating-point operations, elements or tokens per second.
    ///
    /// # Errors
    /// As [`Engine::run`]; [`Code::WorkFailed`] when the kernel computes something wrong.
    pub async fn measure(&self, what: Measurement) -> Result<f64, Problem> {
        let (_passed, epoch) = self.admit(&Tenant::Own)?;
        match self.submit(&self.own, Task::Measure(what), epoch).await? {
            Answer::Measured { units, seconds } => Ok(units as f64 / seconds),
            _ => Err(unexpected()),
        }
    }

    /// Kills the worker at once and refuses everything that was queued until now. Returns when the process is gone
    /// and its video memory is free. Later orders start a new one.
    pub async fn stop(&self) {
        let (mut state, mut text) = (self.state.clone(), self.text.state());
        let mut this = 0;
        self.stops.send_modify(|stops| {
            *stops += 1;
            this = *stops;
        });
        // An error means that the engine itself is gone, and its worker with it.
        let _ = state.wait_for(|state| state.stopped >= this).await;
        let _ = text.wait_for(|state| state.stopped >= this).await;
    }

    /// Whose orders are refused from now on: the card belongs to its owner. What runs is not touched; that is
    /// [`Self::stop`], or dropping an order.
    pub fn close(&self, closed: Option<Closed>) {
        self.gate.close(closed);
    }

    /// Whether orders of this tenant are refused now.
    #[must_use]
    pub fn is_closed(&self, tenant: &Tenant) -> bool {
        self.gate.is_closed(tenant)
    }

    /// Orders of the owner that wait or run.
    #[must_use]
    pub fn own_orders(&self) -> usize {
        self.gate.own_orders()
    }

    /// The worker processes that exist now.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let (worker, text) = (self.state.borrow().process, self.text.state().borrow().process);
        worker.into_iter().chain(text).collect()
    }

    /// Tells when a worker process starts or ends.
    #[must_use]
    pub fn watch_processes(&self) -> Processes {
        Processes(self.state.clone(), self.text.state())
    }

    /// What the worker was when it last opened; `None` until it has been started once.
    #[must_use]
    pub fn info(&self) -> Option<WorkerInfo> {
        self.last_opened().map(|opened| opened.worker)
    }

    /// How the worker is confined, or would be if it has never run.
    ///
    /// # Errors
    /// [`Code::Unavailable`] when the executable is missing or does not say.
    pub async fn sandbox(&self) -> Result<Sandbox, Problem> {
        if let Some(opened) = self.last_opened() {
            return Ok(opened.sandbox);
        }
        let ask = || async { crate::sandbox(&find_worker(self.executable.as_deref())?).await };
        self.checked.get_or_try_init(ask).await.copied()
    }

    /// Whether the adapter works in the machine's main memory; `None` when that is not known, or before the worker has
    /// been started once.
    #[must_use]
    pub fn uses_main_memory(&self) -> Option<bool> {
        self.last_opened()?.main_memory
    }

    /// The language model that a worker holds now, by the hash of its file.
    #[must_use]
    pub fn text_model(&self) -> Option<Sha256> {
        self.text.state().borrow().model
    }

    fn last_opened(&self) -> Option<Opened> {
        self.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a worker process exists now.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.processes().is_empty()
    }

    fn queue(&self, tenant: &Tenant) -> &mpsc::Sender<Ticket> {
        if *tenant == Tenant::Own { &self.own } else { &self.peers }
    }

    /// Lets an order in, with the epoch that it is queued in. That is read first: an order that came in before the gate
    /// closed is refused by the stop that follows.
    fn admit(&self, tenant: &Tenant) -> Result<(Passed<'_>, u64), Problem> {
        let epoch = *self.stops.borrow();
        Ok((self.gate.pass(tenant)?, epoch))
    }

    async fn submit(&self, queue: &mpsc::Sender<Ticket>, task: Task, epoch: u64) -> Result<Answer, Problem> {
        let (answer, answered) = oneshot::channel();
        queue.try_send(Ticket { task, epoch, answer }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => Problem::new(
                Code::TooMany,
                format!("{MAX_QUEUED} orders already wait for this card"),
                "try again when some have finished",
            ),
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        answered.await.map_err(|_| gone())?
    }
}

#[async_trait::async_trait]
impl Engine for LocalEngine {
    async fn run(&self, order: Order, progress: ProgressSender) -> Result<Output, Problem> {
        let (_passed, epoch) = self.admit(&order.tenant)?;
        if let Work::Generate(_) = order.work {
            return self.text.write(text_order(order)?, epoch, progress).await;
        }
        let queue = self.queue(&order.tenant);
        match self.submit(queue, Task::Run { order: Box::new(order), progress }, epoch).await? {
            Answer::Done(output) => Ok(output),
            _ => Err(unexpected()),
        }
    }

    async fn score(&self, order: Order, claimed: Bytes) -> Result<Scores, Problem> {
        let (_passed, epoch) = self.admit(&order.tenant)?;
        self.text.judge(text_order(order)?, claimed, epoch).await
    }
}

/// The task that owns the worker.
struct Desk {
    settings: Settings,
    worker: Option<Held>,
    /// Files and folders of models that orders have named so far; a worker can read those known at its start.
    models: Vec<PathBuf>,
    stops: watch::Receiver<u64>,
    state: watch::Sender<State>,
    info: Arc<Mutex<Option<Opened>>>,
}

/// What others may know of the desk.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// The process, while there is one.
    process: Option<u32>,
    /// The last stop that was carried out.
    stopped: u64,
}

/// A worker process.
struct Held {
    process: Worker,
    /// What it is; none until it has passed its known-answer test.
    info: Option<WorkerInfo>,
    /// For whom it worked last.
    tenant: Option<Tenant>,
    /// Whether it has run a client's kernel, which may have left something behind.
    ran_kernel: bool,
}

/// Why a ticket failed, and whether the worker may serve the next one.
struct Failure {
    problem: Problem,
    worker_is_idle: bool,
}

impl From<Problem> for Failure {
    /// Unless known better, the worker is in the middle of something.
    fn from(problem: Problem) -> Self {
        Self { problem, worker_is_idle: false }
    }
}

impl Desk {
    async fn serve(mut self, mut own: mpsc::Receiver<Ticket>, mut peers: mpsc::Receiver<Ticket>) {
        loop {
            let ticket = tokio::select! {
                biased;
                changed = self.stops.changed() => {
                    self.kill().await;
                    if changed.is_err() {
                        return;
                    }
                    let epoch = *self.stops.borrow();
                    self.state.send_modify(|state| state.stopped = epoch);
                    continue;
                }
                ticket = own.recv() => ticket,
                ticket = peers.recv() => ticket,
                () = tokio::time::sleep(self.settings.idle_timeout), if self.worker.is_some() => {
                    tracing::debug!("the worker had nothing to do and is stopped");
                    self.kill().await;
                    continue;
                }
            };
            let Some(Ticket { task, epoch, mut answer }) = ticket else {
                self.kill().await;
                return;
            };
            if answer.is_closed() {
                continue;
            }
            let mut stops = self.stops.clone();
            let outcome = tokio::select! {
                biased;
                // True at once for what was queued before the last stop.
                _ = stops.wait_for(|now| *now != epoch) => Err(taken_back().into()),
                () = answer.closed() => Err(taken_back().into()),
                outcome = self.carry_out(task) => outcome,
            };
            let outcome = match outcome {
                Ok(answer) => Ok(answer),
                Err(Failure { problem, worker_is_idle }) => {
                    if !worker_is_idle {
                        self.kill().await;
                    }
                    Err(problem)
                }
            };
            // Nobody listens any more when the caller gave up.
            let _ = answer.send(outcome);
        }
    }

    async fn carry_out(&mut self, task: Task) -> Result<Answer, Failure> {
        match task {
            Task::Open => Ok(Answer::Opened(self.opened(None, &Tenant::Own, false).await?.1)),
            Task::Count { model, content, tenant } => self.count(&model, &content, &tenant).await.map(Answer::Counted),
            Task::Measure(what) => self.measure(what).await,
            Task::Run { order, progress } => self.run(&order, &progress).await.map(Answer::Done),
        }
    }

    async fn count(&mut self, model: &Path, content: &Bytes, tenant: &Tenant) -> Result<Vec<u32>, Failure> {
        let path = text_of(model)?;
        let request = if model.is_dir() {
            Request::CountTokens { model_dir: path }
        } else {
            Request::CountPrompt { model_path: path }
        };
        let held = self.started(Some(model), tenant, false).await?;
        let reply = limited(COUNT_LIMIT, "counting tokens", async {
            held.process.send(&request, content).await?;
            held.process.receive(0).await
        });
        match reply.await?.0 {
            Reply::Counted { tokens } => Ok(tokens),
            Reply::Failed { problem } => Err(Failure { problem, worker_is_idle: true }),
            _ => Err(unexpected().into()),
        }
    }

    async fn measure(&mut self, what: Measurement) -> Result<Answer, Failure> {
        let (held, _) = self.opened(None, &Tenant::Own, false).await?;
        let reply = limited(MEASURE_LIMIT, "measuring a kernel", async {
            held.process.send(&Request::Measure { what }, &Bytes::new()).await?;
            held.process.receive(0).await
        });
        match reply.await?.0 {
            Reply::Measured { units, seconds } => Ok(Answer::Measured { units, seconds }),
            Reply::Failed { problem } => Err(Failure { problem, worker_is_idle: true }),
            _ => Err(unexpected().into()),
        }
    }

    async fn run(&mut self, order: &Order, progress: &ProgressSender) -> Result<Output, Failure> {
        // The order's own faults are found before the worker is disturbed.
        let prepared = prepare(order).map_err(|problem| Failure { problem, worker_is_idle: true });
        let (request, expected) = prepared?;
        let is_kernel = matches!(order.work, Work::Wgsl(_));
        let (held, worker) = self.opened(order.model.as_deref(), &order.tenant, is_kernel).await?;
        progress.send_replace(Progress { total: total(order), ..Progress::default() });
        let done = limited(order.wall_limit, "the work", async {
            held.process.send(&request, &order.input).await?;
            loop {
                match held.process.receive(expected).await? {
                    (Reply::Progress { done, total }, _) => {
                        progress.send_replace(Progress { done, total, ..Progress::default() });
                    }
                    last => return Ok(last),
                }
            }
        });
        match done.await? {
            (Reply::Done { units, wall_ms }, bytes) if bytes.len() as u64 == expected => {
                Ok(Output { bytes, units, prompt_tokens: None, wall_ms, worker })
            }
            (Reply::Done { .. }, bytes) => Err(Problem::new(
                Code::WorkFailed,
                format!("the worker returned {} bytes where the job has {expected}", bytes.len()),
                "submit the job again; if it repeats, run `tender doctor`",
            )
            .into()),
            // A kernel that failed may still run, or may have broken its device; nobody else gets that process.
            (Reply::Failed { problem }, _) => Err(Failure { problem, worker_is_idle: !is_kernel }),
            _ => Err(unexpected().into()),
        }
    }

    /// The worker, started and able to read the model, for a task of this tenant. No tenant gets a process in which
    /// another's kernel ran, nor has one's kernel run in a process of another. It need not have opened the card.
    async fn started(&mut self, model: Option<&Path>, tenant: &Tenant, is_kernel: bool) -> Result<&mut Held, Failure> {
        let stained =
            |held: &Held| held.tenant.as_ref().is_some_and(|last| last != tenant) && (is_kernel || held.ran_kernel);
        if self.worker.as_ref().is_some_and(stained) {
            self.kill().await;
        }
        if let Some(model) = model.filter(|model| !self.models.iter().any(|known| model.starts_with(known))) {
            self.models.push(model.to_owned());
            self.kill().await;
        }
        if self.worker.is_none() {
            let executable = find_worker(self.settings.worker.as_deref())?;
            let process = Worker::start(&executable, &self.models)?;
            self.state.send_modify(|state| state.process = process.id());
            self.worker = Some(Held { process, info: None, tenant: None, ran_kernel: false });
        }
        let Some(held) = &mut self.worker else { return Err(gone().into()) };
        held.tenant = Some(*tenant);
        held.ran_kernel |= is_kernel;
        Ok(held)
    }

    /// The same, with the card open and known to compute correctly.
    async fn opened(
        &mut self,
        model: Option<&Path>,
        tenant: &Tenant,
        is_kernel: bool,
    ) -> Result<(&mut Held, WorkerInfo), Failure> {
        let opened = Arc::clone(&self.info);
        let held = self.started(model, tenant, is_kernel).await?;
        if let Some(info) = held.info.clone() {
            return Ok((held, info));
        }
        let reply = limited(OPEN_LIMIT, "opening the adapter", async {
            held.process.send(&Request::Open, &Bytes::new()).await?;
            held.process.receive(0).await
        });
        match reply.await?.0 {
            Reply::Ready { worker, sandbox, main_memory } => {
                let said = Opened { worker: worker.clone(), sandbox, main_memory };
                *opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(said);
                held.info = Some(worker.clone());
                Ok((held, worker))
            }
            // A process without an adapter is of no use to the next order either; a driver may be there by then.
            Reply::Failed { problem } => Err(problem.into()),
            _ => Err(unexpected().into()),
        }
    }

    async fn kill(&mut self) {
        if let Some(held) = self.worker.take() {
            held.process.kill().await;
        }
        self.state.send_modify(|state| state.process = None);
    }
}

/// What the worker must answer within `limit`; after that it is in the middle of something.
pub(crate) async fn limited<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T, Problem>>,
) -> Result<T, Problem> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Problem::new(
            Code::Expired,
            format!("{what} took longer than its limit of {} ms, and the worker was killed", limit.as_millis()),
            "make the job smaller or its limit longer",
        ))
    })
}

pub(crate) fn taken_back() -> Problem {
    Problem::new(
        Code::Unavailable,
        "the card was taken back while this order waited or ran",
        "submit it again when the card is free, or to a peer",
    )
}

pub(crate) fn unexpected() -> Problem {
    Problem::new(
        Code::Lost,
        "the worker answered something else than it was asked",
        "install tender and tender-worker of the same version",
    )
}

pub(crate) fn gone() -> Problem {
    Problem::new(Code::Internal, "the engine has ended", "restart Tender")
}

#[cfg(test)]
#[cfg(unix)]
#[path = "local_tests.rs"]
mod tests;
