//! Whether a model fits a card: systems.md 3.

use crate::number::{not_negative, positive};
use serde::{Deserialize, Serialize};
use tender_base::Problem;

/// The shape of a language model, as far as its memory is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Parameters.
    pub parameters: f64,
    /// Bytes of a parameter: 2 for f16, about 0.6 for four bits with their scales.
    pub bytes_per_parameter: f64,
    /// Layers.
    pub layers: u32,
    /// Heads of keys and values, fewer than heads of queries where they are grouped.
    pub kv_heads: u32,
    /// Dimension of a head.
    pub head_dimension: u32,
    /// Bytes of an element of the cache: 2 for f16.
    pub cache_bytes: u32,
}

impl Shape {
    /// Bytes of the weights.
    #[must_use]
    pub fn weights(&self) -> f64 {
        self.parameters * self.bytes_per_parameter
    }

    /// Bytes of keys and values that a token leaves behind: 2·layers·heads·dimension·bytes.
    #[must_use]
    pub fn cache_per_token(&self) -> u64 {
        2 * u64::from(self.layers)
            * u64::from(self.kv_heads)
            * u64::from(self.head_dimension)
            * u64::from(self.cache_bytes)
    }

    /// How many sequences of `tokens` fit beside the weights into `card_bytes`, of which `reserved_bytes` are for
    /// activations and the screen; zero when the weights alone do not fit.
    ///
    /// # Errors
    /// [`tender_base::Code::Invalid`], naming the field.
    pub fn sequences(&self, tokens: f64, card_bytes: f64, reserved_bytes: f64) -> Result<u32, Problem> {
        positive("parameters", self.parameters)?;
        positive("bytes_per_parameter", self.bytes_per_parameter)?;
        let each = positive("cache of a sequence", positive("tokens", tokens)? * self.cache_per_token() as f64)?;
        let free = positive("card_bytes", card_bytes)? - not_negative("reserved_bytes", reserved_bytes)?;
        // A cast from f64 saturates, so a small model on a large card is many, not none.
        Ok(((free - self.weights()).max(0.0) / each) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama-3-8B: 32 layers, 8 heads of keys and values of 128.
    fn llama(bytes_per_parameter: f64) -> Shape {
        Shape { parameters: 8.03e9, bytes_per_parameter, layers: 32, kv_heads: 8, head_dimension: 128, cache_bytes: 2 }
    }

    #[test]
    fn the_golden_cache_and_the_sequences_that_fit_an_rtx_4080() {
        assert_eq!(llama(2.0).cache_per_token(), 131_072);
        assert_eq!(Shape { parameters: 175e9, ..llama(2.0) }.weights(), 350e9, "GPT-3 in f16");
        // 16 GB less 2.6 GB for the rest, weights of 5.7 GB: 28.7 sequences of 2,048 tokens.
        assert_eq!(llama(5.7 / 8.03).sequences(2_048.0, 16e9, 2.6e9).unwrap(), 28);
        assert_eq!(llama(2.0).sequences(2_048.0, 16e9, 0.0).unwrap(), 0, "the weights alone are larger");
        assert!(llama(2.0).sequences(0.0, 16e9, 0.0).unwrap_err().message.contains("tokens"));
        assert!(llama(f64::NAN).sequences(1.0, 16e9, 0.0).unwrap_err().message.contains("bytes_per_parameter"));
    }
}
