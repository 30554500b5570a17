//! The contractor's A2A face: messages of the contract extension in, tasks out. A task is a projection of its
//! contract; nothing else is stored.

use crate::node::Node;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use std::{ops::Deref, sync::Arc};
use tender_a2a::wire::{
    self as a2a, CancelTaskRequest, GetTaskRequest, ListTasksRequest, ListTasksResponse, Message as WireMessage, Part,
    Role as Wire, SendMessageRequest, SendMessageResponse, StreamResponse, SubscribeToTaskRequest, Task, TaskState,
};
use tender_a2a::{
    A2aError, Agent, Caller, ErrorKind, EventStream,
    contract::{self, Envelope, Piece, Progress},
};
use tender_base::{Code, ContractState, Did, Problem, documents::Message, ids::ContractId};
use tender_engine::Progress as Running;
use tender_store::{ContractFilter, ContractRecord};

/// The node as an agent of the A2A server.
pub(crate) struct Contractor(pub(crate) Arc<Node>);

impl Deref for Contractor {
    type Target = Arc<Node>;
    fn deref(&self) -> &Arc<Node> {
        &self.0
    }
}

/// Most contracts listed to one caller at once; the page size of A2A is at most 100.
const LIST_LIMIT: u32 = 100;

#[async_trait]
impl Agent for Contractor {
    async fn is_peer(&self, did: &Did) -> bool {
        self.store.peer(did).await.is_ok_and(|peer| peer.is_some_and(|peer| !peer.removed))
    }

    async fn send_message(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<SendMessageResponse, A2aError> {
        let return_at_once = request.configuration.as_ref().is_some_and(|c| c.return_immediately == Some(true));
        let Some(envelope) = contract::unwrap(request.message)? else {
            return Ok(SendMessageResponse::Message(self.introduction()));
        };
        match self.receive(caller, envelope).await? {
            Answer::Document(message) => Ok(SendMessageResponse::Message(contract::wrap(&message, Wire::Agent))),
            Answer::Task(id) if return_at_once => Ok(SendMessageResponse::Task(self.task(id).await?)),
            Answer::Task(id) => {
                let mut ticks = self.live.watch();
                loop {
                    let task = self.task(id).await?;
                    if task.status.state.is_terminal() || task.status.state == TaskState::InputRequired {
                        return Ok(SendMessageResponse::Task(task));
                    }
                    ticks.changed().await.map_err(|_| going_down())?;
                }
            }
        }
    }

    async fn send_streaming_message(
        &self,
        caller: &Caller,
        request: SendMessageRequest,
    ) -> Result<EventStream, A2aError> {
        let Some(envelope) = contract::unwrap(request.message)? else {
            let introduction = StreamResponse::Message(self.introduction());
            return Ok(stream::iter([Ok(introduction)]).boxed());
        };
        match self.receive(caller, envelope).await? {
            Answer::Document(message) => {
                let message = StreamResponse::Message(contract::wrap(&message, Wire::Agent));
                Ok(stream::iter([Ok(message)]).boxed())
            }
            Answer::Task(id) => self.follow(id).await,
        }
    }

    async fn get_task(&self, caller: &Caller, request: GetTaskRequest) -> Result<Task, A2aError> {
        let record = self.own(caller, &request.id).await?;
        self.project(&record, true).await
    }

    async fn list_tasks(&self, caller: &Caller, request: ListTasksRequest) -> Result<ListTasksResponse, A2aError> {
        let Some(did) = caller.did() else {
            return Err(identify());
        };
        let filter = ContractFilter {
            role: Some(tender_base::Role::Contractor),
            peer: Some(did),
            limit: LIST_LIMIT,
            ..ContractFilter::default()
        };
        let mut records = self.contracts(filter).await?;
        records.retain(|record| record.award().is_some());
        records.sort_by_key(|record| std::cmp::Reverse(record.changed_at));
        let total = i32::try_from(records.len()).unwrap_or(i32::MAX);
        let page = request.page_size.unwrap_or(50);
        records.truncate(usize::try_from(page).unwrap_or(50));
        // Outputs are large: a listing never carries them, GetTask does.
        let mut tasks = Vec::new();
        for record in &records {
            tasks.push(self.project(record, false).await?);
        }
        Ok(ListTasksResponse { tasks, next_page_token: String::new(), page_size: page, total_size: total })
    }

    async fn cancel_task(&self, caller: &Caller, request: CancelTaskRequest) -> Result<Task, A2aError> {
        let record = self.own(caller, &request.id).await?;
        if contract::face(record.state).is_some_and(|state| state.is_terminal()) {
            return Err(A2aError::new(ErrorKind::TaskNotCancelable, "the task has ended", "nothing needs to be done"));
        }
        Err(A2aError::new(
            ErrorKind::TaskNotCancelable,
            "a contract ends by a signed document",
            "send an abandonment, or a rejection of what was delivered",
        ))
    }

    async fn subscribe_to_task(
        &self,
        caller: &Caller,
        request: SubscribeToTaskRequest,
    ) -> Result<EventStream, A2aError> {
        let record = self.own(caller, &request.id).await?;
        if contract::face(record.state).is_some_and(|state| state.is_terminal()) {
            return Err(A2aError::new(ErrorKind::UnsupportedOperation, "the task has ended", "read it with GetTask"));
        }
        self.follow(record.id).await
    }
}

enum Answer {
    Document(Box<Message>),
    Task(ContractId),
}

impl Contractor {
    async fn receive(&self, caller: &Caller, envelope: Envelope) -> Result<Answer, A2aError> {
        if let Message::PairingRequest(request) = envelope.document {
            return match self.on_pairing_request(request).await {
                Ok(answer) => Ok(Answer::Document(Box::new(Message::PairingAnswer(answer)))),
                Err(problem) => Ok(Answer::Document(Box::new(Message::Refusal(problem)))),
            };
        }
        let Some(did) = caller.did() else {
            return Err(identify());
        };
        let node = &self.0;
        let document = match envelope.document {
            Message::Award(award) => return Ok(Answer::Task(node.on_award(did, award, envelope.input).await?)),
            Message::Call(call) => node.on_call(did, call).await.unwrap_or_else(Message::Refusal),
            Message::Decline(decline) => {
                node.on_decline(did, decline.clone()).await?;
                Message::Decline(decline)
            }
            Message::Acceptance(acceptance) => Message::Countersignature(node.on_acceptance(did, acceptance).await?),
            Message::Rejection(rejection) => {
                node.on_rejection(did, rejection.clone()).await?;
                Message::Rejection(rejection)
            }
            Message::Abandonment(note) => {
                node.on_abandonment(did, note.clone()).await?;
                Message::Abandonment(note)
            }
            Message::Payment(payment) => Message::PaymentConfirmation(node.on_payment(did, payment).await?),
            Message::Proposal(_)
            | Message::Refusal(_)
            | Message::Delivery(_)
            | Message::Countersignature(_)
            | Message::PaymentConfirmation(_)
            | Message::PairingRequest(_)
            | Message::PairingAnswer(_) => {
                let wrong = "this document is an answer, not a request";
                return Err(Problem::new(Code::Invalid, wrong, "send a call, an award or an acceptance").into());
            }
        };
        Ok(Answer::Document(Box::new(document)))
    }

