//! DPG-Bench (Hu et al., ELLA, arXiv 2403.05135, section 4): long prompts, each with questions that a picture must
//! answer with yes. A question about a thing counts as wrong if the thing itself is not there. Prompts and questions
//! come from the user's files.

use anyhow::{Context, Result, ensure};
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::ask::{Ask, Asked, yes_or_no};
use super::journal::Journal;
use super::page::{Entry, page};

/// A prompt with its questions. In a file, each is a line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    pub prompt: String,
    pub questions: Vec<Question>,
}

/// A question that the picture must answer with yes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    pub id: u64,
    pub question: String,
    /// The questions that must be answered with yes before this one counts; 0 means none, as in the published files.
    #[serde(default)]
    pub dependency: Vec<u64>,
    /// The kind, such as `entity` or `relation`.
    #[serde(default)]
    pub category: String,
}

/// Reads prompts, one JSON object per line.
///
/// # Errors
/// The error names the line that is no prompt, has no question, or depends on a question that it does not have.
pub fn read(text: &str) -> Result<Vec<Prompt>> {
    let mut prompts = Vec::new();
    let lines = text.trim_start_matches('\u{feff}').lines();
    for (number, line) in (1..).zip(lines).filter(|(_, line)| !line.trim().is_empty()) {
        let prompt: Prompt = serde_json::from_str(line).with_context(|| {
            format!(
                "line {number} is not like {{\"prompt\": \"..\", \"questions\": [{{\"id\": 1, \"question\": \"is there \
                 a dog?\", \"dependency\": [0], \"category\": \"entity\"}}]}}"
            )
        })?;
        ensure!(!prompt.questions.is_empty(), "line {number}: the prompt has no questions");
        let known = |id: &u64| *id == 0 || prompt.questions.iter().any(|question| question.id == *id);
        for question in &prompt.questions {
            let missing = question.dependency.iter().find(|id| !known(id));
            if let Some(missing) = missing {
                anyhow::bail!(
                    "line {number}: question {} depends on {missing}, which is missing",
                    question.id
                );
            }
        }
        prompts.push(prompt);
    }
    ensure!(!prompts.is_empty(), "the file has no prompts");
    Ok(prompts)
}

/// What was found about one picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub prompt: String,
    pub picture: String,
    /// The answer to each question; `None` where it could not be had.
    pub answers: Vec<Option<bool>>,
    /// The share of questions that count as right, 0 to 1; `None` where an answer is missing.
    pub score: Option<f64>,
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Dpg {
    pub judge: String,
    /// The mean over prompts of the mean over their pictures, 0 to 100. `None` without any complete picture.
    pub overall: Option<f64>,
    /// The share of questions of each kind that count as right, 0 to 100.
    pub categories: BTreeMap<String, f64>,
    /// Number of pictures for which an answer is missing. They do not count.
    pub missing: usize,
    pub pictures: Vec<Judged>,
}

/// Asks `judge` about `samples` pictures of each prompt, which `draw` makes from prompts and seeds. What `journal` has is
/// not done again. Calls `progress` with the number of pictures done.
///
/// # Errors
/// If `draw` fails or the journal cannot be written.
pub fn run(
    prompts: &[Prompt],
    samples: usize,
    judge: &dyn Ask,
    journal: &mut Journal,
    mut draw: impl FnMut(&str, u64) -> Result<RgbImage>,
    mut progress: impl FnMut(usize),
) -> Result<Dpg> {
    let mut pictures = Vec::new();
    for (number, prompt) in prompts.iter().enumerate() {
        for sample in 0..samples {
            let key = format!("{number:05}-{sample}");
            let known: Option<Judged> = journal.get(&key)?;
            let judged = match known {
                Some(judged) => judged,
                None => {
                    let picture = match journal.picture(&key)? {
                        Some(picture) => picture,
                        None => {
                            let picture = draw(&prompt.prompt, (number * samples + sample) as u64)?;
                            journal.add_picture(&key, &picture)?;
                            picture
                        }
                    };
                    let judged = judge_one(prompt, &key, &picture, judge);
                    // One that a server failed to answer is asked again next time.
                    if judged.score.is_some() {
                        journal.add(&key, &judged)?;
                    }
                    judged
                }
            };
            pictures.push(judged);
            progress(pictures.len());
        }
    }
    Ok(Dpg::of(judge.name(), prompts, samples, pictures))
}

