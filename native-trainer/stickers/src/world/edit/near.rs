//! Scenes that differ only a little.

use rand::{Rng, RngExt};

use super::{
    EditKind,
    instruct::take,
    moves::{flip, turn},
};
use crate::world::{Domain, Scene, Scope, Split, random::pick};

/// A scene that differs only a little from `scene`: two objects have changed places, or one edit was done. It may show
/// held-out combinations. None if the attempted change did not fit.
pub fn another_scene(rng: &mut impl Rng, scope: Scope, scene: &Scene) -> Option<Scene> {
    use EditKind::*;
    if scene.objects.len() > 1 && rng.random_bool(0.3) {
        let mut after = scene.clone();
        let a = rng.random_range(0..scene.objects.len());
        let b = (a + rng.random_range(1..scene.objects.len())) % scene.objects.len();
        (after.objects[a].center, after.objects[b].center) =
            (scene.objects[b].center, scene.objects[a].center);
        return after.is_clear().then_some(after);
    }
    let kind = pick(rng, &[Add, Remove, Replace, Replace, Adjust, Adjust, Adjust, Background, Style, Action]);
    let after = take(rng, Domain { scope, split: Split::Train }, kind, scene)?.after;
    (!after.objects.is_empty()).then_some(after)
}

/// The scene with one object mirrored or turned. None if the difference would not show.
pub fn posed_scene(rng: &mut impl Rng, scene: &Scene) -> Option<Scene> {
    let step = if rng.random_bool(0.5) { flip(rng, scene) } else { turn(rng, scene) };
    step.map(|step| step.after)
}
