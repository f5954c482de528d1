//! Several rewards as one.

use anyhow::{Result, ensure};
use std::panic::resume_unwind;
use std::thread;

use super::{Deviation, Groups, Item, Missing, Reward, Score, normalised};

/// Spread of a reward within a group, in its own unit, below which its differences are rounding errors.
const ROUNDING: f64 = 1e-5;

/// A reward in an [`Ensemble`].
pub struct Member {
    pub reward: Box<dyn Reward>,
    /// Weight in the sum. A reward with weight 0 is logged but does not count, so that one may watch a reward without
    /// training on it.
    pub weight: f32,
}

/// A weighted sum of rewards. Each reward is first normalised among the samples of one input, so that its unit does
/// not matter and no reward drowns another (as in GDPO, arXiv 2601.05242).
pub struct Ensemble {
    members: Vec<Member>,
}

/// The scores of an [`Ensemble`] for a batch.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The raw scores of each reward.
    pub rewards: Vec<RewardScores>,
    /// For each item, the weighted mean of its normalised scores. `None` if a reward with a weight has no score for
    /// it; such an item does not count.
    pub totals: Vec<Option<f32>>,
}

/// Raw scores of one reward.
#[derive(Debug, Clone)]
pub struct RewardScores {
    pub name: String,
    pub weight: f32,
    /// One score per item.
    pub scores: Vec<Score>,
}

/// Statistics of one reward over a batch, for the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub name: String,
    /// Mean of the scores, in the reward's own unit. `None` if all are missing.
    pub mean: Option<f64>,
    /// Share of items without a score, 0 to 1.
    pub missing: f64,
}

impl Ensemble {
    /// # Errors
    /// If no member has a weight above 0, if a weight is negative or not finite, or if two members have the same
    /// name.
    pub fn new(members: Vec<Member>) -> Result<Self> {
        for (index, Member { reward, weight }) in members.iter().enumerate() {
            let name = reward.name();
            ensure!(
                weight.is_finite() && *weight >= 0.0,
                "reward {name}: weight {weight} is not a finite number of 0 or above"
            );
            ensure!(
                members[..index].iter().all(|other| other.reward.name() != name),
                "two rewards have the name {name}; leave one out"
            );
        }
        ensure!(
            members.iter().any(|member| member.weight > 0.0),
            "no reward has a weight above 0; give one a weight"
        );
        Ok(Self { members })
    }

    /// The names of the rewards, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.reward.name())
    }

    /// Scores items in groups of `group`: all samples of an input are adjacent. Differences within a group are
    /// divided by `deviation`. Rewards that wait for other machines do so while the others compute and then
    /// `meanwhile` runs.
    ///
    /// # Errors
    /// If the number of items is not a multiple of the group size. A reward that fails is not an error, see
    /// [`Scored::totals`].
    pub fn score<T>(
        &self,
        items: &[Item],
        groups: Groups,
        deviation: Deviation,
        meanwhile: impl FnOnce() -> T,
    ) -> Result<(Scored, T)> {
        let group = groups.size;
        ensure!(
            group > 0 && items.len().is_multiple_of(group),
            "{} items cannot be divided into groups of {group}",
            items.len()
        );
        let score = |member: &Member| RewardScores {
            name: member.reward.name().to_owned(),
            weight: member.weight,
            scores: checked(member.reward.score(items), items.len()),
        };
        let (rewards, meanwhile): (Vec<RewardScores>, T) = thread::scope(|scope| {
            // All requests are on their way before any other reward computes.
            let waiting = self
                .members
                .iter()
                .map(|member| member.reward.waits().then(|| scope.spawn(move || score(member))));
            let waiting: Vec<_> = waiting.collect();
            let local = self.members.iter().filter(|member| !member.reward.waits()).map(score);
            let mut local = local.collect::<Vec<_>>().into_iter();
            let meanwhile = meanwhile();
            let found = waiting.into_iter().map(|waiting| match waiting {
                Some(waiting) => Some(waiting.join().unwrap_or_else(|panic| resume_unwind(panic))),
                None => local.next(),
            });
            (found.flatten().collect(), meanwhile)
        });
        let totals = totals(&rewards, items.len(), groups, deviation);
        Ok((Scored { rewards, totals }, meanwhile))
    }
}

/// One score per item, each finite, whatever the reward returned.
fn checked(mut scores: Vec<Score>, items: usize) -> Vec<Score> {
    if scores.len() != items {
        let why = Missing(format!("{} scores came back for {items} items", scores.len()));
        return vec![Err(why); items];
    }
    for score in &mut scores {
        if let Ok(value) = score
            && !value.is_finite()
        {
            *score = Err(Missing(format!("the score is {value}")));
        }
    }
    scores
}

/// The weighted mean of the normalised scores of each of `items` items.
fn totals(rewards: &[RewardScores], items: usize, groups: Groups, deviation: Deviation) -> Vec<Option<f32>> {
    let weighty = || rewards.iter().filter(|reward| reward.weight > 0.0);
    let counts: Vec<bool> =
        (0..items).map(|item| weighty().all(|reward| reward.scores[item].is_ok())).collect();
    let mut totals: Vec<Option<f32>> = counts.iter().map(|counts| counts.then_some(0.0)).collect();
    let weight: f32 = weighty().map(|reward| reward.weight).sum();
    for reward in weighty() {
        let scores = reward.scores.iter().zip(&counts);
        let scores: Vec<Option<f32>> =
            scores.map(|(score, counts)| score.as_ref().ok().copied().filter(|_| *counts)).collect();
        for (total, score) in totals.iter_mut().zip(normalised(&scores, groups, deviation, ROUNDING)) {
            *total = total.zip(score).map(|(total, score)| total + reward.weight / weight * score);
        }
    }
    totals
}

