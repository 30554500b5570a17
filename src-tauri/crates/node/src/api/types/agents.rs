//! A2A agents that are no peers and may be hired for texts.

use super::ApiProblem;
use serde::{Deserialize, Serialize};

api_types! {
    /// Every agent that was added.
    pub struct Agents {
        /// In the order of adding.
        pub agents: Vec<AgentRow>,
    }

    /// One agent.
    pub struct AgentRow {
        /// What the owner calls it.
        pub name: String,
        /// Where its card is.
        pub url: String,
        /// What it says of itself; absent until its card was read.
        pub about: Option<String>,
        /// Whether its card is signed by a key that the owner pinned.
        pub signed: bool,
        /// What one text may cost, however long; absent when it is priced by tokens.
        pub price_micro_usd: Option<i64>,
        /// What a million tokens of prompt and text cost; of text alone where the prompt has a price of its own.
        pub price_micro_usd_per_million: Option<i64>,
        /// What a million tokens of prompt cost, where that is another price.
        pub prompt_micro_usd_per_million: Option<i64>,
        /// Who stated the price.
        #[cfg_attr(test, ts(type = "'owner' | 'card'"))]
        pub price_of: String,
        /// Whether a key is kept for it.
        pub has_key: bool,
        /// Why it is not asked now.
        pub problem: Option<ApiProblem>,
    }

    /// Add an agent. Its card is read first.
    pub struct AddAgentInput {
        /// `https://HOST/…`, below which its card is; `http://` for this machine only.
        pub url: String,
        /// What it is to be called: letters, digits, `-` and `_`; by its own name when absent.
        pub name: Option<String>,
        /// What one text may cost, however long; the price on its card when absent.
        pub price_micro_usd: Option<i64>,
        /// `did:key:…` that must sign its card; when absent the agent counts as unsigned.
        pub did: Option<String>,
        /// The key that it asks for; it goes to the secret store.
        pub key: Option<String>,
    }

    /// One agent by name.
    pub struct ByAgent {
        /// As listed.
        pub name: String,
    }
}
