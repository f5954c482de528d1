//! Answers to questions about held-out scenes, against the best that can be said without looking.

use anyhow::{Result, ensure};
use image::RgbImage;
use pollster::FutureExt;
use rayon::prelude::*;
use serde::{Serialize, Serializer};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use unigen_core::engine::{AnswerSettings, Engine};

use crate::data::stickers::{
    QuestionAnswer, QuestionKind, Renderer, Scene, Split, questions, rng_at, sample_scene,
};
use crate::run::{Interrupt, sheet};

/// Training scenes whose answers are counted for the majority.
const COUNTED: u64 = 4000;
/// What they are drawn from.
const COUNTED_SEED: u64 = 0x5EED_3A30;
/// Scenes in a row without a question of a kind after which there is none.
const PATIENCE: u64 = 10_000;
/// No answer is longer, in tokens.
const ANSWER: usize = 24;
/// Answers of each kind on the sheet.
const SHOWN: usize = 12;

/// A question about a scene.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub scene: Scene,
    pub question: QuestionAnswer,
}

/// One answer and whether it is right.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    pub kind: QuestionKind,
    pub question: String,
    pub wanted: String,
    pub answer: String,
    pub correct: bool,
    #[serde(skip)]
    pub image: RgbImage,
}

/// The accuracy of answers, to the letter.
#[derive(Clone, Debug, Serialize)]
pub struct Understanding {
    /// The unweighted mean of the kinds, 0 to 1.
    pub overall: f64,
    /// The same of the majority's answers.
    pub majority: f64,
    #[serde(serialize_with = "by_name")]
    pub kinds: Vec<Kind>,
    pub answers: Vec<Answered>,
}

/// The accuracy on one kind of question.
#[derive(Clone, Debug, Serialize)]
pub struct Kind {
    #[serde(skip)]
    pub kind: QuestionKind,
    /// 0 to 1.
    pub accuracy: f64,
    /// The accuracy of the answer that is most frequent in training, and that answer.
    pub majority: f64,
    pub majority_answer: String,
    pub questions: usize,
}

fn by_name<S: Serializer>(kinds: &[Kind], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(kinds.iter().map(|kind| (kind.kind, kind)))
}

/// `each` questions of every kind about scenes of a split, one a scene and kind.
pub fn held_out_questions(split: Split, seed: u64, each: usize) -> Vec<Asked> {
    let mut asked: BTreeMap<QuestionKind, Vec<Asked>> = BTreeMap::new();
    let full = |asked: &BTreeMap<_, Vec<_>>| {
        QuestionKind::ALL.iter().all(|kind| asked.get(kind).is_some_and(|asked| asked.len() >= each))
    };
    for index in 0..PATIENCE.max(each as u64 * 20) {
        if full(&asked) {
            break;
        }
        let (scene, found) = questions_at(split, seed, index);
        for question in found {
            let of_kind = asked.entry(question.kind).or_default();
            if of_kind.len() < each && of_kind.last().is_none_or(|last| last.scene != scene) {
                of_kind.push(Asked { scene: scene.clone(), question });
            }
        }
    }
    asked.into_values().flatten().collect()
}

/// Scene `index` of a stream with questions about it.
fn questions_at(split: Split, seed: u64, index: u64) -> (Scene, Vec<QuestionAnswer>) {
    let mut rng = rng_at(seed, index);
    let scene = sample_scene(&mut rng, split);
    let found = questions(&scene, &mut rng);
    (scene, found)
}

/// The most frequent answer to each kind of question about training scenes.
fn majority() -> HashMap<QuestionKind, String> {
    let counted: Vec<_> = (0..COUNTED)
        .into_par_iter()
        .flat_map_iter(|index| questions_at(Split::Train, COUNTED_SEED, index).1)
        .collect();
    let mut counts: HashMap<QuestionKind, BTreeMap<String, u64>> = HashMap::new();
    for QuestionAnswer { kind, answer, .. } in counted {
        *counts.entry(kind).or_default().entry(answer).or_default() += 1;
    }
    let most = |answers: BTreeMap<String, u64>| answers.into_iter().max_by_key(|(_, count)| *count);
    counts.into_iter().filter_map(|(kind, answers)| Some((kind, most(answers)?.0))).collect()
}

