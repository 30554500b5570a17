//! A log that forgets with the process: for tests, and for the conformance target.

use super::{Bell, Change, Cursor, ListQuery, Live, Logged, Owner, Page, Record, Sent, TaskLog};
use crate::{
    A2aError, ErrorKind, Once,
    push::{Delivered, Hooks, MAX_HOOKS, OpenHook},
};
use a2a::TaskPushNotificationConfig;
use async_trait::async_trait;
use bytes::Bytes;
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tender_base::{BlobRef, Clock};
use tokio::sync::watch;

/// Tasks in memory. It grows until it is dropped.
pub struct MemoryLog {
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    tasks: HashMap<String, Entry>,
    sent: HashMap<(Owner, String), Sent>,
    blobs: HashMap<BlobRef, Bytes>,
}

struct Entry {
    owner: Owner,
    logged: Logged,
    live: Option<Live>,
    bell: watch::Sender<u64>,
    hooks: BTreeMap<String, Hook>,
}

struct Hook {
    config: TaskPushNotificationConfig,
    delivered: u64,
    open: bool,
}

impl MemoryLog {
    /// An empty log.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, kept: Mutex::default() }
    }

    /// A new task of `owner`, or the one that `once` made before.
    pub fn create(
        &self,
        owner: &Owner,
        id: String,
        context: String,
        once: Option<Once>,
        changes: Vec<Change>,
    ) -> String {
        let mut kept = self.kept();
        if let Some(once) = once {
            let sent = Sent { task: id.clone(), sha256: once.sha256 };
            let known = kept.sent.entry((owner.clone(), once.key)).or_insert(sent);
            if known.task != id {
                return known.task.clone();
            }
        }
        let logged = Logged { id: id.clone(), context, records: Vec::new() };
        let bell = watch::Sender::new(0);
        let mut entry = Entry { owner: owner.clone(), logged, live: None, bell, hooks: BTreeMap::new() };
        entry.push(changes, self.clock.as_ref());
        kept.tasks.insert(id.clone(), entry);
        id
    }

    /// More of a task that has not ended.
    ///
    /// # Errors
    /// [`ErrorKind::TaskNotFound`] without such a task, [`ErrorKind::UnsupportedOperation`] when it has ended.
    pub fn append(&self, task: &str, once: Option<Once>, changes: Vec<Change>) -> Result<(), A2aError> {
        let mut kept = self.kept();
        let Kept { tasks, sent, .. } = &mut *kept;
        let entry = tasks.get_mut(task).ok_or_else(|| A2aError::task_not_found(task))?;
        if entry.logged.state().is_terminal() {
            let ended = "the task has ended";
            return Err(A2aError::new(ErrorKind::UnsupportedOperation, ended, "send a message without taskId"));
        }
        if let Some(once) = once {
            let known = Sent { task: task.to_owned(), sha256: once.sha256 };
            if sent.insert((entry.owner.clone(), once.key), known).is_some() {
                return Ok(());
            }
        }
        entry.push(changes, self.clock.as_ref());
        Ok(())
    }

    /// Says how far work on a task is; none when there is no work.
    pub fn set_live(&self, task: &str, live: Option<Live>) {
        if let Some(entry) = self.kept().tasks.get_mut(task) {
            entry.live = live;
            entry.bell.send_modify(|_| {});
        }
    }

    /// Keeps the bytes of an output.
    pub fn keep_blob(&self, bytes: impl Into<Bytes>) -> BlobRef {
        let bytes = bytes.into();
        let blob = BlobRef::of(&bytes);
        self.kept().blobs.insert(blob, bytes);
        blob
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn push(&mut self, changes: Vec<Change>, clock: &dyn Clock) {
        let at = clock.now();
        for change in changes {
            let version = self.logged.newest() + 1;
            self.logged.records.push(Record { version, at, change });
        }
        self.bell.send_modify(|records| *records += 1);
    }
}

impl Kept {
    fn own(&mut self, owner: &Owner, task: &str) -> Option<&mut Entry> {
        self.tasks.get_mut(task).filter(|entry| entry.owner == *owner)
    }
}

#[async_trait]
impl TaskLog for MemoryLog {
    async fn records(&self, owner: &Owner, task: &str) -> Result<Option<Logged>, A2aError> {
        Ok(self.kept().own(owner, task).map(|entry| entry.logged.clone()))
    }

