//! Who this node is. Only this module ever holds the secret key; everyone else sees a [`Signer`].
//!
//! The secret lives where `--identity` says, and the database remembers where that was and what the public key
//! is. A secret that is missing or that belongs to another key refuses to start and never makes a new identity:
//! a locked keyring looks empty, and a new identity would orphan everything that peers owe.
//!
//! The keys of attached runtimes and clouds are kept in the same place, each under a name of its own.

mod rotation;

pub use rotation::{Rotated, rotate, rotate_tls, show};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};
use tender_base::{
    Clock, Code, Did, Entropy, Problem, Signed, Signer, documents::Succession, ids::DataId, signed::KeySigner,
    time::SystemClock,
};
use tender_store::{Event, Store};
use zeroize::Zeroizing;

/// Name of the key file in the data directory.
pub(crate) const KEY_FILE: &str = "identity.key";
/// Name of the file with the next key while the old one is succeeded.
const NEXT_KEY_FILE: &str = "identity-next.key";
/// Name under which systemd's `LoadCredential=` passes the key.
const CREDENTIAL: &str = "tender-identity";
/// Service name of the keyring entry; its user is the data directory's id.
const KEYRING_SERVICE: &str = "org.tender.Tender";
/// Setting that remembers which store was chosen.
const STORE_SETTING: &str = "identity.store";

/// Where the secret is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityStore {
    /// The desktop's keyring.
    Keyring,
    /// A credential that systemd passes to the service.
    Credential,
    /// A file that only this user can read, as SSH host keys are kept.
    File,
}

impl IdentityStore {
    /// The name on the command line and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keyring => "keyring",
            Self::Credential => "credential",
            Self::File => "file",
        }
    }

    /// By name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Keyring, Self::Credential, Self::File].into_iter().find(|store| store.name() == name)
    }

    /// Where the secret is, in words for the owner.
    #[must_use]
    pub fn describe(self, data_dir: &Path) -> String {
        match self {
            Self::Keyring => "Key in the desktop keyring".to_owned(),
            Self::Credential => "Key passed by systemd".to_owned(),
            Self::File => format!("Key in the file {}", data_dir.join(KEY_FILE).display()),
        }
    }
}

/// A place that keeps one secret.
pub trait SecretStore: Send + Sync {
    /// The secret; `None` when there is none.
    ///
    /// # Errors
    /// When the place does not answer: a locked keyring, an unreadable file.
    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Problem>;
    /// Stores the secret, so that it survives a restart.
    ///
    /// # Errors
    /// When the place refuses.
    fn write(&self, secret: &[u8]) -> Result<(), Problem>;
    /// Forgets the secret; one that is not there is forgotten already.
    ///
    /// # Errors
    /// When the place refuses.
    fn delete(&self) -> Result<(), Problem>;
}

/// Where this node keeps secrets.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    kept: IdentityStore,
    data_dir: PathBuf,
    data_id: String,
}

impl Secrets {
    /// The key of an attached runtime; `name` is ASCII letters, digits, `-`, `_` and `.`, which every place takes.
    pub(crate) fn of_runtime(&self, name: &str) -> Box<dyn SecretStore> {
        self.of("runtime", name)
    }

    /// The key for an agent that is hired; `name` as for a runtime.
    pub(crate) fn of_agent(&self, name: &str) -> Box<dyn SecretStore> {
        self.of("agent", name)
    }

    fn of(&self, kind: &str, name: &str) -> Box<dyn SecretStore> {
        let file = format!("{kind}-{name}.key");
        match self.kept {
            IdentityStore::Keyring => Box::new(KeyringSecret { user: format!("{}/{kind}/{name}", self.data_id) }),
            // What systemd passes cannot be written from here.
            IdentityStore::Credential | IdentityStore::File => Box::new(FileSecret { path: self.data_dir.join(file) }),
        }
    }

    /// Where the next key waits while the old one is succeeded.
    fn next(&self) -> Box<dyn SecretStore> {
        match self.kept {
            IdentityStore::Keyring => Box::new(KeyringSecret { user: format!("{}/next", self.data_id) }),
            IdentityStore::Credential => Box::new(CredentialSecret),
            IdentityStore::File => Box::new(FileSecret { path: self.data_dir.join(NEXT_KEY_FILE) }),
        }
    }

    fn identity(&self) -> Box<dyn SecretStore> {
        match self.kept {
            IdentityStore::Keyring => Box::new(KeyringSecret { user: self.data_id.clone() }),
            IdentityStore::Credential => Box::new(CredentialSecret),
            IdentityStore::File => Box::new(FileSecret { path: self.data_dir.join(KEY_FILE) }),
        }
    }
}

