//! Scenes as captioned pictures to train on.

use anyhow::{Context, Result, ensure};
use image::RgbImage;
use rand::{Rng, RngExt, seq::SliceRandom};
use serde_json::{Value, json};
use std::sync::Arc;
use unigen_training::data::{Annotation, Captioned, Pictures, QUESTIONS, Region, pick_at, rng_at};

use crate::world::{
    Color, Domain, QuestionAnswer, QuestionKind, Renderer, Scene, Scope, Split, Truth, edit_at, questions,
    scene_at, typed,
};

/// The version of the world. Raise it when a seed gives other scenes, so that kept image codes of the old scenes are
/// not used.
const VERSION: u32 = 4;

/// The number of things, and the number of colours (the ten and natural colours). A [`Region`]'s labels are below them.
pub(crate) fn labels(scope: Scope) -> [usize; 2] {
    [scope.things, Color::ALL.len() + 1]
}

/// An endless stream of pictures of the scenes of a domain.
pub struct ScenePictures {
    renderer: Renderer,
    domain: Domain,
    seed: u64,
}

impl ScenePictures {
    /// The scenes for `seed`.
    pub fn new(domain: impl Into<Domain>, seed: u64) -> Self {
        Self { renderer: Renderer::new(), domain: domain.into(), seed }
    }
}

/// The part of a stream's name that tells its scope. The small world has none.
pub(crate) fn scope_name(scope: Scope) -> String {
    let Scope { things, solid, chinese } = scope;
    let or_not = |of: bool, word| if of { word } else { "" };
    match scope.is_small() {
        true => String::new(),
        false => format!(" {things}{}{}", or_not(solid, " solid"), or_not(chinese, " chinese")),
    }
}

impl Pictures for ScenePictures {
    fn name(&self) -> String {
        let Self { domain: Domain { scope, split }, seed, .. } = self;
        let scope = scope_name(*scope);
        match split {
            Split::Train => format!("stickers {VERSION} {seed}{scope}"),
            _ => format!("stickers {VERSION} {seed} {split:?}{scope}"),
        }
    }

    fn count(&self) -> Option<u64> {
        None
    }

    fn captioned(&self, index: u64, [width, height]: [u32; 2]) -> Result<Captioned> {
        let scene = scene_at(self.domain, self.seed, index);
        let picture = self.renderer.render(&scene, width, height);
        Ok(Captioned { picture, annotation: Arc::new(Told { scene, scope: self.domain.scope }) })
    }

    /// Three of four pictures are scenes, and one is the result of an edit.
    fn picture(&self, index: u64, size: u32) -> Result<RgbImage> {
        let scene = match index % 4 {
            3 => edit_at(self.domain, self.seed, index).after,
            _ => scene_at(self.domain, self.seed, index),
        };
        Ok(self.renderer.render(&scene, size, size))
    }

    /// Captions, instructions, descriptions, and questions with their answers.
    fn texts(&self, count: u64) -> Result<Vec<String>> {
        let of = |index| {
            let mut rng = rng_at(!self.seed, index);
            let scene = scene_at(self.domain, self.seed, index);
            let edit = edit_at(self.domain, self.seed, index);
            let scope = self.domain.scope;
            let mut texts = vec![typed(scope, &scene, &mut rng), edit.instruction, edit.description];
            let asked = questions(&scene, scope, &mut rng).into_iter().take(1);
            texts.extend(asked.flat_map(|asked| [asked.question, asked.answer]));
            texts
        };
        Ok((0..count / 4).flat_map(of).collect())
    }

    fn annotation(&self, record: Value) -> Result<Arc<dyn Annotation>> {
        let Value::Object(mut record) = record else { anyhow::bail!("a scene's record is an object") };
        let scene = record.remove(RECORD).with_context(|| format!("the record has no \"{RECORD}\""))?;
        ensure!(record.is_empty(), "the record has more than a \"{RECORD}\"");
        let scene = serde_json::from_value(scene).context("the scene of a record")?;
        Ok(Arc::new(Told { scene, scope: self.domain.scope }))
    }
}

