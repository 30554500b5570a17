//! A2A agents that are no peers: added by the owner with a price, and hired for texts.
//!
//! Such an agent signs neither proposals nor deliveries. Its price is what the owner entered or what its card stated
//! when it was added; it is never paid more, and only for a text. What was added is a setting, a key for it is a
//! secret.

use crate::{
    api::types::{AddAgentInput, AgentRow, Agents, DoctorCheck},
    node::Node,
    runtimes::in_thread,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tender_a2a::{ForeignClient, card::SkillFacts};
use tender_base::{Code, Did, MicroUsd, Problem, Rate, Unit, Work, documents::bill};
use tender_market::decision::PriceOf;

/// Internal setting with the agents.
const AGENTS: &str = "agents";
/// Most agents: each is a row of every decision about a text.
const MAX_AGENTS: usize = 20;
/// Longest name.
const MAX_NAME: usize = 40;
/// Dearest text, a thousand dollars: more is a slip of the keyboard.
const MAX_PRICE: i64 = 1_000_000_000;
/// How long an agent that failed is not asked again.
const REST: Duration = Duration::from_secs(60);

/// What one text of an agent may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Price {
    /// However long it is.
    PerText(MicroUsd),
    /// By the tokens.
    Rate {
        /// Per token of prompt and text; where `prompt_rate` is there, per token of text.
        #[serde(flatten)]
        rate: Rate,
        /// Per token of prompt, where that has a price of its own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt_rate: Option<Rate>,
    },
}

/// An agent as the owner added it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Agent {
    /// What the owner calls it.
    pub(crate) name: String,
    /// Where its card is, as the owner typed it.
    pub(crate) address: String,
    /// Where the card said that it is asked. Another place is another agent.
    endpoint: String,
    /// The key that must sign its card; none for an unsigned agent.
    pub(crate) signer: Option<Did>,
    /// What a text costs.
    pub(crate) price: Price,
    /// Who says so.
    pub(crate) price_of: PriceOf,
    /// Whether a key for it is among the secrets.
    has_key: bool,
}

impl Price {
    /// What a text may cost, billed as a seller bills it; none when that is no amount of money.
    pub(crate) fn most(self, work: &Work) -> Option<MicroUsd> {
        match self {
            Self::PerText(amount) => Some(amount),
            Self::Rate { rate, prompt_rate } => bill(work, &rate, prompt_rate.as_ref(), work.units()),
        }
    }
}

/// The agents among the stored settings.
pub(crate) fn agents_in(stored: &BTreeMap<String, Value>) -> Vec<Agent> {
    let Some(value) = stored.get(AGENTS) else { return Vec::new() };
    serde_json::from_value(value.clone()).unwrap_or_else(|problem| {
        tracing::error!(%problem, "the added agents cannot be read; add them again");
        Vec::new()
    })
}

/// What is known of the agents now, by name.
#[derive(Default)]
pub(crate) struct Acquaintances {
    known: Mutex<BTreeMap<String, Known>>,
    /// Held while the list of agents changes.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
enum Known {
    /// It answered.
    Here(ForeignClient),
    /// It failed, and is left alone until then.
    Resting(Problem, Instant),
}

impl Acquaintances {
    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why an agent is not asked now, if it is not.
    pub(crate) fn resting(&self, name: &str) -> Option<Problem> {
        match self.known().get(name)? {
            Known::Resting(problem, until) if Instant::now() < *until => Some(problem.clone()),
            _ => None,
        }
    }

    /// Leaves an agent alone for a while.
    pub(crate) fn failed(&self, name: &str, problem: &Problem) {
        self.known().insert(name.to_owned(), Known::Resting(problem.clone(), Instant::now() + REST));
    }
}

impl Node {
    /// An agent of this name, ready to be asked; its card is read again when it says it is old.
    ///
    /// # Errors
    /// [`Code::NotFound`], what [`ForeignClient::connect`] finds, [`Code::Forbidden`] when it moved.
    pub(crate) async fn agent_client(&self, agent: &Agent) -> Result<ForeignClient, Problem> {
        let known = self.agents.known().get(&agent.name).cloned();
        let client = match known {
            Some(Known::Here(client)) => {
                client.refresh().await?;
                client
            }
            _ => {
                let key = if agent.has_key { Some(self.key_of_agent(&agent.name).await?) } else { None };
                ForeignClient::connect(&agent.address, agent.signer, key.as_deref()).await?
            }
        };
        if client.endpoint() != agent.endpoint {
            return Err(Problem::new(
                Code::Forbidden,
                format!("the card of {} now leads to {}, not to {}", agent.name, client.endpoint(), agent.endpoint),
                "if you trust the new place, remove the agent and add it again",
            ));
        }
        self.agents.known().insert(agent.name.clone(), Known::Here(client.clone()));
        Ok(client)
    }

