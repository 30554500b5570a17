//! The market of preset `tender`: who has which card, what it advertises, what it asks, and what is true of it.
//!
//! Throughputs are measured ones: llama.cpp, Llama 3 8B Q4_K_M, 1,024 tokens (XiongjieDai/GPU-Benchmarks-on-LLM-
//! Inference, May 2024); watts are the makers' board power. Tariffs are household and commercial prices between
//! Washington State and Germany.

use crate::Preset;
use tender_market::{cost::wear_usd_per_hour, draws::Draws};

/// A card.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// Its name.
    pub name: &'static str,
    /// Tokens generated per second, measured.
    pub decode: f64,
    /// Tokens of a prompt read per second, measured.
    pub prefill: f64,
    /// Board power in watts.
    pub watts: f64,
    /// Price in USD.
    pub usd: f64,
}

const fn card(name: &'static str, decode: f64, prefill: f64, watts: f64, usd: f64) -> Card {
    Card { name, decode, prefill, watts, usd }
}

/// Cards of clients and contractors.
pub const CARDS: [Card; 8] = [
    card("RTX 3070", 70.94, 2283.62, 220.0, 300.0),
    card("RTX 3080", 106.40, 3557.02, 320.0, 450.0),
    card("RTX 4070 Ti", 82.21, 3653.07, 285.0, 700.0),
    card("RTX 4080", 106.22, 5064.99, 320.0, 1199.0),
    card("RTX 3090", 111.74, 3865.39, 350.0, 800.0),
    card("RTX 4090", 127.74, 6898.71, 450.0, 1800.0),
    card("RTX 4000 Ada", 58.59, 2310.53, 130.0, 1250.0),
    card("RTX 6000 Ada", 130.99, 5560.94, 300.0, 6800.0),
];

/// Tariffs in USD per kWh.
const TARIFFS: [f64; 6] = [0.08, 0.12, 0.17, 0.23, 0.30, 0.40];
/// Marginal watts of the rest of the computer, and the share of the wall's power that its supply delivers.
const HOST_WATTS: f64 = 80.0;
const EFFICIENCY: f64 = 0.9;

impl Card {
    /// Energy and wear of an hour's work, in USD: what is lost by working.
    #[must_use]
    pub fn usd_per_hour(&self, tariff: f64) -> f64 {
        let energy = (self.watts + HOST_WATTS) / EFFICIENCY / 1000.0 * tariff;
        // A card that works all hours: the least wear per hour, since what stands still ages, too.
        energy + wear_usd_per_hour(self.usd, 0.35, 3.0, 0.08, 8760.0)
    }

    /// Seconds for one request.
    #[must_use]
    pub fn seconds(&self, context: f64, generated: f64) -> f64 {
        context / self.prefill + generated / self.decode
    }
}

/// A cloud, with the price of a hosted model of the same quality, Llama 3.1 8B.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cloud {
    /// Provider, as LiteLLM's price map 1.109.1 of 2026-11-21 calls it.
    pub name: &'static str,
    /// USD per million tokens of the prompt.
    pub usd_per_million_in: f64,
    /// USD per million tokens generated.
    pub usd_per_million_out: f64,
    /// Tokens generated per second over all parallel requests that its rate limit lets a customer have; assumed.
    pub decode: f64,
    /// Probability that a job is delivered; assumed.
    pub reliability: f64,
}

/// The clouds.
pub const CLOUDS: [Cloud; 2] = [
    Cloud { name: "novita", usd_per_million_in: 0.02, usd_per_million_out: 0.05, decode: 120.0, reliability: 0.99 },
    Cloud { name: "vercel", usd_per_million_in: 0.05, usd_per_million_out: 0.08, decode: 600.0, reliability: 0.995 },
];

/// A client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its own card.
    pub card: Card,
    /// Energy and wear of an hour's work, in USD.
    pub usd_per_hour: f64,
    /// Whether its requests are those of programmers.
    pub coder: bool,
    /// Work that arrives, as a fraction of what its card can do.
    pub load: f64,
}

/// A contractor, from `since` on; what is below `// hidden` is not advertised.
#[derive(Clone, Debug)]
pub struct Contractor {
    /// Card as advertised.
    pub card: Card,
    /// What an hour of work costs it, by its own claim of speed.
    pub asks_per_hour: f64,
    /// What an hour costs it: it does not ask less, unless it baits.
    pub floor_per_hour: f64,
    /// Equation 12's score for conversations and for code.
    pub fit: [f64; 2],
    /// Hours from the start, at which it takes its place.
    pub since: f64,
    // hidden
    /// Speed over what is advertised.
    pub speed: f64,
    /// Probability that a job is delivered.
    pub reliability: f64,
    /// When it is down, as hours from and to, in order.
    pub down: Vec<(f64, f64)>,
    /// Failures per hour that outages cause.
    pub outage_rate: f64,
}

