//! Draws random scenes.

use rand::{Rng, RngExt, seq::SliceRandom};
use unigen_evaluation::geneval::{Relation, relations};
use unigen_training::data::rng_at;

use super::{
    Background, Class, Color, Domain, Look, Object, Scene, Scenery, Scope, Split, Style, Tint,
    bounds::overlap, color::distance, random::pick,
};

/// The least distance of objects from the edge of the canvas, and from each other.
pub(super) const MARGIN: f32 = 0.01;

/// Objects stand on a lattice with this many cells along each axis. The square of an object's size fills whole cells,
/// so an image tokenizer of 12 x 12 codes sees the same object in the same way wherever it stands. A small model then
/// has to learn only a few dozen codes for each class and size, instead of as many for each of 64 pixel offsets.
pub(super) const LATTICE: f32 = 12.;
/// How often an object stands in the middle of an axis, if that is free. Otherwise it stands at one of the ends. A
/// prompt rarely says where an object is. With few places, one of them likely, a model that fixes many codes at a time
/// has less to decide.
const MIDDLE: f64 = 0.7;
/// The part of its cells that an object's square leaves free: one pixel of 96 on each side.
const FRAME: f32 = 2. / 96.;

/// The size of an object that takes up `cells` cells a side.
pub(super) fn size_of(cells: u8) -> f32 {
    f32::from(cells) / LATTICE - FRAME
}

/// The number of cells along an object's side.
pub(super) fn cells_of(size: f32) -> u8 {
    ((size + FRAME) * LATTICE).round() as u8
}

/// Scene `index` of a stream.
pub fn scene_at(domain: impl Into<Domain>, seed: u64, index: u64) -> Scene {
    sample_scene(&mut rng_at(seed, index), domain)
}

/// A scene with one object (35 %), two of different classes (35 %), two to four of one class (20 %), or three or four
/// mixed (10 %). Beyond the small world, one object comes in half of the scenes, since there is more to learn about one.
pub fn sample_scene(rng: &mut impl Rng, domain: impl Into<Domain>) -> Scene {
    let domain = domain.into();
    let cast = Cast::sample(rng, domain.scope);
    loop {
        if let Some(scene) = cast.stage(rng, domain)
            && domain.split.admits(&scene)
        {
            return scene;
        }
    }
}

/// A scene that shows one thing, in its own colours, and is random in all that its name leaves open.
pub fn scene_of(rng: &mut impl Rng, class: Class, domain: Domain) -> Scene {
    let scope = domain.scope;
    loop {
        let (look, size) = (sample_look(rng, scope, &[class]), sample_size(rng, 1, scope));
        let object =
            Object { class, color: None, center: [0.5; 2], size, flipped: false, rotation: 0., look };
        let mut objects = vec![object];
        if place(rng, &mut objects, None) {
            let background = sample_background(rng, &objects, Style::Plain, scope);
            return Scene { objects, background, style: Style::Plain };
        }
    }
}

/// The number and kinds of objects in a scene.
#[derive(Clone, Copy)]
pub(super) enum Cast {
    One,
    Two(Option<Relation>),
    Same(usize),
    Mixed(usize),
}

impl Cast {
    fn sample(rng: &mut impl Rng, scope: Scope) -> Cast {
        let alone = if scope.is_small() { 35 } else { 50 };
        match rng.random_range(0..100) {
            share if share < alone => Cast::One,
            ..70 => Cast::Two(rng.random_bool(0.75).then(|| pick(rng, &Relation::ALL))),
            70..90 => Cast::Same(rng.random_range(2..=4)),
            _ => Cast::Mixed(rng.random_range(3..=4)),
        }
    }

    /// Chooses the objects, in colours that the split may show, and places them. None if they did not fit.
    pub(super) fn stage(self, rng: &mut impl Rng, domain: Domain) -> Option<Scene> {
        let scope = domain.scope;
        let plain = if scope.is_small() { 0.92 } else { 0.96 };
        let style = if rng.random_bool(plain) { Style::Plain } else { pick(rng, &Style::ALL[1..]) };
        let (count, kinds) = match self {
            Cast::One => (1, 1),
            Cast::Two(_) => (2, 2),
            Cast::Same(count) => (count, 1),
            Cast::Mixed(count) => {
                (count, if rng.random_bool(0.65) { count } else { rng.random_range(2..count) })
            }
        };
        let classes = distinct_classes(rng, scope, kinds);
        let look = sample_look(rng, scope, &classes);
        let mut objects = Vec::with_capacity(count);
        for (kind, &class) in classes.iter().enumerate() {
            let members = if kind == 0 { count + 1 - kinds } else { 1 };
            let color = sample_color(rng, class, look, style, domain);
            let size = sample_size(rng, count, scope);
            objects.extend((0..members).map(|_| Object {
                class,
                color,
                center: [0.5; 2],
                size,
                flipped: rng.random_bool(0.03),
                rotation: if rng.random_bool(0.03) { pick(rng, &[-30., -20., 20., 30.]) } else { 0. },
                look,
            }));
        }
        let relation = if let Cast::Two(relation) = self { relation } else { None };
        if !place(rng, &mut objects, relation) {
            return None;
        }
        let background = sample_background(rng, &objects, style, scope);
        Some(Scene { objects, background, style })
    }
}

