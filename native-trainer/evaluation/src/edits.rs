//! Edits of the user's own pictures, judged by a vision-language model with ImgEdit's three scores (Ye et al., arXiv
//! 2505.20275, section 4): whether the instruction is followed, how good the edit looks, and whether everything else
//! is as before. An edit that does not follow its instruction has nothing to look good or to keep, so the second and
//! the third score are at most the first.

use anyhow::{Result, ensure};
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::fmt;

use super::ask::{Ask, Asked};
use super::journal::Journal;
use super::page::{Entry, page};

/// The names of the scores in an answer, in order.
const NAMES: [&str; 3] = ["instruction", "quality", "preservation"];

/// An edit to be drawn.
#[derive(Debug, Clone)]
pub struct Case {
    pub before: RgbImage,
    pub instruction: String,
    /// The wanted picture, for the page.
    pub after: Option<RgbImage>,
}

/// What the judge said about one edit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    pub instruction: String,
    /// 1 to 5 each: following the instruction, quality, preservation. `None` if the judge gave none.
    pub scores: Option<[f64; 3]>,
    /// What the judge wrote, or why there is nothing.
    pub answer: String,
}

impl Judged {
    /// The mean of the three, of which the last two are at most the first.
    pub fn score(&self) -> Option<f64> {
        self.scores.map(|[first, quality, preservation]| {
            (first + quality.min(first) + preservation.min(first)) / 3.0
        })
    }
}

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Edits {
    pub judge: String,
    /// The mean score, 1 to 5. `None` without any.
    pub overall: Option<f64>,
    /// The means of the three scores by name.
    pub parts: Vec<(&'static str, f64)>,
    /// Number of edits without a score. They do not count.
    pub missing: usize,
    pub edits: Vec<Judged>,
}

/// Draws every edit by `draw`, from a case and its number, and lets `judge` score it. What `journal` has is not done
/// again. `case` reads the case of a number. Calls `progress` with the number of edits done.
///
/// # Errors
/// If there is no edit; the errors of `case` and `draw`; if the journal cannot be written.
pub fn run(
    count: usize,
    case: impl Fn(usize) -> Result<Case>,
    judge: &dyn Ask,
    journal: &mut Journal,
    mut draw: impl FnMut(&Case, u64) -> Result<RgbImage>,
    mut progress: impl FnMut(usize),
) -> Result<Edits> {
    ensure!(count > 0, "nothing to edit: give at least one edit");
    let mut edits = Vec::with_capacity(count);
    for number in 0..count {
        let key = format!("{number:05}");
        let judged = match journal.get::<Judged>(&key)? {
            Some(judged) => judged,
            None => {
                let case = case(number)?;
                let drawn = match journal.picture(&key)? {
                    Some(drawn) => drawn,
                    None => {
                        let drawn = draw(&case, number as u64)?;
                        journal.add_picture(&format!("{key}-before"), &case.before)?;
                        case.after
                            .iter()
                            .try_for_each(|after| journal.add_picture(&format!("{key}-wanted"), after))?;
                        journal.add_picture(&key, &drawn)?;
                        drawn
                    }
                };
                let judged = judge_one(case, drawn, judge);
                // One that a server failed to score is asked again next time.
                if judged.scores.is_some() {
                    journal.add(&key, &judged)?;
                }
                judged
            }
        };
        edits.push(judged);
        progress(edits.len());
    }
    Ok(Edits::of(judge.name(), edits))
}

fn judge_one(case: Case, drawn: RgbImage, judge: &dyn Ask) -> Judged {
    let text = format!(
        "The first picture was edited by the instruction \"{}\". The second picture is the result. Give three scores from 1 \
         (fails) to 5 (perfect).\nInstruction: is everything that the instruction asks for done, and nothing else?\n\
         Quality: is the result free of distortions, seams and other faults, so that it looks like one picture?\n\
         Preservation: is everything that the instruction does not mention the same as before?\n\
         First say in a few sentences what you see. Then end with these three lines:\nInstruction: N\nQuality: N\n\
         Preservation: N",
        case.instruction
    );
    let asked = Asked { images: vec![case.before, drawn], text, max_tokens: 512 };
    let answer = judge.ask(&[asked]).pop().unwrap_or_else(|| Err("no answer came back".to_owned()));
    let scores = answer.as_ref().ok().and_then(|answer| scores(answer));
    Judged { instruction: case.instruction, scores, answer: answer.unwrap_or_else(|why| why) }
}

/// The last line of each score's form, with a number from 1 to 5. `None` if one is missing.
fn scores(answer: &str) -> Option<[f64; 3]> {
    let mut found = [None; 3];
    for line in answer.lines() {
        let line: String = line.chars().filter(|c| !"*_`#>".contains(*c)).collect();
        let Some((name, number)) = line.split_once([':', '：', '=']) else { continue };
        let name = name.trim().trim_start_matches("- ").to_lowercase();
        if let Some(place) = NAMES.iter().position(|other| *other == name) {
            found[place] = number_of_five(number);
        }
    }
    let [Some(first), Some(second), Some(third)] = found else { return None };
    Some([first, second, third])
}

/// "4", "4.5" or "4/5", from 1 to 5.
fn number_of_five(text: &str) -> Option<f64> {
    let text = text.trim().trim_end_matches('.');
    let number = match text.split_once('/') {
        Some((number, scale)) => scale.trim().eq("5").then_some(number)?,
        None => text,
    };
    number.trim().parse().ok().filter(|number| (1.0..=5.0).contains(number))
}

impl Edits {
    fn of(judge: String, edits: Vec<Judged>) -> Self {
        let mean =
            |values: Vec<f64>| (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let part = |place: usize| {
            let scores = edits.iter().filter_map(|judged| Some(judged.scores?[place]));
            Some((NAMES[place], mean(scores.collect())?))
        };
        Self {
            judge,
            overall: mean(edits.iter().filter_map(Judged::score).collect()),
            parts: (0..NAMES.len()).filter_map(part).collect(),
            missing: edits.iter().filter(|judged| judged.scores.is_none()).count(),
            edits,
        }
    }

    /// A page of the pictures with the scores. `wanted` says whether there are wanted pictures.
    pub fn page(&self, wanted: bool) -> String {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        let mut numbers =
            vec![("judge".to_owned(), self.judge.clone()), ("overall".to_owned(), number(self.overall))];
        numbers.extend(self.parts.iter().map(|(name, value)| ((*name).to_owned(), number(Some(*value)))));
        numbers.push(("edits without a score".to_owned(), self.missing.to_string()));
        let entry = |(place, judged): (usize, &Judged)| {
            let key = format!("{place:05}");
            let mut pictures = vec![(format!("{key}-before"), "before"), (key.clone(), "drawn")];
            pictures.extend(wanted.then(|| (format!("{key}-wanted"), "wanted")));
            let scores = judged.scores.map(|scores| {
                let parts = NAMES.iter().zip(scores).map(|(name, score)| format!("{name} {score}"));
                parts.collect::<Vec<_>>().join(", ")
            });
            let path = |(key, caption): (String, &str)| (Journal::picture_path(&key), caption.to_owned());
            Entry {
                pictures: pictures.into_iter().map(path).collect(),
                title: format!("{} ({})", judged.instruction, number(judged.score())),
                lines: scores.into_iter().chain([judged.answer.clone()]).collect(),
                right: None,
            }
        };
        page("Edits", &numbers, &self.edits.iter().enumerate().map(entry).collect::<Vec<_>>())
    }
}

impl fmt::Display for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.parts {
            writeln!(f, "{name:<15}{value:>8.2}")?;
        }
        let overall = self.overall.map_or("-".to_owned(), |overall| format!("{overall:.2}"));
        let (count, missing) = (self.edits.len(), self.missing);
        writeln!(f, "{:<15}{overall:>8} over {count} edits, {missing} without a score", "overall")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use std::cell::RefCell;

    #[test]
    fn three_lines_are_read_and_nothing_else_is() {
        for (answer, wanted) in [
            ("It is red now.\nInstruction: 5\nQuality: 4\nPreservation: 3.5", Some([5.0, 4.0, 3.5])),
            ("**Instruction:** 4/5\n- Quality: 2.\n_Preservation_ = 1", Some([4.0, 2.0, 1.0])),
            ("Instruction: 1\nInstruction: 2\nquality： 3\npreservation: 3", Some([2.0, 3.0, 3.0])),
            ("Instruction: 5\nQuality: 4", None),
            ("Instruction: 5\nQuality: 9\nPreservation: 3", None),
            ("Instruction: 4-5\nQuality: 4\nPreservation: 3", None),
            ("Instruction: 8/10\nQuality: 4\nPreservation: 3", None),
            ("Instruction: N\nQuality: N\nPreservation: N", None),
            ("", None),
        ] {
            assert_eq!(scores(answer), wanted, "{answer}");
        }
    }

    struct Replies(RefCell<Vec<Result<String, String>>>);

    impl Ask for Replies {
        fn name(&self) -> String {
            "replies".into()
        }

        fn ask(&self, asked: &[Asked]) -> Vec<Result<String, String>> {
            assert_eq!((asked.len(), asked[0].images.len()), (1, 2));
            assert!(asked[0].text.contains("\"turn it\""));
            vec![self.0.borrow_mut().remove(0)]
        }
    }

    #[test]
    fn an_edit_that_does_not_follow_has_nothing_to_keep() {
        let folder = tempfile::tempdir().unwrap();
        let picture = |level: u8| RgbImage::from_pixel(2, 2, Rgb([level; 3]));
        let case = |number: usize| {
            Ok(Case { before: picture(number as u8), instruction: "turn it".into(), after: Some(picture(9)) })
        };
        let said = |scores: [u8; 3]| {
            Ok(format!("Instruction: {}\nQuality: {}\nPreservation: {}", scores[0], scores[1], scores[2]))
        };
        let replies = vec![said([5, 4, 3]), said([1, 5, 5]), Err("busy".into())];
        let judge = Replies(RefCell::new(replies));
        let mut journal = Journal::open(folder.path(), &1).unwrap();
        let found = run(3, case, &judge, &mut journal, |case, _| Ok(case.before.clone()), |_| ()).unwrap();
        assert_eq!(found.edits.iter().map(Judged::score).collect::<Vec<_>>(), [Some(4.0), Some(1.0), None]);
        assert_eq!((found.overall, found.missing), (Some(2.5), 1));
        assert_eq!(found.edits[2].answer, "busy");
        // Only the edit without a score is asked about again, and nothing is drawn again.
        let judge = Replies(RefCell::new(vec![said([3, 3, 3])]));
        let mut journal = Journal::open(folder.path(), &1).unwrap();
        let never = |_: &Case, _: u64| anyhow::bail!("it is drawn already");
        let found = run(3, case, &judge, &mut journal, never, |_| ()).unwrap();
        assert_eq!((found.overall, found.missing), (Some(8.0 / 3.0), 0));
        let page = found.page(true);
        for part in ["pictures/00001-before.png", "turn it (4.00)", "instruction 5, quality 4"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(run(0, case, &judge, &mut journal, never, |_| ()).is_err());
    }
}
