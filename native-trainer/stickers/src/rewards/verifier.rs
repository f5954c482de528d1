//! A network that reads a scene from a picture, and a check of a description's facts against that scene.

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, activation::softmax};
use std::ops::Range;
use unigen_core::nn::Linear;
use unigen_core::ops::{self, conv::swish};
use unigen_evaluation::geneval::{Relation, relations};
use unigen_runs::floats;

use crate::judge::{self, Detection, DetectorConfig, DetectorNet, STRIDE, decode, middle};
use crate::world::{
    Background, Class, Facts, Look, Pattern, Pose, Scene, Scenery, Style, Surroundings, Tint, Truth, region,
};

/// Columns of the surroundings' logits.
#[derive(Clone, Debug)]
struct Columns {
    pattern: Range<usize>,
    /// The first and the second tint.
    tints: [Range<usize>; 2],
    style: Range<usize>,
    /// The places, and none of them. Empty in the small world, which has none.
    scenery: Range<usize>,
    /// The look of the objects. Empty in the small world.
    look: Range<usize>,
}

impl Columns {
    /// The columns of a network that tells apart so many things.
    fn of(things: usize) -> Self {
        let large = things > Class::GENEVAL.len();
        let tints = if large { Tint::ALL.len() } else { Tint::SMALL.len() };
        let [sceneries, looks] = if large { [Scenery::ALL.len() + 1, Look::ALL.len()] } else { [0, 0] };
        let mut end = 0;
        let mut next = |count: usize| {
            end += count;
            end - count..end
        };
        Self {
            pattern: next(Pattern::ALL.len()),
            tints: [next(tints), next(tints)],
            style: next(Style::ALL.len()),
            scenery: next(sceneries),
            look: next(looks),
        }
    }

    fn count(&self) -> usize {
        self.look.end
    }
}

/// Width of the hidden layer of the surroundings.
const HIDDEN: usize = 96;

/// Detects objects as points with their poses, and the surroundings from the mean of the features.
#[derive(Module, Debug)]
pub struct Verifier {
    eyes: DetectorNet,
    hidden: Linear,
    surroundings: Linear,
    poses: Linear,
}

/// Output of the network for a batch of pictures.
struct Output {
    /// The detector's output.
    objects: Tensor<4>,
    /// Logits of [`Pose`] for each cell, `[b, h/4, w/4, 12]`.
    poses: Tensor<4>,
    /// Logits of the surroundings, `[b, columns]`.
    surroundings: Tensor<2>,
}

/// What a picture shows, as the verifier sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The objects, with boxes in pixels.
    pub objects: Vec<Detection>,
    /// For each object, the probabilities of its poses by [`Pose::index`].
    pub poses: Vec<Vec<f32>>,
    /// The side of the picture in pixels.
    pub side: f32,
    /// Probabilities of [`Pattern::ALL`].
    pub patterns: Vec<f32>,
    /// Probabilities of [`Tint::ALL`], of which the small world has the first, for the first and the second tint.
    pub tints: [Vec<f32>; 2],
    /// Probabilities of [`Style::ALL`].
    pub styles: Vec<f32>,
    /// Probabilities of [`Scenery::ALL`] and of none of them. Empty in the small world.
    pub sceneries: Vec<f32>,
    /// Probabilities of [`Look::ALL`]. Empty in the small world.
    pub looks: Vec<f32>,
}

impl Verifier {
    pub(super) fn new(config: &DetectorConfig, device: &Device) -> Result<Self> {
        let inputs: usize = config.widths.iter().sum();
        let linear =
            |inputs: usize, outputs| Linear::new(inputs, outputs, true, (inputs as f64).powf(-0.5), device);
        Ok(Self {
            eyes: DetectorNet::new(config, device)?,
            hidden: linear(inputs, HIDDEN),
            surroundings: linear(HIDDEN, Columns::of(config.things).count()),
            poses: linear(config.head, Pose::COUNT),
        })
    }

    /// Copies a detector's weights, so that only damaged pictures, poses and the surroundings are left to learn.
    pub(super) fn start_from(&mut self, detector: DetectorNet) {
        self.eyes = detector;
    }

    fn columns(&self) -> Columns {
        Columns::of(self.eyes.things())
    }

