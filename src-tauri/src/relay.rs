//! What the window may call. Everything is forwarded to the node's local API, so that handlers exist once and the
//! UI is the same in a browser.

use crate::node::Node;
use futures::StreamExt;
use serde::Serialize;
use serde_json::Value;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};
use tauri::{
    State,
    async_runtime::{JoinHandle, spawn},
    ipc::Channel,
};
use tender_base::{Code, Problem};
use tender_node::api::{Kind, OPERATIONS};

/// What a subscription sends to the window.
#[derive(Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// A numbered snapshot.
    Event {
        /// Its number; give the last one as `after` when subscribing again.
        number: u64,
        /// The snapshot.
        value: Value,
    },
    /// The subscription is over; the window subscribes again after a while.
    Ended(Problem),
}

/// Subscriptions of the page that is shown.
#[derive(Default)]
pub struct Subscriptions {
    next: AtomicU32,
    running: Mutex<HashMap<u32, JoinHandle<()>>>,
}

impl Subscriptions {
    fn add(&self, task: JoinHandle<()>) -> u32 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|_, task| !task.inner().is_finished());
        running.insert(id, task);
        id
    }

    fn end(&self, id: u32) {
        if let Some(task) = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id) {
            task.abort();
        }
    }

    /// Ends them all.
    pub fn end_all(&self) {
        for (_, task) in self.running.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            task.abort();
        }
    }
}

/// Calls a query or a command of the node; `key` makes a command idempotent.
#[tauri::command]
pub async fn rpc(
    node: State<'_, Arc<Node>>,
    name: String,
    input: Value,
    key: Option<String>,
) -> Result<Value, Problem> {
    let name = known(&name, |kind| kind != Kind::Subscription)?;
    let answer = node.attached().await?.call(name, input, key.as_deref()).await;
    if matches!(&answer, Err(problem) if problem.code == Code::Lost) {
        node.lost().await;
    }
    answer
}

/// Opens a subscription of the node and sends its events through `channel`; answers the id that ends it.
#[tauri::command]
pub async fn subscribe(
    node: State<'_, Arc<Node>>,
    subscriptions: State<'_, Subscriptions>,
    name: String,
    after: u64,
    channel: Channel<Message>,
) -> Result<u32, Problem> {
    let name = known(&name, |kind| kind == Kind::Subscription)?;
    let mut events = Box::pin(node.attached().await?.subscribe(name, after).await?);
    let node = Arc::clone(&node);
    Ok(subscriptions.add(spawn(async move {
        let over = loop {
            match events.next().await {
                Some(Ok((number, value))) => {
                    if channel.send(Message::Event { number, value }).is_err() {
                        return;
                    }
                }
                Some(Err(problem)) => break problem,
                None => break Problem::new(Code::Lost, "the node ended the subscription", ""),
            }
        };
        node.lost().await;
        // Nobody is left to be told when the window is gone.
        let _ = channel.send(Message::Ended(over));
    })))
}

/// Ends a subscription; one that is over already is no error.
#[tauri::command]
pub fn unsubscribe(subscriptions: State<'_, Subscriptions>, id: u32) {
    subscriptions.end(id);
}

/// The operation's own name: what the window sends never becomes a path as it is.
fn known(name: &str, fits: impl Fn(Kind) -> bool) -> Result<&'static str, Problem> {
    OPERATIONS
        .iter()
        .find(|operation| operation.name == name && fits(operation.kind))
        .map(|o| o.name)
        .ok_or_else(|| Problem::new(Code::NotFound, format!("the node has no such operation: {name}"), "update Tender"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_declared_operations_pass_and_only_as_what_they_are() {
        let call = |kind| kind != Kind::Subscription;
        assert_eq!(known("overview", call), Ok("overview"));
        assert_eq!(known("sell", call), Ok("sell"));
        for name in ["watch_overview", "../admin", "", "Overview"] {
            assert_eq!(known(name, call).unwrap_err().code, Code::NotFound, "{name}");
        }
        assert_eq!(known("watch_overview", |kind| kind == Kind::Subscription), Ok("watch_overview"));
    }

    #[test]
    fn messages_have_the_form_the_window_reads() {
        let event = serde_json::to_value(Message::Event { number: 7, value: Value::Bool(true) }).unwrap();
        assert_eq!(event, serde_json::json!({"event": {"number": 7, "value": true}}));
        let ended = serde_json::to_value(Message::Ended(Problem::new(Code::Lost, "gone", ""))).unwrap();
        assert_eq!(ended, serde_json::json!({"ended": {"code": "lost", "message": "gone", "hint": ""}}));
    }
}
