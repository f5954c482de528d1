//! Edits of ImgEdit's nine kinds (Ye et al. 2025, arXiv 2505.20275): a scene, an instruction and the scene that it asks
//! for. What an instruction does not name stays exactly where and as it is.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{
    Background, Class, Color, Object, Relation, Scene, Split, Style, Tint, caption, relations,
    sample::{
        Cast, MARGIN, cells_of, pick, rng_at, sample_background, sample_color, sample_size, scatter, size_of,
        stands_out,
    },
    scene::overlap,
    sprites::Sprite,
    words::{
        background_in_full, counted_in_pairs, fill, in_region, noun, number, region, region_is_clear,
        region_name, relation_words, style_words, with_article,
    },
};

/// ImgEdit's nine kinds of edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EditKind {
    Add,
    Remove,
    Replace,
    /// Another colour or size.
    Adjust,
    Background,
    Style,
    /// The object alone, in its place, on white.
    Extract,
    /// Move, mirror or turn.
    Action,
    /// Two of the others in one instruction.
    Compose,
}

impl EditKind {
    /// All nine.
    pub const ALL: [EditKind; 9] = {
        use EditKind::*;
        [Add, Remove, Replace, Adjust, Background, Style, Extract, Action, Compose]
    };

    /// ImgEdit's name.
    pub fn name(self) -> &'static str {
        ["add", "remove", "replace", "adjust", "background", "style", "extract", "action", "compose"]
            [self as usize]
    }
}

/// An edit with its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    pub kind: EditKind,
    pub before: Scene,
    pub instruction: String,
    pub after: Scene,
    /// A caption of the scene after the edit.
    pub description: String,
}

/// Edit `index` of a stream of all kinds.
pub fn edit_at(split: Split, seed: u64, index: u64) -> Edit {
    edit_of(&EditKind::ALL, split, seed, index)
}

/// Edit `index` of a stream of `kinds`, all equally often; one that is named twice comes twice as often. There must be one.
pub fn edit_of(kinds: &[EditKind], split: Split, seed: u64, index: u64) -> Edit {
    let rng = &mut rng_at(seed, index);
    let kind = pick(rng, kinds);
    sample_edit(rng, split, kind)
}

/// An edit of a kind. Neither of its scenes shows what is held out for another split, and at least one of them
/// belongs to this split.
pub fn sample_edit(rng: &mut impl Rng, split: Split, kind: EditKind) -> Edit {
    loop {
        let Some(before) = sample_before(rng, split, kind) else { continue };
        let Some(Step { instruction, after, .. }) = take(rng, split, kind, &before) else { continue };
        let allowed = split.allows(&before) && split.allows(&after);
        if allowed && (split.owns(&before) || split.owns(&after)) {
            let description = caption(&after, rng);
            return Edit { kind, before, instruction, after, description };
        }
    }
}

/// A scene that differs from `scene` in little: two objects have changed places, or one edit was done. It may show
/// combinations that are held out. None where what was tried did not fit.
pub fn another_scene(rng: &mut impl Rng, scene: &Scene) -> Option<Scene> {
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
    let after = take(rng, Split::Train, kind, scene)?.after;
    (!after.objects.is_empty()).then_some(after)
}

/// The scene with one object mirrored or turned; none where that would not show.
pub fn posed_scene(rng: &mut impl Rng, scene: &Scene) -> Option<Scene> {
    let step = if rng.random_bool(0.5) { flip(rng, scene) } else { turn(rng, scene) };
    step.map(|step| step.after)
}

