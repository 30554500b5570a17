//! What the large providers ask per million tokens: a dated extract of the `genai-prices` data, made by
//! `prices/extract.py`. A price is always shown with the day on which it was taken.

use crate::{price::CloudPrice, why::Origin};
use serde::Deserialize;
use tender_base::{Code, MicroUsd, Problem, Timestamp};

/// Published prices of many models.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiPrices {
    /// Whose collection it is.
    pub source: String,
    /// Its version.
    pub version: String,
    /// Under which terms it may be passed on.
    pub licence: String,
    /// The day on which it was taken, `2026-11-21`: what a provider changed since is not in it.
    pub taken_on: String,
    rows: Vec<Row>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    provider: String,
    model: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    prefixes: Vec<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    varies_by_hour: bool,
    prompt: u64,
    text: u64,
}

/// The price of a model on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dated {
    /// Who asks it.
    pub provider: String,
    /// The model by the collection's name for it.
    pub model: String,
    /// The price.
    pub price: CloudPrice,
    /// Whether the provider asks more at some hours of the day; the price is then its basic one.
    pub varies_by_hour: bool,
    /// Whose collection, with its version.
    pub source: String,
    /// The day on which it was taken.
    pub taken_on: String,
}

impl Dated {
    /// The price's origin, for a [`crate::why::Why`].
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin::Published { by: self.source.clone(), on: self.taken_on.clone() }
    }

    /// What these tokens cost, rounded up once.
    #[must_use]
    pub fn amount(&self, prompt_tokens: u64, text_tokens: u64) -> MicroUsd {
        let of = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let exact = of(prompt_tokens, self.price.prompt_micro_usd_per_million)
            + of(text_tokens, self.price.text_micro_usd_per_million);
        MicroUsd(i64::try_from(exact.div_ceil(1_000_000)).unwrap_or(i64::MAX))
    }
}

impl ApiPrices {
    /// The prices that Tender is shipped with, seen at `now`.
    ///
    /// # Errors
    /// [`Code::Invalid`] when the machine's clock stands before the day on which they were taken.
    pub fn bundled(now: Timestamp) -> Result<Self, Problem> {
        Self::parse(include_str!("../prices/api_prices.json"), now)
    }

    /// Reads such a collection.
    ///
    /// # Errors
    /// [`Code::Invalid`], naming the field: malformed, or prices taken on a day after `now`.
    pub fn parse(json: &str, now: Timestamp) -> Result<Self, Problem> {
        let prices: Self = serde_json::from_str(json).map_err(|error| {
            Problem::new(Code::Invalid, format!("the API prices cannot be read: {error}"), "use an unchanged file")
        })?;
        let taken = midnight("taken_on", &prices.taken_on)?;
        if taken > now {
            return Err(Problem::new(
                Code::Invalid,
                format!("taken_on: the API prices are from {}, which lies in the future", prices.taken_on),
                "set the machine's clock, or take the prices of a day that has been",
            ));
        }
        for row in &prices.rows {
            if let Some(from) = &row.from {
                midnight("from", from)?;
            }
        }
        Ok(prices)
    }

    /// What `model` cost at `at`. The name may carry its provider, as in `openai/gpt-4o-mini`. The exact name is
    /// preferred, then the longest prefix; of several days the last that has come.
    #[must_use]
    pub fn find(&self, model: &str, at: Timestamp) -> Option<Dated> {
        let name = model.trim().to_lowercase();
        let (provider, bare) = match name.split_once('/') {
            Some((provider, bare)) => (Some(provider), bare),
            None => (None, name.as_str()),
        };
        let found = self
            .rows
            .iter()
            .filter(|row| row.has_come(at))
            .filter_map(|row| {
                let fit = row.fit(&name).max(row.fit(bare))?;
                Some((fit, provider == Some(row.provider.as_str()), &row.from, row))
            })
            .max_by(|a, b| (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2)))
            .map(|(.., row)| row)?;
        Some(self.dated(found))
    }

    /// What every model cost at `at`, in the collection's order.
    #[must_use]
    pub fn at(&self, at: Timestamp) -> Vec<Dated> {
        let mut rows: Vec<&Row> = Vec::new();
        for row in self.rows.iter().filter(|row| row.has_come(at)) {
            match rows.iter_mut().find(|known| known.provider == row.provider && known.model == row.model) {
                Some(known) if row.from > known.from => *known = row,
                Some(_) => {}
                None => rows.push(row),
            }
        }
        rows.into_iter().map(|row| self.dated(row)).collect()
    }

    fn dated(&self, row: &Row) -> Dated {
        Dated {
            provider: row.provider.clone(),
            model: row.model.clone(),
            price: CloudPrice { prompt_micro_usd_per_million: row.prompt, text_micro_usd_per_million: row.text },
            varies_by_hour: row.varies_by_hour,
            source: format!("{} {}", self.source, self.version),
            taken_on: self.taken_on.clone(),
        }
    }
}

