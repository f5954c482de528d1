//! Words with which instructions name objects.

use rand::{Rng, RngExt};
use unigen_evaluation::geneval::{Relation, relations};

use crate::world::{
    Class, Color, Object, Scene,
    random::pick,
    words::{fill, noun, number, relation_words},
};

/// A description of the objects that an instruction names.
#[derive(Clone, Copy)]
pub(super) struct Referent {
    class: Class,
    /// The colour, which is stated where it is needed, or by chance.
    color: Option<Color>,
    /// The object that is furthest to this side.
    side: Option<Relation>,
    /// The number of objects, if all of them are meant.
    all: Option<usize>,
}

impl Referent {
    /// The objects that the words fit.
    pub fn find(&self, scene: &Scene) -> Vec<usize> {
        let fitting = (0..scene.objects.len()).filter(|&index| {
            let object = &scene.objects[index];
            object.class == self.class && self.color.is_none_or(|color| scene.color_of(object) == Some(color))
        });
        match self.side {
            None => fitting.collect(),
            Some(side) => furthest(scene, &fitting.collect::<Vec<_>>(), side).into_iter().collect(),
        }
    }

    /// The words, with `the` or the number.
    pub fn text(&self, rng: &mut impl Rng) -> String {
        if let Some(count) = self.all {
            let things = noun(self.class, self.color, count);
            let every = match count {
                2 => "both".to_owned(),
                _ => pick(rng, &["all {a}", "all the"]).replace("{a}", number(count)),
            };
            let pairs = if self.class.is_pair() { "pairs of " } else { "" };
            return format!("{every} {pairs}{things}");
        }
        let thing = noun(self.class, self.color, 1);
        let (adjective, place) = match self.side {
            None => return format!("the {thing}"),
            Some(Relation::Left) => ("left", "on the left"),
            Some(Relation::Right) => ("right", "on the right"),
            Some(Relation::Above) => ("upper", "at the top"),
            Some(Relation::Below) => ("lower", "at the bottom"),
        };
        match rng.random_bool(0.5) {
            true => format!("the {adjective} {thing}"),
            false => format!("the {thing} {place}"),
        }
    }

    /// The words, and the objects that they name.
    pub fn with(self, scene: &Scene, members: &[usize]) -> (Referent, Vec<Object>) {
        (self, members.iter().map(|&index| scene.objects[index].clone()).collect())
    }
}

/// The one of two objects that is furthest to a side, if it clearly is.
fn furthest(scene: &Scene, among: &[usize], side: Relation) -> Option<usize> {
    let along = |index: usize| {
        let [x, y] = scene.objects[index].center;
        match side {
            Relation::Left => -x,
            Relation::Right => x,
            Relation::Above => -y,
            Relation::Below => y,
        }
    };
    let [a, b] = *among else { return None };
    let lead = along(a) - along(b);
    (lead.abs() > 0.15).then_some(if lead > 0. { a } else { b })
}

/// Words for one object that fit no other.
fn refer(rng: &mut impl Rng, scene: &Scene, index: usize) -> Option<Referent> {
    let object = &scene.objects[index];
    let bare = Referent { class: object.class, color: None, side: None, all: None };
    let mut ways = vec![bare];
    ways.extend(scene.color_of(object).map(|color| Referent { color: Some(color), ..bare }));
    ways.extend(Relation::ALL.map(|side| Referent { side: Some(side), ..bare }));
    ways.retain(|way| way.find(scene) == [index]);
    (!ways.is_empty()).then(|| pick(rng, &ways))
}

/// One object.
pub(super) fn refer_to_one(rng: &mut impl Rng, scene: &Scene) -> Option<(Referent, usize)> {
    let index = rng.random_range(0..scene.objects.len().max(1));
    (index < scene.objects.len())
        .then(|| refer(rng, scene, index).map(|referent| (referent, index)))
        .flatten()
}

/// One object, or all that look alike.
pub(super) fn refer_to_some(rng: &mut impl Rng, scene: &Scene) -> Option<(Referent, Vec<usize>)> {
    let groups = scene.groups();
    let group = groups.get(rng.random_range(0..groups.len().max(1)))?;
    let count = group.members.len();
    if count == 1 || rng.random_bool(0.5) {
        let index = pick(rng, &group.members);
        return refer(rng, scene, index).map(|referent| (referent, vec![index]));
    }
    let bare = Referent { class: group.class, color: None, side: None, all: Some(count) };
    let mut ways = vec![bare];
    ways.extend(group.color.map(|color| Referent { color: Some(color), ..bare }));
    ways.retain(|way| way.find(scene) == group.members);
    (!ways.is_empty()).then(|| (pick(rng, &ways), group.members.clone()))
}

/// The one clear relation of an object to the object `anchor` of the scene.
pub(super) fn beside(
    rng: &mut impl Rng,
    scene: &Scene,
    object: &Object,
    anchor: usize,
) -> Option<(String, (Referent, Vec<Object>))> {
    let [relation] = relations(&object.bounds(), &scene.objects[anchor].bounds())[..] else { return None };
    let referent = refer(rng, scene, anchor)?;
    // "on the left of" may be misread after an object's own place, so only unambiguous wordings are used.
    let words = fill(pick(rng, &relation_words(relation)[..2]), &[&referent.text(rng)]);
    Some((words, referent.with(scene, &[anchor])))
}
