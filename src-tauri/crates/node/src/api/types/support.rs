//! Backup and the report for who helps.

use serde::{Deserialize, Serialize};

api_types! {
    /// Where to.
    pub struct BackupInput {
        /// A folder that does not exist yet; an absolute path on the node's machine.
        pub path: String,
    }

    /// A backup.
    pub struct Backup {
        /// The folder.
        pub path: String,
        /// How large it is.
        pub bytes: u64,
        /// Whether the identity's key is in it; a key in a keyring stays there.
        pub identity_included: bool,
    }

    /// A report for who helps. It holds no key, token, name or address of others, and nothing that anybody wrote.
    pub struct SupportBundle {
        /// A name for the file.
        pub name: String,
        /// Plain text.
        pub text: String,
    }
}
