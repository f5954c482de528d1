//! Counter-based random numbers: one seed gives one image on every backend.
//!
//! Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
//! A draw is a pure function of (seed, stream, step, position, lane), so no state has to be kept, saved or
//! shared between threads, work groups or devices. Everything up to [`unit()`] is integer arithmetic.

/// Multipliers of the two products of a round (the paper, table 2).
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// Key increments: the golden ratio and sqrt(3) - 1, each as a fraction of 2^32.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Ten rounds of Philox4x32: four words of 32 random bits from a key and a counter.
pub fn philox(mut key: [u32; 2], mut counter: [u32; 4]) -> [u32; 4] {
    for _ in 0..10 {
        let product = [0, 1].map(|i| u64::from(MULTIPLIERS[i]) * u64::from(counter[2 * i]));
        let (high, low) = (product.map(|p| (p >> 32) as u32), product.map(|p| p as u32));
        counter = [high[1] ^ counter[1] ^ key[0], low[1], high[0] ^ counter[3] ^ key[1], low[0]];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

/// A number in the open interval (0, 1) from the upper 23 bits of a word: `(2 (word >> 9) + 1) / 2^24`.
///
/// The numerator has at most 24 bits, so the float32 is exact, the same on every backend, never 0 and
/// never 1; `1 - unit(word)` is exact too.
pub fn unit(word: u32) -> f32 {
    (2 * (word >> 9) + 1) as f32 / 16_777_216.0
}

/// A standard Gumbel variable, `-ln(-ln(1 - u))`, from a uniform `u` of [`unit()`]; finite, in [-2.9, 16.7].
///
/// The large values, which decide an argmax, come from small `u`. There `-ln(1 - u)` is summed as a series:
/// a backend's `log` loses its digits next to 1 (WGSL allows an absolute error of 2^-21 there).
pub fn gumbel(u: f32) -> f32 {
    let exponential = if u < 0.0625 {
        u * (1.0 + u * (1.0 / 2.0 + u * (1.0 / 3.0 + u * (1.0 / 4.0 + u * (1.0 / 5.0 + u / 6.0)))))
    } else {
        -(1.0 - u).ln()
    };
    -exponential.ln()
}

/// What draws are for; different streams of one seed are independent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Which code or token is drawn.
    Token = 0,
    /// The noise on confidences when re-masking.
    Confidence = 1,
}

/// The random numbers of one image or one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draws {
    /// The user's seed: the Philox key, low word first.
    pub seed: u64,
    /// What the draws are for: word 3 of the counter.
    pub stream: Stream,
}

impl Draws {
    /// The draws of `seed` in `stream`.
    pub fn new(seed: u64, stream: Stream) -> Self {
        Self { seed, stream }
    }

    /// Four words, for lanes `4 quad .. 4 quad + 4`: the counter is `[quad, position, step, stream]`.
    pub fn words(&self, step: u32, position: u32, quad: u32) -> [u32; 4] {
        philox([self.seed as u32, (self.seed >> 32) as u32], [quad, position, step, self.stream as u32])
    }

    /// A uniform number in (0, 1) for one `lane` (a class, say) of one `position` at one `step`.
    pub fn uniform(&self, step: u32, position: u32, lane: u32) -> f32 {
        unit(self.words(step, position, lane / 4)[(lane % 4) as usize])
    }

    /// A standard Gumbel variable at the same place as [`uniform`](Self::uniform).
    pub fn gumbel(&self, step: u32, position: u32, lane: u32) -> f32 {
        gumbel(self.uniform(step, position, lane))
    }

    /// Gumbel variables of lanes `0 .. row.len()`, at a quarter of the cost of single calls.
    pub fn fill_gumbel(&self, step: u32, position: u32, row: &mut [f32]) {
        for (quad, lanes) in (0..).zip(row.chunks_mut(4)) {
            for (lane, word) in lanes.iter_mut().zip(self.words(step, position, quad)) {
                *lane = gumbel(unit(word));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random123's `kat_vectors`, lines "philox4x32 10": counter, key, answer.
    #[test]
    fn known_answers() {
        let pi = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];
        let cases = [
            ([0; 4], [0; 2], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]),
            (pi, [0xa4093822, 0x299f31d0], [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]),
        ];
        for (counter, key, answer) in cases {
            assert_eq!(philox(key, counter), answer, "counter {counter:x?}");
        }
    }

    #[test]
    fn unit_is_open_and_exact() {
        assert_eq!(unit(0), 0.5f32.powi(24));
        assert_eq!(unit(u32::MAX), 1.0 - 0.5f32.powi(24));
        assert_eq!(unit(1 << 31), 0.5 + 0.5f32.powi(24));
        for word in (0..=u32::MAX).step_by(65_521) {
            assert_eq!(f64::from(unit(word)), (f64::from(word >> 9) + 0.5) / f64::from(1 << 23));
        }
    }

    #[test]
    fn gumbel_matches_float64() {
        for word in (0..=u32::MAX).step_by(65_521).chain([0, u32::MAX]) {
            let u = f64::from(unit(word));
            let exact = -(-(-u).ln_1p()).ln();
            assert!((f64::from(gumbel(unit(word))) - exact).abs() < 2e-6, "u {u}");
        }
        let (low, high) = (gumbel(unit(u32::MAX)), gumbel(unit(0)));
        assert!(low > -2.9 && high < 16.7, "{low} {high}");
    }

    #[test]
    fn moments() {
        let draws = Draws::new(7, Stream::Token);
        let mut row = vec![0.0; 200_000];
        draws.fill_gumbel(3, 5, &mut row);
        assert_eq!(row[1001], draws.gumbel(3, 5, 1001));
        let count = row.len() as f64;
        let mean = row.iter().map(|&g| f64::from(g)).sum::<f64>() / count;
        let variance = row.iter().map(|&g| (f64::from(g) - mean).powi(2)).sum::<f64>() / count;
        // Euler's constant and pi^2 / 6, within four standard errors.
        assert!((mean - 0.577_216).abs() < 0.012, "mean {mean}");
        assert!((variance - 1.644_934).abs() < 0.034, "variance {variance}");
    }

    #[test]
    fn every_coordinate_matters() {
        let draws = Draws::new(1, Stream::Token);
        let base = draws.uniform(2, 3, 4);
        assert_eq!(base, Draws::new(1, Stream::Token).uniform(2, 3, 4));
        let others = [
            Draws::new(2, Stream::Token).uniform(2, 3, 4),
            Draws::new(1 | 1 << 32, Stream::Token).uniform(2, 3, 4),
            Draws::new(1, Stream::Confidence).uniform(2, 3, 4),
            draws.uniform(3, 3, 4),
            draws.uniform(2, 4, 4),
            draws.uniform(2, 3, 5),
            draws.uniform(2, 3, 8),
        ];
        assert!(others.iter().all(|&other| other != base), "{base} in {others:?}");
    }
}
