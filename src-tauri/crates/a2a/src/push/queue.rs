//! The queue of push notifications: one task per webhook, which tells it the records of its A2A task in order, each
//! until it is taken. A slow or dead webhook holds up neither the A2A task nor another webhook.

use super::{Delivered, OpenHook, WebhookRules, home::Home, send::Sender, target};
use crate::{A2aError, limits::Shares, log::Owner, server::Server};
use a2a::{StreamResponse, TaskPushNotificationConfig};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};
use tender_base::Sha256;
use tokio::task::AbortHandle;

/// Deliveries at the same time. One that is stuck takes a place for 15 seconds.
const AT_ONCE: usize = 32;
/// Of these, to the webhooks of one owner, so that its dead ones take no place from others.
const AT_ONCE_OF_ONE: usize = 4;
/// How often a record that does not read is tried before the next one is told: over four minutes.
const READS: u32 = 8;
/// Longest wait between two attempts.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// A webhook that takes nothing for so long gets nothing more.
const PATIENCE: Duration = Duration::from_secs(86_400);

/// Serves the webhooks of one server.
pub(crate) struct Queue {
    rules: WebhookRules,
    places: Shares<Owner>,
    lookups: Shares<Owner>,
    senders: Mutex<HashMap<Owner, Arc<Sender>>>,
    running: Mutex<HashMap<(String, String), AbortHandle>>,
}

impl Queue {
    pub(crate) fn new(rules: WebhookRules) -> Self {
        Self {
            rules,
            places: Shares::new(AT_ONCE_OF_ONE, AT_ONCE),
            lookups: target::lookups(),
            senders: Mutex::default(),
            running: Mutex::default(),
        }
    }

    /// What the webhooks of an owner are told through. It is kept while one of them is served.
    fn sender(&self, owner: &Owner) -> Arc<Sender> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.retain(|_, sender| Arc::strong_count(sender) > 1);
        let new = || Arc::new(Sender::new(self.rules, self.lookups.of(owner.clone())));
        senders.entry(owner.clone()).or_insert_with(new).clone()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<(String, String), AbortHandle>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops serving a webhook.
    pub(crate) fn stop(&self, task: &str, id: &str) {
        if let Some(running) = self.running().remove(&(task.to_owned(), id.to_owned())) {
            running.abort();
        }
    }

    /// The task that calls this serves its webhook no more; another may serve it by now.
    fn ended(&self, key: &(String, String)) {
        let mut running = self.running();
        if running.get(key).map(AbortHandle::id) == tokio::task::try_id() {
            running.remove(key);
        }
    }
}

impl Server {
    /// Whether `owner` may have this webhook; its host's name is resolved when `lookup` is set.
    ///
    /// # Errors
    /// [`crate::ErrorKind::InvalidParams`] naming the member.
    pub(crate) async fn check_hook(
        &self,
        owner: &Owner,
        hook: &TaskPushNotificationConfig,
        lookup: bool,
    ) -> Result<(), A2aError> {
        let home = Home::of(self.log.as_ref(), owner).await;
        let lookups = lookup.then(|| self.push.lookups.of(owner.clone()));
        target::check(hook, self.push.rules, home.as_ref(), lookups.as_ref()).await
    }

    async fn attempt(&self, sender: &Sender, hook: &OpenHook, event: &StreamResponse) -> Result<(), String> {
        // Asked each time: the peer may have moved, or may be none any more.
        let home = Home::of(self.log.as_ref(), &hook.owner).await;
        sender.deliver(&hook.config, event, home.as_ref()).await
    }

    /// Serves a webhook from now on, in place of the one with the same ids.
    pub(crate) fn serve_hook(self: &Arc<Self>, hook: OpenHook) {
        let key = (hook.config.task_id.clone(), hook.config.id.clone().unwrap_or_default());
        let running = tokio::spawn(run(Arc::downgrade(self), key.clone(), hook)).abort_handle();
        if let Some(before) = self.push.running().insert(key, running) {
            before.abort();
        }
    }

    /// Goes on with what was open when the process ended.
    pub(crate) async fn serve_open_hooks(self: Arc<Self>) {
        // One that is deleted meanwhile must not be served again.
        let _one = self.changing_hooks.lock().await;
        match self.log.open_hooks().await {
            Ok(hooks) => hooks.into_iter().for_each(|hook| self.serve_hook(hook)),
            Err(error) => tracing::error!(%error, "the push notifications cannot be read"),
        }
    }

