//! Text on the own card: one long-lived worker that holds a language model and decodes the requests of several
//! tenants together. It never runs a client's kernel, so requests share the process.

use crate::{
    Output, Progress, ProgressSender, Scores, Tenant,
    local::{Settings, gone, taken_back, unexpected},
    prepare::text_of,
    worker::{Feed, Replies, Worker, find_worker},
};
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
    time::Duration,
};
use tender_base::{
    Code, Problem, Sha256, Work,
    documents::WorkerInfo,
    frames::{Reply, Request, TextLimits},
    job::GenerateWork,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

/// Requests that may wait per class: more would outlive any deadline.
const MAX_QUEUED: usize = 64;
/// Longest time from starting the process to a loaded model: some gigabytes are read, hashed and uploaded.
const LOAD_LIMIT: Duration = Duration::from_secs(300);
/// Longest silence of a worker that has requests: it reports every token and every chunk of a prompt or a claim.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// Longest time until a worker has taken a request: one that works reads while it computes.
const SEND_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

/// The queue of the text worker.
pub(crate) struct TextEngine {
    tickets: mpsc::Sender<Ticket>,
    ended: mpsc::UnboundedSender<u64>,
    state: watch::Receiver<State>,
    next: std::sync::atomic::AtomicU64,
}

/// What others may know of the desk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct State {
    /// The process, while there is one.
    pub(crate) process: Option<u32>,
    /// The last stop that was carried out.
    pub(crate) stopped: u64,
    /// The model that the process holds.
    pub(crate) model: Option<Sha256>,
}

/// One request as it is queued.
struct Ticket {
    id: u64,
    model: (PathBuf, Sha256),
    work: GenerateWork,
    prompt: Bytes,
    /// A text to judge, instead of one to write.
    claimed: Option<Bytes>,
    wall_limit: Duration,
    tenant: Tenant,
    progress: Option<ProgressSender>,
    /// How often the engine had been stopped when this was queued.
    epoch: u64,
    answer: oneshot::Sender<Result<Answer, Problem>>,
}

enum Answer {
    Written(Output),
    Judged(Scores),
}

/// A request as its caller states it.
pub(crate) struct TextOrder {
    /// GGUF file and its hash.
    pub(crate) model: (PathBuf, Sha256),
    pub(crate) work: GenerateWork,
    pub(crate) prompt: Bytes,
    pub(crate) wall_limit: Duration,
    pub(crate) tenant: Tenant,
}

/// Ends the request in the worker when its caller gives up.
struct Ending(u64, mpsc::UnboundedSender<u64>);

impl Drop for Ending {
    fn drop(&mut self) {
        // Without a desk there is nothing to end.
        let _ = self.1.send(self.0);
    }
}

impl TextEngine {
    pub(crate) fn new(settings: Settings, stops: watch::Receiver<u64>) -> Self {
        let (tickets, queue) = mpsc::channel(MAX_QUEUED);
        let (ended, endings) = mpsc::unbounded_channel();
        let (published, state) = watch::channel(State::default());
        let desk =
            Desk { settings, stops, state: published, worker: None, waiting: VecDeque::new(), active: HashMap::new() };
        tokio::spawn(desk.serve(queue, endings));
        Self { tickets, ended, state, next: std::sync::atomic::AtomicU64::new(1) }
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    pub(crate) async fn write(
        &self,
        order: TextOrder,
        epoch: u64,
        progress: ProgressSender,
    ) -> Result<Output, Problem> {
        match self.submit(order, None, Some(progress), epoch).await? {
            Answer::Written(output) => Ok(output),
            Answer::Judged(_) => Err(unexpected()),
        }
    }

    pub(crate) async fn judge(&self, order: TextOrder, claimed: Bytes, epoch: u64) -> Result<Scores, Problem> {
        match self.submit(order, Some(claimed), None, epoch).await? {
            Answer::Judged(scores) => Ok(scores),
            Answer::Written(_) => Err(unexpected()),
        }
    }

    async fn submit(
        &self,
        order: TextOrder,
        claimed: Option<Bytes>,
        progress: Option<ProgressSender>,
        epoch: u64,
    ) -> Result<Answer, Problem> {
        let id = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let TextOrder { model, work, prompt, wall_limit, tenant } = order;
        let ticket = Ticket { id, model, work, prompt, claimed, wall_limit, tenant, progress, epoch, answer };
        let _ending = Ending(id, self.ended.clone());
        self.tickets.try_send(ticket).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => too_many(),
            mpsc::error::TrySendError::Closed(_) => gone(),
        })?;
        answered.await.map_err(|_| gone())?
    }
}

