//! A server on a free port, with an agent whose answers are scripted.

use async_trait::async_trait;
use futures::{StreamExt, stream};
use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    time::Duration,
};
use tender_a2a::{
    A2aError, Agent, Authenticator, Caller, CardSource, ErrorKind, EventStream, Limits,
    card::{self, CardFacts, SkillFacts},
    contract::{self, Piece, Progress},
    router, serve,
    tls::ServerTls,
    wire::{
        AgentCard, CancelTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse, Message as WireMessage,
        Part, Role, SendMessageRequest, SendMessageResponse, StreamResponse, SubscribeToTaskRequest, Task, TaskState,
    },
};
use tender_base::{
    BlobRef, Book, Clock, Code, Did, Entropy, JobKind, JobSpec, MicroUsd, Problem, Rate, Sha256, Signed, Signer,
    Timestamp, Unit, Work,
    documents::{Award, CallForProposals, Delivery, Message, Proposal, WorkerInfo},
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
        skills: vec![SkillFacts { kind: JobKind::Gemm, model: None, rate: rate() }],
    }
}

/// Answers by the text of a plain message, and by the input of an award.
#[derive(Default)]
pub struct Script {
    /// Who asked, and what, in order.
    pub seen: Mutex<Vec<(Caller, String)>>,
}

impl Script {
    fn note(&self, caller: &Caller, what: impl Into<String>) {
        self.seen.lock().unwrap().push((*caller, what.into()));
    }
}

fn plain(state: TaskState) -> Task {
    contract::task(contract(), contract::status(state, None, now()), None, None)
}

fn working(done: u64) -> StreamResponse {
    let status = contract::status(TaskState::Working, None, now());
    let text = Some(Piece { at: done - 1, more: "a".to_owned() });
    contract::status_update(contract(), status, Some(Progress { done, total: 2, text }))
}

fn deliver(output: &[u8], stated: &[u8]) -> Vec<StreamResponse> {
    let document = Message::Delivery(delivery(stated));
    let status = contract::status(TaskState::InputRequired, Some(&document), now());
    vec![contract::output_update(contract(), output.to_vec()), contract::status_update(contract(), status, None)]
}

fn events(events: Vec<StreamResponse>) -> EventStream {
    stream::iter(events.into_iter().map(Ok)).boxed()
}

/// The rest of a task after its beginning.
fn play(input: &[u8]) -> EventStream {
    match input {
        b"slow" => {
            let wait =
                stream::once(tokio::time::sleep(Duration::from_secs(3))).flat_map(|()| events(deliver(b"s", b"s")));
            events(vec![working(1)]).chain(wait).boxed()
        }
        b"never" => events(vec![working(1)]).chain(stream::pending()).boxed(),
        b"cut" => events(vec![working(1)]),
        b"fail" => {
            let why = Problem::new(Code::WorkFailed, "the device was lost", "try again");
            let status = contract::status(TaskState::Failed, Some(&Message::Refusal(why)), now());
            events(vec![contract::status_update(contract(), status, None)])
        }
        b"forged" => events(deliver(b"other bytes", b"stated bytes")),
        b"broken" => {
            stream::iter([Err(A2aError::new(ErrorKind::Internal, "the disk is full", "free some space"))]).boxed()
        }
        input => {
            let output: Vec<u8> = input.iter().rev().copied().collect();
            events([vec![working(1), working(2)], deliver(&output, &output)].concat())
        }
    }
}

#[async_trait]
impl Agent for Script {
    async fn is_peer(&self, did: &Did) -> bool {
        *did == client_key().did()
    }

