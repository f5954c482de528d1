//! The order in which a user's own samples are seen.

use rand::RngExt;

use super::random::rng_at;

/// Rounds of the permutation.
const ROUNDS: usize = 4;

/// A shuffle of samples that needs no memory: each epoch has its own order, which is a function of seed and epoch, so
/// that a resumed run sees the sample that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As the source gives them, which is random already.
    Given,
    /// Shuffled by this seed.
    Shuffled(u64),
}

impl Order {
    /// The sample, below `count`, that is seen at `place`, counted over all epochs.
    pub fn at(self, place: u64, count: u64) -> u64 {
        match self {
            Self::Given => place,
            Self::Shuffled(seed) => shuffled(place % count.max(1), count, seed, place / count.max(1)),
        }
    }
}

/// The place of `index` in a permutation of `0..count`: a Feistel network over the next even power of two, applied until
/// the result is below `count` (cycle walking; Black and Rogaway 2002).
fn shuffled(index: u64, count: u64, seed: u64, epoch: u64) -> u64 {
    let half = (64 - count.saturating_sub(1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1_u64 << half) - 1;
    let mut rng = rng_at(seed ^ 0x5EED_0D3A, epoch);
    let keys: [u64; ROUNDS] = std::array::from_fn(|_| rng.random());
    let mut place = index;
    loop {
        let (mut left, mut right) = (place >> half, place & mask);
        for key in keys {
            (left, right) = (right, left ^ (mixed(right ^ key) & mask));
        }
        place = left << half | right;
        if place < count {
            return place;
        }
    }
}

/// Mixes all bits of a number (the finaliser of SplitMix64).
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_has_every_sample_once_in_an_order_of_its_own() {
        for count in [1, 2, 3, 7, 16, 17, 1000, 4097] {
            let order = Order::Shuffled(5);
            let epoch = |epoch: u64| -> Vec<u64> {
                (0..count).map(|place| order.at(epoch * count + place, count)).collect()
            };
            for number in [0, 1, 9] {
                let mut seen = epoch(number);
                assert!(count < 16 || !seen.is_sorted(), "{count}");
                seen.sort_unstable();
                assert_eq!(seen, (0..count).collect::<Vec<_>>(), "{count}");
            }
            assert!(count < 16 || epoch(0) != epoch(1));
            assert!(
                count < 16
                    || order.at(3, count) != Order::Shuffled(6).at(3, count)
                    || order.at(4, count) != Order::Shuffled(6).at(4, count)
            );
        }
        assert_eq!(Order::Given.at(12, 5), 12);
    }

    #[test]
    fn neighbours_are_far_apart() {
        // The mean distance of neighbours in a random order of n is n / 3.
        let (count, order) = (10_000, Order::Shuffled(1));
        let far: f64 = (0..count - 1)
            .map(|place| order.at(place, count).abs_diff(order.at(place + 1, count)) as f64)
            .sum();
        let mean = far / (count - 1) as f64;
        assert!((mean / count as f64 - 1.0 / 3.0).abs() < 0.02, "{mean}");
    }
}
