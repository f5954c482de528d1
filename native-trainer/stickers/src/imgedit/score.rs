//! Three scores for an edited picture, from 1 to 5 as ImgEdit's judges give them (Ye et al. 2025, arXiv 2505.20275):
//! whether it does what was asked, whether it preserves the rest, and whether it is well drawn. The first score bounds
//! the other two, so a copy of the picture before scores 1.

use image::RgbImage;
use serde::Serialize;
use unigen_evaluation::geneval::relations;

use super::change::{Change, Changes, Thing, length};
use super::pixels::{all, distance, falling, grown, mean, within};
use super::quality::Quality;
use crate::judge::{Detection, middle, same_place};
use crate::world::{Renderer, Scene, Style};

/// Mean pixel errors, 0 to 1, of what should stay unchanged, between which a score falls from best to worst.
const STAYS: [f64; 2] = [0.02, 0.2];
/// A moved object is in its place if it is within this share of the picture's side.
const NEAR: f32 = 0.12;

/// The scores of one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Scores {
    /// How well the judge's detections match the wanted scene, and their shapes the wanted objects.
    pub instruction: f64,
    /// How well unedited objects and pixels are preserved, and whether anything has come that nobody asked for. Never
    /// above `instruction`.
    pub preservation: f64,
    /// Whether the objects have their shapes, are sharp, and stand alone on a clean background. Never above
    /// `instruction`.
    pub quality: f64,
}

impl Scores {
    /// The mean of the three, 1 to 5.
    pub fn mean(&self) -> f64 {
        (self.instruction + self.preservation + self.quality) / 3.0
    }

    /// Scores from three shares, 0 to 1.
    fn of(instruction: f64, preservation: f64, quality: f64) -> Self {
        let [instruction, preservation, quality] =
            [instruction, preservation, quality].map(|s| 1.0 + 4.0 * s);
        let [preservation, quality] = [preservation, quality].map(|score| score.min(instruction));
        Self { instruction, preservation, quality }
    }
}

/// The pictures of a case, all of one size, and what it asks for.
#[derive(Clone, Debug)]
pub struct Pictures {
    pub before: RgbImage,
    pub wanted: RgbImage,
    /// The scene of `wanted`.
    pub scene: Scene,
    pub changes: Changes,
    /// The wanted scene in every style, if the style should change.
    pub styles: Vec<(Style, RgbImage)>,
    /// Whether `before` is a render. If so, the unedited pixels are those that equal the wanted picture's.
    pub rendered: bool,
}

impl Pictures {
    /// The wanted scene in every style.
    pub fn in_styles(renderer: &Renderer, scene: &Scene, size: u32) -> Vec<(Style, RgbImage)> {
        let drawn = |style| (style, renderer.render(&Scene { style, ..scene.clone() }, size, size));
        Style::ALL.map(drawn).into()
    }

    /// The scores of `drawn`, in which the judge found `detections`, and the faults, one line each.
    pub fn score(
        &self,
        drawn: &RgbImage,
        detections: &[Detection],
        quality: &Quality,
    ) -> (Scores, Vec<String>) {
        let mut seen = Seen { free: detections.iter().collect(), taken: Vec::new() };
        let mut wrong = Vec::new();
        let shape = |thing: &Thing| self.index(thing).map_or(1.0, |index| quality.shape(index));
        let kept: Vec<f64> = self.changes.kept.iter().map(|thing| seen.kept(thing) * shape(thing)).collect();
        if let Some(lost) = kept.iter().position(|kept| *kept < 0.75) {
            wrong.push(format!("the {} is not as before", self.changes.kept[lost].truth.class));
        }
        let kept = mean(kept.into_iter()).unwrap_or(1.0);
        let mut done = Vec::new();
        for change in &self.changes.changes {
            let (share, what) = self.done(change, drawn, &mut seen);
            let share = share * change.becomes().map_or(1.0, shape);
            if share < 0.75 {
                wrong.push(what);
            }
            done.push(share);
        }
        let done = mean(done.into_iter()).unwrap_or(0.0);
        let stays = match self.unedited_error(drawn, &seen.taken) {
            Some(error) if self.changes.kept.is_empty() => falling(error, STAYS),
            Some(error) => (falling(error, STAYS) + kept) / 2.0,
            None => kept,
        };
        // What has come without being asked for: things count in full, dirt by half, since it is not always in the way.
        let alone = (1.0 + quality.cleanness) / 2.0 / (1.0 + quality.strays as f64);
        if quality.strays > 0 {
            wrong.push("something is there that nobody asked for".into());
        }
        if quality.share() < 0.75 {
            wrong.push("it is not well drawn".into());
        }
        (Scores::of(done * (1.0 + kept) / 2.0, stays * alone, quality.share()), wrong)
    }

