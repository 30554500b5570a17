//! Where unpredictable bytes come from.

/// A source of random bytes. The node draws from the operating system; tests bring a seeded one.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]);

    /// A fresh 32-byte value.
    fn draw32(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        bytes
    }
}