    /// What a client without the extension is told: what is sold here and how to buy it. Non-binding.
    fn introduction(&self) -> WireMessage {
        let prices = self.settings().prices;
        let mut message = WireMessage::new(
            Wire::Agent,
            vec![Part::text(format!(
                "This agent sells GPU computation (text, embeddings, matrix products, built-in and WGSL \
                 kernels) under signed contracts. Prices, not binding: {} micro-USD per {} tokens of text, {} micro-USD per {} tokens \
                 embedded, {} micro-USD per {} floating-point \
                 operations, {} micro-USD per {} elements, {} micro-USD per {} steps. To buy, speak the extension {} and be paired by an invitation.",
                prices.generate.micro_usd,
                prices.generate.per_units,
                prices.embed.micro_usd,
                prices.embed.per_units,
                prices.gemm.micro_usd,
                prices.gemm.per_units,
                prices.kernel.micro_usd,
                prices.kernel.per_units,
                prices.wgsl.micro_usd,
                prices.wgsl.per_units,
                contract::CONTRACT_EXTENSION,
            ))],
        );
        message.context_id = Some(a2a::new_context_id());
        message
    }

    async fn own(&self, caller: &Caller, id: &str) -> Result<ContractRecord, A2aError> {
        let missing = || A2aError::task_not_found(id);
        let did = caller.did().ok_or_else(identify)?;
        let contract: ContractId = id.parse().map_err(|_| missing())?;
        let record = self.sold(contract, &did).await.map_err(|_| missing())?;
        if record.award().is_some() { Ok(record) } else { Err(missing()) }
    }

    async fn task(&self, id: ContractId) -> Result<Task, A2aError> {
        let record = self.record(id).await?;
        self.project(&record, true).await
    }

