//! Looking without a running node: the same queries, answered from the database opened for reading only.

use crate::{
    api::{Kind, OPERATIONS, handlers, types::Doctor},
    identity::{Identity, IdentityStore},
    node::{Config, Node},
};
use serde_json::Value;
use std::{path::Path, sync::Arc};
use tender_base::{Book, Code, Did, Problem, Signer};
use tender_host::{CheckState, Places};
use tender_store::Store;

/// A data directory opened for looking only. It holds no key and starts nothing.
pub struct Looking(Arc<Node>);

/// Stands where a running node has its key. What it would sign verifies nowhere, and the store behind it refuses to
/// write.
struct NoKey(Did);

impl Signer for NoKey {
    fn did(&self) -> Did {
        self.0
    }

    fn sign(&self, _: &[u8]) -> [u8; 64] {
        [0; 64]
    }
}

impl Looking {
    /// Opens `dir`.
    ///
    /// # Errors
    /// [`Code::NotFound`] when no node was ever started there, and the store's own.
    pub async fn at(dir: &Path) -> Result<Self, Problem> {
        let store = Store::open_read_only(dir).await.map_err(|e| e.problem())?;
        let did = store.identity().await.map_err(|e| e.problem())?.ok_or_else(|| {
            Problem::new(
                Code::NotFound,
                format!("no node was ever started in {}", dir.display()),
                "start one with `tender serve`, or name its folder with --data-dir",
            )
        })?;
        let config = Config {
            data_dir: dir.to_owned(),
            a2a: ([127, 0, 0, 1], 0).into(),
            api: None,
            public_address: None,
            identity: None,
            book: Book::Real,
        };
        let identity = Identity {
            signer: Arc::new(NoKey(did)),
            store: IdentityStore::File,
            secrets: None,
            created: false,
            successions: Vec::new(),
        };
        Ok(Self(Arc::new(Node::assemble(config, store, identity, String::new(), None).await?)))
    }

    /// Answers a query.
    ///
    /// # Errors
    /// [`Code::Unavailable`] for anything that is no query, and the query's own.
    pub async fn ask(&self, name: &str, input: Value) -> Result<Value, Problem> {
        if OPERATIONS.iter().any(|o| o.name == name && o.kind == Kind::Query) {
            return handlers::dispatch(&self.0, name, input).await;
        }
        Err(Problem::new(Code::Unavailable, format!("{name} needs a running node"), "start one with `tender serve`"))
    }
}

/// What works on this machine, when no node runs.
pub async fn doctor(data_dir: &Path) -> Doctor {
    let mut unread = None;
    match Looking::at(data_dir).await {
        Ok(looking) => {
            if let Ok(report) = handlers::dispatch(&looking.0, "doctor", Value::Object(Default::default())).await
                && let Ok(report) = serde_json::from_value(report)
            {
                return report;
            }
        }
        // Before the first start there is nothing to read.
        Err(problem) => unread = (problem.code != Code::NotFound).then_some(problem),
    }
    let worker = tender_engine::find_worker(None);
    let sandbox = match &worker {
        Ok(path) => tender_engine::sandbox(path).await,
        Err(problem) => Err(problem.clone()),
    };
    let places = Places { data_dir: data_dir.to_owned(), worker, sandbox };
    let checks = tokio::task::spawn_blocking(move || tender_host::checks(&places)).await.unwrap_or_default();
    let database = unread.map(|problem| crate::api::views::check("Database", Err(problem)));
    Doctor { checks: database.into_iter().chain(checks.into_iter().map(shown)).collect() }
}

pub(crate) fn shown(check: tender_host::Check) -> crate::api::types::DoctorCheck {
    let state = match check.state {
        CheckState::Ok => "ok",
        CheckState::Warn => "warning",
        CheckState::Fail => "fault",
    };
    crate::api::types::DoctorCheck {
        name: check.name,
        state: state.to_owned(),
        message: check.message,
        remedy: check.remedy,
    }
}