fn judge_one(prompt: &Prompt, key: &str, picture: &RgbImage, judge: &dyn Ask) -> Judged {
    let ask = |question: &Question| Asked {
        images: vec![picture.clone()],
        text: format!("{} Answer with one word, yes or no.", question.question),
        max_tokens: 16,
    };
    let asked: Vec<Asked> = prompt.questions.iter().map(ask).collect();
    let answers = judge.ask(&asked).into_iter().map(|answer| yes_or_no(&answer.ok()?)).collect::<Vec<_>>();
    let right = right(&prompt.questions, &answers);
    let score = right.map(|right| share(right.iter().copied()));
    let (prompt, picture) = (prompt.prompt.clone(), Journal::picture_path(key));
    Judged { prompt, picture, answers, score }
}

/// Whether each question counts as right; `None` if an answer is missing. A question whose dependency is answered with
/// no is wrong.
fn right(questions: &[Question], answers: &[Option<bool>]) -> Option<Vec<bool>> {
    let answers: Vec<bool> = answers.iter().copied().collect::<Option<_>>()?;
    let by_id: HashMap<u64, bool> =
        questions.iter().map(|question| question.id).zip(answers.clone()).collect();
    let holds = |question: &Question| {
        question.dependency.iter().all(|id| *id == 0 || by_id.get(id).copied().unwrap_or(false))
    };
    Some(questions.iter().zip(answers).map(|(question, answer)| answer && holds(question)).collect())
}

fn share(right: impl Iterator<Item = bool>) -> f64 {
    let (sum, count) =
        right.fold((0.0, 0.0), |(sum, count), right| (sum + f64::from(u8::from(right)), count + 1.0));
    sum / f64::max(count, 1.0)
}

impl Dpg {
    fn of(judge: String, prompts: &[Prompt], samples: usize, pictures: Vec<Judged>) -> Self {
        let mean =
            |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let of_prompt = pictures.chunks(samples.max(1));
        let scores =
            of_prompt.clone().filter_map(|of| mean(of.iter().filter_map(|judged| judged.score).collect()));
        let overall = mean(scores.collect()).map(|mean| 100.0 * mean);
        let mut kinds: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        for (prompt, of) in prompts.iter().zip(of_prompt) {
            for right in of.iter().filter_map(|judged| right(&prompt.questions, &judged.answers)) {
                for (question, right) in prompt.questions.iter().zip(right) {
                    kinds.entry(question.category.clone()).or_default().push(right);
                }
            }
        }
        let categories =
            kinds.into_iter().map(|(kind, right)| (kind, 100.0 * share(right.into_iter()))).collect();
        let missing = pictures.iter().filter(|judged| judged.score.is_none()).count();
        Self { judge, overall, categories, missing, pictures }
    }

    /// A page of the pictures with the answers.
    pub fn page(&self, prompts: &[Prompt]) -> String {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let mut numbers =
            vec![("judge".to_owned(), self.judge.clone()), ("overall".to_owned(), number(self.overall))];
        numbers.extend(self.categories.iter().map(|(kind, value)| (kind.clone(), number(Some(*value)))));
        numbers.push(("pictures without an answer".to_owned(), self.missing.to_string()));
        let of: HashMap<&str, &Prompt> =
            prompts.iter().map(|prompt| (prompt.prompt.as_str(), prompt)).collect();
        let entry = |judged: &Judged| {
            let questions = of.get(judged.prompt.as_str()).map_or(&[][..], |prompt| &prompt.questions);
            let line = |(question, answer): (&Question, &Option<bool>)| {
                let answer = answer.map_or("no answer", |yes| if yes { "yes" } else { "no" });
                format!("{} {answer}", question.question)
            };
            Entry {
                pictures: vec![(judged.picture.clone(), number(judged.score.map(|score| 100.0 * score)))],
                title: judged.prompt.clone(),
                lines: questions.iter().zip(&judged.answers).map(line).collect(),
                right: judged.score.map(|score| score == 1.0),
            }
        };
        page("DPG-Bench", &numbers, &self.pictures.iter().map(entry).collect::<Vec<_>>())
    }
}