/// A scene that leaves room for the edit.
fn sample_before(rng: &mut impl Rng, split: Split, kind: EditKind) -> Option<Scene> {
    use EditKind::*;
    let cast = match (kind, rng.random_range(0..100)) {
        (Add, 0..45) => Cast::Two(None),
        (Add, 45..80) => Cast::Mixed(3),
        (Add, _) => Cast::Mixed(4),
        (Remove | Extract, 0..50) => Cast::Two(None),
        (Remove | Extract, 50..80) => Cast::Mixed(rng.random_range(3..=4)),
        (Remove, 80..93) => Cast::Same(rng.random_range(2..=4)),
        (Compose, 0..60) => Cast::Two(None),
        (Compose, 60..85) => Cast::Mixed(3),
        (_, 0..45) => Cast::One,
        (_, 45..80) => Cast::Two(None),
        (_, 80..90) => Cast::Same(rng.random_range(2..=3)),
        _ => Cast::Mixed(3),
    };
    let mut scene = cast.stage(rng, split)?;
    if kind == Add {
        scene.objects.pop();
    }
    Some(scene)
}

/// One thing done: what was said, what came of it, and which objects were named.
struct Step {
    instruction: String,
    after: Scene,
    named: Vec<(Referent, Vec<Object>)>,
}

fn take(rng: &mut impl Rng, split: Split, kind: EditKind, scene: &Scene) -> Option<Step> {
    match kind {
        EditKind::Add => add(rng, split, scene),
        EditKind::Remove => remove(rng, scene),
        EditKind::Replace => replace(rng, split, scene),
        EditKind::Adjust if rng.random_bool(0.6) => recolor(rng, scene),
        EditKind::Adjust => resize(rng, scene),
        EditKind::Background => change_background(rng, scene),
        EditKind::Style => change_style(rng, scene),
        EditKind::Extract => extract(rng, scene),
        EditKind::Action => match rng.random_range(0..4) {
            0 => flip(rng, scene),
            1 => turn(rng, scene),
            _ => relocate(rng, scene),
        },
        EditKind::Compose => compose(rng, split, scene),
    }
}

