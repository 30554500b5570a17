//! A server on a free port, with an agent whose answers are scripted.

use async_trait::async_trait;
use bytes::Bytes;
use std::{
    net::{SocketAddr, TcpListener},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tender_a2a::{
    A2aError, Agent, Authenticator, Call, CardSource, ErrorKind, Identity, Incoming, Limits, MemoryLog, Owner, Reply,
    Standing, TaskLog, WebhookRules,
    card::{
        self, Availability, Benchmark, CardFacts, Offer, Resource, ResourceKind, SkillFacts, SkillPredicates, Software,
    },
    contract,
    log::{Bell, Change, ListQuery, Live, Logged, Output, Page, Sent},
    push::{Delivered, Hooks, OpenHook},
    router, serve,
    tls::ServerTls,
    wire::{
        self as a2a, AgentCard, Message as WireMessage, Part, Role, SendMessageRequest, Task,
        TaskPushNotificationConfig, TaskState,
    },
};
use tender_base::{
    BlobRef, Book, Clock, Code, Did, Entropy, JobKind, JobSpec, MicroUsd, Problem, Rate, Sha256, Signed, Signer,
    Timestamp, Unit, Work,
    documents::{Award, CallForProposals, Delivery, Handback, HandbackReason, Message, Proposal, WorkerInfo},
    ids::ContractId,
    job::{Constraints, Privacy},
    signed::KeySigner,
    time::SystemClock,
    units::Meter,
};
use tokio::sync::oneshot;

pub struct At(pub Timestamp);
impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}
impl Entropy for At {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

pub fn client_key() -> KeySigner {
    KeySigner::from_seed(&[1; 32])
}

/// Of API keys that were issued; there are two.
pub fn holder_key(number: u8) -> KeySigner {
    KeySigner::from_seed(&[100 + number; 32])
}

pub fn contractor_key() -> KeySigner {
    KeySigner::from_seed(&[2; 32])
}

pub fn contract() -> ContractId {
    ContractId::new(&At(now()), &At(now()))
}

/// 2026-11-21T08:00:00Z.
pub fn now() -> Timestamp {
    Timestamp::from_millis(1_795_248_000_000)
}

pub fn call() -> Signed<CallForProposals> {
    let work = Work::Gemm { m: 1, k: 1, n: 1, precision: tender_base::job::Precision::F32 };
    let job = JobSpec {
        work,
        input: BlobRef::of(&[0; 8]),
        constraints: Constraints { budget: MicroUsd(1000), deadline: now(), privacy: Privacy::Peers },
    };
    let document = CallForProposals {
        contract: contract(),
        client: client_key().did(),
        contractor: contractor_key().did(),
        book: Book::Demo,
        job,
        called_at: now(),
        respond_by: now(),
    };
    Signed::new(document, &client_key())
}

fn proposal(call: &Signed<CallForProposals>) -> Signed<Proposal> {
    let document = Proposal {
        contract: call.document.contract,
        contractor: call.document.contractor,
        client: call.document.client,
        call: call.hash(),
        rate: rate(),
        prompt_rate: None,
        units: 2,
        amount: MicroUsd(1),
        valid_until: now(),
        estimated_ms: 5,
        adapter: "llvmpipe".into(),
    };
    Signed::new(document, &contractor_key())
}

pub fn award() -> Signed<Award> {
    let document = Award {
        contract: contract(),
        client: client_key().did(),
        contractor: contractor_key().did(),
        proposal: proposal(&call()).hash(),
        nonce_sha256: Sha256::of(b"nonce"),
        review_seconds: 600,
        awarded_at: now(),
        deadline: now(),
    };
    Signed::new(document, &client_key())
}

pub fn handback(by: &KeySigner) -> Signed<Handback> {
    let document = Handback {
        contract: contract(),
        contractor: contractor_key().did(),
        client: client_key().did(),
        award: award().hash(),
        reason: HandbackReason::Game,
        units: 1,
        meter: Meter::without_sensor(250),
        handed_back_at: now(),
    };
    Signed::new(document, by)
}

pub fn delivery(output: &[u8]) -> Signed<Delivery> {
    let document = Delivery {
        contract: contract(),
        contractor: contractor_key().did(),
        client: client_key().did(),
        award: award().hash(),
        output: BlobRef::of(output),
        units: 2,
        amount: MicroUsd(1),
        meter: Meter::without_sensor(3),
        worker: WorkerInfo {
            adapter: "llvmpipe".into(),
            driver: "mesa".into(),
            backend: "vulkan".into(),
            version: "0.1.0".into(),
            runtime: None,
        },
        delivered_at: now(),
    };
    Signed::new(document, &contractor_key())
}

pub fn rate() -> Rate {
    Rate { micro_usd: 5, per_units: 1_000_000_000, unit: Unit::Flop }
}

pub fn facts(url: String, tls_key_sha256: Option<Sha256>) -> CardFacts {
    CardFacts {
        name: "workshop".into(),
        description: "Sells GPU computation.".into(),
        url,
        did: contractor_key().did(),
        version: "0.1.0".into(),
        tls_key_sha256,
        skills: vec![SkillFacts { kind: JobKind::Gemm, model: None, rate: rate(), prompt_rate: None }],
        offer: Offer {
            resources: vec![Resource {
                kind: ResourceKind::Gpu,
                class: "NVIDIA GeForce RTX 4080".into(),
                vendor: Some("NVIDIA".into()),
                memory_bytes: Some(17_171_480_576),
                api: "vulkan".into(),
                measured: true,
            }],
            skills: vec![SkillPredicates {
                skill: "gemm".into(),
                models: Vec::new(),
                kernels: Vec::new(),
                software: vec![Software { name: "tender-worker".into(), version: "0.1.0".into() }],
                protocols: vec!["a2a/1.0".into(), "contract/v1".into()],
            }],
            benchmarks: vec![Benchmark {
                name: "gemm".into(),
                unit: "flop/s".into(),
                value: 5.2e12,
                measured_at: now(),
                n: 30,
            }],
            availability: Some(Availability::Always),
            max_quote_seconds: Some(30),
            yield_ms: None,
        },
        successions: Vec::new(),
    }
}

/// Answers by the text of a plain message, and by the input of an award.
pub struct Script {
    /// Who sent messages, and what, in order.
    pub seen: Mutex<Vec<(Call, String)>>,
    log: Arc<MemoryLog>,
    broken: Arc<AtomicBool>,
}

/// A step of a task: a change, or progress.
#[allow(clippy::large_enum_variant, reason = "a handful of them, in a test")]
enum Step {
    Is(Change),
    Did(u64, &'static str),
    Wait(u64),
    /// The log cannot be read any more.
    Break,
}

pub fn status(state: TaskState, document: Option<&Message>) -> Change {
    let message = document.map(|document| contract::wrap(document, Role::Agent));
    Change::Status { state, message, metadata: None }
}

impl Script {
    fn deliver(&self, output: &[u8], stated: &[u8]) -> Vec<Step> {
        let output = Output {
            artifact_id: contract::OUTPUT.to_owned(),
            blob: self.log.keep_blob(output.to_vec()),
            media_type: contract::BYTES.to_owned(),
            filename: None,
            extensions: vec![contract::CONTRACT_EXTENSION.to_owned()],
        };
        let document = Message::Delivery(delivery(stated));
        vec![Step::Is(Change::Output(output)), Step::Is(status(TaskState::InputRequired, Some(&document)))]
    }