impl fmt::Display for Dpg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, value) in &self.categories {
            writeln!(f, "{kind:<24}{value:>8.2}")?;
        }
        let overall = self.overall.map_or("-".to_owned(), |overall| format!("{overall:.2}"));
        writeln!(
            f,
            "{:<24}{overall:>8} over {} pictures, {} without an answer",
            "overall",
            self.pictures.len(),
            self.missing
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use std::cell::Cell;

    const FILE: &str = r#"{"prompt": "a red dog", "questions": [{"id": 1, "question": "is there a dog?", "category": "entity"}, {"id": 2, "question": "is the dog red?", "dependency": [1], "category": "attribute"}]}

{"prompt": "a cat", "questions": [{"id": 7, "question": "is there a cat?", "dependency": [0], "category": "entity"}]}
"#;

    /// Says yes to what the picture's level allows: bit by bit of the questions; no answer where the level is 255.
    struct Levels(Cell<usize>);

    impl Ask for Levels {
        fn name(&self) -> String {
            "levels".into()
        }

        fn ask(&self, asked: &[Asked]) -> Vec<Result<String, String>> {
            self.0.set(self.0.get() + 1);
            let answer = |(place, asked): (usize, &Asked)| {
                assert!(asked.text.ends_with("yes or no."));
                let level = asked.images[0].get_pixel(0, 0)[0];
                if level == 255 {
                    Err("busy".into())
                } else {
                    Ok(if level >> place & 1 == 1 { "Yes" } else { "no." }.into())
                }
            };
            asked.iter().enumerate().map(answer).collect()
        }
    }

    #[test]
    fn a_thing_that_is_missing_has_no_colour() {
        let prompts = read(FILE).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let judge = Levels(Cell::default());
        let drawn = Cell::new(0);
        // Two pictures of each prompt: red without a dog, a red dog; no answer, a cat.
        let levels = [0b10, 0b11, 255, 0b1];
        let draw = |_: &str, seed: u64| {
            drawn.set(drawn.get() + 1);
            Ok(RgbImage::from_pixel(2, 2, Rgb([levels[seed as usize]; 3])))
        };
        let mut journal = Journal::open(folder.path(), &1).unwrap();
        let found = run(&prompts, 2, &judge, &mut journal, draw, |_| ()).unwrap();
        let scores: Vec<_> = found.pictures.iter().map(|judged| judged.score).collect();
        assert_eq!(scores, [Some(0.0), Some(1.0), None, Some(1.0)]);
        assert_eq!((found.overall, found.missing), (Some(75.0), 1));
        assert_eq!(found.categories["attribute"], 50.0);
        assert!((found.categories["entity"] - 200.0 / 3.0).abs() < 1e-9);
        assert_eq!((drawn.get(), judge.0.get()), (4, 4));
        // A second run asks again only where an answer was missing, and draws nothing.
        let mut journal = Journal::open(folder.path(), &1).unwrap();
        assert_eq!(run(&prompts, 2, &judge, &mut journal, draw, |_| ()).unwrap(), found);
        assert_eq!((drawn.get(), judge.0.get()), (4, 5));
        let page = found.page(&prompts);
        assert!(page.contains("is the dog red? yes") && page.contains("pictures/00001-1.png"), "{page}");
        assert!(found.to_string().contains("75.00 over 4 pictures, 1 without"), "{found}");
    }

    #[test]
    fn what_is_no_prompt_is_named() {
        for (text, words) in [
            ("", "no prompts"),
            ("{\"prompt\": \"a\"}", "line 1"),
            ("{\"prompt\": \"a\", \"questions\": []}", "line 1: the prompt has no questions"),
            (
                "\n{\"prompt\": \"a\", \"questions\": [{\"id\": 1, \"question\": \"b\", \"dependency\": [3]}]}",
                "line 2: question 1 depends on 3",
            ),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