/// The task that owns the worker.
struct Desk {
    settings: Settings,
    stops: watch::Receiver<u64>,
    state: watch::Sender<State>,
    worker: Option<Held>,
    /// Own requests before those of clients, else in order.
    waiting: VecDeque<Ticket>,
    active: HashMap<u64, Active>,
}

/// A worker with its model.
struct Held {
    feed: Feed,
    replies: Replies,
    info: WorkerInfo,
    model: (PathBuf, Sha256),
    limits: TextLimits,
    heard: Instant,
}

/// A request in the worker.
struct Active {
    progress: Option<ProgressSender>,
    answer: oneshot::Sender<Result<Answer, Problem>>,
    /// None while it waits for room on the card: that is no work, and takes no time of its limit.
    until: Option<Instant>,
    wall_limit: Duration,
    most: u32,
    most_bytes: u64,
    text: String,
}

impl Desk {
    async fn serve(mut self, mut queue: mpsc::Receiver<Ticket>, mut endings: mpsc::UnboundedReceiver<u64>) {
        loop {
            self.start_waiting().await;
            let deadline = self.next_deadline();
            let has_worker = self.worker.is_some();
            let idle = self.active.is_empty() && self.waiting.is_empty();
            let replies = self.worker.as_mut().map(|held| &mut held.replies);
            tokio::select! {
                biased;
                changed = self.stops.changed() => {
                    self.end_all(&taken_back()).await;
                    if changed.is_err() {
                        return;
                    }
                    let epoch = *self.stops.borrow_and_update();
                    self.state.send_modify(|state| state.stopped = epoch);
                }
                Some(id) = endings.recv() => self.end(id).await,
                ticket = queue.recv() => match ticket {
                    Some(ticket) => self.enqueue(ticket),
                    None => return self.end_all(&gone()).await,
                },
                reply = next_reply(replies) => self.take(reply).await,
                () = sleep_until(deadline), if !self.active.is_empty() => self.expire().await,
                () = tokio::time::sleep(self.settings.idle_timeout), if has_worker && idle => {
                    tracing::debug!("the text worker had nothing to do and is stopped");
                    self.kill().await;
                }
            }
        }
    }

    fn enqueue(&mut self, ticket: Ticket) {
        if ticket.epoch != *self.stops.borrow() {
            let _ = ticket.answer.send(Err(taken_back()));
            return;
        }
        let is_own = |ticket: &Ticket| ticket.tenant == Tenant::Own;
        if self.waiting.iter().filter(|other| is_own(other) == is_own(&ticket)).count() >= MAX_QUEUED {
            let _ = ticket.answer.send(Err(too_many()));
            return;
        }
        let at = match ticket.tenant {
            Tenant::Own => self.waiting.iter().position(|t| t.tenant != Tenant::Own),
            Tenant::Peer(_) => None,
        };
        self.waiting.insert(at.unwrap_or(self.waiting.len()), ticket);
    }

    /// Hands requests to the worker as long as it has room. One for another model waits until the worker is free.
    async fn start_waiting(&mut self) {
        while let Some(model) = self.waiting.front().map(|next| next.model.clone()) {
            // A stop goes first.
            if self.stops.has_changed().unwrap_or(true) {
                return;
            }
            let loaded = self.worker.as_ref().filter(|held| held.model == model);
            let room = loaded.map(|held| self.active.len() < held.limits.sequences as usize);
            match room {
                Some(true) => {}
                Some(false) => return,
                None if !self.active.is_empty() => return,
                None => {
                    self.kill().await;
                    if let Err(problem) = self.load(model.clone()).await {
                        self.kill().await;
                        self.refuse(&model, &problem);
                        continue;
                    }
                }
            }
            let Some(ticket) = self.waiting.pop_front() else { return };
            self.start(ticket).await;
        }
    }

    /// Nobody that waits for a model that cannot be loaded gets it.
    fn refuse(&mut self, model: &(PathBuf, Sha256), problem: &Problem) {
        for ticket in std::mem::take(&mut self.waiting) {
            if ticket.model == *model {
                let _ = ticket.answer.send(Err(problem.clone()));
            } else {
                self.waiting.push_back(ticket);
            }
        }
    }

