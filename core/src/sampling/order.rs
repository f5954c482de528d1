//! Which of the codes that a step of masked decoding has drawn stay.

use super::Noise;

/// Which of the codes that a step has drawn stay; the others are masked again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Those with the highest log-probability (MaskGIT), which gets Gumbel noise times `temperature`; it decays to nothing,
    /// see unigen's published loop.
    Confidence {
        /// Scale of the noise at the start.
        temperature: f32,
    },
    /// Those whose turn it is in an order that scatters each step's codes over the image by the Halton sequence (Besnier et
    /// al., arXiv 2503.17076), shifted at random for each image. What is drawn does not change it, so that an image is as
    /// likely as its codes are one by one: what a policy gradient needs. Where likely codes are kept, the mean of the kept
    /// codes' scores (the gradients of their log-probabilities) is not zero.
    Scattered,
}

impl Order {
    /// Scale of the noise on log-probabilities at the start.
    pub(super) fn temperature(self) -> f32 {
        match self {
            Self::Confidence { temperature } => temperature,
            Self::Scattered => 0.0,
        }
    }

    /// For each of `images` images, row by row, what stands for the confidence of its codes at every step, the highest first;
    /// none where confidences are to be taken.
    pub(super) fn turns(self, images: usize, tokens: usize, noise: &dyn Noise) -> Option<Vec<Vec<f32>>> {
        (self == Self::Scattered).then(|| {
            let side = (1..).find(|side| side * side >= tokens).unwrap_or(1);
            let order = halton(side);
            let shifts =
                (0..images).map(|image| [0, 1].map(|axis| uniform(noise.confidence(0, image, axis))));
            let turns = shifts.map(|shift| {
                let [down, right] = shift.map(|share| (share * side as f32) as usize);
                let mut turns = vec![0.0; side * side];
                for (turn, &[row, column]) in order.iter().enumerate() {
                    turns[(row + down) % side * side + (column + right) % side] = -(turn as f32);
                }
                turns.truncate(tokens);
                turns
            });
            turns.collect()
        })
    }
}

/// The cells (row, column) of a square of `side` by `side` in the order in which the Halton sequence first meets them.
fn halton(side: usize) -> Vec<[usize; 2]> {
    let mut met = vec![false; side * side];
    let cells = (1..).map(|index| [2, 3].map(|base| (radical_inverse(index, base) * side as f64) as usize));
    cells
        .filter(|&[row, column]| !std::mem::replace(&mut met[row * side + column], true))
        .take(side * side)
        .collect()
}

/// The digits of `index` in `base`, mirrored behind the point: `0..1`.
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
        for tokens in [1, 9, 10, 144] {
            let turns = Order::Scattered.turns(5, tokens, &Seeded { seed: 3 }).unwrap();
            for image in &turns {
                let mut sorted = image.clone();
                sorted.sort_by(f32::total_cmp);
                sorted.dedup();
                assert_eq!(sorted.len(), tokens);
            }
            assert!(tokens == 1 || turns.iter().any(|image| *image != turns[0]));
        }
        assert_eq!(Order::Confidence { temperature: 1.0 }.turns(5, 9, &Seeded { seed: 3 }), None);
    }

    #[test]
    fn first_turns_are_far_apart() {
        let turns = &Order::Scattered.turns(1, 144, &Seeded { seed: 1 }).unwrap()[0];
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
