//! The models of this machine: what the catalogue knows and what the owner added.

use super::ApiProblem;
use serde::{Deserialize, Serialize};

api_types! {
    /// Every model that is known here.
    pub struct Models {
        /// The catalogue's in its order, then the added ones by name.
        pub models: Vec<ModelRow>,
        /// The folder of the downloads.
        pub folder: String,
        /// Memory that a model may take now; none where nothing tells.
        pub free_memory_bytes: Option<u64>,
        /// Which memory that is and who says so, in a sentence.
        pub memory: String,
    }

    /// One model.
    pub struct ModelRow {
        /// Its name: what `submit` takes.
        pub name: String,
        /// `text` writes, `embed` embeds.
        #[cfg_attr(test, ts(type = "'text' | 'embed'"))]
        pub kind: String,
        /// `ready`: on this machine and unchanged. `absent`: known to the catalogue, not here. `downloading`,
        /// `checking`: its file is being read or hashed. `fault`: see `problem`.
        #[cfg_attr(test, ts(type = "'ready' | 'absent' | 'downloading' | 'checking' | 'fault'"))]
        pub state: String,
        /// The owner added its file; otherwise it is in the catalogue, and can be downloaded.
        pub added: bool,
        /// Bytes of its files.
        pub bytes: u64,
        /// Bytes of them that are on this machine.
        pub downloaded_bytes: u64,
        /// SPDX identifier; none for an added file.
        pub licence: Option<String>,
        /// How most of its weights are stored, such as `Q4_K`.
        pub quantisation: Option<String>,
        /// Tokens that it was trained to overlook.
        pub context_tokens: Option<u32>,
        /// Its parameters.
        pub parameters: Option<u64>,
        /// SHA-256 of its weights: how jobs and receipts name it.
        pub sha256: String,
        /// Memory that it takes with this node's limits.
        pub needed_bytes: Option<u64>,
        /// Whether that is free now; none where nothing tells.
        pub fits: Option<bool>,
        /// The same in a sentence.
        pub fit: String,
        /// What it is, in a sentence.
        pub about: String,
        /// Where its file or folder is; none when it is not here.
        pub path: Option<String>,
        /// What is wrong with it, or why its last download ended.
        pub problem: Option<ApiProblem>,
    }

    /// One model by name.
    pub struct ByModel {
        /// As listed.
        pub name: String,
    }

    /// Use a GGUF file of this machine. It stays where it is.
    pub struct AddModelInput {
        /// Absolute path of the file.
        pub path: String,
        /// What it is to be called; the file's name without its ending when absent.
        pub name: Option<String>,
    }

    /// Forget an added model, or delete a downloaded one.
    pub struct RemoveModelInput {
        /// As listed.
        pub name: String,
        /// Delete its files, too. A download without its files is no model, so the catalogue's need it.
        pub delete_files: Option<bool>,
    }
}
