//! Unpredictable bytes from the operating system.

use tender_base::Entropy;

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without entropy there are no keys and no nonces; going on would be worse than ending.
        getrandom::fill(bytes).expect("the operating system's random generator answers");
    }
}
