//! New keys in the place of old ones: of the connection (TLS), and of the node itself.
//!
//! The TLS key stands on the signed card, so that peers follow a new one by themselves. The node's own key is what they
//! pinned: the old one signs a [`Succession`] that names the new one, and the card carries it. Both are changed while no
//! node runs on the data.

use super::{Identity, IdentityStore, Secrets, signer_from, write_private};
use crate::{entropy::OsEntropy, node::lock_directory, serve::TLS_FILE};
use std::path::Path;
use tender_a2a::{card::MAX_SUCCESSIONS, tls};
use tender_base::{Clock, Code, Did, Entropy, Problem, Signed, documents::Succession, time::SystemClock};
use tender_store::{Event, Store};
use zeroize::Zeroizing;

/// Internal setting with what earlier keys signed.
const SUCCESSIONS: &str = "identity.successions";

/// An identity that was succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The key until now.
    pub from: Did,
    /// The key from now on.
    pub to: Did,
}

/// The public key of the node in `dir`, and where its secret is kept. Also while it runs.
///
/// # Errors
/// [`Code::NotFound`] without an identity, [`Code::Storage`] from the database.
pub async fn show(dir: &Path) -> Result<(Did, IdentityStore), Problem> {
    exists(dir)?;
    let store = Store::open_read_only(dir).await.map_err(|e| e.problem())?;
    let did = store.identity().await.map_err(|e| e.problem())?.ok_or_else(none)?;
    let kept = store.setting(super::STORE_SETTING).await.map_err(|e| e.problem())?;
    let kept = kept.and_then(|name| IdentityStore::named(name.as_str()?)).unwrap_or(IdentityStore::File);
    Ok((did, kept))
}

fn none() -> Problem {
    Problem::new(Code::NotFound, "there is no identity yet", "start the node once (`tender serve`)")
}

/// Gives the data in `dir` a new identity, named by the old one. The old key is forgotten.
///
/// # Errors
/// [`Code::Conflict`] while a node runs on it, while a contract is open or anything is owed, or when systemd passes the
/// key; [`Code::NotFound`] without an identity, [`Code::Storage`] from the database or the key store.
pub async fn rotate(dir: &Path) -> Result<Rotated, Problem> {
    let (_lock, store, identity) = at_rest(dir).await?;
    let Some(secrets) = identity.secrets.filter(|_| identity.store != IdentityStore::Credential) else {
        return Err(Problem::new(
            Code::Conflict,
            "systemd passes the key of this node, which cannot be changed from here",
            "move to another machine account with --identity file, and pair anew",
        ));
    };
    let seed = Zeroizing::new(OsEntropy.draw32().to_vec());
    let (from, next, at) = (identity.signer.did(), signer_from(&seed)?, SystemClock.now());
    let to = tender_base::Signer::did(&next);
    let mut successions = identity.successions;
    let word = Succession { predecessor: from, successor: to, succeeded_at: at };
    successions.push(Signed::new(word, identity.signer.as_ref()));
    let older = successions.len().saturating_sub(MAX_SUCCESSIONS);
    successions.drain(..older);
    let value = serde_json::to_value(&successions)
        .map_err(|e| Problem::new(Code::Internal, format!("the succession cannot be written: {e}"), ""))?;
    // The new secret first, beside the old one: whichever the database names is there, whenever this is cut off.
    secrets.next().write(&seed)?;
    let events = vec![
        Event::IdentitySucceeded { from, to, at },
        Event::SettingChanged { key: SUCCESSIONS.to_owned(), value, at },
    ];
    if let Err(error) = store.apply(events, Vec::new()).await {
        secrets.next().delete()?;
        let problem = error.problem();
        let hint = match problem.code {
            Code::Conflict => "let the work end, and record what was paid (`tender peers`); then try again".to_owned(),
            _ => problem.hint,
        };
        return Err(Problem { hint, ..problem });
    }
    finish(&to, &secrets)?;
    store.close().await.map_err(|e| e.problem())?;
    Ok(Rotated { from, to })
}

/// Gives the node in `dir` a new TLS key. Its next card names it, signed by the node's own key.
///
/// # Errors
/// [`Code::Conflict`] while a node runs on it, [`Code::NotFound`] when it has no TLS key, [`Code::Storage`].
pub fn rotate_tls(dir: &Path) -> Result<(), Problem> {
    let _lock = exists(dir).and_then(|()| lock(dir))?;
    let path = dir.join(TLS_FILE);
    if !path.is_file() {
        return Err(Problem::new(
            Code::NotFound,
            "this node has no TLS key",
            "it is made when the node first listens elsewhere than on loopback",
        ));
    }
    write_private(&path, tls::generate_key()?.as_bytes())
        .map_err(|e| Problem::new(Code::Storage, format!("cannot write {}: {e}", path.display()), ""))
}

fn exists(dir: &Path) -> Result<(), Problem> {
    if dir.join(tender_store::DATABASE_FILE).is_file() {
        return Ok(());
    }
    Err(Problem::new(Code::NotFound, format!("there is no node in {}", dir.display()), "name it with --data-dir"))
}

fn lock(dir: &Path) -> Result<std::fs::File, Problem> {
    lock_directory(dir).map_err(|problem| match problem.code {
        Code::Conflict => Problem { hint: "end the node first; it has its keys in use".to_owned(), ..problem },
        _ => problem,
    })
}

async fn at_rest(dir: &Path) -> Result<(std::fs::File, Store, Identity), Problem> {
    let lock = exists(dir).and_then(|()| lock(dir))?;
    let store = Store::open(dir).await.map_err(|e| e.problem())?;
    if store.identity().await.map_err(|e| e.problem())?.is_none() {
        return Err(none());
    }
    let identity = Identity::load(&store, dir, None, &OsEntropy).await?;
    Ok((lock, store, identity))
}

/// What earlier keys signed, the newest last.
pub(super) async fn successions(store: &Store) -> Result<Vec<Signed<Succession>>, Problem> {
    let stored = store.setting(SUCCESSIONS).await.map_err(|e| e.problem())?;
    stored.map_or(Ok(Vec::new()), |value| {
        serde_json::from_value(value).map_err(|e| {
            let message = format!("what is stored of earlier keys does not read back: {e}");
            Problem::new(Code::Storage, message, "restore a backup (`tender restore`)")
        })
    })
}

/// Puts the next key in the old one's place, once the database names it. Does nothing when there is none, or when the
/// database still names the old one.
pub(super) fn finish(did: &Did, secrets: &Secrets) -> Result<(), Problem> {
    if secrets.kept == IdentityStore::Credential {
        return Ok(());
    }
    let Some(seed) = secrets.next().read()? else { return Ok(()) };
    if tender_base::Signer::did(&signer_from(&seed)?) == *did {
        secrets.identity().write(&seed)?;
    }
    secrets.next().delete()
}
