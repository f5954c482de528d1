//! Detects reward hacking: the reward rises while the pictures get worse.

use unigen_runs::Record;

/// Returns a message if the log shows reward hacking: each of the last `patience` validations has a `judge` more than
/// `tolerance` below its best, while the mean `reward` in the interval before each of them is at least the mean
/// before the best.
///
/// `log` holds both numbers by name: `reward` at any step, `judge` at validations.
pub fn hacked(log: &[Record], judge: &str, reward: &str, tolerance: f64, patience: usize) -> Option<String> {
    let number = |record: &Record, name: &str| record.scalars.get(name).and_then(|value| value.as_f64());
    // (judge, mean reward in the interval before)
    let (mut validations, mut since): (Vec<(f64, Option<f64>)>, Vec<f64>) = (Vec::new(), Vec::new());
    for record in log {
        since.extend(number(record, reward));
        if let Some(judge) = number(record, judge) {
            let mean = (!since.is_empty()).then(|| since.iter().sum::<f64>() / since.len() as f64);
            validations.push((judge, mean));
            since.clear();
        }
    }
    let best = (0..validations.len()).rev().max_by(|&a, &b| validations[a].0.total_cmp(&validations[b].0))?;
    let (judged, rewarded) = validations[best];
    // There is no reward before the first update, so the first interval stands for it.
    let rewarded = rewarded.or_else(|| validations.get(best + 1)?.1)?;
    let later = &validations[best + 1..];
    let last = later.get(later.len().checked_sub(patience.max(1))?..)?;
    let worse = |&(judge, mean): &(f64, Option<f64>)| {
        judge < judged - tolerance && mean.is_some_and(|mean| mean >= rewarded)
    };
    last.iter().all(worse).then(|| {
        let (now, mean) = last[last.len() - 1];
        format!(
            "the held-out {judge} fell from {judged:.4} to {now:.4} while the {reward} rose from {rewarded:.4} to {:.4}: \
             the policy has learned to please the reward; the best checkpoint is kept",
            mean.unwrap_or_default()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Validations as (judge, the reward logged before).
    fn found(validations: &[(f64, Option<f64>)], patience: usize) -> Option<String> {
        let mut log = Vec::new();
        for (step, (judge, reward)) in (0..).zip(validations) {
            let record = |name: &str, value: f64| Record {
                step,
                time: 0.0,
                scalars: [(name.to_owned(), value.into())].into_iter().collect(),
            };
            log.extend(reward.map(|reward| record("reward", reward)));
            log.push(record("judge", *judge));
        }
        hacked(&log, "judge", "reward", 0.01, patience)
    }

    #[test]
    fn a_falling_judge_under_a_rising_reward_ends_it() {
        let hacked = [(0.5, None), (0.6, Some(1.0)), (0.55, Some(2.0)), (0.5, Some(3.0))];
        let reason = found(&hacked, 2).unwrap();
        for part in ["from 0.6000 to 0.5000", "from 1.0000 to 3.0000"] {
            assert!(reason.contains(part), "{reason}");
        }
        assert!(found(&hacked, 3).is_none(), "patience");
        assert!(found(&hacked[..3], 2).is_none(), "patience");
        assert!(found(&[(0.6, None), (0.5, Some(1.0)), (0.4, Some(2.0))], 2).is_some(), "from the start on");
    }

    #[test]
    fn other_courses_go_on() {
        for course in [
            &[][..],
            &[(0.5, None)],
            &[(0.5, None), (0.6, Some(1.0)), (0.7, Some(2.0))],
            // Both fall: the policy gets worse, but this is not hacking.
            &[(0.5, None), (0.6, Some(1.0)), (0.5, Some(0.9)), (0.4, Some(0.8))],
            // The judge only fluctuates.
            &[(0.5, None), (0.6, Some(1.0)), (0.595, Some(1.1)), (0.595, Some(1.2))],
            &[(0.5, None), (0.6, Some(1.0)), (0.5, Some(2.0)), (0.61, Some(3.0))],
        ] {
            assert!(found(course, 2).is_none(), "{course:?}");
        }
    }
}