    /// The first record after `seen` that is an event, or the version up to which there is none and whether that is
    /// the task's end. Nothing when the task is gone.
    async fn undelivered(&self, hook: &OpenHook) -> Result<Option<Next>, A2aError> {
        let Some(logged) = self.log.records(&hook.owner, &hook.config.task_id).await? else { return Ok(None) };
        let mut seen = hook.delivered;
        for record in logged.records.iter().filter(|record| record.version > hook.delivered) {
            seen = record.version;
            match self.event(&logged, record).await {
                Ok(Some(event)) => return Ok(Some(Next::Event(record.version, Box::new(event)))),
                Ok(None) => {}
                Err(error) => return Ok(Some(Next::Unreadable(record.version, error))),
            }
        }
        Ok(Some(Next::Nothing { seen, ended: logged.state().is_terminal() }))
    }
}

enum Next {
    Event(u64, Box<StreamResponse>),
    /// What belongs to the record cannot be read.
    Unreadable(u64, A2aError),
    Nothing {
        seen: u64,
        ended: bool,
    },
}

/// Serves one webhook to its end. It holds the server only while there is something to do.
async fn run(server: Weak<Server>, key: (String, String), mut hook: OpenHook) {
    let mut failing: Option<(Instant, u32)> = None;
    let Some(held) = server.upgrade() else { return };
    let (mut bell, places) = (held.log.watch(&key.0), held.push.places.of(hook.owner.clone()));
    let sender = held.push.sender(&hook.owner);
    drop(held);
    loop {
        // Before the event is read: what waits for a place takes no memory.
        let Some(place) = places.take().await else { return };
        let Some(held) = server.upgrade() else { return };
        let (since, attempts) = failing.unwrap_or((Instant::now(), 0));
        let why = match held.undelivered(&hook).await {
            Ok(None) => {
                held.push.ended(&key);
                return;
            }
            Ok(Some(Next::Nothing { seen, ended: true })) => {
                held.note(&hook, &key.1, Delivered::All(seen)).await;
                held.push.ended(&key);
                return;
            }
            Ok(Some(Next::Nothing { seen, ended: false })) => {
                (hook.delivered, failing) = (seen, None);
                drop((place, held));
                if bell.changed().await.is_err() {
                    return;
                }
                continue;
            }
            Ok(Some(Next::Event(version, event))) => match held.attempt(&sender, &hook, &event).await {
                Ok(()) => {
                    (hook.delivered, failing) = (version, None);
                    held.note(&hook, &key.1, Delivered::Upto(version)).await;
                    continue;
                }
                Err(why) => why,
            },
            // The client misses one event rather than all that follow; the task itself still says what it is.
            Ok(Some(Next::Unreadable(version, error))) if attempts >= READS => {
                tracing::warn!(task = key.0, hook = key.1, version, %error, "a push notification is left out");
                (hook.delivered, failing) = (version, None);
                continue;
            }
            Ok(Some(Next::Unreadable(_, error))) | Err(error) => error.to_string(),
        };
        tracing::debug!(task = key.0, hook = key.1, attempts, why, "a push notification was not delivered");
        if since.elapsed() >= PATIENCE {
            tracing::warn!(task = key.0, hook = key.1, why, "a webhook took nothing for a day; given up");
            held.note(&hook, &key.1, Delivered::GivenUp).await;
            held.push.ended(&key);
            return;
        }
        failing = Some((since, attempts + 1));
        drop((place, held));
        tokio::time::sleep(wait(attempts, &key.1)).await;
    }
}

impl Server {
    async fn note(&self, hook: &OpenHook, id: &str, to: Delivered) {
        if let Err(error) = self.log.move_hook(&hook.owner, &hook.config.task_id, id, to).await {
            // It will be delivered again after a restart: at least once.
            tracing::warn!(%error, "how far a webhook is was not noted");
        }
    }
}

/// 1, 2, 4 … seconds and a fifth more or less, different for each webhook, so that many do not come back at once.
fn wait(attempts: u32, id: &str) -> Duration {
    let whole = Duration::from_secs(1 << attempts.min(9)).min(MAX_WAIT);
    let drawn = Sha256::of(format!("{id} {attempts}").as_bytes()).to_string();
    let drawn = u8::from_str_radix(drawn.get(..2).unwrap_or_default(), 16).unwrap_or(128);
    whole.mul_f64(0.8 + 0.4 * f64::from(drawn) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_become_rarer_and_never_stop_before_the_day_is_over() {
        for (attempts, seconds) in [(0, 1.0), (1, 2.0), (5, 32.0), (9, 300.0), (100, 300.0)] {
            let wait = wait(attempts, "x").as_secs_f64();
            assert!((0.8 * seconds..=1.2 * seconds).contains(&wait), "{attempts}: {wait}");
        }
        assert_ne!(wait(3, "a"), wait(3, "b"));
    }
}
