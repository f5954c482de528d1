//! Which of the codes that a step of masked decoding has drawn stay.

use super::Noise;

/// Which of the codes that a step has drawn stay. The others are masked again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Those with the highest log-probability plus Gumbel noise (MaskGIT, arXiv 2202.04200, section 3.2). The noise is
    /// scaled by `temperature`, which decays to nothing over the steps.
    Confidence {
        /// Scale of the noise at the start.
        temperature: f32,
    },
    /// Those that come next in the Halton sequence (Besnier et al., arXiv 2503.17076), which spreads the codes of each
    /// step over the image; each image starts at a random shift. The order does not depend on what is drawn, so the
    /// probability of an image is the product over its codes, as a policy gradient needs it. Under
    /// [`Confidence`](Self::Confidence) it is not: likely codes are kept, and the mean of their scores (the gradients of
    /// their log-probabilities) is not zero.
    Halton,
}

impl Order {
    /// Scale of the noise on log-probabilities at the start.
    pub(super) fn temperature(self) -> f32 {
        match self {
            Self::Confidence { temperature } => temperature,
            Self::Halton => 0.0,
        }
    }

    /// For each image, row by row, the scores by which its `length` codes are kept at every step, the highest first. `None`
    /// where each step's confidences decide.
    pub(super) fn turns(self, images: usize, length: usize, noise: &dyn Noise) -> Option<Vec<Vec<f32>>> {
        (self == Self::Halton).then(|| {
            let side = (1..).find(|side| side * side >= length).unwrap_or(1);
            let order = halton(side);
            let shifts =
                (0..images).map(|image| [0, 1].map(|axis| uniform(noise.confidence(0, image, axis))));
            let turns = shifts.map(|shift| {
                let [down, right] = shift.map(|share| (share * side as f32) as usize);
                let mut turns = vec![0.0; side * side];
                for (turn, &[row, column]) in order.iter().enumerate() {
                    turns[(row + down) % side * side + (column + right) % side] = -(turn as f32);
                }
                turns.truncate(length);
                turns
            });
            turns.collect()
        })
    }
}

/// The cells (row, column) of a square of `side` by `side`, in the order in which the Halton sequence first meets them.
fn halton(side: usize) -> Vec<[usize; 2]> {
    let mut met = vec![false; side * side];
    let cells = (1..).map(|index| [2, 3].map(|base| (radical_inverse(index, base) * side as f64) as usize));
    cells
        .filter(|&[row, column]| !std::mem::replace(&mut met[row * side + column], true))
        .take(side * side)
        .collect()
}

/// The digits of `index` in `base`, mirrored at the radix point: a number in `0..1`.
fn radical_inverse(mut index: u64, base: u64) -> f64 {
    let (mut value, mut digit) = (0.0, 1.0);
    while index > 0 {
        digit /= base as f64;
        value += digit * (index % base) as f64;
        index /= base;
    }
    value
}

/// Standard Gumbel noise → uniform in `0..1`.
fn uniform(gumbel: f32) -> f32 {
    (-(-gumbel).exp()).exp().min(1.0 - f32::EPSILON)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::Seeded;

    #[test]
    fn every_code_has_its_turn_and_images_differ() {
        for length in [1, 9, 10, 144] {
            let turns = Order::Halton.turns(5, length, &Seeded { seed: 3 }).unwrap();
            for image in &turns {
                let mut sorted = image.clone();
                sorted.sort_by(f32::total_cmp);
                sorted.dedup();
                assert_eq!(sorted.len(), length);
            }
            assert!(length == 1 || turns.iter().any(|image| *image != turns[0]));
        }
        assert_eq!(Order::Confidence { temperature: 1.0 }.turns(5, 9, &Seeded { seed: 3 }), None);
    }

    #[test]
    fn first_turns_are_far_apart() {
        let turns = &Order::Halton.turns(1, 144, &Seeded { seed: 1 }).unwrap()[0];
        let mut first: Vec<usize> = (0..144).collect();
        first.sort_by(|&a, &b| turns[b].total_cmp(&turns[a]));
        // Of nine cells out of twelve by twelve, no two touch, even around the edge.
        for (place, &a) in first[..9].iter().enumerate() {
            for &b in &first[..place] {
                let apart = |a: usize, b: usize| a.abs_diff(b).min(12 - a.abs_diff(b));
                assert!(apart(a / 12, b / 12).max(apart(a % 12, b % 12)) > 1, "{a} {b}");
            }
        }
    }
}