    /// The place of an object in the wanted scene.
    fn index(&self, thing: &Thing) -> Option<usize> {
        self.scene.objects.iter().position(|object| Some(object) == thing.object())
    }

    /// How far a change is done, 0 to 1, and the fault to report if it is not.
    fn done(&self, change: &Change, drawn: &RgbImage, seen: &mut Seen) -> (f64, String) {
        match change {
            Change::Style => {
                let errors =
                    self.styles.iter().map(|(style, picture)| (*style, distance(drawn, picture, all(drawn))));
                let nearest = errors.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(style, _)| style);
                let style = self.scene.style;
                (f64::from(nearest == Some(style)), format!("the style is not {}", style.name()))
            }
            Change::Background => {
                let things = self.changes.wanted().map(|thing| thing.truth.bbox).chain(self.changes.boxes());
                let things: Vec<_> = things.chain(seen.all().map(|d| d.bbox)).map(grown).collect();
                let behind = || all(drawn).filter(|&(x, y)| !within(&things, x, y));
                let left = distance(drawn, &self.wanted, behind())
                    / distance(&self.before, &self.wanted, behind()).max(1e-9);
                (1.0 - left.clamp(0.0, 1.0), "the background is not as asked for".into())
            }
            Change::Comes { thing, placed } => {
                let place =
                    |found: &Detection| !placed || self.in_place(thing, None, &found.bbox, drawn.width());
                let share = seen.take(thing, &place).map_or(0.0, |found| {
                    let color = if found.color == thing.truth.color { 1.0 } else { 0.5 };
                    color * if place(found) { 1.0 } else { 0.5 }
                });
                (share, format!("no {} was added as asked for", thing.truth.class))
            }
            Change::Goes(thing) => {
                // The judge may have missed it in the picture before.
                let unseen = seen.take(thing, &|_| true).is_none();
                let gone = unseen && self.progress(drawn, &thing.truth.bbox) > 0.5;
                (f64::from(gone), format!("the {} is still there", thing.truth.class))
            }
            Change::Becomes { from, to } if to.is_turned_from(from) => {
                // The judge was never trained on scenes with objects upside down.
                seen.drop_at(&to.truth.bbox);
                (
                    self.progress(drawn, &to.truth.bbox),
                    format!("the {} is not turned as asked for", to.truth.class),
                )
            }
            Change::Becomes { from, to } => {
                let place = |found: &Detection| same_place(&found.bbox, &to.truth.bbox);
                let moved = to.is_moved_from(from);
                let Some(found) = seen.take(to, &place).filter(|found| moved || place(found)) else {
                    return (0.0, format!("there is no {} where it should be", to.truth.class));
                };
                let mut facts = Vec::new();
                let class = to.truth.class != from.truth.class;
                let color = to.truth.color != from.truth.color;
                facts.extend(class.then_some(true));
                facts.extend(color.then_some(found.color == to.truth.color));
                if !class && to.is_resized_from(from) {
                    let log = |bbox: &[f32; 4]| (length(bbox) / length(&from.truth.bbox)).ln();
                    facts.push(log(&found.bbox) / log(&to.truth.bbox) > 0.5);
                }
                facts.extend(moved.then(|| self.in_place(to, Some(from), &found.bbox, drawn.width())));
                let right = mean(facts.iter().map(|fact| f64::from(*fact))).unwrap_or(0.0);
                let as_before = if color || found.color == to.truth.color { 1.0 } else { 0.5 };
                (right * as_before, format!("the {} is not changed as asked for", to.truth.class))
            }
        }
    }

    /// How far the picture inside a box has come from the picture before to the wanted one, 0 to 1.
    fn progress(&self, drawn: &RgbImage, bbox: &[f32; 4]) -> f64 {
        let here = || all(drawn).filter(|&(x, y)| within(&[*bbox], x, y));
        let left =
            distance(drawn, &self.wanted, here()) / distance(&self.before, &self.wanted, here()).max(1e-9);
        1.0 - left.clamp(0.0, 1.0)
    }

    /// Whether a box is where an object should be: near the wanted place, or in the wanted relations to the old place
    /// and to all other objects.
    fn in_place(&self, thing: &Thing, from: Option<&Thing>, bbox: &[f32; 4], size: u32) -> bool {
        let ([x, y], [wanted_x, wanted_y]) = (middle(bbox), middle(&thing.truth.bbox));
        let others = self.changes.wanted().filter(|other| *other != thing).chain(from);
        let others: Vec<_> = others.map(|other| other.truth.bbox).collect();
        let held = |bbox: &[f32; 4]| others.iter().map(|other| relations(bbox, other)).collect::<Vec<_>>();
        let near = (x - wanted_x).hypot(y - wanted_y) <= NEAR * size as f32;
        near || !others.is_empty() && held(bbox) == held(&thing.truth.bbox)
    }

    /// The mean error of the pixels that should stay unchanged, 0 to 1. None if there are hardly any.
    fn unedited_error(&self, drawn: &RgbImage, taken: &[[f32; 4]]) -> Option<f64> {
        let boxes: Vec<_> = self.changes.boxes().chain(taken.iter().copied()).map(grown).collect();
        if self.changes.has(&Change::Style) || !self.rendered && self.changes.has(&Change::Background) {
            return None;
        }
        let stays = |x: u32, y: u32| {
            !within(&boxes, x, y)
                && (!self.rendered || self.before.get_pixel(x, y) == self.wanted.get_pixel(x, y))
        };
        let errors = all(drawn).filter(|&(x, y)| stays(x, y)).map(|(x, y)| {
            let pairs = drawn.get_pixel(x, y).0.into_iter().zip(self.before.get_pixel(x, y).0);
            pairs.map(|(a, b)| f64::from(a.abs_diff(b))).sum::<f64>() / (3.0 * 255.0)
        });
        let errors: Vec<f64> = errors.collect();
        let enough = errors.len() * 100 > (drawn.width() * drawn.height()) as usize;
        mean(errors.into_iter()).filter(|_| enough)
    }
}

