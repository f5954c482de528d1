//! How well an edited picture is drawn, measured against the picture that it should be: the wanted scene with each
//! object where the drawing has it.
//!
//! The bounds are calibrated on the shipped model's tokenizer: its reconstructions of the wanted pictures score 4.6, and
//! pictures with a third of their cells mangled score below 2 (`imgedit/tests.rs`).

use image::RgbImage;

use super::change::length;
use super::pixels::{distance, falling, grown, inside, mean, within};
use crate::judge::{Detection, Unlike, middle, same_place};
use crate::world::{Object, Renderer, Scene, Truth};

/// Distances of the judge's features between which the shape of an object falls from right to lost. Four of five
/// reconstructed objects are nearer than the first.
const SHAPE: [f64; 2] = [0.04, 0.17];
/// Shares of the wanted gradient that are missing, or too much, between which an object falls from sharp to smeared, or
/// from clean to noisy.
const BLUR: [f64; 2] = [0.3, 0.7];
const NOISE: [f64; 2] = [0.4, 2.0];
/// A patch of the background with a larger mean pixel error, 0 to 1, is dirty.
const DIRTY: f64 = 0.06;
/// Shares of dirty patches between which a picture falls from clean to spoilt.
const CLEAN: [f64; 2] = [0.01, 0.08];
/// The mean squared error up to which an object stands exactly where it should.
const EXACT: f64 = 1e-3;
/// Offsets in pixels, along each axis, among which an object's place is refined.
const OFFSETS: [f32; 3] = [-1.0, 0.0, 1.0];
/// Sides of the picture in patches. The dirt of a picture is looked for patch by patch, so that one smear counts.
const PATCHES: u32 = 24;

/// A drawing beside what it should be.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The wanted scene, its objects where the drawing has them.
    pub picture: RgbImage,
    /// The boxes of its objects in pixels, in the order of the scene.
    pub boxes: Vec<[f32; 4]>,
    /// Detections that belong to no object of the scene.
    pub strays: Vec<Detection>,
}

impl Expected {
    /// Finds the objects of `wanted` in `drawn` by what the judge saw. Objects that it has not seen stay in their
    /// wanted places.
    pub fn of(renderer: &Renderer, wanted: &Scene, drawn: &RgbImage, detections: &[Detection]) -> Self {
        let (width, height) = drawn.dimensions();
        let truths = Truth::of(wanted, width, height);
        let mut strays: Vec<Detection> = detections.to_vec();
        let mut seen: Vec<Option<Detection>> = vec![None; truths.len()];
        // The judge may take one thing for another: then what is in its place is the object, spoilt.
        for (of_class, in_place) in [(true, true), (true, false), (false, true)] {
            for (truth, seen) in truths.iter().zip(&mut seen).filter(|(_, seen)| seen.is_none()) {
                let [x, y] = middle(&truth.bbox);
                let far = |found: &Detection| {
                    let [a, b] = middle(&found.bbox);
                    (a - x).hypot(b - y)
                };
                let fits = |found: &Detection| {
                    (!of_class || truth.class == found.class)
                        && (!in_place || same_place(&truth.bbox, &found.bbox))
                };
                let fitting = strays.iter().enumerate().filter(|(_, found)| fits(found));
                let nearest = fitting.min_by(|(_, a), (_, b)| far(a).total_cmp(&far(b))).map(|(at, _)| at);
                *seen = nearest.map(|at| strays.remove(at));
            }
        }
        let mut scene = wanted.clone();
        for (index, (truth, seen)) in truths.iter().zip(&seen).enumerate() {
            let Some(seen) = seen else { continue };
            let around = around([truth.bbox, seen.bbox]);
            let mut best = (f64::INFINITY, scene.objects[index].clone());
            for object in placed(&wanted.objects[index], truth, seen, width.min(height) as f32) {
                scene.objects[index] = object.clone();
                let error = distance(drawn, &renderer.render(&scene, width, height), inside(drawn, &around));
                if error < best.0 {
                    best = (error, object);
                }
                if error < EXACT {
                    break;
                }
            }
            scene.objects[index] = best.1;
        }
        let boxes = Truth::of(&scene, width, height).into_iter().map(|truth| truth.bbox).collect();
        Self { picture: renderer.render(&scene, width, height), boxes, strays }
    }

    /// How sharp the drawing is inside a box, 0 to 1.
    fn sharpness(&self, drawn: &RgbImage, bbox: &[f32; 4]) -> f64 {
        let share = gradient(drawn, bbox) / gradient(&self.picture, bbox).max(1e-9);
        falling(1.0 - share, BLUR) * falling(share - 1.0, NOISE)
    }