/// Key of a scene in its record.
const RECORD: &str = "Scene";

/// A scene with everything that can be said about it. The wording differs at each visit.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    scene: Scene,
    scope: Scope,
}

/// How often questions are drawn for a picture: yes-or-no questions, and the others.
const DRAWS: [usize; 2] = [8, 3];
/// Share of conversations that consist of questions with short answers.
const SHORT: f64 = 0.75;

impl Annotation for Told {
    fn caption(&self, visit: u64) -> String {
        typed(self.scope, &self.scene, &mut rng_at(0x5EED_CA97, visit))
    }

    /// A conversation has mostly many questions with short answers, otherwise the caption. The hard part is to find the
    /// object that a question is about, and a sequence with a dozen questions costs only half as much again as one with
    /// a single question.
    ///
    /// But a conversation gives answers away: "what color is the cup?" says that there is a cup, and the place of the
    /// cup tells the place of its neighbour. A model that can read an answer there does not learn to look at the
    /// picture (yes-or-no answers stayed at chance). So a what or where question comes first and is the only one of its
    /// kind, and yes-or-no questions are about other pictures.
    fn conversation(&self, visit: u64, mut rng: &mut dyn Rng) -> Vec<[String; 2]> {
        use QuestionKind::{HowMany, What, Where, WhichColor, YesNo};
        let told = || vec![[pick_at::<&str>(&QUESTIONS, visit).to_string(), self.caption(visit)]];
        if !rng.random_bool(SHORT) {
            return told();
        }
        let first = *pick_at(&[YesNo, YesNo, YesNo, What, Where, Where, HowMany], rng.random());
        let draws = if first == YesNo { DRAWS[0] } else { DRAWS[1] };
        let mut asked: Vec<_> =
            (0..draws).flat_map(|_| questions(&self.scene, self.scope, &mut rng)).collect();
        asked.sort_unstable_by(|a, b| a.question.cmp(&b.question));
        asked.dedup();
        asked.shuffle(&mut rng);
        if first == YesNo {
            asked.retain(|asked| asked.kind == YesNo);
            asked.sort_by_key(QuestionAnswer::takes_for_granted);
        } else {
            let opening = asked.iter().position(|asked| asked.kind == first).map(|place| asked.remove(place));
            asked.retain(|asked| matches!(asked.kind, HowMany | WhichColor));
            asked.splice(..0, opening);
        }
        if asked.is_empty() {
            return told();
        }
        asked.into_iter().map(|QuestionAnswer { question, answer, .. }| [question, answer]).collect()
    }

    fn regions(&self, [width, height]: [u32; 2]) -> Option<Vec<Region>> {
        let region = |Truth { class, color, bbox }| Region {
            bbox,
            labels: [class.index(), color.map_or(Color::ALL.len(), Color::index)],
        };
        Some(Truth::of(&self.scene, width, height).into_iter().map(region).collect())
    }

