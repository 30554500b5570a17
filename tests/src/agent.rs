//! An A2A agent that knows nothing of Tender: the product's server crate around an agent that does what a test says,
//! behind a card that offers what a test says.

use async_trait::async_trait;
use serde_json::json;
use std::{
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tender_a2a::{
    A2aError, Agent, Authenticator, Call, CardSource, ErrorKind, Incoming, Limits, MemoryLog, Reply, Standing,
    WebhookRules,
    log::Change,
    router, serve,
    wire::{self as a2a, AgentCapabilities, AgentCard, AgentInterface, Artifact, Message, Part, Role, Task, TaskState},
};
use tender_base::{Clock, Did, Signer, signed::KeySigner, time::SystemClock};

/// What the agent does with a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Behaviour {
    /// Writes this, as an artifact of a task.
    Writes(String),
    /// Answers with this message, without a task.
    Says(String),
    /// Begins and never ends.
    Dawdles,
    /// Ends the task as failed, with this reason.
    Fails(String),
    /// Asks for so many micro-dollars first, and writes the text for a yes.
    Asks(i64, String),
    /// Asks for so many micro-dollars first, and after a yes begins and never ends.
    AsksAndDawdles(i64),
    /// Asks something back.
    AsksBack(String),
    /// Refuses the message.
    Refuses,
}

/// A running agent; it answers until the test ends.
pub struct Foreigner {
    /// Where its card is.
    pub address: String,
    shared: Arc<Shared>,
    log: Arc<MemoryLog>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    heard: Mutex<Vec<String>>,
}

struct Actor(Arc<Shared>, Arc<MemoryLog>);

impl Foreigner {
    /// Offers this binding only, with streams or without.
    #[must_use]
    pub fn start(binding: &str, streaming: bool, behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let card = AgentCard {
            name: "Foreign writer".to_owned(),
            description: "Writes what it is told.".to_owned(),
            version: "1".to_owned(),
            supported_interfaces: vec![AgentInterface::new(format!("{address}/"), binding)],
            capabilities: AgentCapabilities {
                streaming: Some(streaming),
                push_notifications: None,
                extensions: None,
                extended_agent_card: None,
            },
            default_input_modes: vec!["text/plain".to_owned()],
            default_output_modes: vec!["text/plain".to_owned()],
            skills: Vec::new(),
            provider: None,
            documentation_url: None,
            icon_url: None,
            security_schemes: None,
            security_requirements: None,
            signatures: None,
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let source = CardSource::new(&card, clock.now()).unwrap();
        let log = Arc::new(MemoryLog::new(clock.clone()));
        let shared = Arc::new(Shared { behaviour: Mutex::new(behaviour), heard: Mutex::default() });
        let auth = Authenticator::new(KeySigner::from_seed(&[0; 32]).did(), clock);
        let actor = Arc::new(Actor(shared.clone(), log.clone()));
        let limits = Limits::default();
        let routes = router(actor, log.clone(), source, limits, auth, WebhookRules::default());
        tokio::spawn(serve(listener, None, routes, limits, std::future::pending()));
        Self { address, shared, log }
    }

    /// What it does from now on.
    pub fn does(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// The texts of the messages so far.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The states of its tasks, newest first.
    pub async fn states(&self) -> Vec<TaskState> {
        self.tasks().await.into_iter().map(|task| task.status.state).collect()
    }

    /// Ends the tasks that it works on with this text.
    pub async fn finishes(&self, text: &str) {
        self.ends(&written(text)).await;
    }

    /// Ends the tasks that it works on without anything.
    pub async fn gives_up(&self) {
        self.ends(&[status(TaskState::Failed, None)]).await;
    }

    async fn ends(&self, changes: &[Change]) {
        for task in self.tasks().await.into_iter().filter(|task| task.status.state == TaskState::Working) {
            self.log.append(&task.id, None, changes.to_vec()).unwrap();
        }
    }

    async fn tasks(&self) -> Vec<Task> {
        let client = tender_a2a::ForeignClient::connect(&self.address, None, None).await.unwrap();
        client.tasks(100).await.unwrap()
    }
}

impl std::fmt::Debug for Foreigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Foreigner")
            .field("address", &self.address)
            .field("tasks", &Arc::strong_count(&self.log))
            .finish()
    }
}

fn status(state: TaskState, text: Option<String>) -> Change {
    let message = text.map(|text| Message::new(Role::Agent, vec![Part::text(text)]));
    Change::Status { state, message, metadata: None }
}

fn written(text: &str) -> [Change; 2] {
    let artifact = Artifact {
        artifact_id: "text".to_owned(),
        name: None,
        description: None,
        parts: vec![Part::text(text)],
        metadata: None,
        extensions: None,
    };
    [Change::Artifact { artifact, append: false, last: true }, status(TaskState::Completed, None)]
}

#[async_trait]
impl Agent for Actor {
    async fn standing(&self, _: &Did) -> Standing {
        Standing::Stranger
    }

    async fn receive(&self, call: &Call, incoming: Incoming) -> Result<Reply, A2aError> {
        let Incoming { request, task, once } = incoming;
        let message = request.message;
        let heard = message.text().unwrap_or_default().to_owned();
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
        let behaviour = self.0.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut changes = match (behaviour, &task) {
            (Behaviour::Says(text), _) => {
                return Ok(Reply::Message(Box::new(Message::new(Role::Agent, vec![Part::text(text)]))));
            }
            (Behaviour::Refuses, _) => {
                return Err(A2aError::new(ErrorKind::InvalidParams, "I do not like this message", ""));
            }
            (Behaviour::Writes(text), _) | (Behaviour::Asks(_, text), Some(_)) => written(&text).to_vec(),
            (Behaviour::Dawdles, _) | (Behaviour::AsksAndDawdles(_), Some(_)) => vec![status(TaskState::Working, None)],
            (Behaviour::Fails(why), _) => vec![status(TaskState::Failed, Some(why))],
            (Behaviour::AsksBack(what), _) => vec![status(TaskState::InputRequired, Some(what))],
            (Behaviour::Asks(price, _) | Behaviour::AsksAndDawdles(price), None) => {
                let quote = Part::data(json!({"quote": {"amount_micro_usd": price}}));
                let message = Message::new(Role::Agent, vec![Part::text("It costs something."), quote]);
                vec![Change::Status { state: TaskState::InputRequired, message: Some(message), metadata: None }]
            }
        };
        let id = match task {
            Some(task) => {
                changes.insert(0, Change::Message(message));
                self.1.append(&task.id, once, changes)?;
                return Ok(Reply::Task(task.id));
            }
            None => {
                let context = message.context_id.clone().unwrap_or_else(a2a::new_context_id);
                let begin = vec![Change::Message(message), status(TaskState::Submitted, None)];
                self.1.create(&call.owner(), a2a::new_task_id(), context, once, begin)
            }
        };
        let (log, task) = (self.1.clone(), id.clone());
        tokio::spawn(async move {
            for change in changes {
                tokio::time::sleep(Duration::from_millis(20)).await;
                // It may have been cancelled meanwhile.
                let _ = log.append(&task, None, vec![change]);
            }
        });
        Ok(Reply::Task(id))
    }

    async fn cancel(&self, _: &Call, task: &Task) -> Result<(), A2aError> {
        self.1.append(&task.id, None, vec![status(TaskState::Canceled, None)])
    }
}
