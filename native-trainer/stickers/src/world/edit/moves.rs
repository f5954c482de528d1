//! Edits that mirror, turn or move objects.

use rand::{Rng, RngExt};
use unigen_evaluation::geneval::relations;

use super::{
    fit::{changed, scatter_clear},
    referent::{beside, refer_to_one},
    step::Step,
};
use crate::world::{
    Scene,
    random::pick,
    words::{fill, region, region_is_clear, region_name},
};

pub(super) fn flip(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    let (referent, index) = refer_to_one(rng, scene)?;
    let object = &scene.objects[index];
    if object.rotation != 0. || !object.sprite().shows_flip() {
        return None;
    }
    let templates = [
        "flip {a}",
        "mirror {a}",
        "flip {a} left to right",
        "turn {a} around",
        "make {a} face the other way",
    ];
    let instruction = fill(pick(rng, &templates), &[&referent.text(rng)]);
    let after = changed(scene, &[index], |object| object.flipped = !object.flipped)?;
    Some(Step { instruction, after, named: vec![referent.with(scene, &[index])] })
}

pub(super) fn turn(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    let (referent, index) = refer_to_one(rng, scene)?;
    let object = &scene.objects[index];
    if object.rotation != 0. || !object.sprite().shows_turn() {
        return None;
    }
    let (rotation, templates): (f32, &[&str]) = match rng.random_range(0..3) {
        0 => (180., &["turn {a} upside down", "rotate {a} by half a turn", "put {a} upside down"]),
        1 => (90., &["rotate {a} to the right", "rotate {a} clockwise", "turn {a} a quarter to the right"]),
        _ => (
            270.,
            &["rotate {a} to the left", "rotate {a} counterclockwise", "turn {a} a quarter to the left"],
        ),
    };
    let instruction = fill(pick(rng, templates), &[&referent.text(rng)]);
    let after = changed(scene, &[index], |object| object.rotation = rotation)?;
    Some(Step { instruction, after, named: vec![referent.with(scene, &[index])] })
}

/// Moves one object: along an axis, to a region, or beside another object.
pub(super) fn relocate(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    const FAR: f32 = 0.2;
    let (referent, index) = refer_to_one(rng, scene)?;
    let old = &scene.objects[index];
    let mut object = old.clone();
    if !scatter_clear(rng, scene, &mut object, Some(index)) {
        return None;
    }
    let mut named = vec![referent.with(scene, &[index])];
    let (place, along): (String, Option<usize>) = match rng.random_range(0..3) {
        0 => {
            let axis = rng.random_range(0..2);
            let ahead = object.center[axis] > old.center[axis];
            (["left", "up", "right", "down"][axis + 2 * usize::from(ahead)].to_owned(), Some(axis))
        }
        1 => {
            let (from, to) = (region(old.center), region(object.center));
            if from == to || !region_is_clear(object.center) {
                return None;
            }
            let words = match to {
                [0, 0] => "to the center".to_owned(),
                [_, 0] | [0, _] => format!("to the {} side", region_name(to)),
                _ => format!("to the {} corner", region_name(to)),
            };
            (words, None)
        }
        _ => {
            let anchor = rng.random_range(0..scene.objects.len());
            if anchor == index {
                return None;
            }
            let (words, mention) = beside(rng, scene, &object, anchor)?;
            let target = scene.objects[anchor].bounds();
            if relations(&old.bounds(), &target) == relations(&object.bounds(), &target) {
                return None;
            }
            named.push(mention);
            (words, None)
        }
    };
    if let Some(axis) = along {
        object.center[1 - axis] = old.center[1 - axis];
    }
    let [dx, dy] = [0, 1].map(|axis| object.center[axis] - old.center[axis]);
    if dx.hypot(dy) < FAR {
        return None;
    }
    let template = pick(rng, &["move {a} {b}", "shift {a} {b}", "slide {a} {b}"]);
    let instruction = fill(template, &[&referent.text(rng), &place]);
    let after = changed(scene, &[index], |moved| *moved = object.clone())?;
    Some(Step { instruction, after, named })
}