    async fn load(&mut self, model: (PathBuf, Sha256)) -> Result<(), Problem> {
        let executable = find_worker(self.settings.worker.as_deref())?;
        let mut worker = Worker::start(&executable, std::slice::from_ref(&model.0))?;
        self.state.send_modify(|state| state.process = worker.id());
        let request =
            Request::Load { model_path: text_of(&model.0)?, model_sha256: model.1, limits: self.settings.text };
        let loading = async {
            worker.send(&Request::Open, &Bytes::new()).await?;
            let info = match worker.receive(0).await?.0 {
                Reply::Ready { worker, .. } => worker,
                Reply::Failed { problem } => return Err(problem),
                _ => return Err(unexpected()),
            };
            worker.send(&request, &Bytes::new()).await?;
            match worker.receive(0).await?.0 {
                Reply::Loaded { limits } => Ok((info, limits)),
                Reply::Failed { problem } => Err(problem),
                _ => Err(unexpected()),
            }
        };
        let mut stops = self.stops.clone();
        let loaded = tokio::select! {
            biased;
            _ = stops.changed() => Err(taken_back()),
            loaded = tokio::time::timeout(LOAD_LIMIT, loading) => loaded.unwrap_or_else(|_| Err(Problem::new(
                Code::Expired,
                format!("loading the model took longer than {} s", LOAD_LIMIT.as_secs()),
                "choose a smaller model, or put it on a faster disk",
            ))),
        };
        match loaded {
            Ok((info, limits)) => {
                let (feed, replies) = worker.split();
                self.state.send_modify(|state| state.model = Some(model.1));
                self.worker = Some(Held { feed, replies, info, model, limits, heard: Instant::now() });
                Ok(())
            }
            Err(problem) => {
                worker.kill().await;
                Err(problem)
            }
        }
    }

    async fn start(&mut self, ticket: Ticket) {
        let Ticket { id, work, prompt, claimed, wall_limit, progress, answer, .. } = ticket;
        if answer.is_closed() {
            return;
        }
        let most = work.max_tokens;
        let most_bytes = Work::Generate(work.clone()).max_output_bytes();
        let (request, payload) = match claimed {
            None => (Request::Generate { id, work }, prompt),
            Some(claimed) => {
                let prompt_bytes = u32::try_from(prompt.len()).unwrap_or(u32::MAX);
                (Request::Score { id, work, prompt_bytes }, [prompt, claimed].concat().into())
            }
        };
        if let (true, Some(held)) = (self.active.is_empty(), &mut self.worker) {
            held.heard = Instant::now();
        }
        let text = String::new();
        self.active.insert(id, Active { progress, answer, until: None, wall_limit, most, most_bytes, text });
        self.send(&request, &payload).await;
    }

    /// Sends a request. A worker that does not take it is lost, and so is one that the engine stops meanwhile.
    async fn send(&mut self, request: &Request, payload: &Bytes) {
        let Some(held) = &mut self.worker else { return };
        let mut stops = self.stops.clone();
        let sent = tokio::select! {
            biased;
            _ = stops.changed() => Err(taken_back()),
            sent = tokio::time::timeout(SEND_LIMIT, held.feed.send(request, payload)) => {
                sent.unwrap_or_else(|_| Err(Problem::new(
                    Code::Expired,
                    format!("the worker took no request for {} s and was killed", SEND_LIMIT.as_secs()),
                    "submit the job again; if it repeats, run `tender doctor`",
                )))
            }
        };
        if let Err(problem) = sent {
            self.end_active(&problem).await;
        }
    }

