//! Normalises the scores of samples within their group, the samples of one input.

use serde::{Deserialize, Serialize};

/// The deviation that differences within a group are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Deviation {
    /// The deviation of the group, as in GRPO (arXiv 2402.03300, section 4.1.2). All groups count alike, even one
    /// whose samples differ only by the noise of the reward.
    Group,
    /// The deviation within groups, pooled over all groups of one kind in the batch (after arXiv 2508.08221, which
    /// pools all samples). A group counts by how much its samples differ. It teaches almost nothing if all its
    /// samples are equally right or wrong.
    Batch,
}

/// The layout of a batch: samples in adjacent groups, one group per input.
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a> {
    /// Samples per group.
    pub size: usize,
    /// The kind of each group, which is its task. If empty, all groups have the same kind. Each kind has its own
    /// deviation, because one mistake may move the rewards of one kind less than those of another: the description of
    /// an edit states more facts than a prompt. With a common deviation, the kind with smaller differences would
    /// hardly be learned.
    pub kinds: &'a [usize],
}

impl Groups<'_> {
    /// Groups that all have the same kind.
    pub fn of(size: usize) -> Self {
        Self { size, kinds: &[] }
    }

    fn kind(&self, group: usize) -> usize {
        self.kinds.get(group).copied().unwrap_or_default()
    }
}

/// Each value minus the mean of its group, divided by a deviation. The result is 0 in a group whose deviation is
/// `rounding` or less. Missing values stay missing and are ignored.
pub fn normalised(
    values: &[Option<f32>],
    groups: Groups,
    deviation: Deviation,
    rounding: f64,
) -> Vec<Option<f32>> {
    let size = groups.size.max(1);
    let found: Vec<(f64, f64, usize)> = values.chunks(size).map(moments).collect();
    let pooled = |kind: usize| {
        let alike = || (0..).zip(&found).filter(|&(group, _)| groups.kind(group) == kind);
        let all: usize = alike().map(|(_, (.., count))| count).sum();
        let sum: f64 = alike().map(|(_, &(_, variance, count))| variance * count as f64).sum();
        (sum / all.max(1) as f64).sqrt()
    };
    let normalise = |(index, group): (usize, &[Option<f32>])| {
        let (mean, variance, _) = found[index];
        let scale = match (variance.sqrt() > rounding, deviation) {
            (false, _) => 0.0,
            (true, Deviation::Group) => 1.0 / variance.sqrt(),
            (true, Deviation::Batch) => 1.0 / pooled(groups.kind(index)),
        };
        let value = |value: &Option<f32>| value.map(|value| ((f64::from(value) - mean) * scale) as f32);
        group.iter().map(value).collect::<Vec<_>>()
    };
    values.chunks(size).enumerate().flat_map(normalise).collect()
}

/// The standard deviation of the values of a group; `None` if there are fewer than two.
pub fn deviation(group: &[Option<f32>]) -> Option<f64> {
    let (_, variance, count) = moments(group);
    (count > 1).then(|| variance.sqrt())
}

/// Mean, variance and number of the values that are not missing.
fn moments(group: &[Option<f32>]) -> (f64, f64, usize) {
    let there = || group.iter().flatten().map(|&value| f64::from(value));
    let count = there().count();
    let mean = there().sum::<f64>() / count.max(1) as f64;
    let variance = there().map(|value| (value - mean).powi(2)).sum::<f64>() / count.max(1) as f64;
    (mean, variance, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[Option<f32>], deviation: Deviation) -> Vec<Option<f32>> {
        normalised(values, Groups::of(2), deviation, 1e-4)
    }

    #[test]
    fn a_group_is_its_own_measure() {
        let values = [Some(1.0), Some(3.0), Some(100.0), Some(100.0), Some(0.5), Some(0.500_01)];
        let wanted = [-1.0, 1.0, 0.0, 0.0, 0.0, 0.0].map(Some);
        assert_eq!(found(&values, Deviation::Group), wanted);
    }

    #[test]
    fn or_the_batch_is() {
        // The deviations are 2 and 14; pooled, the square root of the mean of 4 and 196.
        let values = [Some(1.0), Some(5.0), Some(100.0), Some(128.0), Some(7.0), None];
        let wanted = [-2.0, 2.0, -14.0, 14.0, 0.0].map(|value: f32| value / (4.0 * 50.0_f32).sqrt());
        // The single value counts among the five.
        let scale = (5.0_f32 / 4.0).sqrt() * 2.0_f32.sqrt();
        let found = found(&values, Deviation::Batch);
        assert_eq!(found[5], None);
        for (found, wanted) in found.iter().flatten().zip(wanted) {
            assert!((found - wanted * scale).abs() < 1e-5, "{found} {wanted}");
        }
    }

    #[test]
    fn each_kind_has_its_own_measure() {
        let values = [1.0, 5.0, 100.0, 128.0, 2.0, 2.2].map(Some);
        let groups = Groups { size: 2, kinds: &[0, 1, 0] };
        let found = normalised(&values, groups, Deviation::Batch, 1e-4);
        assert_eq!(found[2..4], [Some(-1.0), Some(1.0)]);
        // Values of the first kind do not depend on the second kind.
        let alone =
            normalised(&[values[0], values[1], values[4], values[5]], Groups::of(2), Deviation::Batch, 1e-4);
        assert_eq!([&found[..2], &found[4..]].concat(), alone);
    }

    #[test]
    fn missing_is_not_zero() {
        let values = [Some(5.0), None, Some(7.0), None, None, None];
        for deviation in [Deviation::Group, Deviation::Batch] {
            let found = normalised(&values, Groups::of(3), deviation, 1e-4);
            assert_eq!(found, [Some(-1.0), None, Some(1.0), None, None, None]);
        }
    }
}
