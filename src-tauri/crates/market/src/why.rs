//! Why a number on a screen is what it is: its inputs with their units and origins, its formula, and the result.

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Where an input comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "origin", rename_all = "snake_case")]
pub enum Origin {
    /// A sensor, a clock or a log of this machine.
    Measured,
    /// The owner entered it.
    Stated,
    /// Nobody measured or stated it; it is Tender's own assumption.
    Assumed,
    /// A published figure.
    Published {
        /// Who publishes it.
        by: String,
        /// The day it was read there, `2026-11-21`.
        on: String,
    },
    /// Follows from the other inputs.
    Computed,
}

/// One input of a [`Why`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// What it is, as the formula names it.
    pub name: String,
    /// Its value in `unit`; finite.
    pub value: f64,
    /// Its unit, such as `USD/kWh`; empty for a plain number.
    pub unit: String,
    /// Where it comes from.
    #[serde(flatten)]
    pub origin: Origin,
}

impl Term {
    /// An input with its unit and origin.
    pub fn new(name: impl Into<String>, value: f64, unit: impl Into<String>, origin: Origin) -> Self {
        Self { name: name.into(), value, unit: unit.into(), origin }
    }
}

/// The explanation of one number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// What the number is.
    pub name: String,
    /// The number, in `unit`; finite.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// How it follows from the inputs, in their names.
    pub formula: String,
    /// Where the formula is from, such as `COALESCE eq. 4, corrected`.
    pub source: String,
    /// What it stands on.
    pub inputs: Vec<Term>,
}

impl Why {
    /// An explanation without inputs; [`Why::with`] adds them.
    pub fn new(
        name: impl Into<String>,
        value: f64,
        unit: impl Into<String>,
        formula: impl Into<String>,
        source: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit: unit.into(),
            formula: formula.into(),
            source: source.into(),
            inputs: Vec::new(),
        }
    }

    /// The same with one input more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: f64, unit: impl Into<String>, origin: Origin) -> Self {
        self.inputs.push(Term::new(name, value, unit, origin));
        self
    }

    /// Whether every input was measured, stated, published or computed: nothing was assumed.
    #[must_use]
    pub fn stands_on_evidence(&self) -> bool {
        self.inputs.iter().all(|term| term.origin != Origin::Assumed)
    }

    /// The explanation as plain text, a line per input, ending in a line break.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out =
            format!("{} = {}\n  {}  [{}]\n", self.name, with_unit(self.value, &self.unit), self.formula, self.source);
        for Term { name, value, unit, origin } in &self.inputs {
            let origin = match origin {
                Origin::Measured => "measured".to_owned(),
                Origin::Stated => "stated".to_owned(),
                Origin::Assumed => "assumed".to_owned(),
                Origin::Published { by, on } => format!("{by}, {on}"),
                Origin::Computed => "computed".to_owned(),
            };
            let _ = writeln!(out, "  {name} = {}  ({origin})", with_unit(*value, unit));
        }
        out
    }
}

fn with_unit(value: f64, unit: &str) -> String {
    let value = shown(value);
    if unit.is_empty() { value } else { format!("{value} {unit}") }
}

/// Six digits for a reader; the value itself is in the JSON.
fn shown(value: f64) -> String {
    let magnitude = libm::floor(libm::log10(value.abs()));
    if value == 0.0 || !(-6.0..15.0).contains(&magnitude) {
        return format!("{value}");
    }
    let text = format!("{value:.*}", (5.0 - magnitude).max(0.0) as usize);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_lists_what_it_stands_on() {
        let why = Why::new("energy", 0.0756, "USD/h", "watts / 1000 × tariff", "COALESCE eq. 4, corrected")
            .with("watts", 444.4, "W", Origin::Measured)
            .with("tariff", 0.17, "USD/kWh", Origin::Published { by: "the grid".into(), on: "2026-11-21".into() });
        assert!(why.stands_on_evidence());
        let text = why.render();
        let digits =
            [(0.0, "0"), (713.641_252, "713.641"), (9_124_809.741, "9124810"), (-0.000_123_456_78, "-0.000123457")];
        assert!(digits.iter().all(|(value, text)| shown(*value) == *text));
        assert!(text.contains("watts = 444.4 W  (measured)") && text.contains("the grid, 2026-11-21"), "{text}");
        let json = serde_json::to_value(&why).unwrap();
        assert_eq!(json["inputs"][1]["origin"], "published");
        assert_eq!(serde_json::from_value::<Why>(json).unwrap(), why);
        assert!(!why.with("wear", 0.07, "USD/h", Origin::Assumed).stands_on_evidence());
    }
}