    async fn send_message(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<SendMessageResponse, A2aError> {
        let text = request.message.text().unwrap_or_default().to_owned();
        self.note(caller, format!("send {text}"));
        match contract::unwrap(request.message)?.map(|envelope| envelope.document) {
            Some(Message::Call(call)) => {
                let answer = if caller.did().is_some() {
                    Message::Proposal(proposal(&call))
                } else {
                    Message::Refusal(Problem::new(Code::Forbidden, "who are you?", "pair first"))
                };
                Ok(SendMessageResponse::Message(contract::wrap(&answer, Role::Agent)))
            }
            Some(_) => Ok(SendMessageResponse::Task(contract::delivered(&delivery(b"x"), b"x".to_vec()))),
            None if text == "problem" => {
                Err(Problem::new(Code::OverLimit, "the credit limit is used up", "pay first").into())
            }
            None => Ok(SendMessageResponse::Message(WireMessage::new(Role::Agent, vec![Part::text(text)]))),
        }
    }

    async fn send_streaming_message(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<EventStream, A2aError> {
        self.note(caller, "stream");
        if request.message.text() == Some("wrong order") {
            return Ok(events(vec![working(1)]));
        }
        match contract::unwrap(request.message)? {
            Some(envelope) if caller.did().is_none() => {
                let _ = envelope;
                Err(Problem::new(Code::Unauthenticated, "an award needs a token", "send one").into())
            }
            Some(envelope) => match envelope.input.unwrap_or_default().as_slice() {
                b"refuse" => {
                    let why = Problem::new(Code::Expired, "the proposal has run out", "call again");
                    let message = contract::wrap(&Message::Refusal(why), Role::Agent);
                    Ok(events(vec![StreamResponse::Message(message)]))
                }
                input => {
                    let first = StreamResponse::Task(plain(TaskState::Submitted));
                    Ok(events(vec![first]).chain(play(input)).boxed())
                }
            },
            None => Ok(events(vec![
                StreamResponse::Task(plain(TaskState::Submitted)),
                working(1),
                StreamResponse::Task(plain(TaskState::Completed)),
                working(2),
            ])),
        }
    }

    async fn get_task(&self, caller: &Caller, request: GetTaskRequest) -> Result<Task, A2aError> {
        self.note(caller, format!("get {}", request.id));
        if request.id == contract().to_string() {
            Ok(plain(TaskState::Completed))
        } else {
            Err(A2aError::task_not_found(&request.id))
        }
    }

    async fn list_tasks(&self, caller: &Caller, request: ListTasksRequest) -> Result<ListTasksResponse, A2aError> {
        self.note(caller, format!("list {:?} {:?}", request.status, request.page_size));
        Ok(ListTasksResponse {
            tasks: vec![plain(TaskState::Completed)],
            next_page_token: String::new(),
            page_size: request.page_size.unwrap_or(50),
            total_size: 1,
        })
    }

    async fn cancel_task(&self, caller: &Caller, request: CancelTaskRequest) -> Result<Task, A2aError> {
        self.note(caller, format!("cancel {}", request.id));
        Err(A2aError::new(ErrorKind::TaskNotCancelable, "the task has ended", ""))
    }

    async fn subscribe_to_task(
        &self,
        caller: &Caller,
        request: SubscribeToTaskRequest,
    ) -> Result<EventStream, A2aError> {
        self.note(caller, format!("subscribe {}", request.id));
        match request.id.as_str() {
            "parked" => Ok(events(vec![
                StreamResponse::Task(plain(TaskState::InputRequired)),
                StreamResponse::Task(plain(TaskState::Completed)),
            ])),
            id if id == contract().to_string() => {
                if self.seen.lock().unwrap().iter().any(|(_, what)| what == "stream") {
                    Ok(events(vec![StreamResponse::Task(contract::delivered(&delivery(b"kept"), b"kept".to_vec()))]))
                } else {
                    Err(A2aError::new(ErrorKind::UnsupportedOperation, "the task has ended", "read it with GetTask"))
                }
            }
            id => Err(A2aError::task_not_found(id)),
        }
    }
}

/// A running server; it stops when dropped.
pub struct Site {
    pub address: SocketAddr,
    pub url: String,
    pub agent: Arc<Script>,
    pub source: CardSource,
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

    /// `named`: the key that the card names, when it is not the server's.
    pub async fn with(limits: Limits, tls: Option<ServerTls>, named: Option<Sha256>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let key = named.or(tls.as_ref().map(ServerTls::key_sha256));
        let source = CardSource::new(&signed_card(format!("{url}/"), key), now()).unwrap();
        let agent = Arc::new(Script::default());
        let auth = Authenticator::new(contractor_key().did(), Arc::new(SystemClock));
        let routes = router(agent.clone(), source.clone(), limits, auth);
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(serve(listener, tls, routes, limits, async move {
            let _ = stopped.await;
        }));
        Self { address, url, agent, source, _stop: stop }
    }

    pub fn asked(&self) -> Vec<String> {
        self.agent.seen.lock().unwrap().iter().map(|(_, what)| what.clone()).collect()
    }
}
