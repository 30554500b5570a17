//! Draws that come in from outside: a ChaCha8 stream of a seed that the receipt names. The same seed gives the same
//! draws on every machine.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// A reproducible sequence of draws.
#[derive(Clone, Debug)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// The sequence number `stream` of `seed`; different streams are independent.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// Uniform in [0, 1), with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform between `low` and `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// One of `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(1.0 - self.uniform())
    }

    /// Normal with mean 0 and standard deviation 1 (Marsaglia's polar method, one of its two values).
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (self.between(-1.0, 1.0), self.between(-1.0, 1.0));
            let s = x * x + y * y;
            if s > 0.0 && s < 1.0 {
                return x * (-2.0 * libm::log(s) / s).sqrt();
            }
        }
    }

    /// Gamma with `shape` > 0 and scale 1 (Marsaglia and Tsang, 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            let power = libm::pow(1.0 - self.uniform(), 1.0 / shape);
            return self.gamma(shape + 1.0) * power;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v > 0.0 {
                let v = v * v * v;
                let u = 1.0 - self.uniform();
                if libm::log(u) < 0.5 * x * x + d - d * v + d * libm::log(v) {
                    return d * v;
                }
            }
        }
    }

    /// Beta with both parameters > 0.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (x, y) = (self.gamma(a), self.gamma(b));
        if x + y > 0.0 { x / (x + y) } else { 0.5 }
    }

    /// Poisson with mean `lambda` from 0 to 1e6 (Knuth's product, in parts whose exponential is a number).
    pub fn poisson(&mut self, lambda: f64) -> u32 {
        let (mut left, mut n) = (lambda.clamp(0.0, 1e6), 0);
        while left > 0.0 {
            let part = left.min(500.0);
            let (limit, mut product) = (libm::exp(-part), 1.0 - self.uniform());
            while product > limit {
                product *= 1.0 - self.uniform();
                n += 1;
            }
            left -= part;
        }
        n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = std::iter::repeat_with(draw).take(20_000).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn the_distributions_have_their_moments() {
        let mut draws = Draws::new(7, 0);
        type Case = (&'static str, fn(&mut Draws) -> f64, f64, f64);
        let cases: [Case; 8] = [
            ("uniform", Draws::uniform, 0.5, 1.0 / 12.0),
            ("exponential", Draws::exponential, 1.0, 1.0),
            ("normal", Draws::normal, 0.0, 1.0),
            ("gamma 0.93", |d| d.gamma(0.93), 0.93, 0.93),
            ("gamma 22", |d| d.gamma(22.0), 22.0, 22.0),
            ("beta 18 2", |d| d.beta(18.0, 2.0), 0.9, 36.0 / (400.0 * 21.0)),
            ("poisson 2.5", |d| f64::from(d.poisson(2.5)), 2.5, 2.5),
            ("poisson 700", |d| f64::from(d.poisson(700.0)), 700.0, 700.0),
        ];
        for (name, draw, mean, variance) in cases {
            let found = moments(|| draw(&mut draws));
            assert!((found.0 - mean).abs() < 5.0 * (variance / 2e4).sqrt() + 1e-9, "{name}: {found:?}");
            assert!((found.1 / variance - 1.0).abs() < 0.06, "{name}: {found:?}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_stream_does_not() {
        let of = |seed, stream| Draws::new(seed, stream).uniform().to_bits();
        assert_eq!(of(1, 2), of(1, 2));
        assert_ne!(of(1, 2), of(1, 3));
        assert_ne!(of(1, 2), of(2, 2));
        assert_eq!(Draws::new(1, 0).below(0), 0);
    }
}