    fn record(&self) -> Value {
        // The scene goes through text, in which a 32-bit number keeps its few digits.
        let scene = serde_json::to_string(&self.scene).and_then(|text| serde_json::from_str::<Value>(&text));
        json!({ RECORD: scene.expect("a scene is plain data") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_has_its_answer() {
        let pictures = ScenePictures::new(Split::Validation, 1);
        let (mut short, mut told, mut questions) = (0, 0, 0);
        for index in 0..100 {
            let annotation = pictures.captioned(index, [16, 24]).unwrap().annotation;
            let turns = annotation.conversation(index, &mut rng_at(2, index));
            assert!(turns.iter().flatten().all(|text| !text.is_empty()));
            match QUESTIONS.contains(&turns[0][0].as_str()) {
                true => told += turns.len(),
                false => (short, questions) = (short + 1, questions + turns.len()),
            }
        }
        assert!(short > 60 && told > 10 && short + told == 100, "{short} {told}");
        assert!(questions > 6 * short, "{questions} about {short} pictures");
    }

    /// Caches of image codes are identified by the name and hold the records, so both must stay readable.
    #[test]
    fn names_and_records_stay_what_they_are() {
        assert_eq!(ScenePictures::new(Split::Train, 3).name(), "stickers 4 3");
        assert_eq!(ScenePictures::new(Split::Validation, 3).name(), "stickers 4 3 Validation");
        let pictures = ScenePictures::new(Split::Train, 3);
        for index in 0..50 {
            let annotation = pictures.square(index, 16).unwrap().annotation;
            let text = serde_json::to_string(&annotation.record()).unwrap();
            let scene = scene_at(Split::Train, 3, index);
            assert_eq!(text, format!("{{\"Scene\":{}}}", serde_json::to_string(&scene).unwrap()));
            let read = pictures.annotation(serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(read.record(), annotation.record());
            assert_eq!(read.caption(7), annotation.caption(7));
        }
        for broken in [json!("a text"), json!({"Text": "my picture"}), json!({"Scene": {"objects": []}})] {
            assert!(pictures.annotation(broken).is_err());
        }
    }

    /// Outside the regions, the picture equals that of the scene without its objects.
    #[test]
    fn regions_are_where_the_objects_are() {
        let renderer = Renderer::new();
        let (mut nothing, mut something) = (0, 0);
        for index in 0..20 {
            let scene = scene_at(Split::Train, 3, index);
            let empty = Scene { objects: vec![], ..scene.clone() };
            let [width, height] = [[96, 96], [64, 96], [120, 72]][index as usize % 3];
            let [picture, empty] = [&scene, &empty].map(|scene| renderer.render(scene, width, height));
            let regions = Told { scene, scope: Scope::default() }.regions([width, height]).unwrap();
            for (top, left) in (0..height).step_by(8).flat_map(|y| (0..width).step_by(8).map(move |x| (y, x)))
            {
                let middle = [left as f32 + 4.0, top as f32 + 4.0];
                let covered = regions.iter().any(|Region { bbox, .. }| {
                    (0..2).all(|axis| (bbox[axis]..bbox[axis + 2]).contains(&middle[axis]))
                });
                let places = (top..top + 8).flat_map(|y| (left..left + 8).map(move |x| (x, y)));
                let change: u32 = places
                    .flat_map(|(x, y)| std::iter::zip(picture.get_pixel(x, y).0, empty.get_pixel(x, y).0))
                    .map(|(a, b)| u32::from(a.abs_diff(b)))
                    .sum();
                let change = change as f32 / (3.0 * 64.0 * 127.5);
                match covered {
                    true => something += usize::from(change > 0.02),
                    // An object's edge may reach into a patch without covering its middle.
                    false => nothing += usize::from(change < 0.2),
                }
            }
        }
        assert!(nothing > 1000 && something > 200, "{nothing} {something}");
    }

    #[test]
    fn regions_are_the_objects_in_their_order() {
        let scene = scene_at(Split::Train, 3, 1);
        let regions = Told { scene: scene.clone(), scope: Scope::default() }.regions([120, 72]).unwrap();
        assert_eq!(regions.len(), scene.objects.len());
        for (region, object) in regions.iter().zip(&scene.objects) {
            assert_eq!(region.labels[0], object.class.index());
            let color = Color::ALL.get(region.labels[1]).copied();
            assert_eq!(color, scene.color_of(object));
            assert!(region.labels.iter().zip(labels(Scope::default())).all(|(label, count)| *label < count));
            let [left, top, right, bottom] = region.bbox;
            assert!(24.0 <= left && left < right && right <= 96.0, "the middle of the picture");
            assert!(0.0 <= top && top < bottom && bottom <= 72.0);
        }
    }
}
