//! One delivery: a POST to a checked address, without redirects, whose answer is not read.

use super::{
    WebhookRules,
    home::Home,
    target::{self, Refused},
};
use crate::limits::Share;
use a2a::{SVC_PARAM_VERSION, StreamResponse, TaskPushNotificationConfig, VERSION};
use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{self, HeaderValue},
    redirect,
};
use std::{
    error::Error,
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// A receiver has so long for connecting, TLS, the request and the head of its answer.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(15);

/// Delivers to the webhooks of one owner. The HTTP client is the owner's alone, because names are resolved in the middle
/// of it; it comes with the first delivery: most nodes never make one.
pub(super) struct Sender {
    rules: WebhookRules,
    lookups: Share,
    client: OnceLock<Option<Client>>,
}

impl Sender {
    pub(super) fn new(rules: WebhookRules, lookups: Share) -> Self {
        Self { rules, lookups, client: OnceLock::new() }
    }

    /// Posts `event` to the webhook of `config`; `home` is where its owner's own node listens now.
    ///
    /// # Errors
    /// Why it was not taken, for the log.
    pub(super) async fn deliver(
        &self,
        config: &TaskPushNotificationConfig,
        event: &StreamResponse,
        home: Option<&Home>,
    ) -> Result<(), String> {
        let url = target::url(&config.url, self.rules, home).map_err(|error| error.problem.message)?;
        let client = match home.filter(|home| home.has(&url)) {
            Some(home) => home.client().await?,
            None => {
                // An address in the URL itself never reaches the client's resolver.
                target::literally(&url, self.rules).map_err(refused)?;
                let checked = || Checked { rules: self.rules, lookups: self.lookups.clone() };
                let client = self.client.get_or_init(|| build(checked())).clone();
                client.ok_or("there is no HTTP client")?
            }
        };
        let body = serde_json::to_vec(event).map_err(|error| error.to_string())?;
        let mut request = client
            .post(url)
            .header(header::CONTENT_TYPE, "application/a2a+json")
            .header(SVC_PARAM_VERSION, VERSION)
            .body(body);
        if let Some(authentication) = &config.authentication
            && let Some(credentials) = &authentication.credentials
        {
            let value = format!("{} {credentials}", authentication.scheme);
            let mut value = HeaderValue::from_str(&value).map_err(|_| "the credentials are no header")?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(token) = &config.token {
            let mut value = HeaderValue::from_str(token).map_err(|_| "the token is no header")?;
            value.set_sensitive(true);
            request = request.header("X-A2A-Notification-Token", value);
        }
        let answer = request.send().await.map_err(said)?;
        if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
    }
}

/// An error and what led to it, without the URL, which may hold a secret.
fn said(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

fn build(names: Checked) -> Option<Client> {
    // Only the first one counts, and every part of Tender wants the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .dns_resolver(Arc::new(names))
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(ANSWER_TIME)
        .pool_max_idle_per_host(1)
        .user_agent(concat!("tender/", env!("CARGO_PKG_VERSION")))
        .build()
        .inspect_err(|error| tracing::error!(%error, "push notifications cannot be sent"))
        .ok()
}

/// Resolves names to addresses that webhooks may have. What it returns is what is connected to: a name that answers
/// differently the second time is looked at the second time.
struct Checked {
    rules: WebhookRules,
    lookups: Share,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (rules, lookups) = (self.rules, self.lookups.clone());
        Box::pin(async move {
            let found = target::lookup(name.as_str(), rules, &lookups).await;
            let found = found.map_err(|why| io::Error::other(refused(why)))?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn refused(why: Refused) -> String {
    match why {
        Refused::Unresolved => "nobody knows its host".to_owned(),
        Refused::NotPublic(ip) => format!("its host is {ip}, which is not a public address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Owner;
    use a2a::{Task, TaskState, TaskStatus};
    use std::str::FromStr;

    /// A name that led to a public address when the webhook was made, and to this machine when it is called.
    #[tokio::test]
    async fn a_name_that_changed_its_mind_is_not_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = Task {
            id: "t".into(),
            context_id: "c".into(),
            status: TaskStatus { state: TaskState::Working, message: None, timestamp: None },
            artifacts: None,
            history: None,
            metadata: None,
        };
        let lookups = target::lookups().of(Owner::stored("one".to_owned()));
        let sender = Sender::new(WebhookRules::default(), lookups.clone());
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            let config = TaskPushNotificationConfig {
                url: format!("https://{host}:{port}/"),
                id: Some("h".into()),
                task_id: "t".into(),
                token: None,
                authentication: None,
                tenant: None,
            };
            let why = sender.deliver(&config, &StreamResponse::Task(task.clone()), None).await.unwrap_err();
            assert!(why.contains("not a public address"), "{host}: {why}");
        }
        // The resolver of the connection itself, which has the last word.
        let checked = Checked { rules: WebhookRules::default(), lookups };
        let refused = checked.resolve(Name::from_str("localhost").unwrap()).await;
        assert!(refused.err().unwrap().to_string().contains("not a public address"));
        let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
        assert!(nobody.is_err(), "somebody connected");
    }
}