    /// What an award with this input does.
    fn steps(&self, input: &[u8]) -> Vec<Step> {
        let mut steps = vec![Step::Wait(60), Step::Is(status(TaskState::Working, None))];
        match input {
            b"slow" => {
                steps.extend([Step::Did(1, "a"), Step::Wait(3000)]);
                steps.extend(self.deliver(b"s", b"s"));
            }
            b"never" => steps.push(Step::Did(1, "a")),
            b"end" => steps.push(Step::Is(status(TaskState::Completed, None))),
            b"fail" => {
                let why = Problem::new(Code::WorkFailed, "the device was lost", "try again");
                steps.push(Step::Is(status(TaskState::Failed, Some(&Message::Refusal(why)))));
            }
            b"hand back" => {
                let document = Message::Handback(handback(&contractor_key()));
                steps.push(Step::Is(status(TaskState::Failed, Some(&document))));
            }
            b"hand back in another's name" => {
                let document = Message::Handback(handback(&client_key()));
                steps.push(Step::Is(status(TaskState::Failed, Some(&document))));
            }
            b"forged" => steps.extend(self.deliver(b"other bytes", b"stated bytes")),
            b"broken" => steps.extend([Step::Wait(60), Step::Break]),
            input => {
                let output: Vec<u8> = input.iter().rev().copied().collect();
                steps.extend([Step::Did(1, "a"), Step::Wait(100), Step::Did(2, "aa"), Step::Wait(100)]);
                steps.extend(self.deliver(&output, &output));
            }
        }
        steps
    }