    async fn list(&self, owner: &Owner, query: &ListQuery) -> Result<Page, A2aError> {
        let kept = self.kept();
        let mut found: Vec<&Logged> = kept
            .tasks
            .values()
            .filter(|entry| entry.owner == *owner)
            .map(|entry| &entry.logged)
            .filter(|task| query.context.as_ref().is_none_or(|context| *context == task.context))
            .filter(|task| query.state.as_ref().is_none_or(|state| *state == task.state()))
            .filter(|task| query.since.is_none_or(|since| task.changed_at() >= since))
            .collect();
        found.sort_by(|a, b| (b.changed_at(), &b.id).cmp(&(a.changed_at(), &a.id)));
        let total = found.len() as u64;
        if let Some(Cursor { changed_at, id }) = &query.after {
            found.retain(|task| (task.changed_at(), &task.id) < (*changed_at, id));
        }
        let limit = query.limit as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| more);
        let next = last.map(|task| Cursor { changed_at: task.changed_at(), id: task.id.clone() });
        Ok(Page { tasks: found.into_iter().cloned().collect(), next, total })
    }

    async fn sent(&self, owner: &Owner, key: &str) -> Result<Option<Sent>, A2aError> {
        Ok(self.kept().sent.get(&(owner.clone(), key.to_owned())).cloned())
    }

    fn watch(&self, task: &str) -> Bell {
        Bell::of(match self.kept().tasks.get(task) {
            Some(entry) => entry.bell.subscribe(),
            None => watch::channel(0).1,
        })
    }

    fn live(&self, task: &str) -> Option<Live> {
        self.kept().tasks.get(task)?.live.clone()
    }

    async fn blob(&self, blob: &BlobRef, range: Range<u64>) -> Result<Option<Bytes>, A2aError> {
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        Ok(self.kept().blobs.get(blob).map(|bytes| bytes.slice(at(range.start)..at(range.end))))
    }
}

#[async_trait]
impl Hooks for MemoryLog {
    async fn keep_hook(&self, owner: &Owner, config: TaskPushNotificationConfig, after: u64) -> Result<u64, A2aError> {
        let mut kept = self.kept();
        let task = config.task_id.clone();
        let entry = kept.own(owner, &task).ok_or_else(|| A2aError::task_not_found(&task))?;
        let id = config.id.clone().unwrap_or_default();
        if entry.hooks.len() >= MAX_HOOKS && !entry.hooks.contains_key(&id) {
            return Err(A2aError::new(
                ErrorKind::TooMany,
                format!("the task has {MAX_HOOKS} push notification configs"),
                "delete one first",
            ));
        }
        let delivered = entry.hooks.get(&id).map_or(after, |hook| hook.delivered);
        entry.hooks.insert(id, Hook { config, delivered, open: true });
        Ok(delivered)
    }

    async fn hooks(&self, owner: &Owner, task: &str) -> Result<Vec<TaskPushNotificationConfig>, A2aError> {
        let mut kept = self.kept();
        let hooks = kept.own(owner, task).map(|entry| entry.hooks.values().map(|hook| hook.config.clone()).collect());
        Ok(hooks.unwrap_or_default())
    }

    async fn forget_hook(&self, owner: &Owner, task: &str, id: &str) -> Result<(), A2aError> {
        if let Some(entry) = self.kept().own(owner, task) {
            entry.hooks.remove(id);
        }
        Ok(())
    }

    async fn open_hooks(&self) -> Result<Vec<OpenHook>, A2aError> {
        let kept = self.kept();
        let of = |entry: &Entry| {
            let owner = entry.owner.clone();
            let open = entry.hooks.values().filter(|hook| hook.open);
            open.map(|hook| OpenHook { owner: owner.clone(), config: hook.config.clone(), delivered: hook.delivered })
                .collect::<Vec<_>>()
        };
        Ok(kept.tasks.values().flat_map(of).collect())
    }

    async fn move_hook(&self, owner: &Owner, task: &str, id: &str, to: Delivered) -> Result<(), A2aError> {
        if let Some(hook) = self.kept().own(owner, task).and_then(|entry| entry.hooks.get_mut(id)) {
            match to {
                Delivered::Upto(version) => hook.delivered = version,
                Delivered::All(version) => (hook.delivered, hook.open) = (version, false),
                Delivered::GivenUp => hook.open = false,
            }
        }
        Ok(())
    }
}