fn add(rng: &mut impl Rng, split: Split, scene: &Scene) -> Option<Step> {
    let another = !scene.objects.is_empty() && rng.random_bool(0.15);
    let (class, color) = if another {
        let like = &scene.objects[rng.random_range(0..scene.objects.len())];
        (like.class, like.color)
    } else {
        let class = pick(rng, &Class::ALL);
        (class, sample_color(rng, class, scene.style, split))
    };
    if another == scene.objects.iter().all(|object| object.class != class) {
        return None;
    }
    let size = sample_size(rng, scene.objects.len() + 1);
    let mut object = Object { class, color, center: [0.5; 2], size, flipped: false, rotation: 0. };
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

fn remove(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
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

fn replace(rng: &mut impl Rng, split: Split, scene: &Scene) -> Option<Step> {
    let (referent, index) = refer_to_one(rng, scene)?;
    let class = pick(rng, &Class::ALL);
    if scene.objects.iter().any(|object| object.class == class) {
        return None;
    }
    let color = sample_color(rng, class, scene.style, split);
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

fn recolor(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
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

fn resize(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    let (referent, index) = refer_to_one(rng, scene)?;
    let grow = rng.random_bool(0.5);
    // By an even number of cells, so that an object that keeps its middle stays on the lattice.
    let cells = cells_of(scene.objects[index].size);
    let cells = if grow { cells + 2 } else { cells.saturating_sub(2) };
    if !(4..=10).contains(&cells) {
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

fn change_background(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    if scene.style != Style::Plain {
        return None;
    }
    let mut after = scene.clone();
    after.background = sample_background(rng, &scene.objects, scene.style);
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

fn change_style(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
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

fn extract(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
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

fn flip(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    let (referent, index) = refer_to_one(rng, scene)?;
    let object = &scene.objects[index];
    if object.rotation != 0. || !Sprite::of(object.class).shows_flip() {
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

fn turn(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
    let (referent, index) = refer_to_one(rng, scene)?;
    let object = &scene.objects[index];
    if object.rotation != 0. || !Sprite::of(object.class).shows_turn() {
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
fn relocate(rng: &mut impl Rng, scene: &Scene) -> Option<Step> {
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

/// Two steps of different kinds that name no object in common, so that either could be done first.
fn compose(rng: &mut impl Rng, split: Split, scene: &Scene) -> Option<Step> {
    use EditKind::*;
    const PARTS: [EditKind; 6] = [Add, Remove, Replace, Adjust, Background, Action];
    let kinds = [pick(rng, &PARTS), pick(rng, &PARTS)];
    if kinds[0] == kinds[1] {
        return None;
    }
    let first = take(rng, split, kinds[0], scene)?;
    let second = take(rng, split, kinds[1], &first.after)?;
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

/// The scene with some objects changed, if they still stand clear and stand out.
fn changed(scene: &Scene, members: &[usize], change: impl Fn(&mut Object)) -> Option<Scene> {
    let mut after = scene.clone();
    members.iter().for_each(|&index| change(&mut after.objects[index]));
    let fits = after != *scene
        && after.is_clear()
        && members.iter().all(|&index| tints_fit(&after, &after.objects[index]));
    fits.then_some(after)
}

fn tints_fit(scene: &Scene, object: &Object) -> bool {
    let object = std::slice::from_ref(object);
    scene.background.tints().into_iter().all(|tint| stands_out(object, tint, scene.style))
}

fn tints_fit_all(scene: &Scene) -> bool {
    scene.objects.iter().all(|object| tints_fit(scene, object))
}

/// Moves the object to a place that no other object (but `itself`) takes up.
fn scatter_clear(rng: &mut impl Rng, scene: &Scene, object: &mut Object, itself: Option<usize>) -> bool {
    let mut others = scene.boxes();
    if let Some(index) = itself {
        others.remove(index);
    }
    (0..40).any(|_| {
        scatter(rng, object).is_some_and(|bounds| others.iter().all(|other| !overlap(&bounds, other, MARGIN)))
    })
}

/// Where an object is, seen from the object `anchor` of the scene: in one clear relation.
fn beside(
    rng: &mut impl Rng,
    scene: &Scene,
    object: &Object,
    anchor: usize,
) -> Option<(String, (Referent, Vec<Object>))> {
    let [relation] = relations(&object.bounds(), &scene.objects[anchor].bounds())[..] else { return None };
    let referent = refer(rng, scene, anchor)?;
    // "on the left of" may follow an object's own place: keep to the wordings that cannot be misread.
    let words = fill(pick(rng, &relation_words(relation)[..2]), &[&referent.text(rng)]);
    Some((words, referent.with(scene, &[anchor])))
}

/// How an instruction names objects.
#[derive(Clone, Copy)]
struct Referent {
    class: Class,
    /// Stated only where it is needed or by chance.
    color: Option<Color>,
    /// The one that is furthest to this side.
    side: Option<Relation>,
    /// How many, if all of them are meant.
    all: Option<usize>,
}

impl Referent {
    /// The objects that the words fit.
    fn find(&self, scene: &Scene) -> Vec<usize> {
        let fitting = (0..scene.objects.len()).filter(|&index| {
            let object = &scene.objects[index];
            object.class == self.class && self.color.is_none_or(|color| scene.color_of(object) == Some(color))
        });
        match self.side {
            None => fitting.collect(),
            Some(side) => furthest(scene, &fitting.collect::<Vec<_>>(), side).into_iter().collect(),
        }
    }

    fn text(&self, rng: &mut impl Rng) -> String {
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

    fn with(self, scene: &Scene, members: &[usize]) -> (Referent, Vec<Object>) {
        (self, members.iter().map(|&index| scene.objects[index].clone()).collect())
    }
}

/// The object furthest to a side of two, if it is so by far.
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

fn refer_to_one(rng: &mut impl Rng, scene: &Scene) -> Option<(Referent, usize)> {
    let index = rng.random_range(0..scene.objects.len().max(1));
    (index < scene.objects.len())
        .then(|| refer(rng, scene, index).map(|referent| (referent, index)))
        .flatten()
}

/// One object, or all that look alike.
fn refer_to_some(rng: &mut impl Rng, scene: &Scene) -> Option<(Referent, Vec<usize>)> {
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn edits(kind: EditKind) -> impl Iterator<Item = Edit> {
        (0..400).map(move |index| sample_edit(&mut rng_at(11, index), Split::Train, kind))
    }

    /// The objects of one scene that the other lacks.
    fn missing(from: &Scene, to: &Scene) -> usize {
        from.objects.iter().filter(|object| !to.objects.contains(object)).count()
    }

    #[test]
    fn edits_are_clear_worded_and_deterministic() {
        for kind in EditKind::ALL {
            let mut wordings = HashSet::new();
            for edit in edits(kind) {
                assert!(edit.before.is_clear() && edit.after.is_clear(), "{edit:?}");
                assert_ne!(edit.before, edit.after);
                assert!(!edit.instruction.contains(['{', '}']) && !edit.instruction.contains("  "));
                assert_eq!(edit.instruction, edit.instruction.to_lowercase());
                wordings.insert(edit.instruction);
            }
            assert!(wordings.len() > 30, "{kind:?}: only {} wordings", wordings.len());
        }
        assert_eq!(edit_at(Split::Test, 1, 2), edit_at(Split::Test, 1, 2));
    }

    #[test]
    fn adding_and_removing_leave_the_rest() {
        for edit in edits(EditKind::Add) {
            assert_eq!((missing(&edit.before, &edit.after), missing(&edit.after, &edit.before)), (0, 1));
            assert_eq!(
                (edit.before.background, edit.before.style),
                (edit.after.background, edit.after.style)
            );
        }
        for edit in edits(EditKind::Remove) {
            assert!(missing(&edit.before, &edit.after) >= 1 && missing(&edit.after, &edit.before) == 0);
            assert_eq!(
                (edit.before.background, edit.before.style),
                (edit.after.background, edit.after.style)
            );
        }
    }

    #[test]
    fn changes_keep_place_and_number() {
        for kind in [EditKind::Replace, EditKind::Adjust, EditKind::Action] {
            for edit in edits(kind) {
                assert_eq!(edit.before.objects.len(), edit.after.objects.len());
                assert_eq!(
                    (edit.before.background, edit.before.style),
                    (edit.after.background, edit.after.style)
                );
                for (old, new) in
                    edit.before.objects.iter().zip(&edit.after.objects).filter(|(old, new)| old != new)
                {
                    assert_eq!(kind == EditKind::Replace, old.class != new.class);
                    assert!(kind == EditKind::Action || old.center == new.center);
                    assert!(kind != EditKind::Action || (old.color, old.size) == (new.color, new.size));
                }
            }
        }
    }

    #[test]
    fn background_and_style_leave_the_objects() {
        for edit in edits(EditKind::Background) {
            assert_eq!((&edit.before.objects, edit.before.style), (&edit.after.objects, edit.after.style));
        }
        for edit in edits(EditKind::Style) {
            assert_eq!(
                (&edit.before.objects, edit.before.background),
                (&edit.after.objects, edit.after.background)
            );
        }
    }

    #[test]
    fn extracting_leaves_one_object_on_white() {
        for edit in edits(EditKind::Extract) {
            assert_eq!(edit.after.background, Background::Plain(Tint::White));
            assert_eq!(edit.after.objects.len(), 1);
            assert!(edit.before.objects.contains(&edit.after.objects[0]));
        }
    }

    #[test]
    fn edits_keep_to_their_split() {
        for index in 0..60 {
            for split in [Split::Validation, Split::Test] {
                let edit = edit_at(split, 5, index);
                assert!(split.allows(&edit.before) && split.allows(&edit.after));
                assert!(split.owns(&edit.before) || split.owns(&edit.after));
            }
            let edit = edit_at(Split::Train, 5, index);
            assert!(Split::Train.admits(&edit.before) && Split::Train.admits(&edit.after));
        }
    }
}