    fn play(&self, task: String, steps: Vec<Step>) {
        let (log, broken) = (self.log.clone(), self.broken.clone());
        tokio::spawn(async move {
            for step in steps {
                match step {
                    Step::Is(change) => log.append(&task, None, vec![change]).unwrap(),
                    Step::Did(done, text) => {
                        log.set_live(&task, Some(Live { done, total: 2, text: text.into(), used: None }))
                    }
                    Step::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
                    Step::Break => {
                        broken.store(true, Ordering::SeqCst);
                        // Rings, so that somebody tries.
                        log.append(&task, None, vec![]).unwrap();
                    }
                }
            }
        });
    }

    fn document(&self, call: &Call, envelope: contract::Envelope) -> Result<Reply, A2aError> {
        let answer = |document| Ok(Reply::Message(Box::new(contract::wrap(&document, Role::Agent))));
        match envelope.document {
            Message::Call(cfp) if call.did().is_some() => answer(Message::Proposal(proposal(&cfp))),
            Message::Call(_) => answer(Message::Refusal(Problem::new(Code::Forbidden, "who are you?", "pair first"))),
            _ if call.did().is_none() => {
                Err(Problem::new(Code::Unauthenticated, "an award needs a token", "send one").into())
            }
            _ if envelope.input.as_deref() == Some(b"refuse") => {
                answer(Message::Refusal(Problem::new(Code::Expired, "the proposal has run out", "call again")))
            }
            _ => {
                let id = contract().to_string();
                // An award that comes again is the same award.
                if self.log.append(&id, None, vec![]).is_err() {
                    let changes = vec![status(TaskState::Submitted, None)];
                    self.log.create(&call.owner(), id.clone(), id.clone(), None, changes);
                    self.play(id.clone(), self.steps(&envelope.input.unwrap_or_default()));
                }
                Ok(Reply::Task(id))
            }
        }
    }
}

#[async_trait]
impl Agent for Script {
    async fn standing(&self, did: &Did) -> Standing {
        let holders = [holder_key(1).did(), holder_key(2).did()];
        match *did {
            did if did == client_key().did() => Standing::Peer,
            did if holders.contains(&did) => Standing::KeyHolder,
            _ => Standing::Stranger,
        }
    }

    fn requires(&self, request: &SendMessageRequest) -> Option<String> {
        (request.message.text() == Some("extended")).then(|| "urn:test:extension".to_owned())
    }

