//! Replays samples with gradients: the log-probabilities of the codes that their views predict.

use anyhow::{Result, ensure};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};
use unigen_core::image_tokenizer::CodeGroups;
use unigen_core::model::UniGen;
use unigen_core::sampling::{PartialTarget, Prefix, target_logits};

use super::{Rollout, View};

/// Blocks that go through the model together.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    /// The inputs whose prefixes are needed. Targets refer to them by position in this list.
    pub groups: Vec<usize>,
    targets: Vec<PartialTarget>,
    /// The codes whose log-probability is computed, as (rollout, position).
    pub tokens: Vec<(usize, usize)>,
    /// For each token the number of its view in this pass, ascending from 0.
    pub spans: Vec<usize>,
    /// The row of logits of each token.
    rows: Vec<usize>,
}

/// Log-probabilities of the tokens of a pass.
pub struct Replayed {
    /// `[tokens]`
    pub log_probs: Tensor<1>,
    /// Mean entropy of the distributions that the tokens were drawn from, in nats, `[1]`, without gradient.
    pub entropy: Tensor<1>,
}

/// Plans the replay of the `views` of each rollout in passes of at most `blocks` blocks, so that memory is bounded.
/// `rollouts` lie group by group; only those that are `kept` are replayed. Samples of a group that show the same, such
/// as nothing before the first step, share a block.
pub fn passes(rollouts: &[Rollout], views: &[Vec<View>], blocks: usize, kept: &[bool]) -> Vec<Pass> {
    let (mut passes, mut pass) = (Vec::new(), Pass::new());
    let places: Vec<usize> = (0..rollouts.len()).filter(|&place| kept[place]).collect();
    for group in places.chunk_by(|&a, &b| rollouts[a].group == rollouts[b].group) {
        let most = group.iter().map(|&place| views[place].len()).max().unwrap_or_default();
        for number in 0..most {
            let shown: Vec<(usize, &View)> =
                group.iter().filter_map(|&place| Some((place, views[place].get(number)?))).collect();
            let alike = shown.windows(2).all(|pair| pair[0].1.known == pair[1].1.known);
            for block in shown.chunks(if alike { shown.len() } else { 1 }) {
                if pass.targets.len() >= blocks.max(1) {
                    passes.push(std::mem::replace(&mut pass, Pass::new()));
                }
                pass.add(rollouts[group[0]].group, block);
            }
        }
    }
    passes.extend((!pass.targets.is_empty()).then_some(pass));
    passes
}

impl Pass {
    fn new() -> Self {
        Self { groups: vec![], targets: vec![], tokens: vec![], spans: vec![], rows: vec![] }
    }