    /// Reads an agent's card and adds it to those that may be hired.
    ///
    /// # Errors
    /// [`Code::Invalid`] naming the field, [`Code::Conflict`] for a name that is taken, [`Code::TooMany`], what
    /// [`ForeignClient::connect`] finds, and [`Code::Storage`] when the key cannot be kept.
    pub(crate) async fn add_agent(&self, input: AddAgentInput) -> Result<Agents, Problem> {
        let AddAgentInput { url, name, price_micro_usd, did, key } = input;
        let signer = did
            .map(|did| did.parse::<Did>())
            .transpose()
            .map_err(|e| Problem::new(Code::Invalid, format!("did: {e}"), "copy the did:key of the agent's owner"))?;
        let key = key.map(|key| key.trim().to_owned());
        if key.as_ref().is_some_and(String::is_empty) {
            return Err(Problem::new(Code::Invalid, "key is empty", "leave it out, or copy the key again"));
        }
        let client = ForeignClient::connect(&url, signer, key.as_deref()).await?;
        let name = match name {
            Some(name) => name,
            None => name_from(&client.card().name),
        };
        check_name(&name)?;
        if key.is_some() || client.price_of_text().is_some() {
            // Who may not look at tasks may not have any made, which would be seen at the first job only.
            client.tasks(1).await.map_err(may_not_buy)?;
        }
        let (price, price_of) = match price_micro_usd {
            Some(amount) => (Price::PerText(stated(amount)?), PriceOf::Owner),
            None => (card_price(&client)?, PriceOf::Card),
        };
        let _changing = self.agents.changing.lock().await;
        let mut agents = self.settings().agents;
        if agents.iter().any(|other| other.name == name) {
            let hint = "choose another name, or remove the other one first";
            return Err(Problem::new(Code::Conflict, format!("there is an agent {name} already"), hint));
        }
        if agents.len() >= MAX_AGENTS {
            let message = format!("there are {MAX_AGENTS} agents");
            return Err(Problem::new(Code::TooMany, message, "remove one that you no longer need"));
        }
        let has_key = key.is_some();
        if let Some(key) = key {
            let place = self.secret_of_agent(&name)?;
            in_thread(move || place.write(key.as_bytes())).await?;
        }
        let endpoint = client.endpoint();
        let address = url.trim().to_owned();
        agents.push(Agent { name: name.clone(), address, endpoint, signer, price, price_of, has_key });
        self.store_agents(&agents).await?;
        self.agents.known().insert(name, Known::Here(client));
        self.live.touch();
        Ok(self.list_agents())
    }

    /// Forgets an agent and the key for it.
    ///
    /// # Errors
    /// [`Code::NotFound`], or [`Code::Storage`] when its key cannot be deleted.
    pub(crate) async fn remove_agent(&self, name: &str) -> Result<Agents, Problem> {
        let _changing = self.agents.changing.lock().await;
        let mut agents = self.settings().agents;
        let at = agents.iter().position(|agent| agent.name == name).ok_or_else(|| {
            Problem::new(Code::NotFound, format!("there is no agent {name}"), "`tender agents` lists them")
        })?;
        if agents.remove(at).has_key {
            let place = self.secret_of_agent(name)?;
            in_thread(move || place.delete()).await?;
        }
        self.store_agents(&agents).await?;
        self.agents.known().remove(name);
        self.live.touch();
        Ok(self.list_agents())
    }

    /// Every agent, in the order of adding.
    pub(crate) fn list_agents(&self) -> Agents {
        let row = |agent: &Agent| {
            let known = self.agents.known().get(&agent.name).cloned();
            let (card, problem) = match known {
                Some(Known::Here(client)) => (Some(client.card()), None),
                Some(Known::Resting(problem, until)) if Instant::now() < until => (None, Some(problem)),
                _ => (None, None),
            };
            let million = |rate: Rate| rate.amount(1_000_000).map(|amount| amount.0);
            let (per_text, per_million, prompt_per_million) = match agent.price {
                Price::PerText(amount) => (Some(amount.0), None, None),
                Price::Rate { rate, prompt_rate } => (None, million(rate), prompt_rate.and_then(million)),
            };
            AgentRow {
                name: agent.name.clone(),
                url: agent.address.clone(),
                about: card.map(|card| card.description.chars().filter(|c| !c.is_control()).take(300).collect()),
                signed: agent.signer.is_some(),
                price_micro_usd: per_text,
                price_micro_usd_per_million: per_million,
                prompt_micro_usd_per_million: prompt_per_million,
                price_of: match agent.price_of {
                    PriceOf::Owner => "owner",
                    PriceOf::Card => "card",
                }
                .to_owned(),
                has_key: agent.has_key,
                problem: problem.map(Into::into),
            }
        };
        Agents { agents: self.settings().agents.iter().map(row).collect() }
    }

    async fn key_of_agent(&self, name: &str) -> Result<String, Problem> {
        let place = self.secret_of_agent(name)?;
        let missing = || {
            let message = format!("the key for {name} is missing from the secrets");
            Problem::new(Code::Unauthenticated, message, "remove the agent and add it again with its key")
        };
        let secret = in_thread(move || place.read()).await?.ok_or_else(missing)?;
        String::from_utf8(secret.to_vec()).map_err(|_| missing())
    }