impl Row {
    fn has_come(&self, at: Timestamp) -> bool {
        self.from.as_deref().is_none_or(|from| midnight("from", from).is_ok_and(|day| day <= at))
    }

    /// How well the row fits a name: the length of what they share, an exact name above every prefix.
    fn fit(&self, name: &str) -> Option<usize> {
        if self.model == name || self.names.iter().any(|known| known == name) {
            return Some(usize::MAX);
        }
        self.prefixes.iter().filter(|prefix| name.starts_with(prefix.as_str())).map(String::len).max()
    }
}

/// The start of the day `text`, `2026-11-21`, in UTC.
fn midnight(field: &str, text: &str) -> Result<Timestamp, Problem> {
    Timestamp::parse(&format!("{text}T00:00:00Z")).ok_or_else(|| {
        Problem::new(Code::Invalid, format!("{field} is {text}"), format!("give {field} as a day such as 2026-11-21"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: &str) -> Timestamp {
        midnight("day", day).unwrap()
    }

    #[test]
    fn published_prices_are_found_by_name_and_day() {
        let prices = ApiPrices::bundled(at("2026-11-22")).unwrap();
        let of = |model: &str, day: &str| {
            let price = prices.find(model, at(day)).unwrap().price;
            (price.prompt_micro_usd_per_million, price.text_micro_usd_per_million)
        };
        for name in ["gpt-4o-mini", "GPT-4o-mini-2024-07-18", "openai/gpt-4o-mini"] {
            assert_eq!(of(name, "2026-11-21"), (150_000, 600_000), "{name}");
        }
        assert_eq!(of("gemini-2.5-flash", "2026-11-21"), (300_000, 2_500_000));
        assert_eq!(of("gpt-5.6-luna", "2026-07-29"), (1_000_000, 6_000_000), "before it became cheaper");
        assert_eq!(of("gpt-5.6-luna", "2026-07-30"), (200_000, 1_200_000));
        let deepseek = prices.find("deepseek-v4-flash", at("2026-11-21")).unwrap();
        assert!(deepseek.varies_by_hour && deepseek.taken_on == "2026-11-21");
        assert_eq!(deepseek.amount(1_000_000, 500_000), MicroUsd(450_000));
        assert_eq!(prices.find("a model of nobody", at("2026-11-21")), None);
    }

    #[test]
    fn every_model_is_listed_once_at_the_price_of_the_day() {
        let prices = ApiPrices::bundled(at("2026-11-22")).unwrap();
        for day in ["2026-07-29", "2026-07-30", "2026-11-21"] {
            let all = prices.at(at(day));
            assert!(all.len() > 250);
            for dated in &all {
                let name = format!("{}/{}", dated.provider, dated.model);
                assert_eq!(all.iter().filter(|other| **other == *dated).count(), 1, "{name}");
                assert_eq!(prices.find(&name, at(day)).as_ref(), Some(dated), "{name}");
            }
        }
    }

    #[test]
    fn prices_from_the_future_are_refused_by_their_field() {
        assert!(ApiPrices::bundled(at("2026-11-21")).is_ok());
        let problem = ApiPrices::bundled(at("2026-11-20")).unwrap_err();
        assert!(problem.message.contains("taken_on") && problem.message.contains("future"), "{problem}");
        let odd = r#"{"source":"s","version":"1","licence":"l","taken_on":"soon","rows":[]}"#;
        assert!(ApiPrices::parse(odd, at("2026-11-21")).unwrap_err().message.contains("taken_on"));
    }

    /// Every model of the extract finds its own provider's price by its own name.
    #[test]
    fn every_row_can_be_found() {
        let prices = ApiPrices::bundled(at("2026-11-22")).unwrap();
        assert!(prices.rows.len() > 250);
        for row in prices.rows.iter().filter(|row| row.from.is_none()) {
            let name = format!("{}/{}", row.provider, row.model);
            let found = prices.find(&name, at("2030-01-01")).unwrap();
            assert_eq!((&found.provider, &found.model), (&row.provider, &row.model));
        }
    }
}
