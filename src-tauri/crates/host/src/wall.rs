//! From the card's watts to the watts at the wall: what a plug-in meter shows at two or more loads.

use serde::{Deserialize, Serialize};

/// Card power must differ by so much between readings; below, the meter's own steps decide the slope.
const LEAST_SPAN_WATTS: f64 = 50.0;
/// A watt of the card is at least about a watt at the wall (the meter may be a little off), and no power supply loses
/// half; the rest of the machine rises a little with the card.
const SLOPES: std::ops::RangeInclusive<f64> = 0.95..=2.5;
/// What a machine may draw beside its card, in watts.
const BASES: std::ops::RangeInclusive<f64> = 0.0..=1000.0;
/// Readings further off the line than this fraction of the highest one were misread.
const MOST_RESIDUAL: f64 = 0.1;
/// Readings that are taken at most.
const MOST_POINTS: usize = 20;

/// The line wall = base + slope × card, fitted by least squares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WallLine {
    /// What the machine draws beside its card, in watts at the wall.
    pub base_watts: f64,
    /// Watts at the wall per watt of the card: the power supply's loss and what else rises with the card.
    pub slope: f64,
}

/// Why readings give no line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the readings of the wall meter give no line; it takes {}", self.wanted())]
pub enum WallError {
    /// Not `card:wall, card:wall`.
    Form,
    /// Fewer than two, or more than anybody reads.
    Count,
    /// A card beyond 2 kW or a wall beyond 4 kW, or a wall that shows less than the card.
    Range,
    /// All at one load.
    Span,
    /// The line is impossible.
    Line,
    /// One does not fit to the others.
    Residual,
}

impl WallError {
    /// What would give a line.
    #[must_use]
    pub fn wanted(self) -> &'static str {
        match self {
            Self::Form => "pairs of watts as `card:wall`, with commas between them, such as `15:78, 310:424`",
            Self::Count => "two to twenty pairs: one idle and one under load at least",
            Self::Range => "watts of the card up to 2000, and at the wall more than the card's, up to 4000",
            Self::Span => "readings whose card power differs by 50 W or more: one idle, one under load",
            Self::Line => {
                "card and wall read at the same moments: 1 W of the card is 0.95 to 2.5 W at the wall, and the rest of \
                 the machine draws up to 1000 W"
            }
            Self::Residual => "readings close to one line; one of these is more than 10 % off, so read it again",
        }
    }
}

impl WallLine {
    /// From the owner's text: `card:wall, card:wall, …` in watts.
    ///
    /// # Errors
    /// [`WallError`].
    pub fn parse(text: &str) -> Result<Self, WallError> {
        let watts = |text: &str| text.trim().parse::<f64>().ok().filter(|watts| watts.is_finite());
        let pair = |pair: &str| {
            let (card, wall) = pair.split_once(':')?;
            Some((watts(card)?, watts(wall)?))
        };
        let points: Option<Vec<(f64, f64)>> = text.split(',').map(pair).collect();
        Self::fit(&points.ok_or(WallError::Form)?)
    }

    /// Least squares through (card, wall) pairs in watts.
    ///
    /// # Errors
    /// [`WallError`].
    pub fn fit(points: &[(f64, f64)]) -> Result<Self, WallError> {
        if !(2..=MOST_POINTS).contains(&points.len()) {
            return Err(WallError::Count);
        }
        let in_range = |(card, wall): &(f64, f64)| (0.0..=2000.0).contains(card) && wall > card && *wall <= 4000.0;
        if !points.iter().all(in_range) {
            return Err(WallError::Range);
        }
        let cards = || points.iter().map(|(card, _)| *card);
        if cards().fold(0.0, f64::max) - cards().fold(f64::INFINITY, f64::min) < LEAST_SPAN_WATTS {
            return Err(WallError::Span);
        }
        let n = points.len() as f64;
        let mean_card = cards().sum::<f64>() / n;
        let mean_wall = points.iter().map(|(_, wall)| wall).sum::<f64>() / n;
        let covariance: f64 = points.iter().map(|(card, wall)| (card - mean_card) * (wall - mean_wall)).sum();
        let variance: f64 = cards().map(|card| (card - mean_card).powi(2)).sum();
        let slope = covariance / variance;
        let line = Self { base_watts: mean_wall - slope * mean_card, slope };
        let highest = points.iter().map(|(_, wall)| *wall).fold(0.0, f64::max);
        let off = points.iter().map(|(card, wall)| (line.wall(*card) - wall).abs()).fold(0.0, f64::max);
        if off > MOST_RESIDUAL * highest {
            return Err(WallError::Residual);
        }
        if !SLOPES.contains(&line.slope) || !BASES.contains(&line.base_watts) {
            return Err(WallError::Line);
        }
        Ok(line)
    }

    /// Watts at the wall while the card draws `card` watts: the whole machine.
    #[must_use]
    pub fn wall(&self, card: f64) -> f64 {
        self.base_watts + self.share(card)
    }

    /// What of [`WallLine::wall`] is there because of the card. The base is drawn whether the card works or not, so
    /// work does not cost it.
    #[must_use]
    pub fn share(&self, card: f64) -> f64 {
        self.slope * card
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_readings_give_the_line_through_them() {
        let line = WallLine::parse("15:78, 310:424").unwrap();
        assert!((line.slope - 346.0 / 295.0).abs() < 1e-12, "{line:?}");
        assert!((line.wall(15.0) - 78.0).abs() < 1e-9 && (line.wall(310.0) - 424.0).abs() < 1e-9);
        assert!((line.share(310.0) + line.base_watts - 424.0).abs() < 1e-9);
    }

    #[test]
    fn more_readings_are_fitted_by_least_squares() {
        // Computed independently: slope = Σ(x−x̄)(y−ȳ)/Σ(x−x̄)², base = ȳ − slope·x̄.
        let line = WallLine::parse("20:85,120:208, 220:315 ,320:440").unwrap();
        assert!((line.slope - 1.172).abs() < 1e-12 && (line.base_watts - 62.76).abs() < 1e-9, "{line:?}");
    }

    #[test]
    fn what_gives_no_line_says_what_would() {
        for (text, error) in [
            ("", WallError::Form),
            ("15=78, 310=424", WallError::Form),
            ("15:78, 310:NaN", WallError::Form),
            ("15:78", WallError::Count),
            ("15:78, -3:424", WallError::Range),
            ("15:78, 310:300", WallError::Range),
            ("15:78, 310:9000", WallError::Range),
            ("300:400, 310:424", WallError::Span),
            ("15:78, 310:1900", WallError::Line),
            ("15:300, 310:350", WallError::Line),
            ("20:85, 120:208, 220:1000, 320:440", WallError::Residual),
        ] {
            assert_eq!(WallLine::parse(text), Err(error), "{text}");
        }
        let many = vec!["10:60"; MOST_POINTS + 1].join(",");
        assert_eq!(WallLine::parse(&many), Err(WallError::Count));
    }
}
