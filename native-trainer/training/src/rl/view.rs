//! What the log-probability of a sample is estimated from: partly masked states of it, and the codes to be predicted
//! there.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::Rollout;
use crate::data::rng_at;

/// How the probability of a sample is estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Estimator {
    /// From the steps that drew it: each step predicts the codes that it fixed. Over all steps this is the probability
    /// itself.
    Steps,
    /// From the finished sample under fresh masks, as in UDM-GRPO, MaskGRPO (arXiv 2510.02880) and MaskFocus (arXiv
    /// 2512.18766): all hidden codes are predicted, so each mask gives most codes a gradient.
    Masks,
    /// The control without a policy gradient: cross-entropy on the best sample of each group under fresh masks
    /// (best-of-n distillation).
    Best,
}

/// A partly masked state of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The known codes, row-major; `None` where masked.
    pub known: Vec<Option<u32>>,
    /// The positions of the codes to predict, ascending.
    pub wanted: Vec<usize>,
}

/// The states before `steps` of the decoding (ascending, from 0), which predict what the step fixed.
pub fn step_views(rollouts: &[Rollout], steps: &[usize]) -> Vec<Vec<View>> {
    let view =
        |rollout: &Rollout, step: usize| View { known: rollout.known(step), wanted: rollout.fixed(step) };
    rollouts.iter().map(|rollout| steps.iter().map(|&step| view(rollout, step)).collect()).collect()
}

/// Fresh masks for finished samples.
#[derive(Debug, Clone, Copy)]
pub struct Masks {
    /// Each mask is followed by its complement, so that a pair predicts every code once (coupled GRPO, arXiv
    /// 2506.20639).
    pub pairs: bool,
    /// All samples of an input have the same masks, so that their probabilities differ only where their codes do
    /// (common random numbers; MaskFocus).
    pub shared: bool,
    /// Seed and round of the draw.
    pub seed: [u64; 2],
}

impl Masks {
    /// One mask for each of `steps`, which hides as many codes as the decoding did before that step.
    pub fn views(self, rollouts: &[Rollout], steps: &[usize]) -> Vec<Vec<View>> {
        let mut rng = rng_at(self.seed[0] ^ 0x5EED_3A5C, self.seed[1]);
        let mut views = Vec::with_capacity(rollouts.len());
        for group in rollouts.chunk_by(|a, b| a.group == b.group) {
            let mut draw = |of: &Rollout| -> Vec<Vec<bool>> {
                let masks = steps.iter().flat_map(|&step| {
                    let hidden = of.fixed_at.iter().filter(|&&at| at >= step).count();
                    let mut mask: Vec<bool> = (0..of.codes.len()).map(|place| place < hidden).collect();
                    mask.shuffle(&mut rng);
                    let other = self.pairs.then(|| mask.iter().map(|hidden| !hidden).collect());
                    std::iter::once(mask).chain(other)
                });
                masks.filter(|mask| mask.contains(&true)).collect()
            };
            let common = self.shared.then(|| draw(&group[0]));
            for rollout in group {
                let masks = common.clone().unwrap_or_else(|| draw(rollout));
                views.push(masks.iter().map(|mask| View::of(rollout, mask)).collect());
            }
        }
        views
    }
}

impl View {
    /// The finished sample where `mask` hides what is to be predicted.
    fn of(rollout: &Rollout, mask: &[bool]) -> Self {
        let known = rollout.codes.iter().zip(mask).map(|(&code, &hidden)| (!hidden).then_some(code));
        Self { known: known.collect(), wanted: (0..mask.len()).filter(|&place| mask[place]).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two groups of two samples with eight codes, of which three steps fix 1, 3 and 4.
    fn rollouts() -> Vec<Rollout> {
        let of = |sample: u32| Rollout {
            group: sample as usize / 2,
            codes: (0..8).map(|place| 10 * sample + place).collect(),
            fixed_at: vec![0, 1, 1, 1, 2, 2, 2, 2],
            log_probs: vec![0.0; 8],
        };
        (0..4).map(of).collect()
    }

    fn hidden(view: &View) -> Vec<bool> {
        view.known.iter().map(Option::is_none).collect()
    }

    #[test]
    fn masks_hide_as_much_as_the_decoding_did_and_all_of_it_is_predicted() {
        let (rollouts, masks) = (rollouts(), Masks { pairs: false, shared: false, seed: [1, 2] });
        let views = masks.views(&rollouts, &[0, 1, 2]);
        for (rollout, views) in rollouts.iter().zip(&views) {
            assert_eq!(views.iter().map(|view| view.wanted.len()).collect::<Vec<_>>(), [8, 7, 4]);
            for view in views {
                let known = view.known.iter().enumerate();
                for (place, code) in known {
                    let shown = code.is_some();
                    assert_eq!(shown, !view.wanted.contains(&place));
                    assert!(code.is_none_or(|code| code == rollout.codes[place]));
                }
            }
        }
        assert_ne!(hidden(&views[0][2]), hidden(&views[1][2]), "each sample has its own");
        assert_eq!(views, masks.views(&rollouts, &[0, 1, 2]), "the same round, the same masks");
        assert_ne!(views, Masks { seed: [1, 3], ..masks }.views(&rollouts, &[0, 1, 2]));
    }

    #[test]
    fn a_group_shares_its_masks() {
        let views = Masks { pairs: false, shared: true, seed: [1, 2] }.views(&rollouts(), &[1, 2]);
        let of = |sample: usize| views[sample].iter().map(hidden).collect::<Vec<_>>();
        assert_eq!((of(0), of(2)), (of(1), of(3)));
        assert_ne!(of(0), of(2), "groups differ");
    }

    #[test]
    fn a_pair_predicts_every_code_once() {
        for shared in [false, true] {
            let views = Masks { pairs: true, shared, seed: [5, 0] }.views(&rollouts(), &[1, 2]);
            for pair in views.iter().flat_map(|views| views.chunks(2)) {
                let mut wanted = [pair[0].wanted.clone(), pair[1].wanted.clone()].concat();
                wanted.sort_unstable();
                assert_eq!(wanted, (0..8).collect::<Vec<_>>());
            }
        }
        // The complement of a mask that hides everything predicts nothing, so it is left out.
        let views = Masks { pairs: true, shared: true, seed: [5, 0] }.views(&rollouts(), &[0]);
        assert!(views.iter().all(|views| views.len() == 1 && views[0].wanted.len() == 8));
    }
}