/// The judge's detections that no object of the wanted scene has taken yet.
struct Seen<'a> {
    free: Vec<&'a Detection>,
    /// The boxes of detections that were taken as new or changed objects.
    taken: Vec<[f32; 4]>,
}

impl<'a> Seen<'a> {
    /// How far an object is unchanged, 0 to 1.
    fn kept(&mut self, thing: &Thing) -> f64 {
        let here = |found: &&Detection| {
            found.class == thing.truth.class && same_place(&found.bbox, &thing.truth.bbox)
        };
        let Some(at) = self.free.iter().position(here) else { return 0.0 };
        if self.free.remove(at).color == thing.truth.color { 1.0 } else { 0.5 }
    }

    /// The best detection for `thing`: one of its class, preferably in its `place`, then of its colour.
    fn take(&mut self, thing: &Thing, place: &dyn Fn(&Detection) -> bool) -> Option<&'a Detection> {
        let fits = |found: &Detection| (place(found), found.color == thing.truth.color);
        let of_class = self.free.iter().enumerate().filter(|(_, found)| found.class == thing.truth.class);
        // The most confident detection comes first and wins a tie.
        let at = of_class.rev().max_by_key(|(_, found)| fits(found)).map(|(at, _)| at)?;
        let found = self.free.remove(at);
        self.taken.push(found.bbox);
        Some(found)
    }

    /// Removes the detections at a place where an object is requested.
    fn drop_at(&mut self, bbox: &[f32; 4]) {
        self.free.retain(|found| !same_place(&found.bbox, bbox));
    }

    fn all(&self) -> impl Iterator<Item = &'a Detection> {
        self.free.iter().copied()
    }
}