/// This node's identity.
#[derive(Clone)]
pub struct Identity {
    /// Signs in its name.
    pub signer: Arc<dyn Signer>,
    /// Where the secret is.
    pub store: IdentityStore,
    /// Where its other secrets are; none for who only looks.
    pub(crate) secrets: Option<Secrets>,
    /// Whether it was made at this start.
    pub created: bool,
    /// What the keys before this one signed about it, the newest last.
    pub(crate) successions: Vec<Signed<Succession>>,
}

impl Identity {
    /// The public key.
    #[must_use]
    pub fn did(&self) -> Did {
        self.signer.did()
    }

    /// Loads the identity of `data_dir`, or makes one in an empty data directory.
    ///
    /// # Errors
    /// [`Code::Storage`] when the secret is missing, unreadable or of another key, or when the chosen store does
    /// not work.
    pub async fn load(
        store: &Store,
        data_dir: &Path,
        wanted: Option<IdentityStore>,
        entropy: &dyn Entropy,
    ) -> Result<Self, Problem> {
        let known = store.identity().await.map_err(|e| e.problem())?;
        let chosen = store.setting(STORE_SETTING).await.map_err(|e| e.problem())?;
        let data_id = data_id(store, entropy).await?;
        match known {
            Some(did) => {
                let kept =
                    chosen.and_then(|v| v.as_str().and_then(IdentityStore::named)).unwrap_or(IdentityStore::File);
                if wanted.is_some_and(|w| w != kept) {
                    return Err(Problem::new(
                        Code::Conflict,
                        format!("this data directory's key is kept in the {}", kept.name()),
                        format!("start with --identity {}, or choose another --data-dir", kept.name()),
                    ));
                }
                let secrets = Secrets { kept, data_dir: data_dir.to_owned(), data_id: data_id.to_string() };
                load_known(did, secrets, rotation::successions(store).await?)
            }
            None => create(store, data_dir, wanted, &data_id, entropy).await,
        }
    }
}

fn load_known(did: Did, secrets: Secrets, successions: Vec<Signed<Succession>>) -> Result<Identity, Problem> {
    let kept = secrets.kept;
    rotation::finish(&did, &secrets)?;
    let secret = secrets.identity().read()?.ok_or_else(|| {
        Problem::new(
            Code::Storage,
            format!("the key of {did} is missing from the {}", kept.name()),
            "unlock or restore it (`tender restore` from a backup); Tender makes no new identity over an existing one",
        )
    })?;
    let signer = signer_from(&secret)?;
    if signer.did() != did {
        return Err(Problem::new(
            Code::Storage,
            format!("the {} holds the key of {}, but this data belongs to {did}", kept.name(), signer.did()),
            "restore the right key, or choose another --data-dir",
        ));
    }
    Ok(Identity { signer: Arc::new(signer), store: kept, secrets: Some(secrets), created: false, successions })
}

async fn create(
    store: &Store,
    data_dir: &Path,
    wanted: Option<IdentityStore>,
    data_id: &DataId,
    entropy: &dyn Entropy,
) -> Result<Identity, Problem> {
    let chosen = match wanted {
        Some(wanted) => wanted,
        None if keyring_works() => IdentityStore::Keyring,
        None => IdentityStore::File,
    };
    let secrets = Secrets { kept: chosen, data_dir: data_dir.to_owned(), data_id: data_id.to_string() };
    let place = secrets.identity();
    // A crash between writing the secret and recording it leaves a secret without an identity: use it.
    let seed = match place.read()? {
        Some(secret) => secret,
        None => {
            let seed = Zeroizing::new(entropy.draw32().to_vec());
            place.write(&seed)?;
            seed
        }
    };
    let signer = signer_from(&seed)?;
    let created = vec![
        Event::IdentityCreated { did: signer.did(), data_id: data_id.uuid() },
        Event::SettingChanged { key: STORE_SETTING.to_owned(), value: chosen.name().into(), at: SystemClock.now() },
    ];
    store.apply(created, Vec::new()).await.map_err(|e| e.problem())?;
    Ok(Identity {
        signer: Arc::new(signer),
        store: chosen,
        secrets: Some(secrets),
        created: true,
        successions: Vec::new(),
    })
}

/// The id that tells this data directory's keyring entry from others'; written before the identity, so that a
/// crash in between finds the same entry again.
async fn data_id(store: &Store, entropy: &dyn Entropy) -> Result<DataId, Problem> {
    const SETTING: &str = "identity.data_id";
    let stored = store.setting(SETTING).await.map_err(|e| e.problem())?;
    if let Some(id) = stored.and_then(|v| v.as_str().and_then(|text| text.parse().ok())) {
        return Ok(id);
    }
    let id = DataId::new(&SystemClock, entropy);
    let at = SystemClock.now();
    let event = Event::SettingChanged { key: SETTING.to_owned(), value: id.to_string().into(), at };
    store.apply(vec![event], Vec::new()).await.map_err(|e| e.problem())?;
    Ok(id)
}

