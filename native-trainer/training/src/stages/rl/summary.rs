//! What the log says about the rewards of a batch.

use std::borrow::Cow;
use unigen_rewards::{Scored, deviation};

use super::REWARD;
use crate::rl::{Input, Task};

/// The raw rewards by source and task, with their spread within a group; weighted means; the share of missing scores.
pub(super) fn summaries(
    scored: &Scored,
    steady: &[Option<f32>],
    inputs: &[Input],
    samples: usize,
) -> Vec<(Cow<'static, str>, f64)> {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        (count > 0.0).then_some(sum / count)
    };
    let (mut scalars, mut total, mut weights) = (Vec::new(), 0.0, 0.0);
    let mut spreads = [[0.0; 2]; Task::ALL.len()];
    for reward in &scored.rewards {
        let scores: Vec<Option<f32>> =
            reward.scores.iter().map(|score| score.as_ref().ok().copied()).collect();
        if let Some(mean) = mean(&mut scores.iter().flatten().copied().map(f64::from)) {
            total += f64::from(reward.weight) * mean;
            weights += f64::from(reward.weight);
        }
        for task in Task::ALL {
            let groups = || scores.chunks(samples).zip(inputs).filter(|(_, input)| input.task == task);
            let mut there = groups().flat_map(|(group, _)| group).flatten().copied().map(f64::from);
            if let Some(mean) = mean(&mut there) {
                scalars.push((format!("{REWARD}/{}/{}", reward.name, task.name()).into(), mean));
            }
            if let Some(mean) = mean(&mut groups().filter_map(|(group, _)| deviation(group))) {
                scalars.push((format!("spread/{}/{}", reward.name, task.name()).into(), mean));
                let [sum, weights] = &mut spreads[task as usize];
                *sum += f64::from(reward.weight) * mean;
                *weights += f64::from(reward.weight);
            }
        }
        let missing = scores.iter().filter(|score| score.is_none()).count();
        if missing > 0 {
            let share = missing as f64 / scores.len() as f64;
            scalars.push((format!("missing/{}", reward.name).into(), share));
        }
    }
    scalars.extend(
        mean(&mut steady.iter().flatten().copied().map(f64::from)).map(|mean| ("consistency".into(), mean)),
    );
    for (task, [sum, weights]) in Task::ALL.into_iter().zip(spreads) {
        scalars.extend((weights > 0.0).then(|| (format!("spread/{}", task.name()).into(), sum / weights)));
    }
    if weights > 0.0 {
        scalars.push((REWARD.into(), total / weights));
    }
    scalars
}