/// Everyone in a run.
#[derive(Clone, Debug)]
pub struct Market {
    /// Who has jobs.
    pub clients: Vec<Client>,
    /// The contractors of each place, one after the other.
    pub places: Vec<Vec<Contractor>>,
    /// Hours from and to, with triple demand.
    pub shocks: Vec<(f64, f64)>,
}

/// How much higher demand and prices are in a shock.
pub const SHOCK_DEMAND: f64 = 3.0;
/// By which factor contractors raise their prices in a shock.
pub const SHOCK_PRICE: f64 = 1.8;
/// Share of liars and baits in their presets.
const HOSTILE: f64 = 1.0 / 3.0;

impl Market {
    /// Draws a market.
    pub fn draw(preset: Preset, clients: usize, contractors: usize, hours: f64, draws: &mut Draws) -> Self {
        let clients = (0..clients).map(|i| client(i, draws)).collect();
        let place = |_| {
            let mut here = vec![contractor(preset, 0.0, hours, draws)];
            while preset == Preset::Churn && here.last().is_some_and(|last| last.since < hours) {
                let since = here.last().map_or(0.0, |last| last.since) + 48.0 * draws.exponential();
                here.push(contractor(preset, since, hours, draws));
            }
            here
        };
        let places = (0..contractors).map(place).collect();
        let shocks = if preset == Preset::Shocks {
            (0..(hours / 24.0) as u32)
                .map(|day| f64::from(day) * 24.0 + draws.between(0.0, 18.0))
                .map(|from| (from, from + 4.0))
                .collect()
        } else {
            Vec::new()
        };
        Self { clients, places, shocks }
    }
}

impl Market {
    /// Whether there is a shock at this hour.
    #[must_use]
    pub fn in_shock(&self, hour: f64) -> bool {
        self.shocks.iter().any(|(from, to)| (*from..*to).contains(&hour))
    }
}

fn client(i: usize, draws: &mut Draws) -> Client {
    let card = CARDS[draws.below(6)];
    let tariff = TARIFFS[draws.below(TARIFFS.len())];
    Client { card, usd_per_hour: card.usd_per_hour(tariff), coder: i % 2 == 1, load: [0.5, 0.8, 0.95][i % 3] }
}

fn contractor(preset: Preset, since: f64, hours: f64, draws: &mut Draws) -> Contractor {
    let card = CARDS[draws.below(CARDS.len())];
    let tariff = TARIFFS[draws.below(TARIFFS.len())];
    let floor_per_hour = card.usd_per_hour(tariff);
    let margin = draws.between(0.1, 0.6);
    let fit = |draws: &mut Draws| {
        // One skill of two; cosine of the embeddings; no history yet.
        let jaccard = if draws.uniform() < 0.5 { 1.0 } else { 0.5 };
        (0.3 * jaccard + 0.5 * draws.between(0.7, 1.0)) / 0.8
    };
    let mut made = Contractor {
        card,
        asks_per_hour: floor_per_hour * (1.0 + margin),
        floor_per_hour,
        fit: [fit(draws), fit(draws)],
        since,
        speed: libm::exp(0.15 * draws.normal()),
        reliability: draws.beta(18.0, 2.0),
        down: Vec::new(),
        outage_rate: 0.0,
    };
    let hostile = draws.uniform() < HOSTILE;
    match preset {
        Preset::Lies if hostile => {
            // Three times the speed: at the same price per token the hour seems to cost three times as much.
            made.card.decode *= 3.0;
            made.card.prefill *= 3.0;
            made.asks_per_hour *= 3.0 * 0.9;
            made.floor_per_hour *= 3.0 * 0.9;
            made.speed /= 3.0;
            made.reliability = draws.beta(8.0, 4.0);
        }
        Preset::Bait if hostile => {
            made.asks_per_hour = floor_per_hour / 3.0;
            made.floor_per_hour = made.asks_per_hour;
            made.reliability = draws.beta(2.0, 6.0);
        }
        Preset::Outages => {
            // Up for a day, down for four hours, both exponential.
            made.outage_rate = 1.0 / 24.0;
            let mut at = 24.0 * draws.exponential();
            while at < hours {
                let until = at + 4.0 * draws.exponential();
                made.down.push((at, until));
                at = until + 24.0 * draws.exponential();
            }
        }
        _ => {}
    }
    made
}