impl Scored {
    /// Statistics of each reward over the batch.
    pub fn summaries(&self) -> Vec<Summary> {
        self.rewards.iter().map(RewardScores::summary).collect()
    }

    /// The reasons for missing scores of rewards with a weight, as `reward: reason`, in order and without repetition.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for reward in self.rewards.iter().filter(|reward| reward.weight > 0.0) {
            for missing in reward.scores.iter().filter_map(|score| score.as_ref().err()) {
                let reason = format!("{}: {missing}", reward.name);
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
        reasons
    }
}

impl RewardScores {
    fn summary(&self) -> Summary {
        let there: Vec<f64> = self
            .scores
            .iter()
            .filter_map(|score| score.as_ref().ok())
            .map(|&score| f64::from(score))
            .collect();
        let mean = (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64);
        let missing = self.scores.len() - there.len();
        Summary { name: self.name.clone(), mean, missing: missing as f64 / self.scores.len().max(1) as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    struct Fixed(&'static str, Vec<Score>);

    impl Reward for Fixed {
        fn name(&self) -> &str {
            self.0
        }

        fn score(&self, _: &[Item]) -> Vec<Score> {
            self.1.clone()
        }
    }

    fn items(count: usize) -> Vec<Item> {
        let item = Item { image: RgbImage::new(1, 1), description: String::new(), before: None };
        vec![item; count]
    }

    fn member(name: &'static str, weight: f32, scores: &[f32]) -> Member {
        Member { reward: Box::new(Fixed(name, scores.iter().map(|&score| Ok(score)).collect())), weight }
    }

    #[test]
    fn rewards_count_by_weight_and_not_by_unit() {
        let ensemble =
            Ensemble::new(vec![member("a", 1.0, &[0., 1., 5., 5.]), member("b", 3.0, &[900., 100., 1., 2.])]);
        let scored = ensemble.unwrap().score(&items(4), Groups::of(2), Deviation::Group, || ()).unwrap().0;
        // Within a pair, a normalised score is 1 or -1, or 0 if there is no spread.
        let wanted = [(-1. + 3.) / 4., (1. - 3.) / 4., -3. / 4., 3. / 4.];
        for (found, wanted) in scored.totals.iter().zip(wanted) {
            assert!((found.unwrap() - wanted).abs() < 1e-6, "{:?}", scored.totals);
        }
        assert_eq!(scored.summaries()[0], Summary { name: "a".into(), mean: Some(2.75), missing: 0.0 });
    }

    #[test]
    fn a_missing_score_takes_its_item_out_and_shifts_no_other() {
        let mut scores: Vec<Score> = [3., 1., 2., f32::NAN].map(Ok).into();
        scores[0] = Err(Missing("timed out".into()));
        let a = || Member { reward: Box::new(Fixed("a", scores.clone())), weight: 1.0 };
        let scored = Ensemble::new(vec![a()])
            .unwrap()
            .score(&items(4), Groups::of(4), Deviation::Group, || ())
            .unwrap()
            .0;
        assert_eq!(scored.totals, [None, Some(-1.0), Some(1.0), None]);
        assert_eq!(scored.reasons(), ["a: timed out", "a: the score is NaN"]);
        assert_eq!(scored.summaries()[0], Summary { name: "a".into(), mean: Some(1.5), missing: 0.5 });
        // A reward with weight 0 decides nothing.
        let watched = vec![Member { weight: 0.0, ..a() }, member("b", 1.0, &[1., 2., 1., 2.])];
        let scored = Ensemble::new(watched)
            .unwrap()
            .score(&items(4), Groups::of(4), Deviation::Group, || ())
            .unwrap()
            .0;
        assert_eq!(scored.totals, [-1.0, 1.0, -1.0, 1.0].map(Some));
        assert!(scored.reasons().is_empty());
    }

    #[test]
    fn scores_that_are_no_answer_are_missing() {
        let ensemble = Ensemble::new(vec![member("a", 1.0, &[1., 2., 3.])]).unwrap();
        let scored = ensemble.score(&items(4), Groups::of(2), Deviation::Group, || ()).unwrap().0;
        assert_eq!(scored.totals, [None; 4]);
        assert_eq!(scored.reasons(), ["a: 3 scores came back for 4 items"]);
        assert!(ensemble.score(&items(4), Groups::of(3), Deviation::Group, || ()).is_err());
    }

    #[test]
    fn an_ensemble_that_cannot_work_is_refused() {
        for members in [
            vec![],
            vec![member("a", 0.0, &[])],
            vec![member("a", -1.0, &[]), member("b", 1.0, &[])],
            vec![member("a", f32::NAN, &[])],
            vec![member("a", 1.0, &[]), member("a", 2.0, &[])],
        ] {
            assert!(Ensemble::new(members).is_err());
        }
    }
}
