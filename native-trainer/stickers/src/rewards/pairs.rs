//! Pictures with a true and a nearly true description, and a worse version of each picture.

use image::RgbImage;
use rand::{Rng, RngExt};
use unigen_training::data::rng_at;

use super::damage::Damage;
use crate::world::{
    Domain, Facts, Renderer, Scene, another_scene, caption, description, posed_scene, sample_scene, scene_at,
};

/// A picture with a right and a wrong description, and a worse picture.
#[derive(Debug, Clone)]
pub struct Pair {
    pub scene: Scene,
    /// A picture of the scene, sometimes slightly damaged.
    pub picture: RgbImage,
    /// A text that is true of the scene.
    pub right: String,
    /// A similar text that is not true of the scene.
    pub wrong: String,
    /// A picture that shows `right` less well.
    pub worse: RgbImage,
    /// The scene of the worse picture, if `right` is not true of it. None if the worse picture shows the same scene
    /// with more damage.
    pub false_scene: Option<Scene>,
}

/// Share of texts that describe the scene in full, as the texts that edits are scored by do. All others are captions.
const IN_FULL: f64 = 0.4;
/// Share of scenes in which an object is mirrored or turned, and of near scenes that differ in that.
const POSED: f64 = 0.3;
/// Number of near scenes that are tried to find one with a different text.
const TRIES: usize = 16;

/// Pair `index` of a stream, at `size` pixels a side.
pub fn pair_at(renderer: &Renderer, domain: impl Into<Domain>, seed: u64, index: u64, size: u32) -> Pair {
    let domain = domain.into();
    let rng = &mut rng_at(seed ^ 0x5EED_9A12, index);
    let mut scene = scene_at(domain, seed, index);
    if rng.random_bool(POSED)
        && let Some(posed) = posed_scene(rng, &scene)
    {
        scene = posed;
    }
    let in_full = rng.random_bool(IN_FULL);
    let (right, wrong) = loop {
        // Both texts use one seed, so their words differ only where the scenes do.
        let phrasing: u64 = rng.random();
        let say = |scene: &Scene| match in_full {
            true => description(scene),
            false => caption(scene, &mut rng_at(phrasing, 0)),
        };
        let near = |rng: &mut _| near(rng, domain, &scene, |other| !Facts::of(&say(other)).hold(&scene));
        if let Some(other) = near(rng) {
            break (say(&scene), say(&other));
        }
        // For some scenes, all texts about near scenes are true as well.
        scene = sample_scene(rng, domain);
    };
    let facts = Facts::of(&right);
    let picture = renderer.render(&scene, size, size);
    // A scene with a different text must also look different at this size.
    let differs = |other: &Scene| !facts.hold(other) && renderer.render(other, size, size) != picture;
    let false_scene = if rng.random_bool(0.5) { near(rng, domain, &scene, differs) } else { None };

    let other = renderer.render(&scene_at(domain, !seed, index), size, size);
    let damage = Damage::ALL[rng.random_range(0..Damage::ALL.len())];
    let slight = if rng.random_bool(0.5) { 0.0 } else { rng.random_range(0.0..0.5) };
    let more = slight + rng.random_range(0.15..0.5);
    let worse = match &false_scene {
        Some(scene) => damage.apply(&renderer.render(scene, size, size), &other, slight, rng),
        // If the damage does not show (grey fades to grey), the picture is blurred.
        None => match damage.apply(&picture, &other, more, rng) {
            same if same == picture => Damage::Blur.apply(&picture, &other, more, rng),
            worse => worse,
        },
    };
    Pair { picture: damage.apply(&picture, &other, slight, rng), scene, right, wrong, worse, false_scene }
}

/// A scene near `scene` for which `differs` holds.
fn near(
    rng: &mut impl Rng,
    domain: Domain,
    scene: &Scene,
    differs: impl Fn(&Scene) -> bool,
) -> Option<Scene> {
    (0..TRIES).find_map(|_| {
        let posed = rng.random_bool(POSED);
        let other = if posed { posed_scene(rng, scene) } else { another_scene(rng, domain.scope, scene) };
        other.filter(|other| differs(other))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Split;

    #[test]
    fn right_is_true_and_wrong_is_nearly_so() {
        let renderer = Renderer::new();
        let (mut shared, mut words, mut false_scenes) = (0, 0, 0);
        for index in 0..200 {
            let pair = pair_at(&renderer, Split::Train, 5, index, 32);
            assert!(Facts::of(&pair.right).hold(&pair.scene), "{pair:?}");
            assert!(!Facts::of(&pair.wrong).hold(&pair.scene), "{pair:?}");
            if let Some(scene) = &pair.false_scene {
                assert!(!Facts::of(&pair.right).hold(scene), "{pair:?}");
                false_scenes += 1;
            }
            assert_ne!(pair.picture, pair.worse, "{index}");
            let others: Vec<&str> = pair.wrong.split(' ').collect();
            shared += pair.right.split(' ').filter(|word| others.contains(word)).count();
            words += pair.right.split(' ').count();
            let again = pair_at(&renderer, Split::Train, 5, index, 32);
            assert_eq!((again.right, again.wrong, again.worse), (pair.right, pair.wrong, pair.worse));
        }
        assert!(shared * 10 > words * 6, "{shared} of {words} words are shared");
        assert!((70..130).contains(&false_scenes), "{false_scenes}");
    }
}
