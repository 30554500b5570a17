//! What a card says about itself.

use crate::{nvml, sysfs};
use nvml_wrapper::error::NvmlError;
use std::{path::Path, time::Instant};
use tender_base::{Code, Problem};

/// One look at a card. What the card does not report is absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// When it was taken, on the monotonic clock.
    pub at: Instant,
    /// Energy since the driver was loaded, in joules. NVIDIA cards count it from Volta on and update the counter
    /// about every 100 ms; Intel's discrete cards count it too.
    pub energy_joules: Option<f64>,
    /// Power in watts; on NVIDIA cards from Ampere on the mean of the last second.
    pub power_watts: Option<f64>,
    /// Most power that the card is allowed now, in watts.
    pub power_limit_watts: Option<f64>,
    /// Core temperature in degrees Celsius.
    pub temperature_c: Option<f64>,
    /// Video memory in use by all processes, in bytes.
    pub memory_used_bytes: Option<u64>,
    /// Video memory in all, in bytes.
    pub memory_total_bytes: Option<u64>,
    /// Fraction of the last sample period in which a kernel ran, 0 to 1.
    pub utilisation: Option<f64>,
    /// What slows the card down now.
    pub throttle: Option<Throttle>,
}

impl Reading {
    /// A reading without any value.
    #[must_use]
    pub fn empty(at: Instant) -> Self {
        Self {
            at,
            energy_joules: None,
            power_watts: None,
            power_limit_watts: None,
            temperature_c: None,
            memory_used_bytes: None,
            memory_total_bytes: None,
            utilisation: None,
            throttle: None,
        }
    }
}

/// A set of reasons for which a card runs slower than it could. Lower clocks that its owner chose are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttle(u8);

impl Throttle {
    /// Runs as fast as it is set to.
    pub const NONE: Self = Self(0);
    /// Power has reached its limit: usual under full load.
    pub const POWER_LIMIT: Self = Self(1);
    /// Core or memory is too hot.
    pub const HEAT: Self = Self(1 << 1);
    /// The power supply asked for less.
    pub const POWER_SUPPLY: Self = Self(1 << 2);
    /// The card protects itself (heat, power or supply).
    pub const PROTECTION: Self = Self(1 << 3);
    /// Another card of the same group is slow.
    pub const OTHER_CARD: Self = Self(1 << 4);

    const WORDS: [(Self, &str); 5] = [
        (Self::POWER_LIMIT, "it has reached its power limit"),
        (Self::HEAT, "it is too hot"),
        (Self::POWER_SUPPLY, "the power supply asks for less"),
        (Self::PROTECTION, "it protects itself"),
        (Self::OTHER_CARD, "another card of its group is slow"),
    ];

    /// Whether there is any reason.
    #[must_use]
    pub fn any(self) -> bool {
        self != Self::NONE
    }

    /// Both sets together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The reasons in plain words, such as `it is too hot`; empty when there is none.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        Self::WORDS.iter().filter(|(reason, _)| self.0 & reason.0 != 0).map(|(_, words)| *words).collect()
    }
}

/// A process that uses a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Video memory that it holds, in bytes; `None` where the driver does not say, as on Windows.
    pub memory_bytes: Option<u64>,
}

/// Something that can look at a card.
pub trait Sensor: Send + Sync {
    /// Looks now. Takes a millisecond or so; blocks.
    ///
    /// # Errors
    /// [`SensorError`] when the card cannot be read at all.
    fn read(&self) -> Result<Reading, SensorError>;

    /// The processes that use the card, own ones included, each once. Takes some milliseconds; blocks.
    ///
    /// # Errors
    /// [`SensorError`] when the driver does not say.
    fn processes(&self) -> Result<Vec<Process>, SensorError>;

    /// The card's name, as its driver gives it.
    fn name(&self) -> &str;

    /// Where the card sits: its PCI address such as `0000:01:00.0`, in lower case.
    fn address(&self) -> &str;

    /// Whether a GPU adapter of this name may be this card.
    fn may_be(&self, adapter: &str) -> bool;
}

/// Why a card cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SensorError {
    /// There is no NVIDIA driver, or it does not answer.
    #[error("NVIDIA's management library cannot be used: {0}")]
    Nvml(#[from] NvmlError),
    /// A sensor that reads something else failed.
    #[error("{0}")]
    Other(String),
}

impl From<SensorError> for Problem {
    fn from(error: SensorError) -> Self {
        let hint = match error {
            SensorError::Nvml(_) => "energy is not measured until the driver answers; check it with nvidia-smi",
            SensorError::Other(_) => "energy is not measured until the card's driver answers; restart the machine",
        };
        Self::new(Code::Unavailable, error.to_string(), hint)
    }
}

/// Every card of this machine that can be read. Loads the driver's library where there is one, which costs some
/// megabytes: call it when something is to be measured, not at start.
#[must_use]
pub fn sensors() -> Vec<Box<dyn Sensor>> {
    sensors_under(Path::new("/"))
}

/// The same with `/sys` and `/proc` under another root.
pub(crate) fn sensors_under(root: &Path) -> Vec<Box<dyn Sensor>> {
    let nvidia = nvml::cards().unwrap_or_default().into_iter().map(|card| Box::new(card) as Box<dyn Sensor>);
    let others = sysfs::cards(root).into_iter().map(|card| Box::new(card) as Box<dyn Sensor>);
    nvidia.chain(others).collect()
}

/// Which card does the work of the adapter `adapter`: the one at `chosen` where the owner named an address, else the
/// only one that may be it. With two that may be it the answer is none: energy of the wrong card would be worse than
/// none.
#[must_use]
pub fn choose<'a>(
    cards: impl IntoIterator<Item = &'a dyn Sensor>,
    adapter: &str,
    chosen: Option<&str>,
) -> Option<usize> {
    let mut fitting = cards.into_iter().enumerate().filter(|(_, card)| {
        card.may_be(adapter) && chosen.is_none_or(|address| card.address().eq_ignore_ascii_case(address))
    });
    let (index, _) = fitting.next()?;
    fitting.next().is_none().then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulated::Card;

    #[test]
    fn throttling_is_said_in_words() {
        assert!(Throttle::NONE.words().is_empty() && !Throttle::NONE.any());
        let both = Throttle::HEAT.and(Throttle::POWER_LIMIT);
        assert_eq!(both.words(), ["it has reached its power limit", "it is too hot"]);
        assert!(both.any());
    }

    #[test]
    fn a_card_is_chosen_only_when_there_is_no_doubt() {
        let one = Card::new("Alpha", "0000:01:00.0");
        let twin = Card::new("Alpha", "0000:02:00.0");
        let other = Card::new("Beta", "0000:03:00.0");
        let choose =
            |cards: &[&Card], adapter, chosen| choose(cards.iter().map(|card| *card as &dyn Sensor), adapter, chosen);
        assert_eq!(choose(&[&other, &one], "Alpha", None), Some(1));
        assert_eq!(choose(&[&one, &twin], "Alpha", None), None, "two cards of one name");
        assert_eq!(choose(&[&one, &twin], "Alpha", Some("0000:02:00.0")), Some(1));
        assert_eq!(choose(&[&one], "llvmpipe (LLVM 15.0.6, 256 bits)", None), None, "the work ran on the CPU");
        assert_eq!(choose(&[&one, &other], "Alpha", Some("0000:03:00.0")), None, "that address is another card");
    }
}
