//! Instructions of each kind, and their effect on a scene.

use rand::{Rng, RngExt};

use super::{
    EditKind,
    looks::{change_background, change_look, change_style, recolor, resize},
    moves::{flip, relocate, turn},
    objects::{add, extract, remove, replace},
    step::Step,
};
use crate::world::{Domain, Object, Scene, random::pick, words::fill};

/// A change of a kind. None if the attempted change did not fit.
pub(super) fn take(rng: &mut impl Rng, domain: Domain, kind: EditKind, scene: &Scene) -> Option<Step> {
    match kind {
        EditKind::Add => add(rng, domain, scene),
        EditKind::Remove => remove(rng, scene),
        EditKind::Replace => replace(rng, domain, scene),
        EditKind::Adjust if rng.random_bool(0.6) => recolor(rng, scene),
        EditKind::Adjust => resize(rng, domain.scope, scene),
        EditKind::Background => change_background(rng, domain.scope, scene),
        EditKind::Style if domain.scope.solid && rng.random_bool(0.5) => change_look(rng, scene),
        EditKind::Style => change_style(rng, scene),
        EditKind::Extract => extract(rng, scene),
        EditKind::Action => match rng.random_range(0..4) {
            0 => flip(rng, scene),
            1 => turn(rng, scene),
            _ => relocate(rng, scene),
        },
        EditKind::Compose => compose(rng, domain, scene),
    }
}

/// Two steps of different kinds that have no object in common, so that their order does not matter.
fn compose(rng: &mut impl Rng, domain: Domain, scene: &Scene) -> Option<Step> {
    use EditKind::*;
    const PARTS: [EditKind; 6] = [Add, Remove, Replace, Adjust, Background, Action];
    let kinds = [pick(rng, &PARTS), pick(rng, &PARTS)];
    if kinds[0] == kinds[1] {
        return None;
    }
    let first = take(rng, domain, kinds[0], scene)?;
    let second = take(rng, domain, kinds[1], &first.after)?;
    let independent = second.named.iter().all(|(referent, objects)| {
        let found: Vec<&Object> =
            referent.find(scene).into_iter().map(|index| &scene.objects[index]).collect();
        found == objects.iter().collect::<Vec<_>>()
            && first.named.iter().flat_map(|(_, named)| named).all(|named| !objects.contains(named))
    });
    let template = pick(rng, &["{a} and {b}", "{a}, then {b}", "{a} and then {b}", "first {a}, then {b}"]);
    independent.then(|| Step {
        instruction: fill(template, &[&first.instruction, &second.instruction]),
        after: second.after,
        named: first.named.into_iter().chain(second.named).collect(),
    })
}