    /// Adds a block for views that know the same codes, each with the number of its rollout.
    fn add(&mut self, group: usize, views: &[(usize, &View)]) {
        if self.groups.last() != Some(&group) {
            self.groups.push(group);
        }
        let mut wanted: Vec<usize> = views.iter().flat_map(|(_, view)| view.wanted.clone()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let before: usize = self.targets.iter().map(|target| target.wanted.len()).sum();
        for (rollout, view) in views {
            let span = self.spans.last().map_or(0, |last| last + 1);
            for position in &view.wanted {
                let place = wanted.partition_point(|other| other < position);
                self.tokens.push((*rollout, *position));
                self.spans.push(span);
                self.rows.push(before + place);
            }
        }
        self.targets.push(PartialTarget {
            prefix: self.groups.len() - 1,
            codes: views[0].1.known.clone(),
            wanted,
        });
    }

    /// Replays the pass by `model`, at the `temperature` at which the rollouts were drawn. `prefix` embeds the prefix
    /// of an input by the same model.
    ///
    /// # Errors
    /// The errors of `prefix`; if a rollout is not of this model.
    pub fn replay(
        &self,
        model: &UniGen,
        rollouts: &[Rollout],
        temperature: f32,
        delimiters: [u32; 2],
        mut prefix: impl FnMut(usize) -> Result<Prefix>,
        device: &Device,
    ) -> Result<Replayed> {
        let prefixes = self.groups.iter().map(|&group| prefix(group)).collect::<Result<Vec<_>>>()?;
        let logits = target_logits(model, &prefixes, &self.targets, delimiters)? / temperature;
        let rows: Vec<i32> = self.rows.iter().map(|&row| row as i32).collect();
        let logits = logits.select(0, Tensor::<1, Int>::from_ints(rows.as_slice(), device));
        let groups = CodeGroups::new(model.config().code_groups.clone());
        let classes = self.tokens.iter().map(|&(rollout, position)| {
            let code = rollouts[rollout].codes[position];
            ensure!(
                (code as usize) < model.config().codebook_size(),
                "code {code} is not in the codebook of this model"
            );
            Ok(groups.split_code(code))
        });
        let classes: Vec<Vec<u32>> = classes.collect::<Result<_>>()?;
        let count = self.tokens.len();
        let mut log_probs = Tensor::<1>::zeros([count], device);
        let mut entropy = Tensor::<1>::zeros([1], device);
        let mut first = 0;
        for (group, width) in groups.classes().enumerate() {
            let all = log_softmax(logits.clone().slice([0..count, first..first + width]), 1);
            first += width;
            let drawn: Vec<i32> = classes.iter().map(|classes| classes[group] as i32).collect();
            let drawn = Tensor::<1, Int>::from_ints(drawn.as_slice(), device).unsqueeze_dim::<2>(1);
            log_probs = log_probs + all.clone().gather(1, drawn).reshape([count]);
            let all = all.detach();
            entropy = entropy - (all.clone().exp() * all).sum() / count as f32;
        }
        Ok(Replayed { log_probs, entropy })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rl::step_views;

    fn rollout(group: usize, fixed_at: [usize; 4]) -> Rollout {
        Rollout { group, codes: vec![1, 2, 3, 4], fixed_at: fixed_at.into(), log_probs: vec![0.0; 4] }
    }

    #[test]
    fn every_code_is_replayed_once_from_what_was_known() {
        let rollouts = [
            rollout(0, [0, 1, 2, 2]),
            rollout(0, [1, 0, 1, 2]),
            rollout(1, [2, 1, 1, 0]),
            rollout(1, [0, 0, 1, 2]),
        ];
        for blocks in [1, 3, 100] {
            let passes = passes(&rollouts, &step_views(&rollouts, &[0, 1, 2]), blocks, &[true; 4]);
            let mut tokens: Vec<_> = passes.iter().flat_map(|pass| pass.tokens.clone()).collect();
            tokens.sort_unstable();
            let all: Vec<_> = (0..4).flat_map(|rollout| (0..4).map(move |p| (rollout, p))).collect();
            assert_eq!(tokens, all);
            // One block for the first step of each group, then one for each sample.
            assert_eq!(passes.iter().map(|pass| pass.targets.len()).sum::<usize>(), 2 * (1 + 2 * 2));
            assert!(passes.iter().all(|pass| pass.targets.len() <= blocks));
            for pass in &passes {
                let wanted: Vec<_> = pass
                    .targets
                    .iter()
                    .flat_map(|target| target.wanted.iter().map(move |&position| (target, position)))
                    .collect();
                for (&(rollout, position), &row) in pass.tokens.iter().zip(&pass.rows) {
                    let (target, place) = wanted[row];
                    let rollout = &rollouts[rollout];
                    assert_eq!((place, pass.groups[target.prefix]), (position, rollout.group));
                    assert_eq!(target.codes, rollout.known(rollout.fixed_at[position]));
                }
            }
        }
    }

    #[test]
    fn groups_that_are_not_kept_are_passed_over() {
        let rollouts = [0, 0, 1, 1].map(|group| rollout(group, [0, 1, 2, 2]));
        let views = step_views(&rollouts, &[0, 1, 2]);
        let passes = passes(&rollouts, &views, 100, &[false, false, true, true]);
        let tokens: Vec<_> = passes.iter().flat_map(|pass| pass.tokens.clone()).collect();
        assert_eq!(tokens.len(), 8);
        assert!(tokens.iter().all(|&(rollout, _)| rollout >= 2), "{tokens:?}");
        assert!(passes.iter().all(|pass| pass.groups == [1]));
    }

    #[test]
    fn some_steps_are_enough() {
        let rollouts = [rollout(0, [0, 1, 2, 2]), rollout(0, [1, 0, 1, 2])];
        let passes = passes(&rollouts, &step_views(&rollouts, &[1]), 10, &[true; 2]);
        assert_eq!(passes.len(), 1);
        assert_eq!(passes[0].tokens, [(0, 1), (1, 0), (1, 2)]);
        assert_eq!(passes[0].spans, [0, 1, 1], "a span is a sample at a step");
        assert_eq!(passes[0].targets[0].codes, [Some(1), None, None, None]);
    }
}
