//! Cases to start from.

use super::Input;

/// A case with its story.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Its name on the command line.
    pub name: &'static str,
    /// The numbers from which the claim follows.
    pub as_claimed: Input,
    /// The same card with every cost counted.
    pub with_every_cost: Input,
    /// The claim: tokens of text a day above which owning is said to be cheaper.
    pub claimed_tokens_per_day: f64,
    /// Where the claim comes from and what is wrong with it.
    pub history: &'static str,
}

/// The names of all presets.
pub const NAMES: [&str; 1] = ["seed 004"];

/// The preset of that name.
#[must_use]
pub fn preset(name: &str) -> Option<Preset> {
    (name == NAMES[0]).then(seed_004)
}

/// An RTX 4080 with every cost counted, half of the time at work: what is assumed of a card where nobody says more.
#[must_use]
pub fn rtx_4080() -> Input {
    Input {
        price_usd: 1_199.0,
        resale_fraction: 0.35,
        lifetime_years: 3.0,
        discount_rate: 0.08,
        gpu_watts: 320.0,
        host_watts: 80.0,
        idle_watts: 13.0,
        psu_efficiency: 0.9,
        cooling_overhead: 0.0,
        maintenance_fraction: 0.03,
        tariff_usd_per_kwh: 0.17,
        opportunity_usd_per_active_hour: 0.0,
        tokens_per_second: 106.22,
        utilisation: 0.5,
        api_usd_per_million: 0.12,
        api_usd_per_million_input: None,
        input_output_ratio: None,
        // llama.cpp's pp1024 with the same model on the same card.
        prefill_tokens_per_second: Some(5_065.0),
        cards: None,
    }
}

/// "Route operations requiring > 9.1 million output tokens a day to internal RTX 4080 nodes": systems.md 158.
fn seed_004() -> Preset {
    let with_every_cost = rtx_4080();
    Preset {
        name: NAMES[0],
        as_claimed: Input {
            resale_fraction: 0.0,
            discount_rate: 0.0,
            host_watts: 0.0,
            idle_watts: 0.0,
            psu_efficiency: 1.0,
            maintenance_fraction: 0.0,
            tariff_usd_per_kwh: 0.0,
            ..with_every_cost
        },
        with_every_cost,
        claimed_tokens_per_day: 9_100_000.0,
        history: "The text \"Multi-Agent Mesh Economics\" names 9.1 million output tokens a day and no derivation. \
            9.1 million a day are 105.3 tokens/s, what an RTX 4080 writes in a single stream with Llama-3-8B Q4_K_M \
            (106.22 tokens/s at 1,024 tokens, llama.cpp, May 2024): the figure is the card's capacity as much as a \
            break-even. As a break-even it is under-determined: 342 combinations of round numbers give it. The \
            plainest is this preset: $1,199 over three years at $0.12 per million, without energy, interest, resale, \
            maintenance or the rest of the machine: 9.12 million a day at 99 % of the time at work. With these costs \
            counted there is no such volume: a million tokens more cost $0.19 in electricity alone. It is a case to \
            look at, never a rule.",
    }
}

#[cfg(test)]
mod tests {
    use super::super::breakeven;
    use super::*;

    #[test]
    fn the_claim_follows_from_its_numbers_and_falls_with_every_cost() {
        let preset = preset("seed 004").unwrap();
        let found = breakeven(&preset.as_claimed).unwrap().breakeven;
        assert!((found.tokens_per_day.unwrap() - 9_124_809.741_248_097).abs() < 1e-3, "{found:?}");
        assert!((found.tokens_per_day.unwrap() / preset.claimed_tokens_per_day - 1.0).abs() < 0.005);
        assert!(found.reachable && found.utilisation.unwrap() > 0.99, "{found:?}");
        let honest = breakeven(&preset.with_every_cost).unwrap().breakeven;
        assert_eq!(honest.tokens_per_day, None);
        assert!(honest.why.contains("$0.1912"), "{}", honest.why);
        assert_eq!(super::preset("seed 005"), None);
    }
}