    /// Runs the network on pixels `[b, h, w, 3]` in [-1, 1].
    fn forward(&self, pixels: &Tensor<4>) -> Output {
        let (objects, cells, levels) = self.eyes.forward_with_features(pixels);
        let means = levels.map(|level| {
            let [batch, height, width, channels] = level.dims();
            level.reshape([batch, height * width, channels]).mean_dim(1).squeeze_dim::<2>(1)
        });
        let x = swish(self.hidden.forward(Tensor::cat(means.into(), 1)));
        Output { objects, poses: self.poses.forward(cells), surroundings: self.surroundings.forward(x) }
    }

    /// The loss `[1]` on `scenes`, drawn as pixels `[b, size, size, 3]`. At least one scene must have an object.
    ///
    /// # Errors
    /// If no scene has an object.
    pub fn loss(&self, pixels: &Tensor<4>, scenes: &[&Scene]) -> Result<Tensor<1>> {
        let [_, height, width, _] = pixels.dims();
        let Output { objects, poses, surroundings: logits } = self.forward(pixels);
        let truths: Vec<Vec<Truth>> =
            scenes.iter().map(|scene| Truth::of(scene, width as u32, height as u32)).collect();
        let objects = judge::loss(objects, &truths)?.total;
        let device = logits.device();
        let [_, rows, columns, _] = poses.dims();
        let (cells, wanted): (Vec<i32>, Vec<u32>) = (0..scenes.len())
            .flat_map(|image| truths[image].iter().zip(&scenes[image].objects).map(move |both| (image, both)))
            .map(|(image, (truth, object))| {
                let [row, column] = cell(&truth.bbox, rows, columns);
                (((image * rows + row) * columns + column) as i32, Pose::of(object).index() as u32)
            })
            .unzip();
        let cells = Tensor::<1, Int>::from_ints(cells.as_slice(), &device);
        let poses = poses.reshape([(scenes.len() * rows * columns) as i32, -1]).select(0, cells);
        let poses = ops::cross_entropy(poses, wanted)?;
        let entropy = |columns: Range<usize>, targets: Vec<(usize, usize)>| -> Result<Tensor<1>> {
            if targets.is_empty() {
                return Ok(Tensor::zeros([1], &device));
            }
            let (rows, classes): (Vec<i32>, Vec<u32>) =
                targets.into_iter().map(|(row, class)| (row as i32, class as u32)).unzip();
            let rows = Tensor::<1, Int>::from_ints(rows.as_slice(), &device);
            let logits = logits.clone().select(0, rows).slice([0..classes.len(), columns]);
            Ok(ops::cross_entropy(logits, classes)?)
        };
        let columns = self.columns();
        let seen: Vec<Surroundings> = scenes.iter().map(|scene| Surroundings::of(scene)).collect();
        let tints = |pick: fn(&[Tint]) -> Option<&Tint>| {
            let visible = seen.iter().enumerate().filter_map(|(row, seen)| Some((row, pick(&seen.tints)?)));
            visible.map(|(row, &tint)| (row, tint as usize)).collect()
        };
        let patterns = seen.iter().enumerate().map(|(row, seen)| (row, seen.pattern as usize)).collect();
        let styles = scenes.iter().enumerate().map(|(row, scene)| (row, scene.style as usize)).collect();
        let [first, second] = columns.tints;
        let mut surroundings = entropy(columns.pattern, patterns)?
            + entropy(first, tints(<[Tint]>::first))?
            + entropy(second, tints(<[Tint]>::last))?
            + entropy(columns.style, styles)?;
        if !columns.look.is_empty() {
            let scenery = |scene: &Scene| match scene.background {
                Background::Scenery(scenery) => scenery as usize,
                _ => Scenery::ALL.len(),
            };
            let sceneries = scenes.iter().enumerate().map(|(row, scene)| (row, scenery(scene))).collect();
            let looks = scenes.iter().enumerate().map(|(row, scene)| (row, scene.look() as usize)).collect();
            surroundings =
                surroundings + entropy(columns.scenery, sceneries)? + entropy(columns.look, looks)?;
        }
        Ok(objects + poses + surroundings)
    }

