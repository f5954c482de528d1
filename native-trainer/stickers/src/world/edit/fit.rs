//! Checks that a changed scene is as clear as before.

use rand::Rng;

use crate::world::{
    Object, Scene,
    bounds::overlap,
    sample::{MARGIN, scatter, stands_out},
};

/// The scene with some objects changed, if they still stand clear of each other and stand out from the background.
pub(super) fn changed(scene: &Scene, members: &[usize], change: impl Fn(&mut Object)) -> Option<Scene> {
    let mut after = scene.clone();
    members.iter().for_each(|&index| change(&mut after.objects[index]));
    let fits = after != *scene
        && after.is_clear()
        && members.iter().all(|&index| tints_fit(&after, &after.objects[index]));
    fits.then_some(after)
}

pub(super) fn tints_fit(scene: &Scene, object: &Object) -> bool {
    let object = std::slice::from_ref(object);
    stands_out(object, &scene.background.tones(), scene.style)
}

pub(super) fn tints_fit_all(scene: &Scene) -> bool {
    scene.objects.iter().all(|object| tints_fit(scene, object))
}

/// Moves the object to a place that no object other than `itself` occupies.
pub(super) fn scatter_clear(
    rng: &mut impl Rng,
    scene: &Scene,
    object: &mut Object,
    itself: Option<usize>,
) -> bool {
    let mut others = scene.boxes();
    if let Some(index) = itself {
        others.remove(index);
    }
    (0..40).any(|_| {
        scatter(rng, object).is_some_and(|bounds| others.iter().all(|other| !overlap(&bounds, other, MARGIN)))
    })
}