    /// How clean the background is, 0 to 1. Patches count by themselves, so that a single smear shows, and the mean error of
    /// the whole background does not count.
    fn cleanness(&self, drawn: &RgbImage) -> f64 {
        let (width, height) = drawn.dimensions();
        let things: Vec<_> = self.boxes.iter().copied().map(grown).collect();
        let difference = |(x, y): (u32, u32)| -> [f64; 3] {
            let (a, b) = (drawn.get_pixel(x, y).0, self.picture.get_pixel(x, y).0);
            std::array::from_fn(|i| (f64::from(a[i]) - f64::from(b[i])) / 255.0)
        };
        let patch = |at: u32| -> Vec<[f64; 3]> {
            let side = |at: u32, length: u32| at * length / PATCHES..(at + 1) * length / PATCHES;
            let (columns, rows) = (side(at % PATCHES, width), side(at / PATCHES, height));
            let pixels = rows.flat_map(|y| columns.clone().map(move |x| (x, y)));
            pixels.filter(|&(x, y)| !within(&things, x, y)).map(difference).collect()
        };
        let patches: Vec<Vec<[f64; 3]>> = (0..PATCHES * PATCHES).map(patch).collect();
        let middle: [f64; 3] =
            std::array::from_fn(|i| mean(patches.iter().flatten().map(|error| error[i])).unwrap_or(0.0));
        let far = |error: &[f64; 3]| (0..3).map(|i| (error[i] - middle[i]).abs()).sum::<f64>() / 3.0;
        let dirty = |patch: &&Vec<[f64; 3]>| mean(patch.iter().map(far)).is_some_and(|error| error > DIRTY);
        let dirty = patches.iter().filter(dirty).count();
        falling(dirty as f64 / f64::from(PATCHES * PATCHES), CLEAN)
    }
}

/// How well a picture is drawn.
#[derive(Clone, Debug)]
pub struct Quality {
    /// How far each object of the wanted scene has its shape, 0 (lost, or not there) to 1, and how sharp it is.
    objects: Vec<[f64; 2]>,
    /// Number of things that nobody asked for.
    pub strays: usize,
    /// How clean the background is, 0 to 1.
    pub cleanness: f64,
}

impl Quality {
    /// Measures `drawn` against `expected`. `unlike` says how unlike the two look to the judge.
    pub fn of(expected: &Expected, drawn: &RgbImage, unlike: &Unlike) -> Self {
        let object = |bbox: &[f32; 4]| {
            let shape = unlike.inside(bbox).map_or(0.0, |distance| falling(distance, SHAPE));
            [shape, expected.sharpness(drawn, bbox)]
        };
        Self {
            objects: expected.boxes.iter().map(object).collect(),
            strays: expected.strays.len(),
            cleanness: expected.cleanness(drawn),
        }
    }

    /// How far the object of this index has its shape, 0 to 1.
    pub fn shape(&self, index: usize) -> f64 {
        self.objects.get(index).map_or(0.0, |[shape, _]| *shape)
    }

    /// One number for the picture, 0 to 1. What nobody asked for counts like an object that is lost.
    pub fn share(&self) -> f64 {
        let objects = self.objects.iter().map(|[shape, sharpness]| shape * sharpness);
        let objects = mean(objects.chain(std::iter::repeat_n(0.0, self.strays))).unwrap_or(1.0);
        objects * self.cleanness
    }
}

/// Where and how `object` may stand so that it has the box that the judge saw: in its wanted place or in the middle of
/// the box, a pixel around it, of the wanted or the seen size, and mirrored or not.
fn placed(object: &Object, truth: &Truth, seen: &Detection, side: f32) -> Vec<Object> {
    let grown = (length(&seen.bbox) / length(&truth.bbox).max(1.0)).clamp(0.5, 2.0);
    let [from, to] = [middle(&truth.bbox), middle(&seen.bbox)];
    let moved = [0, 1].map(|axis| to[axis] - from[axis]);
    let mut choices = vec![object.clone()];
    for (size, flipped) in [1.0, grown].into_iter().flat_map(|size| [(size, false), (size, true)]) {
        for (x, y) in OFFSETS.into_iter().flat_map(|x| OFFSETS.map(|y| (x, y))) {
            let center = [moved[0] + x, moved[1] + y];
            choices.push(Object {
                center: [0, 1].map(|axis| object.center[axis] + center[axis] / side),
                size: object.size * size,
                flipped: object.flipped != flipped,
                ..object.clone()
            });
        }
    }
    choices
}

/// The box around two boxes.
fn around([a, b]: [[f32; 4]; 2]) -> [f32; 4] {
    [a[0].min(b[0]), a[1].min(b[1]), a[2].max(b[2]), a[3].max(b[3])]
}

/// The mean magnitude of the gradient inside a box, per pixel.
fn gradient(image: &RgbImage, bbox: &[f32; 4]) -> f64 {
    let (width, height) = image.dimensions();
    let steps = inside(image, bbox).map(|(x, y)| {
        let at = |x: u32, y: u32| image.get_pixel(x.min(width - 1), y.min(height - 1)).0.map(f64::from);
        let (here, across, down) = (at(x, y), at(x + 1, y), at(x, y + 1));
        (0..3).map(|i| (across[i] - here[i]).hypot(down[i] - here[i])).sum::<f64>()
    });
    mean(steps).unwrap_or(0.0)
}