    /// The task that a contract looks like, with or without its output.
    async fn project(&self, record: &ContractRecord, with_output: bool) -> Result<Task, A2aError> {
        let state = contract::face(record.state).unwrap_or(TaskState::Submitted);
        // Silence counted for a client that was away: it owes the amount, so it still gets what it owes it for.
        let by_silence = record.state == ContractState::Accepted && record.acceptance().is_none();
        let to_fetch = record.state == ContractState::Delivered || by_silence;
        let document = match record.state {
            _ if to_fetch => record.delivery().cloned().map(Message::Delivery),
            ContractState::Failed => record.reason.clone().map(Message::Refusal),
            _ => record.countersignature().cloned().map(Message::Countersignature),
        };
        let output = match record.output.filter(|_| to_fetch && with_output) {
            Some(blob) => Some(self.stored_blob(&blob).await?),
            None => None,
        };
        let progress = self.live.progress(record.id).map(|progress| wire_progress(&progress, 0));
        let status = contract::status(state, document.as_ref(), record.changed_at);
        Ok(contract::task(record.id, status, progress, output))
    }

    /// The task as it stands, then every change until it ends or waits for the client.
    async fn follow(&self, id: ContractId) -> Result<EventStream, A2aError> {
        let ticks = self.live.watch();
        let first = self.task(id).await?;
        let seen = (first.status.state.clone(), self.live.progress(id));
        let open = !ends_stream(&first.status.state);
        let contractor = Self(self.0.clone());
        let rest =
            stream::unfold((contractor, ticks, seen, open), move |(contractor, mut ticks, seen, open)| async move {
                if !open {
                    return None;
                }
                loop {
                    if ticks.changed().await.is_err() {
                        return None;
                    }
                    // State first: its change may come together with the last progress.
                    let record = match contractor.record(id).await {
                        Ok(record) => record,
                        Err(problem) => return Some((vec![Err(problem.into())], (contractor, ticks, seen, false))),
                    };
                    let state = contract::face(record.state).unwrap_or(TaskState::Submitted);
                    let progress = contractor.live.progress(id);
                    if (&state, &progress) == (&seen.0, &seen.1) {
                        continue;
                    }
                    let known = seen.1.as_ref().map_or(0, |progress| progress.text.len());
                    let events = contractor.updates(&record, &state, progress.clone(), known).await;
                    let open = !ends_stream(&state);
                    return Some((events, (contractor, ticks, (state, progress), open)));
                }
            });
        Ok(stream::iter([Ok(StreamResponse::Task(first))]).chain(rest.flat_map(stream::iter)).boxed())
    }

    /// The events that lead from what the stream has said to what is so now; `known` bytes of the text are said.
    async fn updates(
        &self,
        record: &ContractRecord,
        state: &TaskState,
        progress: Option<Running>,
        known: usize,
    ) -> Vec<Result<StreamResponse, A2aError>> {
        match self.project(record, true).await {
            Err(error) => vec![Err(error)],
            Ok(task) => {
                let output = task.artifacts.into_iter().flatten().next().and_then(|artifact| {
                    artifact.parts.into_iter().find_map(|part| match part.content {
                        a2a::PartContent::Raw(bytes) => Some(bytes),
                        _ => None,
                    })
                });
                let progress = progress.filter(|_| *state == TaskState::Working);
                let progress = progress.map(|progress| wire_progress(&progress, known));
                output
                    .map(|bytes| Ok(contract::output_update(record.id, bytes)))
                    .into_iter()
                    .chain([Ok(contract::status_update(record.id, task.status, progress))])
                    .collect()
            }
        }
    }
}

/// Progress as it is sent to a client that knows so many bytes of the text.
fn wire_progress(progress: &Running, known: usize) -> Progress {
    let more = progress.text.get(known..).filter(|more| !more.is_empty());
    let text = more.map(|more| Piece { at: known as u64, more: more.to_owned() });
    Progress { done: progress.done.into(), total: progress.total.into(), text }
}

fn ends_stream(state: &TaskState) -> bool {
    state.is_terminal() || *state == TaskState::InputRequired
}

fn identify() -> A2aError {
    A2aError::new(
        ErrorKind::Unauthenticated,
        "contracts need a did:key bearer token",
        "send Authorization: Bearer with a token signed for this agent",
    )
}

fn going_down() -> A2aError {
    A2aError::new(ErrorKind::Unavailable, "this node is shutting down", "subscribe to the task again later")
}
