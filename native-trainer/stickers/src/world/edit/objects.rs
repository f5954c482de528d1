//! Edits that add, remove, replace or extract objects.

use rand::{Rng, RngExt};

use super::{
    fit::{changed, scatter_clear, tints_fit, tints_fit_all},
    referent::{beside, refer_to_one, refer_to_some},
    step::Step,
};
use crate::world::{
    Background, Domain, Object, Scene, Style, Tint,
    random::pick,
    sample::{sample_class, sample_color, sample_size},
    words::{counted_in_pairs, fill, in_region, noun, region, region_is_clear},
};

pub(super) fn add(rng: &mut impl Rng, domain: Domain, scene: &Scene) -> Option<Step> {
    let look = scene.look();
    let another = !scene.objects.is_empty() && rng.random_bool(0.15);
    let (class, color) = if another {
        let like = &scene.objects[rng.random_range(0..scene.objects.len())];
        (like.class, like.color)
    } else {
        let class = sample_class(rng, domain.scope);
        (class, sample_color(rng, class, look, scene.style, domain))
    };
    if another == scene.objects.iter().all(|object| object.class != class) {
        return None;
    }
    let size = sample_size(rng, scene.objects.len() + 1, domain.scope);
    let mut object = Object { class, color, center: [0.5; 2], size, flipped: false, rotation: 0., look };
    if !tints_fit(scene, &object) || !scatter_clear(rng, scene, &mut object, None) {
        return None;
    }
    let thing = match (another, class.is_pair()) {
        (true, false) => format!("another {}", noun(class, color, 1)),
        (true, true) => format!("another pair of {}", noun(class, color, 1)),
        _ => counted_in_pairs(class, color, 1),
    };
    let template = pick(rng, &["add {a}", "put in {a}", "draw {a}", "insert {a}", "place {a}"]);
    let mut instruction = fill(template, &[&thing]);
    let mut named = Vec::new();
    match rng.random_range(0..10) {
        0..4 if !scene.objects.is_empty() => {
            let anchor = rng.random_range(0..scene.objects.len());
            let (words, referent) = beside(rng, scene, &object, anchor)?;
            instruction = format!("{instruction} {words}");
            named.push(referent);
        }
        4..7 if region_is_clear(object.center) => {
            instruction = format!("{instruction} {}", in_region(region(object.center)));
        }
        _ => {}
    }
    let mut after = scene.clone();
    after.objects.push(object);
    Some(Step { instruction, after, named })
}

pub(super) fn remove(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    let (referent, members) = refer_to_some(rng, scene)?;
    let template = pick(rng, &["remove {a}", "delete {a}", "take away {a}", "erase {a}", "get rid of {a}"]);
    let instruction = fill(template, &[&referent.text(rng)]);
    let mut after = scene.clone();
    let mut index = 0;
    after.objects.retain(|_| {
        index += 1;
        !members.contains(&(index - 1))
    });
    Some(Step { instruction, after, named: vec![referent.with(scene, &members)] })
}

pub(super) fn replace(rng: &mut impl Rng, domain: Domain, scene: &Scene) -> Option<Step> {
    let (referent, index) = refer_to_one(rng, scene)?;
    let class = sample_class(rng, domain.scope);
    if scene.objects.iter().any(|object| object.class == class) {
        return None;
    }
    let look = scene.objects[index].look;
    let color = sample_color(rng, class, look, scene.style, domain);
    let thing = counted_in_pairs(class, color, 1);
    let templates = [
        "replace {a} with {b}",
        "turn {a} into {b}",
        "swap {a} for {b}",
        "change {a} to {b}",
        "put {b} in place of {a}",
    ];
    let instruction = fill(pick(rng, &templates), &[&referent.text(rng), &thing]);
    let after = changed(scene, &[index], |object| {
        *object = Object { class, color, flipped: false, rotation: 0., ..object.clone() };
    })?;
    Some(Step { instruction, after, named: vec![referent.with(scene, &[index])] })
}

/// Keeps one object alone, in its place, on white.
pub(super) fn extract(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    if scene.style != Style::Plain {
        return None;
    }
    let (referent, index) = refer_to_one(rng, scene)?;
    let after = Scene {
        objects: vec![scene.objects[index].clone()],
        background: Background::Plain(Tint::White),
        style: Style::Plain,
    };
    if after == *scene || !tints_fit_all(&after) {
        return None;
    }
    let templates = [
        "extract {a}",
        "extract {a} on a white background",
        "cut out {a}",
        "isolate {a} on a white background",
        "keep only {a} on white",
        "show {a} alone on a white background",
    ];
    let instruction = fill(pick(rng, &templates), &[&referent.text(rng)]);
    Some(Step { instruction, after, named: vec![referent.with(scene, &[index])] })
}
