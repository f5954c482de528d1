//! Advantages: how much better a sample is than the others of its group.

use unigen_rewards::{Deviation, Groups, normalised};

/// Spread of a group's rewards below which their differences are rounding errors.
const FLAT: f64 = 1e-4;

/// Advantages of samples, group after group.
#[derive(Debug, Clone, PartialEq)]
pub struct Advantages {
    /// One value per sample; `None` if the sample has no reward.
    pub values: Vec<Option<f32>>,
    /// Share of groups, 0 to 1, whose rewards do not differ, so that they teach nothing.
    pub flat: f64,
}

/// `(reward - mean) / deviation` within each group, or 0 in a group without spread (GRPO, arXiv 2402.03300, section
/// 4.1.2). Samples without a reward are ignored.
pub fn advantages(rewards: &[Option<f32>], groups: Groups, deviation: Deviation) -> Advantages {
    let values = normalised(rewards, groups, deviation, FLAT);
    Advantages { flat: flat_share(&values, groups.size), values }
}

/// Share of groups, 0 to 1, whose advantages are all 0. A group is `size` adjacent samples.
pub fn flat_share(advantages: &[Option<f32>], size: usize) -> f64 {
    let groups = || advantages.chunks(size.max(1));
    let flat = groups().filter(|group| group.iter().flatten().all(|&value| value == 0.0)).count();
    flat as f64 / groups().count().max(1) as f64
}

/// For each group of `size` adjacent samples: whether it is among the `count` groups with the largest advantages. If
/// advantages are divided by the deviation of the batch, the other groups teach little (compare DAPO, arXiv
/// 2503.14476, section 3.2, which draws groups without spread again).
pub fn widest(advantages: &[Option<f32>], size: usize, count: usize) -> Vec<bool> {
    let spread = |group: &[Option<f32>]| group.iter().flatten().map(|value| value * value).sum::<f32>();
    let spreads: Vec<f32> = advantages.chunks(size.max(1)).map(spread).collect();
    let mut order: Vec<usize> = (0..spreads.len()).collect();
    order.sort_by(|&a, &b| spreads[b].total_cmp(&spreads[a]));
    let mut kept = vec![false; spreads.len()];
    order.into_iter().take(count).for_each(|group| kept[group] = true);
    kept
}

/// Whether each sample teaches anything: it has an advantage, and those of its group of `size` differ. The others take
/// no part in the divergence from the reference either, which would otherwise be all that moves them.
pub fn taught(advantages: &[Option<f32>], size: usize) -> Vec<bool> {
    let of = |group: &[Option<f32>]| {
        let flat = group.iter().flatten().all(|&value| value == 0.0);
        group.iter().map(|value| value.is_some() && !flat).collect::<Vec<_>>()
    };
    advantages.chunks(size.max(1)).flat_map(of).collect()
}

/// Whether each sample is the first of the best of its group of `size`.
pub fn best_of(advantages: &[Option<f32>], size: usize) -> Vec<bool> {
    let of = |group: &[Option<f32>]| {
        let there = (0..group.len()).rev().filter_map(|place| Some((place, group[place]?)));
        let best = there.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(place, _)| place);
        (0..group.len()).map(|place| Some(place) == best).collect::<Vec<_>>()
    };
    advantages.chunks(size.max(1)).flat_map(of).collect()
}

/// `rewards` plus `weight` times the normalised `consistency` of each group. A sample that lacks either has no sum. A
/// group without any consistency, such as one of generation, keeps its rewards.
pub fn with_consistency(
    rewards: &[Option<f32>],
    consistency: &[Option<f32>],
    weight: f32,
    groups: Groups,
    deviation: Deviation,
) -> Vec<Option<f32>> {
    let more = normalised(consistency, groups, deviation, FLAT);
    let size = groups.size.max(1);
    let pairs = rewards.chunks(size).zip(more.chunks(size));
    pairs
        .flat_map(|(rewards, more)| {
            let none = more.iter().all(Option::is_none);
            let sum = |(reward, more): (&Option<f32>, &Option<f32>)| match (*reward, *more) {
                (Some(reward), Some(more)) => Some(reward + weight * more),
                (reward, _) if none => reward,
                _ => None,
            };
            rewards.iter().zip(more).map(sum).collect::<Vec<_>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_without_spread_are_counted() {
        let rewards = [Some(1.0), Some(3.0), Some(100.0), Some(100.0)];
        let found = advantages(&rewards, Groups::of(2), Deviation::Group);
        assert_eq!(found, Advantages { values: [-1.0, 1.0, 0.0, 0.0].map(Some).into(), flat: 0.5 });
        assert_eq!(advantages(&rewards, Groups::of(2), Deviation::Batch).flat, 0.5);
        let rounding = advantages(&[Some(0.5), Some(0.500_01)], Groups::of(2), Deviation::Batch);
        assert_eq!(rounding, Advantages { values: vec![Some(0.0); 2], flat: 1.0 });
        let missing =
            advantages(&[Some(5.0), None, Some(7.0), None, None, None], Groups::of(3), Deviation::Group);
        assert_eq!(missing.flat, 0.5);
    }

    #[test]
    fn the_widest_groups_are_kept() {
        let advantages = [0.1, -0.1, 2.0, -2.0, 0.0, 0.0, 1.0, -1.0].map(Some);
        assert_eq!(widest(&advantages, 2, 2), [false, true, false, true]);
        assert_eq!(widest(&advantages, 2, 9), [true; 4]);
    }

    #[test]
    fn groups_without_spread_teach_nothing_and_one_sample_is_the_best() {
        let values =
            [Some(0.0), Some(0.0), Some(1.0), Some(-1.0), None, Some(0.5), Some(2.0), Some(2.0), None];
        assert_eq!(taught(&values[..8], 2), [false, false, true, true, false, true, true, true]);
        assert_eq!(best_of(&values[..8], 2), [true, false, true, false, false, true, true, false]);
        assert_eq!(best_of(&[None, None], 2), [false, false]);
        assert_eq!(taught(&[None, Some(0.0)], 2), [false, false]);
    }

    #[test]
    fn consistency_counts_where_there_is_one() {
        let rewards = [1.0, 1.0, 2.0, 4.0].map(Some);
        let found = with_consistency(
            &rewards,
            &[Some(0.2), Some(0.4), None, None],
            0.5,
            Groups::of(2),
            Deviation::Group,
        );
        assert_eq!(found, [0.5, 1.5, 2.0, 4.0].map(Some));
        let found = with_consistency(
            &rewards,
            &[Some(0.2), None, Some(0.1), Some(0.1)],
            0.5,
            Groups::of(2),
            Deviation::Group,
        );
        assert_eq!(found, [Some(1.0), None, Some(2.0), Some(4.0)]);
    }
}