impl Understanding {
    /// Has `answer` answer every question about its scene, drawn `size` pixels a side. `progress` learns how many are done.
    ///
    /// # Errors
    /// Where there are no questions; those of `answer`.
    pub fn run(
        asked: &[Asked],
        size: u32,
        mut answer: impl FnMut(&RgbImage, &str) -> Result<String>,
        mut progress: impl FnMut(usize),
    ) -> Result<Self> {
        ensure!(!asked.is_empty(), "nothing to answer: give at least one question of each kind");
        let renderer = Renderer::new();
        let mut answers = Vec::with_capacity(asked.len());
        for Asked { scene, question: QuestionAnswer { kind, question, answer: wanted } } in asked {
            let image = renderer.render(scene, size, size);
            let answer = answer(&image, question)?.trim().to_lowercase();
            let correct = answer == *wanted;
            let (question, wanted) = (question.clone(), wanted.clone());
            answers.push(Answered { kind: *kind, question, wanted, answer, correct, image });
            progress(answers.len());
        }
        let majority = majority();
        let kinds: Vec<Kind> = QuestionKind::ALL
            .into_iter()
            .filter_map(|kind| {
                let of_kind: Vec<&Answered> =
                    answers.iter().filter(|answered| answered.kind == kind).collect();
                let blind = majority.get(&kind).cloned().unwrap_or_default();
                let share = |right: &dyn Fn(&Answered) -> bool| {
                    of_kind.iter().filter(|answered| right(answered)).count() as f64 / of_kind.len() as f64
                };
                (!of_kind.is_empty()).then(|| Kind {
                    kind,
                    accuracy: share(&|answered| answered.correct),
                    majority: share(&|answered| answered.wanted == blind),
                    majority_answer: blind.clone(),
                    questions: of_kind.len(),
                })
            })
            .collect();
        let mean = |part: fn(&Kind) -> f64| kinds.iter().map(part).sum::<f64>() / kinds.len() as f64;
        let (overall, majority) = (mean(|kind| kind.accuracy), mean(|kind| kind.majority));
        Ok(Self { overall, majority, kinds, answers })
    }

    /// Pictures with question and answer, some of each kind.
    pub fn sheet(&self) -> RgbImage {
        let mut cells = Vec::new();
        for kind in QuestionKind::ALL {
            let of_kind: Vec<_> = self.answers.iter().filter(|answered| answered.kind == kind).collect();
            let shown = of_kind.len().min(SHOWN);
            cells.extend((0..shown).map(|place| {
                let Answered { question, wanted, answer, correct, image, .. } =
                    of_kind[place * of_kind.len() / shown];
                let no = if *correct { String::new() } else { format!(" (no: {wanted})") };
                (image.clone(), format!("{question} {answer}{no}"))
            }));
        }
        sheet(&cells, 8, 1)
    }
}

/// Has `engine` answer every question. `progress` learns how many are done.
///
/// # Errors
/// Those of [`Engine::describe`], and where there are no questions; after Ctrl-C.
pub fn evaluate(engine: &Engine, asked: &[Asked], progress: impl FnMut(usize)) -> Result<Understanding> {
    let settings = AnswerSettings { max_tokens: ANSWER, ..AnswerSettings::default() };
    let answer = |image: &RgbImage, question: &str| {
        Ok(engine.describe(image, question, &settings, async |_| Interrupt::flow()).block_on()?)
    };
    Understanding::run(asked, engine.config().image_size as u32, answer, progress)
}

impl fmt::Display for Understanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<15}{:>8}{:>10}", "understanding", "right", "majority")?;
        for Kind { kind, accuracy, majority, majority_answer, questions } in &self.kinds {
            let name = kind.name();
            writeln!(
                f,
                "{name:<15}{accuracy:>8.4}{majority:>10.4}{questions:>8} questions  ({majority_answer:?})"
            )?;
        }
        let Self { overall, majority, answers, .. } = self;
        writeln!(f, "{:<15}{overall:>8.4}{majority:>10.4}{:>8} questions", "overall", answers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers_are_counted_by_kind() {
        let asked = held_out_questions(Split::Test, 4, 20);
        assert_eq!(asked.len(), 100);
        assert!(asked.iter().all(|asked| Split::Test.admits(&asked.scene)));
        let key: HashMap<(Vec<u8>, &str), &str> = asked
            .iter()
            .map(|asked| {
                let image = Renderer::new().render(&asked.scene, 24, 24);
                ((image.into_raw(), asked.question.question.as_str()), asked.question.answer.as_str())
            })
            .collect();
        let know = |image: &RgbImage, question: &str| {
            Ok(format!(" {}\n", key[&(image.as_raw().clone(), question)].to_uppercase()))
        };
        let mut done = 0;
        let best = Understanding::run(&asked, 24, know, |count| done = count).unwrap();
        assert_eq!((best.overall, done), (1.0, 100));
        assert!(best.majority > 0.1 && best.majority < 0.6, "{best}");
        let yes = Understanding::run(&asked, 24, |_, _| Ok("yes".into()), |_| ()).unwrap();
        for kind in &yes.kinds {
            assert_eq!(kind.questions, 20);
            let wanted = kind.kind == QuestionKind::YesNo;
            assert_eq!(kind.accuracy > 0.2, wanted, "{yes}");
        }
        assert!((yes.overall - yes.kinds[4].accuracy / 5.0).abs() < 1e-9);
        let json = serde_json::to_value(&yes).unwrap();
        assert_eq!(json["kinds"]["how_many"]["questions"], 20);
        assert!(yes.sheet().width() > 24);
        assert!(Understanding::run(&[], 24, know, |_| ()).is_err());
    }
}
