//! Questions about held-out scenes, and the answers that are most frequent in training.

use anyhow::Result;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap};
use unigen_core::engine::Engine;
use unigen_evaluation::understanding::{self, Asked};
use unigen_training::data::rng_at;

pub use unigen_evaluation::understanding::Understanding;

use crate::world::{
    Domain, QuestionAnswer, QuestionKind, Renderer, Scene, Scope, Split, questions, sample_scene,
};

/// Number of training scenes whose answers are counted for the majority.
const COUNTED: u64 = 4000;
/// Their seed.
const COUNTED_SEED: u64 = 0x5EED_3A30;
/// After this many scenes in a row without a question of a kind, the search for that kind ends.
const PATIENCE: u64 = 10_000;

/// A question about a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct SceneQuestion {
    pub scene: Scene,
    pub question: QuestionAnswer,
}

impl SceneQuestion {
    /// The question about a drawn picture of the scene, `size` pixels a side.
    fn asked(&self, renderer: &Renderer, size: u32) -> Asked {
        let QuestionAnswer { kind, question, answer } = self.question.clone();
        let image = renderer.render(&self.scene, size, size);
        Asked { kind: kind.name().to_owned(), question, wanted: answer, image }
    }
}

/// `each` questions of every kind about scenes of a split, in the order of [`QuestionKind::ALL`]. A scene gives at most
/// one question of a kind.
pub fn held_out_questions(domain: impl Into<Domain>, seed: u64, each: usize) -> Vec<SceneQuestion> {
    let domain = domain.into();
    let mut asked: BTreeMap<QuestionKind, Vec<SceneQuestion>> = BTreeMap::new();
    let full = |asked: &BTreeMap<_, Vec<_>>| {
        QuestionKind::ALL.iter().all(|kind| asked.get(kind).is_some_and(|asked| asked.len() >= each))
    };
    for index in 0..PATIENCE.max(each as u64 * 20) {
        if full(&asked) {
            break;
        }
        let (scene, found) = questions_at(domain, seed, index);
        for question in found {
            let of_kind = asked.entry(question.kind).or_default();
            if of_kind.len() < each && of_kind.last().is_none_or(|last| last.scene != scene) {
                of_kind.push(SceneQuestion { scene: scene.clone(), question });
            }
        }
    }
    asked.into_values().flatten().collect()
}

/// Scene `index` of a stream with questions about it.
fn questions_at(domain: Domain, seed: u64, index: u64) -> (Scene, Vec<QuestionAnswer>) {
    let mut rng = rng_at(seed, index);
    let scene = sample_scene(&mut rng, domain);
    let found = questions(&scene, domain.scope, &mut rng);
    (scene, found)
}

/// The most frequent answer to each kind of question about training scenes, by the kind's name.
fn majority(scope: Scope) -> HashMap<String, String> {
    let domain = Domain { scope, split: Split::Train };
    let counted: Vec<_> = (0..COUNTED)
        .into_par_iter()
        .flat_map_iter(|index| questions_at(domain, COUNTED_SEED, index).1)
        .collect();
    let mut counts: HashMap<QuestionKind, BTreeMap<String, u64>> = HashMap::new();
    for QuestionAnswer { kind, answer, .. } in counted {
        *counts.entry(kind).or_default().entry(answer).or_default() += 1;
    }
    let most = |answers: BTreeMap<String, u64>| answers.into_iter().max_by_key(|(_, count)| *count);
    counts.into_iter().filter_map(|(kind, answers)| Some((kind.name().into(), most(answers)?.0))).collect()
}

/// Lets `engine` answer every question. Calls `progress` with the number of questions done.
///
/// # Errors
/// Those of [`Engine::ask`]; if there are no questions, or Ctrl-C was pressed.
pub fn evaluate(
    engine: &Engine,
    scope: Scope,
    asked: &[SceneQuestion],
    progress: impl FnMut(usize),
) -> Result<Understanding> {
    let (renderer, size) = (Renderer::new(), engine.config().image_size as u32);
    let asked = asked.iter().map(|question| question.asked(&renderer, size)).collect();
    understanding::evaluate(engine, asked, &majority(scope), progress)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::RgbImage;

    #[test]
    fn right_answers_are_counted_by_kind() {
        let questions = held_out_questions(Split::Test, 4, 20);
        assert_eq!(questions.len(), 100);
        assert!(questions.iter().all(|asked| Split::Test.admits(&asked.scene)));
        let renderer = Renderer::new();
        let asked = || questions.iter().map(|question| question.asked(&renderer, 24)).collect::<Vec<_>>();
        let key: HashMap<(Vec<u8>, String), String> =
            asked().into_iter().map(|a| ((a.image.into_raw(), a.question), a.wanted)).collect();
        let know = |image: &RgbImage, question: &str| {
            Ok(format!(" {}\n", key[&(image.as_raw().clone(), question.to_owned())].to_uppercase()))
        };
        let (majority, mut done) = (majority(Scope::default()), 0);
        let best = Understanding::run(asked(), &majority, know, |count| done = count).unwrap();
        assert_eq!((best.overall, done), (1.0, 100));
        assert!(best.majority > 0.1 && best.majority < 0.6, "{best}");
        let yes = Understanding::run(asked(), &majority, |_, _| Ok("yes".into()), |_| ()).unwrap();
        let kinds: Vec<&str> = yes.kinds.iter().map(|kind| kind.kind.as_str()).collect();
        assert_eq!(kinds, QuestionKind::ALL.map(QuestionKind::name));
        for kind in &yes.kinds {
            assert_eq!(kind.questions, 20);
            let wanted = kind.kind == QuestionKind::YesNo.name();
            assert_eq!(kind.accuracy > 0.2, wanted, "{yes}");
        }
        assert!((yes.overall - yes.kinds[4].accuracy / 5.0).abs() < 1e-9);
        let json = serde_json::to_value(&yes).unwrap();
        assert_eq!(json["kinds"]["how_many"]["questions"], 20);
        assert!(yes.sheet().width() > 24);
        assert!(Understanding::run(vec![], &majority, know, |_| ()).is_err());
    }
}
