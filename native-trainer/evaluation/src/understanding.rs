//! Scores answers to questions about pictures, beside the best answers that need no look at the picture.

use anyhow::{Result, ensure};
use image::RgbImage;
use pollster::FutureExt;
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::fmt;
use unigen_core::engine::{AnswerSettings, Engine};
use unigen_runs::{Interrupt, sheet};

/// The longest answer, in tokens.
const ANSWER: usize = 24;
/// Number of answers of each kind on the sheet.
const SHOWN: usize = 12;

/// A question about a picture, with its one right answer in lower case.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// The kind of question, such as `how_many`.
    pub kind: String,
    pub question: String,
    pub wanted: String,
    pub image: RgbImage,
}

/// One answer and whether it is right.
#[derive(Clone, Debug, Serialize)]
pub struct Answered {
    pub kind: String,
    pub question: String,
    pub wanted: String,
    pub answer: String,
    pub correct: bool,
    #[serde(skip)]
    pub image: RgbImage,
}

/// The accuracy of answers. An answer must match to the letter.
#[derive(Clone, Debug, Serialize)]
pub struct Understanding {
    /// The unweighted mean accuracy over the kinds, 0 to 1.
    pub overall: f64,
    /// The same mean for the most frequent answers.
    pub majority: f64,
    /// The kinds, in the order in which they were first asked.
    #[serde(serialize_with = "by_name")]
    pub kinds: Vec<Kind>,
    pub answers: Vec<Answered>,
}

/// The accuracy on one kind of question.
#[derive(Clone, Debug, Serialize)]
pub struct Kind {
    #[serde(skip)]
    pub kind: String,
    /// 0 to 1.
    pub accuracy: f64,
    /// The accuracy of the answer that is most frequent in training, 0 to 1, and that answer.
    pub majority: f64,
    pub majority_answer: String,
    pub questions: usize,
}

fn by_name<S: Serializer>(kinds: &[Kind], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(kinds.iter().map(|kind| (&kind.kind, kind)))
}

impl Understanding {
    /// Asks `answer` every question and scores the results. `majority` maps each kind to its most frequent answer,
    /// which needs no look at the picture. Calls `progress` with the number of questions done.
    ///
    /// # Errors
    /// If `asked` is empty, or `answer` fails.
    pub fn run(
        asked: Vec<Asked>,
        majority: &HashMap<String, String>,
        mut answer: impl FnMut(&RgbImage, &str) -> Result<String>,
        mut progress: impl FnMut(usize),
    ) -> Result<Self> {
        ensure!(!asked.is_empty(), "nothing to answer: give at least one question of each kind");
        let mut answers = Vec::with_capacity(asked.len());
        for Asked { kind, question, wanted, image } in asked {
            let answer = answer(&image, &question)?.trim().to_lowercase();
            let correct = answer == wanted;
            answers.push(Answered { kind, question, wanted, answer, correct, image });
            progress(answers.len());
        }
        let mut names: Vec<&str> = Vec::new();
        for Answered { kind, .. } in &answers {
            if !names.contains(&kind.as_str()) {
                names.push(kind);
            }
        }
        let accuracy = |name: &str| {
            let of_kind: Vec<&Answered> = answers.iter().filter(|answered| answered.kind == name).collect();
            let blind = majority.get(name).cloned().unwrap_or_default();
            let share = |right: &dyn Fn(&Answered) -> bool| {
                of_kind.iter().filter(|answered| right(answered)).count() as f64 / of_kind.len() as f64
            };
            Kind {
                kind: name.to_owned(),
                accuracy: share(&|answered| answered.correct),
                majority: share(&|answered| answered.wanted == blind),
                majority_answer: blind.clone(),
                questions: of_kind.len(),
            }
        };
        let kinds: Vec<Kind> = names.into_iter().map(accuracy).collect();
        let mean = |part: fn(&Kind) -> f64| kinds.iter().map(part).sum::<f64>() / kinds.len() as f64;
        let (overall, majority) = (mean(|kind| kind.accuracy), mean(|kind| kind.majority));
        Ok(Self { overall, majority, kinds, answers })
    }

    /// A sheet of pictures with question and answer, some of each kind.
    pub fn sheet(&self) -> RgbImage {
        let mut cells = Vec::new();
        for Kind { kind, .. } in &self.kinds {
            let of_kind: Vec<_> = self.answers.iter().filter(|answered| answered.kind == *kind).collect();
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

/// Lets `engine` answer every question; see [`Understanding::run`].
///
/// # Errors
/// Those of [`Engine::ask`]; if `asked` is empty, or Ctrl-C was pressed.
pub fn evaluate(
    engine: &Engine,
    asked: Vec<Asked>,
    majority: &HashMap<String, String>,
    progress: impl FnMut(usize),
) -> Result<Understanding> {
    let settings = AnswerSettings { max_tokens: ANSWER, ..AnswerSettings::default() };
    let answer = |image: &RgbImage, question: &str| {
        Ok(engine.ask(image, question, &settings, async |_| Interrupt::flow()).block_on()?.text)
    };
    Understanding::run(asked, majority, answer, progress)
}

impl fmt::Display for Understanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<15}{:>8}{:>10}", "understanding", "right", "majority")?;
        for Kind { kind, accuracy, majority, majority_answer, questions } in &self.kinds {
            writeln!(
                f,
                "{kind:<15}{accuracy:>8.4}{majority:>10.4}{questions:>8} questions  (\"{majority_answer}\")"
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
    fn kinds_come_as_they_are_asked_and_count_alike() {
        let asked = |kind: &str, question: &str, wanted: &str| {
            let (kind, question, wanted) = (kind.to_owned(), question.to_owned(), wanted.to_owned());
            Asked { kind, question, wanted, image: RgbImage::new(24, 24) }
        };
        let questions = vec![
            asked("where", "where is it?", "on the left"),
            asked("color", "which color is it?", "red"),
            asked("color", "what color is it?", "blue"),
        ];
        let majority = [("where", "in the center"), ("color", "red"), ("what", "a dog")];
        let majority = majority.map(|(kind, answer)| (kind.to_owned(), answer.to_owned())).into();
        let answer = |_: &RgbImage, question: &str| Ok(question.replace("what color is it?", " Blue\n"));
        let mut done = vec![];
        let found = Understanding::run(questions, &majority, answer, |count| done.push(count)).unwrap();
        assert_eq!(done, [1, 2, 3]);
        assert_eq!((found.overall, found.majority), (0.25, 0.25));
        let wanted = "understanding     right  majority\n\
            where            0.0000    0.0000       1 questions  (\"in the center\")\n\
            color            0.5000    0.5000       2 questions  (\"red\")\n\
            overall          0.2500    0.2500       3 questions\n";
        assert_eq!(found.to_string(), wanted);
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(json["kinds"].as_object().unwrap().keys().collect::<Vec<_>>(), ["where", "color"]);
        assert_eq!(json["answers"][2]["answer"], "blue");
        assert!(found.sheet().width() > 24);
        let none = Understanding::run(vec![], &majority, answer, |_| ()).unwrap_err().to_string();
        assert!(none.contains("nothing to answer"), "{none}");
    }
}