    fn secret_of_agent(&self, name: &str) -> Result<Box<dyn crate::identity::SecretStore>, Problem> {
        let secrets = self.identity.secrets.as_ref();
        let none = || Problem::new(Code::Unavailable, "this process keeps no secrets", "start a node: tender serve");
        Ok(secrets.ok_or_else(none)?.of_agent(name))
    }

    async fn store_agents(&self, agents: &[Agent]) -> Result<(), Problem> {
        let value = serde_json::to_value(agents)
            .map_err(|e| Problem::new(Code::Internal, format!("the agents cannot be written: {e}"), ""))?;
        self.set(AGENTS, value).await
    }
}

fn may_not_buy(problem: Problem) -> Problem {
    match problem.code {
        Code::Unauthenticated | Code::Forbidden => {
            Problem { hint: "ask the agent's owner for an API key, and add the agent with it".to_owned(), ..problem }
        }
        _ => problem,
    }
}

fn stated(amount: i64) -> Result<MicroUsd, Problem> {
    if (0..=MAX_PRICE).contains(&amount) {
        return Ok(MicroUsd(amount));
    }
    let message = format!("price_micro_usd is {amount}, but must be between 0 and {MAX_PRICE}");
    Err(Problem::new(Code::Invalid, message, "state what one text may cost"))
}

fn card_price(client: &ForeignClient) -> Result<Price, Problem> {
    let none = |message: &str| Err(Problem::new(Code::Invalid, message, "state a price: what one text may cost"));
    let makes_sense = |rate: &Rate| rate.unit == Unit::Token && rate.amount(1_000_000).is_some();
    match client.price_of_text() {
        Some(SkillFacts { rate, prompt_rate, .. }) if makes_sense(&rate) && prompt_rate.iter().all(makes_sense) => {
            Ok(Price::Rate { rate, prompt_rate })
        }
        Some(_) => none("the agent's card states a price of texts that makes no sense"),
        None => none("the agent's card states no price of texts"),
    }
}

/// A name for an agent that calls itself so.
fn name_from(called: &str) -> String {
    let words = called.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name: String = words.collect::<Vec<_>>().join("-").to_ascii_lowercase().chars().take(MAX_NAME).collect();
    if name.is_empty() { "agent".to_owned() } else { name }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.') && name.chars().all(plain) {
        return Ok(());
    }
    Err(Problem::new(
        Code::Invalid,
        format!("name is {name:?}, which cannot be the name of an agent"),
        format!("use 1 to {MAX_NAME} letters, digits, - or _"),
    ))
}

/// What the doctor says: a line for each agent.
pub(crate) fn checks(agents: &Agents) -> Vec<DoctorCheck> {
    let line = |row: &AgentRow| {
        let (state, message, remedy) = match &row.problem {
            Some(problem) => ("warning", problem.message.clone(), problem.hint.clone()),
            None if row.signed => ("ok", format!("{}, its card signed by the key you pinned", row.url), String::new()),
            None => ("ok", format!("{}, unsigned: only the address vouches for it", row.url), String::new()),
        };
        DoctorCheck { name: format!("Agent {}", row.name), state: state.to_owned(), message, remedy }
    };
    agents.agents.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tender_base::{
        Sha256,
        job::{GenerateWork, ModelRef, Sampling},
    };

    #[test]
    fn a_prompt_is_paid_at_its_own_price_and_a_price_stored_before_there_were_two_is_read() {
        let model = ModelRef { name: "m".into(), sha256: Sha256::of(b"") };
        let text =
            GenerateWork { model, prompt_tokens: 900, max_tokens: 100, sampling: Sampling::GREEDY, stop: vec![] };
        let most = |price: Price| price.most(&Work::Generate(text.clone())).unwrap().0;
        let rate = Rate { micro_usd: 10, per_units: 1, unit: Unit::Token };
        let stored = serde_json::json!({"rate": {"micro_usd": 10, "per_units": 1, "unit": "token"}});
        let before: Price = serde_json::from_value(stored.clone()).unwrap();
        assert_eq!((before, most(before)), (Price::Rate { rate, prompt_rate: None }, 10_000));
        assert_eq!(serde_json::to_value(before).unwrap(), stored);
        for (prompt, bill) in [(1, 1_900), (30, 28_000)] {
            let price = Price::Rate { rate, prompt_rate: Some(Rate { micro_usd: prompt, ..rate }) };
            assert_eq!(most(price), bill);
            assert_eq!(serde_json::from_value::<Price>(serde_json::to_value(price).unwrap()).unwrap(), price);
        }
    }

    #[test]
    fn an_agent_is_called_by_what_it_calls_itself() {
        for (called, name) in [("Hello World Agent", "hello-world-agent"), ("écrivain!", "crivain"), ("…", "agent")]
        {
            assert_eq!(name_from(called), name);
            check_name(&name_from(called)).unwrap();
        }
        for name in ["", "../x", ".x", "a b", &"x".repeat(41)] {
            assert_eq!(check_name(name).unwrap_err().code, Code::Invalid, "{name}");
        }
    }
}