    /// Reads what pictures show, from pixels `[b, size, size, 3]` in [-1, 1].
    ///
    /// # Errors
    /// If the device fails.
    pub fn see(&self, pixels: &Tensor<4>) -> Result<Vec<Seen>> {
        let [_, _, side, _] = pixels.dims();
        let Output { objects, poses, surroundings: logits } = self.forward(pixels);
        let [_, rows, columns, channels] = objects.dims();
        let read = |columns: Range<usize>| -> Result<(Vec<f32>, usize)> {
            let (batch, width) = (logits.dims()[0], columns.len());
            if width == 0 {
                return Ok((vec![], 0));
            }
            Ok((floats(softmax(logits.clone().slice([0..batch, columns]), 1))?, width))
        };
        let Columns { pattern, tints: [first, second], style, scenery, look } = self.columns();
        let (patterns, styles) = (read(pattern)?, read(style)?);
        let (first, second) = (read(first)?, read(second)?);
        let (sceneries, looks) = (read(scenery)?, read(look)?);
        let row = |(values, width): &(Vec<f32>, usize), i: usize| values[i * width..(i + 1) * width].to_vec();
        let objects = floats(objects).context("reading what the verifier sees")?;
        let poses = floats(softmax(poses, 3)).context("reading the poses that the verifier sees")?;
        let pictures = objects.chunks(rows * columns * channels).enumerate();
        Ok(pictures
            .map(|(i, output)| {
                let objects = decode(output, [rows, columns, channels]);
                let pose = |object: &Detection| {
                    let [row, column] = cell(&object.bbox, rows, columns);
                    poses[((i * rows + row) * columns + column) * Pose::COUNT..][..Pose::COUNT].to_vec()
                };
                Seen {
                    poses: objects.iter().map(pose).collect(),
                    objects,
                    side: side as f32,
                    patterns: row(&patterns, i),
                    tints: [row(&first, i), row(&second, i)],
                    styles: row(&styles, i),
                    sceneries: row(&sceneries, i),
                    looks: row(&looks, i),
                }
            })
            .collect())
    }
}

/// The row and column of the cell that contains the middle of a box in pixels.
fn cell(bbox: &[f32; 4], rows: usize, columns: usize) -> [usize; 2] {
    let [x, y] = middle(bbox).map(|at| (at.max(0.0) as usize) / STRIDE);
    [y.min(rows - 1), x.min(columns - 1)]
}

impl Seen {
    /// The mean probability of the facts, 0 to 1. None if there are no facts. Sizes are not checked, nor poses that the
    /// text does not mention.
    pub fn agrees(&self, facts: &Facts) -> Option<f32> {
        if facts.is_empty() {
            return None;
        }
        let sum = |holds: &dyn Fn(&Detection) -> bool| {
            self.objects.iter().filter(|object| holds(object)).map(|object| object.score).sum::<f32>()
        };
        let near =
            |found: f32, wanted: usize| (1.0 - (found - wanted as f32).abs() / wanted.max(1) as f32).max(0.0);
        let mut sure = vec![near(sum(&|object| facts.count(object.class) == 0), 0)];
        for (index, thing) in facts.things.iter().enumerate() {
            let first = |same: &dyn Fn(usize) -> bool| (0..index).all(|other| !same(other));
            let (class, color) = (thing.class, thing.color);
            if first(&|other| facts.things[other].class == class) {
                sure.push(near(sum(&|object| object.class == class), facts.count(class)));
            }
            let alike =
                |other: usize| (facts.things[other].class, facts.things[other].color) == (class, color);
            if color.is_some() && first(&alike) {
                let stated = (0..facts.things.len()).filter(|&other| alike(other));
                let stated: usize = stated.map(|other| facts.things[other].count).sum();
                sure.push(near(sum(&|object| object.class == class && object.color == color), stated));
            }
            if let Some(place) = thing.place {
                let there =
                    self.objects.iter().filter(|object| object.class == class && self.third(object) == place);
                sure.push(there.map(|object| object.score).fold(0.0, f32::max));
            }
            if let Some(pose) = thing.pose {
                let like = self.objects.iter().zip(&self.poses).filter(|(object, _)| object.class == class);
                let stands = like.map(|(object, poses)| object.score * poses[pose.index()]);
                sure.push(stands.fold(0.0, f32::max));
            }
        }
        sure.extend(facts.relations.iter().map(|relation| self.relation(facts, relation)));
        if let Some(Surroundings { pattern, tints }) = &facts.surroundings {
            sure.push(self.patterns[*pattern as usize]);
            let probability = |of: &Vec<f32>, tint: Option<&Tint>| {
                tint.map_or(1.0, |&tint| of.get(tint as usize).copied().unwrap_or(0.0))
            };
            if !tints.is_empty() {
                sure.push(
                    probability(&self.tints[0], tints.first()) * probability(&self.tints[1], tints.last()),
                );
            }
        }
        sure.extend(facts.style.map(|style| self.styles[style as usize]));
        // The small world has neither.
        sure.extend(facts.scenery.and_then(|scenery| self.sceneries.get(scenery as usize)));
        sure.extend(facts.look.and_then(|look| self.looks.get(look as usize)));
        Some(sure.iter().sum::<f32>() / sure.len() as f32)
    }

