//! Push notifications: what is remembered of webhooks, which addresses they may have, and the queue that serves them.

mod home;
pub(crate) mod queue;
pub(crate) use home::Home;

mod send;
pub(crate) mod target;

use crate::{A2aError, log::Owner};
use a2a::TaskPushNotificationConfig;
use async_trait::async_trait;

/// Which addresses webhooks may have, beyond public ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WebhookRules {
    /// Plain HTTP to this machine: for tests and the conformance target, never for a node.
    pub loopback: bool,
}

/// Most webhooks of one task.
pub const MAX_HOOKS: usize = 8;

/// What is remembered of webhooks, beside the tasks that they belong to. They hold credentials: whoever stores them
/// keeps them where they can be forgotten.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Keeps `config`, whose `id` and `task_id` are set, in place of the one with the same ids. Records up to version
    /// `after` are not delivered; a config that is replaced keeps its place instead. Returns the version after which it
    /// goes on.
    ///
    /// # Errors
    /// [`crate::ErrorKind::TooMany`] above [`MAX_HOOKS`] of one task, or above what the log keeps for one owner.
    async fn keep_hook(&self, owner: &Owner, config: TaskPushNotificationConfig, after: u64) -> Result<u64, A2aError>;

    /// The webhooks of a task, by id.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn hooks(&self, owner: &Owner, task: &str) -> Result<Vec<TaskPushNotificationConfig>, A2aError>;

    /// Forgets a webhook; nothing when there is none.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn forget_hook(&self, owner: &Owner, task: &str, id: &str) -> Result<(), A2aError>;

    /// Every webhook to which something may still be delivered: what a restart goes on with.
    ///
    /// # Errors
    /// When the log cannot be read.
    async fn open_hooks(&self) -> Result<Vec<OpenHook>, A2aError>;

    /// Notes how far a webhook is; nothing when it was forgotten meanwhile.
    ///
    /// # Errors
    /// When the log cannot be written.
    async fn move_hook(&self, owner: &Owner, task: &str, id: &str, to: Delivered) -> Result<(), A2aError>;

    /// Where the owner's own node listens, when the owner is a paired peer that said so: `https://host:port`, or `http://`
    /// on this machine. Its webhooks may be there although the address is not public; the place must prove by its signed
    /// card that it is the peer's.
    async fn home(&self, owner: &Owner) -> Option<String> {
        let _ = owner;
        None
    }
}

/// A webhook and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenHook {
    /// Whose task it is.
    pub owner: Owner,
    /// Where, with which ids and credentials.
    pub config: TaskPushNotificationConfig,
    /// Records up to this version are delivered.
    pub delivered: u64,
}

/// How far a webhook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// Up to this version; more may come.
    Upto(u64),
    /// Up to this version, the last of an ended task.
    All(u64),
    /// It did not answer for a day; nothing more is delivered.
    GivenUp,
}
