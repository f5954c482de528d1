//! Runs GenEval from prompts to scores: draws, detects, judges.

use std::fmt;

use anyhow::{Result, anyhow, ensure};
use image::imageops::replace;
use image::{Rgb, RgbImage};
use pollster::FutureExt;
use serde::Serialize;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::{Engine, GenerateRequest};
use unigen_runs::{Interrupt, sheet};

use super::{Prompt, Scores, Tag, judge};
use crate::detect::{BATCH, Detect, Detection, check_judge};

/// Images of each tag on the sheet, and columns of the sheet.
const SHOWN: usize = 24;
const COLUMNS: usize = 12;
/// Pixels of the frame around an image on the sheet, and its colours.
const FRAME: u32 = 4;
const RIGHT: Rgb<u8> = Rgb([40, 150, 80]);
const WRONG: Rgb<u8> = Rgb([205, 50, 50]);

/// One picture and its verdict.
#[derive(Clone, Debug, Serialize)]
pub struct Judged {
    pub tag: Tag,
    pub prompt: String,
    /// `unigen generate` draws the same picture from this seed.
    pub seed: u64,
    pub correct: bool,
    /// What is wrong, one line for each fault.
    pub reason: String,
    pub detections: Vec<Detection>,
    #[serde(skip)]
    pub image: RgbImage,
}

/// All pictures of an evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// How often the detector is right on original pictures, if that was measured.
    pub detector_accuracy: Option<f64>,
    /// The unweighted mean over the tags, 0 to 1.
    pub overall: Option<f64>,
    pub scores: Scores,
    pub images: Vec<Judged>,
}

impl Evaluation {
    /// Does [`run`](Self::run) with pictures that `engine` draws.
    ///
    /// # Errors
    /// Those of [`run`](Self::run) and of [`Engine::generate_batch`], or if Ctrl-C was pressed.
    pub fn of(
        engine: &Engine,
        prompts: &[Prompt],
        samples: usize,
        settings: &GenerationConfig,
        seed: u64,
        judge: &dyn Detect,
        progress: impl FnMut(usize),
    ) -> Result<Self> {
        let draw = |requests: &[GenerateRequest]| {
            Ok(engine.generate_batch(requests, settings, async |_| Interrupt::flow()).block_on()?)
        };
        Self::run(prompts, samples, seed, judge, draw, progress)
    }

    /// Draws `samples` pictures for every prompt, with the seeds `seed`, `seed + 1`, .., and judges them. Calls
    /// `progress` with the number of pictures done.
    ///
    /// # Errors
    /// Before anything is drawn: if the detector is not accurate enough or does not know a name in a prompt, or if
    /// there is nothing to draw. Later: if `draw` or the detector fails.
    pub fn run(
        prompts: &[Prompt],
        samples: usize,
        seed: u64,
        detector: &dyn Detect,
        mut draw: impl FnMut(&[GenerateRequest]) -> Result<Vec<RgbImage>>,
        mut progress: impl FnMut(usize),
    ) -> Result<Self> {
        let accuracy = check_judge(detector)?;
        for prompt in prompts {
            let checked = prompt.check(detector.vocabulary());
            checked.map_err(|what| anyhow!("the prompt \"{}\": {what}", prompt.prompt))?;
        }
        let wanted: Vec<&Prompt> =
            prompts.iter().flat_map(|prompt| std::iter::repeat_n(prompt, samples)).collect();
        ensure!(!wanted.is_empty(), "nothing to draw: give at least one prompt and one sample");
        let mut images = Vec::with_capacity(wanted.len());
        for batch in wanted.chunks(BATCH) {
            let seeds = (images.len() as u64..).map(|index| seed.wrapping_add(index));
            let requests: Vec<GenerateRequest> = batch
                .iter()
                .zip(seeds)
                .map(|(prompt, seed)| GenerateRequest { prompt: prompt.prompt.clone(), seed })
                .collect();
            let drawn = draw(&requests)?;
            let found = detector.detect(&drawn)?;
            ensure!(
                drawn.len() == batch.len() && found.len() == batch.len(),
                "{} prompts gave {} pictures and {} lists of detections",
                batch.len(),
                drawn.len(),
                found.len()
            );
            for (((prompt, request), image), detections) in batch.iter().zip(requests).zip(drawn).zip(found) {
                let verdict = judge(prompt, &detections);
                images.push(Judged {
                    tag: prompt.tag,
                    prompt: request.prompt,
                    seed: request.seed,
                    correct: verdict.correct,
                    reason: verdict.reason,
                    detections,
                    image,
                });
            }
            progress(images.len());
        }
        Ok(Self::judged(Some(accuracy), images))
    }