    async fn receive(&self, call: &Call, incoming: Incoming) -> Result<Reply, A2aError> {
        let Incoming { request: SendMessageRequest { message, .. }, task, once } = incoming;
        let text = message.text().unwrap_or_default().to_owned();
        self.seen.lock().unwrap().push((call.clone(), text.clone()));
        if let Some(envelope) = contract::unwrap(message.clone())? {
            return self.document(call, envelope);
        }
        let begin = [Change::Message(message.clone()), status(TaskState::Submitted, None)];
        let steps = match text.as_str() {
            // An agent that takes its time before it says anything.
            "price" => return std::future::pending().await,
            "problem" => return Err(Problem::new(Code::OverLimit, "the credit limit is used up", "pay first").into()),
            "lacks" => return Err(Problem::new(Code::NotFound, "there is no model x", "choose another").into()),
            "play" => vec![Step::Is(status(TaskState::Working, None)), Step::Is(status(TaskState::Completed, None))],
            "ask" => vec![Step::Is(status(TaskState::InputRequired, None))],
            "work" => vec![Step::Is(status(TaskState::Working, None))],
            _ if task.is_some() => vec![],
            _ => return Ok(Reply::Message(Box::new(WireMessage::new(Role::Agent, vec![Part::text(text)])))),
        };
        let id = match task {
            Some(task) => {
                self.log.append(&task.id, once, vec![Change::Message(message)])?;
                task.id
            }
            None => {
                let context = message.context_id.unwrap_or_else(a2a::new_context_id);
                self.log.create(&call.owner(), a2a::new_task_id(), context, once, begin.to_vec())
            }
        };
        self.play(id.clone(), std::iter::once(Step::Wait(30)).chain(steps).collect());
        Ok(Reply::Task(id))
    }

    async fn cancel(&self, _: &Call, task: &Task) -> Result<(), A2aError> {
        self.log
            .append(&task.id, None, vec![status(TaskState::Canceled, None)])
            .map_err(|_| A2aError::new(ErrorKind::TaskNotCancelable, "the task has ended", ""))
    }

    async fn extended_card(&self, _: &Call) -> Result<AgentCard, A2aError> {
        Ok(signed_card("http://127.0.0.1:1/extended".into(), None))
    }
}

/// A log that can be told to fail, and that counts how often a task is read.
struct Breakable {
    log: Arc<MemoryLog>,
    broken: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
    /// How long the webhooks that were open are on their way, once they are read.
    delay: Duration,
}

impl Breakable {
    fn log(&self) -> Result<&MemoryLog, A2aError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(A2aError::new(ErrorKind::Internal, "the disk is full", "free some space"));
        }
        Ok(&self.log)
    }
}

#[async_trait]
impl TaskLog for Breakable {
    async fn records(&self, owner: &Owner, task: &str) -> Result<Option<Logged>, A2aError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.log()?.records(owner, task).await
    }
    async fn list(&self, owner: &Owner, query: &ListQuery) -> Result<Page, A2aError> {
        self.log()?.list(owner, query).await
    }
    async fn sent(&self, owner: &Owner, key: &str) -> Result<Option<Sent>, A2aError> {
        self.log()?.sent(owner, key).await
    }
    fn watch(&self, task: &str) -> Bell {
        self.log.watch(task)
    }
    fn live(&self, task: &str) -> Option<Live> {
        self.log.live(task)
    }
    async fn blob(&self, blob: &BlobRef, range: Range<u64>) -> Result<Option<Bytes>, A2aError> {
        self.log()?.blob(blob, range).await
    }
}

#[async_trait]
impl Hooks for Breakable {
    async fn keep_hook(&self, owner: &Owner, hook: TaskPushNotificationConfig, after: u64) -> Result<u64, A2aError> {
        self.log()?.keep_hook(owner, hook, after).await
    }
    async fn hooks(&self, owner: &Owner, task: &str) -> Result<Vec<TaskPushNotificationConfig>, A2aError> {
        self.log()?.hooks(owner, task).await
    }
    async fn forget_hook(&self, owner: &Owner, task: &str, id: &str) -> Result<(), A2aError> {
        self.log()?.forget_hook(owner, task, id).await
    }
    async fn open_hooks(&self) -> Result<Vec<OpenHook>, A2aError> {
        let open = self.log()?.open_hooks().await;
        tokio::time::sleep(self.delay).await;
        open
    }
    async fn move_hook(&self, owner: &Owner, task: &str, id: &str, to: Delivered) -> Result<(), A2aError> {
        self.log()?.move_hook(owner, task, id, to).await
    }
}

