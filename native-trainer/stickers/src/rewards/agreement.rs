//! Measures how often rewards agree with the truth about held-out pairs.

use rayon::prelude::*;
use std::fmt;
use unigen_rewards::{Item, Reward, Score};

use super::pairs::{Pair, pair_at};
use crate::world::{Domain, Renderer, Scope, Split};

/// The seed of the held-out pairs.
const SEED: u64 = 0x5EED_4E3A;

/// Pairs that no training shows.
pub struct HeldOut {
    pairs: Vec<Pair>,
    items: Vec<Item>,
}

/// How often a reward scores the right item above the wrong one, as shares from 0 to 1. Chance is one half. A missing
/// score is never right.
#[derive(Debug, Clone, PartialEq)]
pub struct Agreement {
    pub name: String,
    /// The share of pairs with the right text above the nearly right one, for the same picture.
    pub text: f64,
    /// The share of pairs with the right picture above a nearly right one, for the same text.
    pub picture: f64,
    /// The share of pairs with the picture above the same one with more damage.
    pub quality: f64,
}

impl HeldOut {
    /// `count` pairs of a scope from the validation split, at `size` pixels a side.
    pub fn new(scope: Scope, count: u64, size: u32) -> Self {
        let renderer = Renderer::new();
        let domain = Domain { scope, split: Split::Validation };
        let pair = |index| pair_at(&renderer, domain, SEED, index, size);
        let pairs: Vec<Pair> = (0..count).into_par_iter().map(pair).collect();
        let items = pairs.iter().flat_map(|pair| {
            [(&pair.picture, &pair.right), (&pair.picture, &pair.wrong), (&pair.worse, &pair.right)]
                .map(|(image, text)| Item { image: image.clone(), description: text.clone(), before: None })
        });
        Self { items: items.collect(), pairs }
    }

    /// Each pair has three items: the picture with the right text, the picture with the wrong text, and the worse
    /// picture with the right text.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// How often `reward` agrees with the truth.
    pub fn agreement(&self, reward: &dyn Reward) -> Agreement {
        let scores = reward.score(&self.items);
        let scores: Vec<&[Score]> = scores.chunks(3).collect();
        let share = |which: usize, counts: &dyn Fn(&Pair) -> bool| {
            let counted: Vec<_> = self.pairs.iter().zip(&scores).filter(|(pair, _)| counts(pair)).collect();
            let right = counted.iter().filter(|(_, scores)| match (&scores[0], &scores[which]) {
                (Ok(right), Ok(wrong)) => right > wrong,
                _ => false,
            });
            right.count() as f64 / counted.len() as f64
        };
        Agreement {
            name: reward.name().to_owned(),
            text: share(1, &|_| true),
            picture: share(2, &|pair| pair.false_scene.is_some()),
            quality: share(2, &|pair| pair.false_scene.is_none()),
        }
    }
}

impl Agreement {
    /// The head of a table of agreements.
    pub fn head() -> String {
        format!("{:<14}{:>8}{:>10}{:>10}", "reward", "text", "picture", "quality")
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, text, picture, quality } = self;
        write!(f, "{name:<14}{text:>8.4}{picture:>10.4}{quality:>10.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Facts;

    /// Knows the truth about texts and nothing about pictures.
    struct Oracle<'a>(&'a HeldOut);

    impl Reward for Oracle<'_> {
        fn name(&self) -> &str {
            "oracle"
        }

        fn score(&self, items: &[Item]) -> Vec<Score> {
            let scenes = self.0.pairs.iter().flat_map(|pair| [&pair.scene; 3]);
            let holds =
                |(item, scene): (&Item, _)| f32::from(u8::from(Facts::of(&item.description).hold(scene)));
            items.iter().zip(scenes).map(holds).map(Ok).collect()
        }
    }

    #[test]
    fn agreement_counts_what_is_scored_right() {
        let held_out = HeldOut::new(Scope::default(), 40, 32);
        let found = held_out.agreement(&Oracle(&held_out));
        // A tie is not right.
        assert_eq!((found.text, found.picture, found.quality), (1.0, 0.0, 0.0));
        assert_eq!(Agreement::head().len(), found.to_string().len());
    }
}