    /// The probability of the most likely pair of objects in a relation.
    fn relation(&self, facts: &Facts, &(a, relation, b): &(usize, Relation, usize)) -> f32 {
        let like = |index: usize| {
            let thing = &facts.things[index];
            let fits = move |object: &&Detection| {
                object.class == thing.class && (thing.color.is_none() || object.color == thing.color)
            };
            self.objects.iter().filter(fits)
        };
        like(a)
            .flat_map(|a| like(b).map(move |b| (a, b)))
            .filter(|(a, b)| !std::ptr::eq(*a, *b) && relations(&a.bbox, &b.bbox).contains(&relation))
            .map(|(a, b)| a.score * b.score)
            .fold(0.0, f32::max)
    }

    /// The third of the picture, along x and y, that contains an object's middle, as in [`crate::world::Thing`].
    fn third(&self, object: &Detection) -> [i8; 2] {
        let [left, top, right, bottom] = object.bbox;
        region([(left + right) / 2.0 / self.side, (top + bottom) / 2.0 / self.side])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Class, Color, Turn};

    fn seen(objects: &[(&str, Option<Color>, [f32; 2])]) -> Seen {
        let one =
            |at: usize, of: usize| (0..of).map(|i| if i == at { 1.0 } else { 0.0 }).collect::<Vec<f32>>();
        let objects = objects.iter().map(|&(name, color, [x, y])| Detection {
            class: Class::from_name(name).unwrap(),
            score: 1.0,
            color,
            bbox: [x - 10.0, y - 10.0, x + 10.0, y + 10.0],
        });
        Seen {
            objects: objects.collect(),
            poses: vec![
                one(0, Pose::COUNT),
                one(Pose { mirrored: true, turn: Turn::Left }.index(), Pose::COUNT),
            ],
            side: 96.0,
            patterns: one(0, 5),
            tints: [one(Tint::Mint as usize, 14), one(Tint::Mint as usize, 14)],
            styles: one(0, 8),
            sceneries: one(Scenery::Beach as usize, Scenery::ALL.len() + 1),
            looks: one(1, 2),
        }
    }

    #[test]
    fn facts_are_checked_one_by_one() {
        let seen = seen(&[("dog", Some(Color::Red), [20.0, 50.0]), ("cat", None, [70.0, 50.0])]);
        for (text, wanted) in [
            ("a red dog left of a cat", Some(1.0)),
            // Nothing else, dog, cat, red, relation.
            ("a red dog right of a cat", Some(4.0 / 5.0)),
            ("a blue dog left of a cat", Some(3.0 / 5.0)),
            ("a red dog", Some(2.0 / 3.0)),
            ("two dogs and a cat on a mint background", Some((1.0 + 0.5 + 1.0 + 1.0 + 1.0) / 5.0)),
            ("a red dog and a cat on a white background, at night", Some(5.0 / 7.0)),
            ("a dog on the left and a cat in the top right corner", Some(4.0 / 5.0)),
            // Nothing else, twice thing, place and pose; red; background.
            (
                "a red dog on the left; a cat on the right, mirrored, turned to the left on a mint background",
                Some(1.0),
            ),
            ("a red dog left of a cat, on a beach, in 3d", Some(1.0)),
            ("a red dog left of a cat, in space, flat", Some(5.0 / 7.0)),
            ("joy", None),
        ] {
            let found = seen.agrees(&Facts::of(text));
            let same = found.zip(wanted).is_some_and(|(found, wanted)| (found - wanted).abs() < 1e-6);
            assert!(same || found == wanted, "{text}: {found:?}, wanted {wanted:?}");
        }
    }
}