/// A running server; it stops when dropped.
pub struct Site {
    pub address: SocketAddr,
    pub url: String,
    pub agent: Arc<Script>,
    pub log: Arc<MemoryLog>,
    pub source: CardSource,
    /// How often a task was read.
    pub reads: Arc<AtomicUsize>,
    /// Whether the log cannot be read.
    pub broken: Arc<AtomicBool>,
    _stop: oneshot::Sender<()>,
}

pub fn signed_card(url: String, tls_key_sha256: Option<Sha256>) -> AgentCard {
    let mut card = card::build(&facts(url, tls_key_sha256));
    card::sign(&mut card, &contractor_key()).unwrap();
    card
}

impl Site {
    pub async fn start() -> Self {
        Self::with(Limits::default(), None, None).await
    }

    /// One whose card offers no push notifications.
    pub async fn without_push() -> Self {
        let site = Self::start().await;
        let mut card = signed_card(format!("{}/", site.url), None);
        card.capabilities.push_notifications = None;
        site.source.publish(&card, now()).unwrap();
        site
    }

    /// One whose card offers push notifications and an extended card.
    pub async fn offering() -> Self {
        let site = Self::start().await;
        let mut card = signed_card(format!("{}/", site.url), None);
        card.capabilities.extended_agent_card = Some(true);
        site.source.publish(&card, now()).unwrap();
        site
    }

    /// `named`: the key that the card names, when it is not the server's.
    pub async fn with(limits: Limits, tls: Option<ServerTls>, named: Option<Sha256>) -> Self {
        let log = Arc::new(MemoryLog::new(Arc::new(SystemClock)));
        Self::over(log, Duration::ZERO, limits, tls, named).await
    }

    /// One that goes on with what `log` has, `delay` after it has read it.
    pub async fn resumed(log: Arc<MemoryLog>, delay: Duration) -> Self {
        Self::over(log, delay, Limits::default(), None, None).await
    }

    async fn over(
        log: Arc<MemoryLog>,
        delay: Duration,
        limits: Limits,
        tls: Option<ServerTls>,
        named: Option<Sha256>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let key = named.or(tls.as_ref().map(ServerTls::key_sha256));
        let source = CardSource::new(&signed_card(format!("{url}/"), key), now()).unwrap();
        let broken = Arc::new(AtomicBool::new(false));
        let agent = Arc::new(Script { seen: Mutex::default(), log: log.clone(), broken: broken.clone() });
        let auth = Authenticator::new(contractor_key().did(), Arc::new(SystemClock));
        let reads = Arc::new(AtomicUsize::new(0));
        let kept = Arc::new(Breakable { log: log.clone(), broken: broken.clone(), reads: reads.clone(), delay });
        let rules = WebhookRules { loopback: true };
        let routes = router(agent.clone(), kept, source.clone(), limits, auth, rules);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, tls, routes, limits, async move {
            let _ = stopped.await;
        }));
        Self { address, url, agent, log, source, reads, broken, _stop: stop }
    }

    pub fn asked(&self) -> Vec<String> {
        self.agent.seen.lock().unwrap().iter().map(|(_, what)| what.clone()).collect()
    }

    /// Whose tasks those of a caller without a token are.
    pub fn anyone(&self) -> Owner {
        Call::new(Identity::Anonymous, self.address.ip()).owner()
    }

    /// A task of `owner` in a state.
    pub fn task(&self, owner: &Owner, state: TaskState) -> String {
        self.log.create(owner, a2a::new_task_id(), "context".to_owned(), None, vec![status(state, None)])
    }
}