fn signer_from(secret: &[u8]) -> Result<KeySigner, Problem> {
    let seed: &[u8; 32] = secret.try_into().map_err(|_| {
        Problem::new(
            Code::Storage,
            format!("the stored key has {} bytes instead of 32", secret.len()),
            "restore it from a backup",
        )
    })?;
    Ok(KeySigner::from_seed(seed))
}

struct FileSecret {
    path: PathBuf,
}

impl SecretStore for FileSecret {
    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Problem> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => Zeroizing::new(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(unreadable(&format!("{}: {e}", self.path.display()))),
        };
        let bytes = BASE64.decode(text.trim()).map_err(|e| unreadable(&format!("{}: {e}", self.path.display())))?;
        Ok(Some(Zeroizing::new(bytes)))
    }

    fn write(&self, secret: &[u8]) -> Result<(), Problem> {
        let text = Zeroizing::new(format!("{}\n", BASE64.encode(secret)));
        write_private(&self.path, text.as_bytes())
            .map_err(|e| Problem::new(Code::Storage, format!("cannot write {}: {e}", self.path.display()), ""))
    }

    fn delete(&self) -> Result<(), Problem> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Problem::new(Code::Storage, format!("cannot delete {}: {e}", self.path.display()), ""))
            }
            _ => Ok(()),
        }
    }
}

/// Writes a file that only this user can read, durably, all or nothing.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

struct CredentialSecret;

impl SecretStore for CredentialSecret {
    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Problem> {
        let Some(dir) = env::var_os("CREDENTIALS_DIRECTORY") else {
            return Err(Problem::new(
                Code::Storage,
                "systemd passed no credentials",
                format!("add LoadCredential={CREDENTIAL}:/path to the unit, or start with --identity file"),
            ));
        };
        FileSecret { path: PathBuf::from(dir).join(CREDENTIAL) }.read()
    }

    fn write(&self, _secret: &[u8]) -> Result<(), Problem> {
        Err(Problem::new(
            Code::Storage,
            format!("the credential {CREDENTIAL} is missing and cannot be written from here"),
            "make one with `head -c 32 /dev/urandom | base64` and pass it with LoadCredential=",
        ))
    }

    fn delete(&self) -> Result<(), Problem> {
        Err(Problem::new(
            Code::Storage,
            "a credential of systemd cannot be deleted from here",
            "remove it from the unit",
        ))
    }
}

struct KeyringSecret {
    user: String,
}

impl KeyringSecret {
    /// Keyring calls block, and the D-Bus client must not run inside our runtime: each gets a thread of its own.
    fn with_entry<T: Send>(
        &self,
        action: impl FnOnce(&keyring_core::Entry) -> keyring_core::Result<T> + Send,
    ) -> Result<T, Problem> {
        let locked = |e: String| {
            Problem::new(
                Code::Storage,
                format!("the keyring does not answer: {e}"),
                "unlock the desktop keyring, or start a new data directory with --identity file",
            )
        };
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| -> Result<T, String> {
                open_keyring()?;
                let entry = keyring_core::Entry::new(KEYRING_SERVICE, &self.user).map_err(|e| e.to_string())?;
                action(&entry).map_err(|e| e.to_string())
            });
            thread.join().unwrap_or_else(|_| Err("its client failed".to_owned()))
        })
        .map_err(locked)
    }
}

impl SecretStore for KeyringSecret {
    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Problem> {
        self.with_entry(|entry| match entry.get_secret() {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(keyring_core::Error::NoEntry) => Ok(None),
            Err(e) => Err(e),
        })
    }

    fn write(&self, secret: &[u8]) -> Result<(), Problem> {
        self.with_entry(|entry| entry.set_secret(secret))
    }

    fn delete(&self) -> Result<(), Problem> {
        self.with_entry(|entry| match entry.delete_credential() {
            Err(keyring_core::Error::NoEntry) => Ok(()),
            other => other,
        })
    }
}

#[cfg(target_os = "linux")]
fn open_keyring() -> Result<(), String> {
    if keyring_core::get_default_store().is_none() {
        let store = zbus_secret_service_keyring_store::Store::new().map_err(|e| e.to_string())?;
        keyring_core::set_default_store(store);
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn open_keyring() -> Result<(), String> {
    Err("this build knows no keyring on this system".to_owned())
}

/// Whether a secret can be written, read back and deleted: a keyring that only opens proves nothing.
fn keyring_works() -> bool {
    if cfg!(target_os = "linux") && env::var_os("DBUS_SESSION_BUS_ADDRESS").is_none() {
        return false;
    }
    let canary = KeyringSecret { user: "canary".to_owned() };
    canary.write(b"canary").is_ok()
        && canary.read().is_ok_and(|found| found.is_some_and(|secret| secret.as_slice() == b"canary"))
        && canary.delete().is_ok()
}

fn unreadable(what: &str) -> Problem {
    Problem::new(Code::Storage, format!("the stored key cannot be read: {what}"), "restore it from a backup")
}
