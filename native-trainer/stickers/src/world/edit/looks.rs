//! Edits of an object's colour or size, and of the background or style.

use rand::{Rng, RngExt};

use super::{
    fit::{changed, tints_fit_all},
    referent::{refer_to_one, refer_to_some},
    step::Step,
};
use crate::world::{
    Background, Color, Look, Scene, Scope, Style,
    random::pick,
    sample::{cells_of, sample_background, size_of},
    words::{background_in_full, fill, style_words, with_article},
};

pub(super) fn recolor(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    if !scene.style.shows_color() {
        return None;
    }
    let (referent, members) = refer_to_some(rng, scene)?;
    let same = |color: Option<Color>| members.iter().all(|&index| scene.objects[index].color == color);
    let natural = rng.random_bool(0.1);
    let color = (!natural).then(|| pick(rng, &Color::ALL));
    if same(color) || members.iter().any(|&index| !scene.objects[index].class.takes_color()) {
        return None;
    }
    let what = referent.text(rng);
    let instruction = match color {
        Some(color) => {
            let templates = [
                "make {a} {b}",
                "paint {a} {b}",
                "color {a} {b}",
                "turn {a} {b}",
                "change the color of {a} to {b}",
            ];
            fill(pick(rng, &templates), &[&what, color.name()])
        }
        None => fill(pick(rng, &["give {a} natural colors", "show {a} in natural colors"]), &[&what]),
    };
    let after = changed(scene, &members, |object| object.color = color)?;
    Some(Step { instruction, after, named: vec![referent.with(scene, &members)] })
}

pub(super) fn resize(rng: &mut impl Rng, scope: Scope, scene: &Scene) -> Option<Step> {
    let (referent, index) = refer_to_one(rng, scene)?;
    let grow = rng.random_bool(0.5);
    // The size changes by an even number of cells, so that an object that keeps its middle stays on the lattice.
    let cells = cells_of(scene.objects[index].size);
    // Beyond the small world there are two sizes.
    let (step, sizes) = if scope.is_small() { (2, 4..=10) } else { (4, 6..=10) };
    let cells = if grow { cells + step } else { cells.saturating_sub(step) };
    if !sizes.contains(&cells) {
        return None;
    }
    let size = size_of(cells);
    let templates: &[&str] = match grow {
        true => &["make {a} bigger", "make {a} larger", "enlarge {a}", "increase the size of {a}"],
        false => &["make {a} smaller", "shrink {a}", "reduce the size of {a}"],
    };
    let instruction = fill(pick(rng, templates), &[&referent.text(rng)]);
    let after = changed(scene, &[index], |object| object.size = size)?;
    Some(Step { instruction, after, named: vec![referent.with(scene, &[index])] })
}

pub(super) fn change_background(rng: &mut impl Rng, scope: Scope, scene: &Scene) -> Option<Step> {
    if scene.style != Style::Plain {
        return None;
    }
    let mut after = scene.clone();
    after.background = sample_background(rng, &scene.objects, scene.style, scope);
    let (old, new) = (background_in_full(scene), background_in_full(&after));
    if old == new || !tints_fit_all(&after) {
        return None;
    }
    let instruction = match after.background {
        Background::Plain(tint) if rng.random_bool(0.6) => {
            let templates = [
                "make the background {a}",
                "change the background to {a}",
                "change the background color to {a}",
            ];
            fill(pick(rng, &templates), &[tint.name()])
        }
        Background::Scenery(scenery) if rng.random_bool(0.5) => {
            let template = pick(rng, &["put everything {a}", "show it {a}", "place it all {a}"]);
            fill(template, &[pick(rng, scenery.words())])
        }
        Background::Scenery(scenery) => {
            let templates = [
                "make the background {a}",
                "change the background to {a}",
                "replace the background with {a}",
            ];
            fill(pick(rng, &templates), &[scenery.noun()])
        }
        _ => {
            let templates = [
                "change the background to {a}",
                "replace the background with {a}",
                "use {a}",
                "give the picture {a}",
                "put everything on {a}",
            ];
            fill(pick(rng, &templates), &[&with_article(&new)])
        }
    };
    Some(Step { instruction, after, named: Vec::new() })
}

/// From flat to three dimensions, or back.
pub(super) fn change_look(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    let look = match scene.look() {
        Look::Flat => Look::Solid,
        Look::Solid => Look::Flat,
    };
    if scene.style != Style::Plain || scene.objects.iter().any(|object| !object.class.has_solid()) {
        return None;
    }
    let all: Vec<usize> = (0..scene.objects.len()).collect();
    let after = changed(scene, &all, |object| object.look = look)?;
    let templates: &[&str] = match look {
        Look::Solid => &["make it 3d", "show it in 3d", "turn it into a 3d picture", "render it in 3d"],
        Look::Flat => {
            &["make it flat", "show it in flat style", "turn it into a flat drawing", "draw it flat"]
        }
    };
    Some(Step { instruction: pick(rng, templates).to_owned(), after, named: Vec::new() })
}

pub(super) fn change_style(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    if scene.style != Style::Plain {
        return None;
    }
    let style = pick(rng, &Style::ALL[1..]);
    let after = Scene { style, ..scene.clone() };
    if !tints_fit_all(&after) {
        return None;
    }
    let own: &[&str] = match style {
        Style::Plain => &[],
        Style::Grey => &["remove the colors", "turn the picture into a grey picture"],
        Style::Sepia => &["turn the picture into a sepia picture", "apply a sepia filter"],
        Style::Outline => &["turn the picture into a line drawing", "draw only the outlines"],
        Style::Pixel => &["turn the picture into pixel art", "make it pixel art"],
        Style::Inverted => &["invert the colors", "turn the picture into a negative"],
        Style::Blurred => &["blur the picture", "make the picture blurred"],
        Style::Night => &["make it night", "turn the day into night"],
    };
    let instruction = if rng.random_bool(0.4) {
        pick(rng, own).to_owned()
    } else {
        let template =
            pick(rng, &["show the picture {a}", "redraw the picture {a}", "make it look {a}", "show it {a}"]);
        fill(template, &[pick(rng, style_words(style))])
    };
    Some(Step { instruction, after, named: Vec::new() })
}
