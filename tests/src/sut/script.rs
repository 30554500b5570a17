//! The agent of the target.

use super::{
    skill,
    steps::{Plan, plan, status},
};
use async_trait::async_trait;
use std::sync::Arc;
use tender_a2a::{
    A2aError, Agent, Call, ErrorKind, Incoming, MemoryLog, Reply, Standing,
    log::Change,
    wire::{self, AgentCard, Message, Part, Role, SendMessageRequest, Task, TaskState},
};
use tender_base::Did;

pub struct Script {
    log: Arc<MemoryLog>,
    card: AgentCard,
    required: Option<String>,
}

impl Script {
    pub fn new(log: Arc<MemoryLog>, card: AgentCard, required: Option<String>) -> Self {
        Self { log, card, required }
    }
}

#[async_trait]
impl Agent for Script {
    async fn standing(&self, _: &Did) -> Standing {
        Standing::Stranger
    }

    fn requires(&self, request: &SendMessageRequest) -> Option<String> {
        let id = &request.message.message_id;
        let other_scenario = id.starts_with("tck-") && !id.starts_with("tck-cap-ext");
        self.required.clone().filter(|_| !other_scenario)
    }

    async fn receive(&self, call: &Call, incoming: Incoming) -> Result<Reply, A2aError> {
        let Incoming { request: SendMessageRequest { message, .. }, task, once } = incoming;
        let mut steps = match plan(&message, task.is_some()) {
            Plan::Answer(text) => {
                let mut answer = Message::new(Role::Agent, vec![Part::text(text)]);
                answer.context_id = message.context_id.or_else(|| Some(wire::new_context_id()));
                return Ok(Reply::Message(Box::new(answer)));
            }
            Plan::Play(steps) => steps.into_iter(),
        };
        let context = message.context_id.clone();
        let id = match task {
            Some(task) => {
                // With the first step, so that nobody reads the state before the message as the answer to it.
                let first = steps.next().map(|(_, change)| change);
                self.log.append(
                    &task.id,
                    once,
                    [Some(Change::Message(message)), first].into_iter().flatten().collect(),
                )?;
                task.id
            }
            None => {
                let changes = vec![Change::Message(message), status(TaskState::Submitted, None)];
                let context = context.unwrap_or_else(wire::new_context_id);
                self.log.create(&call.owner(), wire::new_task_id(), context, once, changes)
            }
        };
        let (log, task) = (self.log.clone(), id.clone());
        tokio::spawn(async move {
            for (pause, change) in steps {
                tokio::time::sleep(pause).await;
                // Cancelled meanwhile: the rest is not played.
                if log.append(&task, None, vec![change]).is_err() {
                    return;
                }
            }
        });
        Ok(Reply::Task(id))
    }

    async fn cancel(&self, _: &Call, task: &Task) -> Result<(), A2aError> {
        self.log.append(&task.id, None, vec![status(TaskState::Canceled, Some("canceled"))]).map_err(|_| {
            A2aError::new(ErrorKind::TaskNotCancelable, "the task has ended meanwhile", "nothing needs to be done")
        })
    }

    async fn extended_card(&self, _: &Call) -> Result<AgentCard, A2aError> {
        let mut card = self.card.clone();
        card.skills.push(skill("extended", "Extended", "Is on the extended card only."));
        Ok(card)
    }
}