    /// The scores of pictures that are judged already.
    pub fn judged(detector_accuracy: Option<f64>, images: Vec<Judged>) -> Self {
        let mut scores = Scores::default();
        for judged in &images {
            scores.add(judged.tag, judged.correct);
        }
        Self { detector_accuracy, overall: scores.overall(), scores, images }
    }

    /// A sheet of pictures of all tags, evenly spaced among those judged. A green frame marks a right picture, a red
    /// frame a wrong one. Each has its prompt and the reason.
    pub fn sheet(&self) -> RgbImage {
        let mut cells = Vec::new();
        for tag in Tag::ALL {
            let of_tag: Vec<&Judged> = self.images.iter().filter(|judged| judged.tag == tag).collect();
            let shown = of_tag.len().min(SHOWN);
            cells.extend((0..shown).map(|place| cell(of_tag[place * of_tag.len() / shown])));
        }
        sheet(&cells, COLUMNS, 2)
    }
}

/// A framed picture and its caption.
fn cell(judged: &Judged) -> (RgbImage, String) {
    let (width, height) = judged.image.dimensions();
    let color = if judged.correct { RIGHT } else { WRONG };
    let mut framed = RgbImage::from_pixel(width + 2 * FRAME, height + 2 * FRAME, color);
    replace(&mut framed, &judged.image, FRAME.into(), FRAME.into());
    let caption = match judged.correct {
        true => format!("right: {} (seed {})", judged.prompt, judged.seed),
        false => format!("WRONG: {} (seed {}) - {}", judged.prompt, judged.seed, judged.reason),
    };
    (framed, caption)
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let score = |score: Option<f64>| score.map_or("-".to_owned(), |score| format!("{score:.4}"));
        let mut line = |name, value, images| writeln!(f, "{name:<15}{:>8}{images:>8} images", score(value));
        for tag in Tag::ALL {
            line(tag.name(), self.scores.tag(tag), self.scores.images(tag))?;
        }
        line("overall", self.overall, self.scores.all_images())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MIN_ACCURACY, Vocabulary};
    use std::cell::RefCell;

    /// Finds the objects that the test says were drawn.
    struct Oracle {
        accuracy: f64,
        drawn: RefCell<Vec<Vec<Detection>>>,
    }

    impl Detect for Oracle {
        fn accuracy(&self) -> f64 {
            self.accuracy
        }

        fn vocabulary(&self) -> Vocabulary<'_> {
            Vocabulary { classes: &["dog", "cat"], colors: &["red", "blue"] }
        }

        fn detect(&self, images: &[RgbImage]) -> Result<Vec<Vec<Detection>>> {
            let drawn = self.drawn.take();
            assert_eq!(drawn.len(), images.len());
            Ok(drawn)
        }
    }

    fn prompts(lines: &[&str]) -> Vec<Prompt> {
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    const DOG: &str = r#"{"tag": "single_object", "include": [{"class": "dog", "count": 1}], "prompt": "a photo of a dog"}"#;
    const RED_DOG: &str = r#"{"tag": "colors", "include": [{"class": "dog", "count": 1, "color": "red"}], "prompt": "a photo of a red dog"}"#;

    /// Draws what the prompts ask for, each object where its clause wants it, after `alter` has had its way with the first.
    fn evaluate(
        prompts: &[Prompt],
        samples: usize,
        accuracy: f64,
        alter: impl Fn(usize, &mut Detection),
    ) -> Result<Evaluation> {
        let oracle = Oracle { accuracy, drawn: RefCell::default() };
        let mut done = 0;
        let draw = |requests: &[GenerateRequest]| {
            let images = requests.iter().map(|request| {
                let prompt = prompts.iter().find(|p| p.prompt == request.prompt).unwrap();
                let objects = prompt.include.iter().flat_map(|clause| {
                    let (class, color) = (clause.class.clone(), clause.color.clone());
                    let object = Detection { class, score: 0.95, color, bbox: [10., 10., 20., 20.] };
                    std::iter::repeat_n(object, clause.count)
                });
                let mut objects: Vec<Detection> = objects.collect();
                alter(request.seed as usize, &mut objects[0]);
                oracle.drawn.borrow_mut().push(objects);
                RgbImage::new(24, 24)
            });
            Ok(images.collect())
        };
        let evaluation = Evaluation::run(prompts, samples, 0, &oracle, draw, |images| done = images)?;
        assert_eq!(done, prompts.len() * samples);
        Ok(evaluation)
    }

    #[test]
    fn what_is_wrong_counts_and_shows() {
        // Of four dogs each, one is no dog and three are blue.
        let evaluation = evaluate(&prompts(&[DOG, RED_DOG]), 4, 1.0, |seed, object| {
            if seed == 2 {
                object.class = "cat".into();
            } else if seed > 4 {
                object.color = Some("blue".into());
            }
        })
        .unwrap();
        assert_eq!(evaluation.scores.tag(Tag::SingleObject), Some(0.75));
        assert_eq!(evaluation.scores.tag(Tag::Colors), Some(0.25));
        assert_eq!((evaluation.overall, evaluation.scores.tag(Tag::Counting)), (Some(0.5), None));
        let seeds: Vec<u64> = evaluation.images.iter().map(|judged| judged.seed).collect();
        assert_eq!(seeds, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(evaluation.images[2].reason, "expected dog>=1, found 0");
        let text = evaluation.to_string();
        assert!(text.starts_with("single_object    0.7500       4 images\n"), "{text}");
        assert!(text.ends_with("overall          0.5000       8 images\n"), "{text}");
        let sheet = evaluation.sheet();
        let framed = |color| sheet.pixels().filter(|pixel| **pixel == color).count();
        assert_eq!(framed(RIGHT), framed(WRONG), "four right, four wrong");
        assert!(framed(RIGHT) > 0);
        let json = serde_json::to_value(&evaluation).unwrap();
        assert_eq!((&json["overall"], &json["images"][5]["correct"]), (&0.5.into(), &false.into()));
        assert_eq!(json["scores"]["single_object"]["images"], 4);
        let found = serde_json::json!({"class": "cat", "color": null, "bbox": [10.0, 10.0, 20.0, 20.0]});
        assert_eq!(json["images"][2]["detections"][0]["class"], found["class"]);
        assert_eq!(json["images"][2]["detections"][0]["color"], found["color"]);
        assert_eq!(json["images"][2]["detections"][0]["bbox"], found["bbox"]);
    }

    #[test]
    fn a_poor_detector_may_not_judge() {
        let prompts = &prompts(&[DOG]);
        for accuracy in [0.97, f64::NAN, 1.5] {
            let error = evaluate(prompts, 1, accuracy, |_, _| ()).unwrap_err().to_string();
            assert!(error.contains("0.98") && error.contains("train it longer"), "{error}");
        }
        assert!(evaluate(prompts, 1, MIN_ACCURACY, |_, _| ()).is_ok());
        assert!(evaluate(prompts, 0, 1.0, |_, _| ()).unwrap_err().to_string().contains("nothing to draw"));
    }

    #[test]
    fn what_the_detector_does_not_know_is_not_drawn() {
        let fails = |line: String| {
            let never = |_: &[GenerateRequest]| panic!("nothing should be drawn");
            let oracle = Oracle { accuracy: 1.0, drawn: RefCell::default() };
            Evaluation::run(&prompts(&[DOG, &line]), 1, 0, &oracle, never, |_| ()).unwrap_err().to_string()
        };
        let error = fails(RED_DOG.replace("\"dog\"", "\"hot dog\""));
        assert!(error.contains("\"a photo of a red dog\": unknown class \"hot dog\""), "{error}");
        assert!(error.ends_with("did you mean \"dog\"?"), "{error}");
        assert!(fails(RED_DOG.replace("\"red\"", "\"mauve\"")).contains("choose one of red, blue"));
    }
}
