//! Prompts for reinforcement learning.

use anyhow::Result;
use rand::RngExt;
use unigen_training::data::{Prompt, Prompts, rng_at};

use crate::world::{Domain, Scope, Split, scene_at, training_prompt, worded};

/// Share of prompts in GenEval's words. Like users' prompts they say little, so many pictures are right. Captions name
/// everything in a scene.
const PLAIN: f64 = 0.7;

/// An endless stream of prompts in GenEval's words and captions of training scenes.
pub struct ScenePrompts {
    pub scope: Scope,
    pub seed: u64,
}

impl Prompts for ScenePrompts {
    fn get(&self, index: u64) -> Result<Prompt> {
        let rng = &mut rng_at(!self.seed, index);
        let text = match rng.random_bool(PLAIN) {
            true => training_prompt(rng).prompt,
            false => {
                let domain = Domain { scope: self.scope, split: Split::Train };
                worded(self.scope, &scene_at(domain, self.seed, index), rng)
            }
        };
        Ok(Prompt { description: text.clone(), text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Facts;

    #[test]
    fn most_prompts_are_in_genevals_words_and_all_can_be_checked() {
        let prompts = ScenePrompts { scope: Scope::default(), seed: 4 };
        let prompts: Vec<Prompt> = (0..400).map(|index| prompts.get(index).unwrap()).collect();
        assert!(prompts.iter().all(|prompt| prompt.text == prompt.description));
        assert!(prompts.iter().all(|prompt| !Facts::of(&prompt.text).things.is_empty()));
        // Three in ten captions begin with these words as well.
        let photos = prompts.iter().filter(|prompt| prompt.text.starts_with("a photo of ")).count();
        assert!((280..340).contains(&photos), "{photos}");
        assert_eq!(prompts[7], ScenePrompts { scope: Scope::default(), seed: 4 }.get(7).unwrap());
    }
}