/// Different things. Beyond the small world, GenEval's classes come in a third of all draws, since prompts ask for them in
/// every colour, number and place.
fn distinct_classes(rng: &mut impl Rng, scope: Scope, kinds: usize) -> Vec<Class> {
    if scope.is_small() {
        let mut classes = Class::GENEVAL;
        return classes.partial_shuffle(rng, kinds).0.to_vec();
    }
    let mut classes = Vec::with_capacity(kinds);
    while classes.len() < kinds {
        let class = sample_class(rng, scope);
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    classes
}

/// A thing of the scope.
pub(super) fn sample_class(rng: &mut impl Rng, scope: Scope) -> Class {
    match scope.is_small() || rng.random_bool(1. / 3.) {
        true => pick(rng, &Class::GENEVAL),
        false => pick(rng, scope.classes()),
    }
}

/// A look that all things have.
pub(super) fn sample_look(rng: &mut impl Rng, scope: Scope, classes: &[Class]) -> Look {
    let solid = scope.solid && classes.iter().all(|class| class.has_solid());
    if solid && rng.random_bool(0.6) { Look::Solid } else { Look::Flat }
}

/// A colour for an object. It is natural sometimes, and always if the style would hide it. Otherwise it is one that the
/// split may show. A model has to learn a shape in each colour, so ten colours need ten times as many pictures as one.
pub(super) fn sample_color(
    rng: &mut impl Rng,
    class: Class,
    look: Look,
    style: Style,
    Domain { scope, split }: Domain,
) -> Option<Color> {
    let share = if scope.is_small() { 0.8 } else { 0.45 };
    let shown = look == Look::Flat || split.may_show(Split::of_colored_solid(class));
    let colored = class.takes_color() && style.shows_color() && shown && rng.random_bool(share);
    colored.then(|| {
        loop {
            let color = pick(rng, &Color::ALL);
            if split.may_show(Split::of_color(class, color)) {
                return color;
            }
        }
    })
}

/// A size for one of `count` objects: half of the canvas. An object that is alone sometimes gets two thirds. Beyond the
/// small world it mostly gets five sixths, and two sizes are all there are, since each has codes of its own to learn.
pub(super) fn sample_size(rng: &mut impl Rng, count: usize, scope: Scope) -> f32 {
    let (large, share) = if scope.is_small() { (8, 0.25) } else { (10, 0.7) };
    size_of(if count < 2 && rng.random_bool(share) { large } else { 6 })
}

/// Puts the objects at random clear places. With a relation, the first object has only this relation to the second.
fn place(rng: &mut impl Rng, objects: &mut [Object], relation: Option<Relation>) -> bool {
    for _ in 0..12 {
        let mut boxes = Vec::with_capacity(objects.len());
        let placed = objects.iter_mut().enumerate().all(|(index, object)| {
            (0..30).any(|_| {
                let Some(bounds) = scatter(rng, object) else { return false };
                let fits = boxes.iter().all(|other| !overlap(&bounds, other, MARGIN))
                    && (index == 0
                        || relation.is_none_or(|relation| relations(&boxes[0], &bounds) == [relation]));
                if fits {
                    boxes.push(bounds);
                }
                fits
            })
        });
        if placed {
            return true;
        }
    }
    relation.is_none() && place_in_cells(rng, objects)
}

/// Moves the object to one of the places for its size. Returns its box, or None if it is too large.
pub(super) fn scatter(rng: &mut impl Rng, object: &mut Object) -> Option<[f32; 4]> {
    scatter_within(rng, object, [MARGIN; 2], [1. - MARGIN; 2])
}

/// Moves the object to the start, the middle or the end of each axis, within the rectangle between two corners. Returns
/// its box, or None if it does not fit there.
fn scatter_within(
    rng: &mut impl Rng,
    object: &mut Object,
    low: [f32; 2],
    high: [f32; 2],
) -> Option<[f32; 4]> {
    object.center = [0.; 2];
    let (around, cells) = (object.bounds(), i32::from(cells_of(object.size)));
    let free = LATTICE as i32 - cells;
    for axis in [0, 1] {
        let center = |first: i32| (first as f32 + cells as f32 / 2.) / LATTICE;
        let fits = |first: &i32| {
            let center = center(*first);
            center + around[axis] > low[axis] - 1e-3 && center + around[axis + 2] < high[axis] + 1e-3
        };
        let middle = Some(free / 2).filter(fits);
        let ends: Vec<i32> = [0, free].into_iter().filter(fits).collect();
        let first = match middle {
            Some(middle) if ends.is_empty() || rng.random_bool(MIDDLE) => middle,
            _ if ends.is_empty() => return None,
            _ => pick(rng, &ends),
        };
        object.center[axis] = center(first);
    }
    Some(object.bounds())
}

/// Puts up to four objects into the quarters of the canvas.
fn place_in_cells(rng: &mut impl Rng, objects: &mut [Object]) -> bool {
    let mut quarters = [[0., 0.], [0.5, 0.], [0., 0.5], [0.5, 0.5]];
    quarters.shuffle(rng);
    objects.len() <= quarters.len()
        && objects.iter_mut().zip(quarters).all(|(object, quarter)| {
            let [low, high] = [MARGIN, 0.5 - MARGIN].map(|at| quarter.map(|corner| corner + at));
            scatter_within(rng, object, low, high).is_some()
        })
}

/// A background on which every object stands out. It is mostly white if objects stand out on white. The cells at an
/// object's edge also show the background, so a model must learn them once for each background.
pub(super) fn sample_background(
    rng: &mut impl Rng,
    objects: &[Object],
    style: Style,
    scope: Scope,
) -> Background {
    if !scope.is_small() && rng.random_bool(0.15) {
        let scenery = pick(rng, &Scenery::ALL);
        if stands_out(objects, &scenery.tones(), style) {
            return Background::Scenery(scenery);
        }
    }
    let (mut small, mut all) = (Tint::SMALL, Tint::ALL);
    let tints: &mut [Tint] = if scope.is_small() { &mut small } else { &mut all };
    tints.shuffle(rng);
    let tints = tints.iter().copied();
    let stands = |tint: &Tint| stands_out(objects, &[tint.oklab()], style);
    let mut fitting: Vec<Tint> = tints.clone().filter(stands).collect();
    if fitting.is_empty() {
        let hidden = |tint: &Tint| {
            objects.iter().map(|object| hidden_share(object, tint.oklab(), style)).fold(0., f32::max)
        };
        fitting.extend(tints.min_by(|a, b| hidden(a).total_cmp(&hidden(b))));
    }
    let first = match fitting.contains(&Tint::White) && rng.random_bool(0.6) {
        true => Tint::White,
        false => fitting[0],
    };
    let goes_with = |tint: &Tint| (0.06..0.3).contains(&distance(first.oklab(), tint.oklab()));
    let second = fitting.iter().copied().find(goes_with);
    match (rng.random_range(0..100), second) {
        (88..91, Some(second)) => Background::Gradient(first, second),
        (91..94, Some(second)) => Background::Stripes(first, second),
        (94..97, Some(second)) => Background::Dots(first, second),
        (97..100, Some(second)) => Background::Checks(first, second),
        _ => Background::Plain(first),
    }
}

/// Whether every object stands out on each of the colours, in OKLab.
pub(super) fn stands_out(objects: &[Object], tones: &[[f32; 3]], style: Style) -> bool {
    tones.iter().all(|tone| objects.iter().all(|object| hidden_share(object, *tone, style) < 0.3))
}

/// The share of an object that nearly has a background's colour, 0 to 1. If the style hides colours, only the lightness
/// counts.
fn hidden_share(object: &Object, tint: [f32; 3], style: Style) -> f32 {
    let near = |tone: [f32; 3]| match style.shows_color() {
        true => distance(tone, tint) < 0.14,
        false => (tone[0] - tint[0]).abs() < 0.1,
    };
    let tones = object.sprite().tones(object.color);
    tones.iter().filter(|(tone, _)| near(*tone)).map(|(_, share)| share).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_are_clear_and_deterministic() {
        for split in [Split::Train, Split::Validation, Split::Test] {
            for index in 0..500 {
                let scene = scene_at(split, 17, index);
                assert!(scene.is_clear(), "{scene:?}");
                assert!((1..=4).contains(&scene.objects.len()));
                assert!(split.admits(&scene));
                assert_eq!(scene, scene_at(split, 17, index));
            }
        }
        assert_ne!(scene_at(Split::Train, 17, 0), scene_at(Split::Train, 18, 0));
    }

    #[test]
    fn the_mixture_is_as_stated() {
        let scenes: Vec<Scene> = (0..4000).map(|index| scene_at(Split::Train, 2, index)).collect();
        let share = |holds: &dyn Fn(&Scene) -> bool| {
            scenes.iter().filter(|scene| holds(scene)).count() as f32 / scenes.len() as f32
        };
        let near = |share: f32, stated: f32| (share - stated).abs() < 0.03;
        let different =
            |scene: &Scene| scene.objects[0].class != scene.objects[scene.objects.len() - 1].class;
        assert!(near(share(&|scene| scene.objects.len() == 1), 0.35));
        assert!(near(share(&|scene| scene.objects.len() == 2 && different(scene)), 0.35));
        assert!(near(share(&|scene| scene.objects.len() > 1 && !different(scene)), 0.2));
        assert!(near(share(&|scene| scene.style == Style::Plain), 0.92));
    }

    #[test]
    fn scenes_survive_json() {
        let scene = scene_at(Split::Train, 1, 1);
        let json = serde_json::to_string(&scene).expect("plain data");
        assert_eq!(serde_json::from_str::<Scene>(&json).expect("its own JSON"), scene);
    }
}