    async fn take(&mut self, reply: Result<(Reply, Bytes), Problem>) {
        let (reply, payload) = match reply {
            Ok(reply) => reply,
            Err(problem) => return self.end_active(&problem).await,
        };
        let Some(held) = &mut self.worker else { return };
        held.heard = Instant::now();
        match reply {
            Reply::Text { id, tokens } => {
                // Unknown: the caller has given up.
                let Some(active) = self.active.get_mut(&id) else { return };
                active.until.get_or_insert_with(|| Instant::now() + active.wall_limit);
                active.text.push_str(&String::from_utf8_lossy(&payload));
                if active.text.len() as u64 > active.most_bytes {
                    let most = active.most_bytes;
                    self.answer(id, Err(too_long(most)));
                    return self.cancel(id).await;
                }
                if let Some(progress) = &active.progress {
                    let text = active.text.as_str().into();
                    progress.send_replace(Progress { done: tokens, total: active.most, text });
                }
            }
            Reply::Generated { id, units, wall_ms } => {
                let worker = held.info.clone();
                let most = self.active.get(&id).map_or(0, |active| active.most_bytes);
                if payload.len() as u64 > most {
                    return self.answer(id, Err(too_long(most)));
                }
                self.answer(
                    id,
                    Ok(Answer::Written(Output { bytes: payload, units, prompt_tokens: None, wall_ms, worker })),
                );
            }
            Reply::Scored { id, fault } => {
                let margins = payload
                    .chunks_exact(4)
                    .map(|bytes| bytes.try_into().map_or(f32::NAN, f32::from_le_bytes))
                    .collect();
                self.answer(id, Ok(Answer::Judged(Scores { margins, fault })));
            }
            Reply::Refused { id, problem } => self.answer(id, Err(problem)),
            // The device is lost, or memory has run out: nothing that is under way can be trusted.
            Reply::Failed { problem } => self.end_active(&problem).await,
            _ => self.end_active(&unexpected()).await,
        }
    }

    fn answer(&mut self, id: u64, outcome: Result<Answer, Problem>) {
        if let Some(active) = self.active.remove(&id) {
            // Nobody listens any more when the caller gave up.
            let _ = active.answer.send(outcome);
        }
    }

    /// A request has ended, or its caller has given up.
    async fn end(&mut self, id: u64) {
        self.waiting.retain(|ticket| ticket.id != id);
        if self.active.remove(&id).is_some() {
            self.cancel(id).await;
        }
    }

    async fn cancel(&mut self, id: u64) {
        self.send(&Request::Cancel { id }, &Bytes::new()).await;
    }

    fn next_deadline(&self) -> Instant {
        let silence = self.worker.as_ref().map(|held| held.heard + SILENCE_LIMIT);
        let walls = self.active.values().filter_map(|active| active.until);
        walls.chain(silence).min().unwrap_or_else(|| Instant::now() + SILENCE_LIMIT)
    }

    async fn expire(&mut self) {
        let now = Instant::now();
        if self.worker.as_ref().is_some_and(|held| held.heard + SILENCE_LIMIT <= now) {
            let problem = Problem::new(
                Code::Expired,
                format!("the worker was silent for {} s and was killed", SILENCE_LIMIT.as_secs()),
                "submit the job again; if it repeats, run `tender doctor`",
            );
            return self.end_active(&problem).await;
        }
        let is_late = |active: &Active| active.until.is_some_and(|until| until <= now);
        let late: Vec<u64> = self.active.iter().filter(|(_, active)| is_late(active)).map(|(id, _)| *id).collect();
        for id in late {
            if let Some(active) = self.active.remove(&id) {
                let _ = active.answer.send(Err(Problem::new(
                    Code::Expired,
                    format!("the text took longer than its limit of {} ms", active.wall_limit.as_millis()),
                    "ask for fewer tokens, or allow more time",
                )));
                self.cancel(id).await;
            }
        }
    }

    /// The worker is lost: what was in it fails, what waits gets a new one.
    async fn end_active(&mut self, problem: &Problem) {
        for (_, active) in self.active.drain() {
            let _ = active.answer.send(Err(problem.clone()));
        }
        self.kill().await;
    }

    async fn end_all(&mut self, problem: &Problem) {
        for ticket in self.waiting.drain(..) {
            let _ = ticket.answer.send(Err(problem.clone()));
        }
        self.end_active(problem).await;
    }

    async fn kill(&mut self) {
        if let Some(held) = self.worker.take() {
            held.feed.kill().await;
        }
        self.state.send_modify(|state| {
            state.process = None;
            state.model = None;
        });
    }
}

fn too_many() -> Problem {
    Problem::new(
        Code::TooMany,
        format!("{MAX_QUEUED} texts already wait for this card"),
        "try again when some have finished",
    )
}

fn too_long(most: u64) -> Problem {
    Problem::new(
        Code::WorkFailed,
        format!("the worker wrote more than the {most} bytes that a text of so many tokens may have"),
        "use another model; nothing is billed",
    )
}

/// The next reply of the worker, if there is one; else never.
async fn next_reply(replies: Option<&mut Replies>) -> Result<(Reply, Bytes), Problem> {
    match replies {
        Some(replies) => replies.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[cfg(unix)]
#[path = "text_tests.rs"]
mod tests;
