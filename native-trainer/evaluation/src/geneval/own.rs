//! GenEval by a detector that runs elsewhere, or by a vision-language model: the pictures are drawn into a folder, and
//! verdicts are added when there are detections, or when the model has answered.

use anyhow::{Context, Result, ensure};
use image::RgbImage;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

use super::{Evaluation, Judged, Prompt, judge};
use crate::ask::{Ask, Asked, yes_or_no};
use crate::detect::Detection;
use crate::journal::Journal;
use crate::page::{Entry, page};

/// Detections by the name of the picture, such as `00012-0.png`.
pub type Detections = HashMap<String, Vec<Detection>>;

/// What decides whether a picture is right.
pub enum Verdicts<'a> {
    /// Nothing yet: the pictures are only drawn.
    None,
    /// GenEval's rules over detections.
    Detections(&'a Detections),
    /// A model that is asked whether the picture shows its prompt.
    Judge(&'a dyn Ask),
}

/// A verdict as the journal keeps it.
#[derive(Serialize, Deserialize)]
struct Kept {
    correct: bool,
    reason: String,
}

/// Draws `samples` pictures of each prompt by `draw`, from prompts and seeds, and decides by `verdicts`. What `journal`
/// has is not done again. Without any verdict there is no evaluation. Calls `progress` with the number of pictures
/// done.
///
/// # Errors
/// If a picture has no detections; if `draw` fails or the journal cannot be written.
pub fn run(
    prompts: &[Prompt],
    samples: usize,
    seed: u64,
    verdicts: &Verdicts,
    journal: &mut Journal,
    mut draw: impl FnMut(&str, u64) -> Result<RgbImage>,
    mut progress: impl FnMut(usize),
) -> Result<(Option<Evaluation>, usize)> {
    ensure!(!prompts.is_empty() && samples > 0, "nothing to draw: give at least one prompt and one sample");
    let (mut images, mut missing) = (Vec::new(), 0);
    for (number, prompt) in prompts.iter().enumerate() {
        for sample in 0..samples {
            let key = format!("{number:05}-{sample}");
            let place = (number * samples + sample) as u64;
            let seed = seed.wrapping_add(place);
            let image = match journal.picture(&key)? {
                Some(image) => image,
                None => {
                    let image = draw(&prompt.prompt, seed)?;
                    journal.add_picture(&key, &image)?;
                    image
                }
            };
            let (kept, detections) = match verdicts {
                Verdicts::None => (None, vec![]),
                Verdicts::Detections(found) => {
                    let name = format!("{key}.png");
                    let found = found.get(&name).with_context(|| {
                        format!("the detections have no picture {name}; an empty list means that nothing was found")
                    })?;
                    let verdict = judge(prompt, found);
                    (Some(Kept { correct: verdict.correct, reason: verdict.reason }), found.clone())
                }
                Verdicts::Judge(model) => (asked(prompt, &image, &key, *model, journal)?, vec![]),
            };
            missing += usize::from(kept.is_none());
            images.extend(kept.map(|Kept { correct, reason }| Judged {
                tag: prompt.tag,
                prompt: prompt.prompt.clone(),
                seed,
                correct,
                reason,
                detections,
                image,
            }));
            progress(place as usize + 1);
        }
    }
    let found = (!images.is_empty()).then(|| Evaluation::judged(None, images));
    Ok((found, missing))
}

/// The verdict of the model, which is asked once.
fn asked(
    prompt: &Prompt,
    image: &RgbImage,
    key: &str,
    model: &dyn Ask,
    journal: &mut Journal,
) -> Result<Option<Kept>> {
    // Another judge may have another opinion.
    let key = &format!("{key} by {}", model.name());
    if let Some(kept) = journal.get(key)? {
        return Ok(Some(kept));
    }
    let text = format!(
        "Does the picture show exactly this: \"{}\"? Objects, their number, colors and places must all be right. \
         Answer with one word, yes or no.",
        prompt.prompt
    );
    let asked = Asked { images: vec![image.clone()], text, max_tokens: 16 };
    let answer = model.ask(&[asked]).pop().unwrap_or_else(|| Err("no answer came back".to_owned()));
    let Some(correct) = answer.as_ref().ok().and_then(|answer| yes_or_no(answer)) else { return Ok(None) };
    let reason = if correct { String::new() } else { "the judge says no".to_owned() };
    let kept = Kept { correct, reason };
    journal.add(key, &kept)?;
    Ok(Some(kept))
}

/// A page of the pictures with their verdicts. `samples` and `seed` are those of [`run`].
pub fn geneval_page(found: &Evaluation, samples: usize, seed: u64) -> String {
    let mut numbers = vec![("overall".to_owned(), number(found.overall))];
    numbers.extend(super::Tag::ALL.map(|tag| (tag.name().to_owned(), number(found.scores.tag(tag)))));
    let entry = |judged: &Judged| {
        let (place, samples) = (judged.seed.wrapping_sub(seed), samples.max(1) as u64);
        let key = format!("{:05}-{}", place / samples, place % samples);
        Entry {
            pictures: vec![(Journal::picture_path(&key), judged.tag.name().to_owned())],
            title: judged.prompt.clone(),
            lines: judged.reason.lines().map(str::to_owned).collect(),
            right: Some(judged.correct),
        }
    };
    page("GenEval", &numbers, &found.images.iter().map(entry).collect::<Vec<_>>())
}

fn number(score: Option<f64>) -> String {
    score.map_or("-".to_owned(), |score| format!("{score:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use std::cell::Cell;

    fn prompts() -> Vec<Prompt> {
        let line = |class: &str| {
            format!(
                "{{\"tag\": \"single_object\", \"include\": [{{\"class\": \"{class}\", \"count\": 1}}], \"prompt\": \"a {class}\"}}"
            )
        };
        ["dog", "cat"].map(|class| serde_json::from_str(&line(class)).unwrap()).into()
    }

    fn draw(_: &str, seed: u64) -> Result<RgbImage> {
        Ok(RgbImage::from_pixel(2, 2, Rgb([seed as u8; 3])))
    }

    #[test]
    fn pictures_are_drawn_first_and_judged_by_detections_later() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), &1).unwrap();
        let (none, missing) = run(&prompts(), 2, 7, &Verdicts::None, &mut journal, draw, |_| ()).unwrap();
        assert!(none.is_none() && missing == 4);
        assert!(folder.path().join("pictures/00001-1.png").exists());
        let dog = Detection { class: "dog".into(), score: 0.9, color: None, bbox: [0.0, 0.0, 1.0, 1.0] };
        let mut found: Detections = ["00000-0.png", "00001-0.png", "00001-1.png"]
            .map(|name| (name.to_owned(), vec![dog.clone()]))
            .into();
        let never = |_: &str, _: u64| anyhow::bail!("it is drawn already");
        let judged = |found: &Detections, journal: &mut Journal| {
            run(&prompts(), 2, 7, &Verdicts::Detections(found), journal, never, |_| ())
        };
        let error = judged(&found, &mut journal).unwrap_err().to_string();
        assert!(error.contains("00000-1.png"), "{error}");
        found.insert("00000-1.png".into(), vec![]);
        let (found, missing) = judged(&found, &mut journal).unwrap();
        let found = found.unwrap();
        assert_eq!((found.overall, missing, found.images[3].seed), (Some(0.25), 0, 10));
        assert!(geneval_page(&found, 2, 7).contains("pictures/00001-1.png"));
    }

    #[test]
    fn a_judge_is_asked_once() {
        struct Dogs(Cell<usize>);
        impl Ask for Dogs {
            fn name(&self) -> String {
                "dogs".into()
            }

            fn ask(&self, asked: &[Asked]) -> Vec<Result<String, String>> {
                self.0.set(self.0.get() + 1);
                let answer = |asked: &Asked| match asked.images[0].get_pixel(0, 0)[0] {
                    3 => Err("busy".to_owned()),
                    _ => Ok(if asked.text.contains("dog") { "Yes." } else { "no" }.to_owned()),
                };
                asked.iter().map(answer).collect()
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path(), &1).unwrap();
        let dogs = Dogs(Cell::default());
        for asked in [4, 5] {
            let (found, missing) =
                run(&prompts(), 2, 0, &Verdicts::Judge(&dogs), &mut journal, draw, |_| ()).unwrap();
            let right: Vec<bool> = found.unwrap().images.iter().map(|judged| judged.correct).collect();
            assert_eq!((right, missing), (vec![true, true, false], 1));
            assert_eq!(dogs.0.get(), asked, "only what has no answer is asked again");
        }
    }
}
