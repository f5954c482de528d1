//! Captions, which say what a scene shows in many phrasings.

use rand::{Rng, RngExt};
use unigen_evaluation::geneval::Relation;
use unigen_training::data::rng_at;

use super::{
    Background, Domain, Look, Pose, Scene,
    random::pick,
    sample::sample_scene,
    scene::Group,
    typed::worded,
    words::{
        background_in_full, counted, counted_in_pairs, fill, in_region, list, noun, number, region,
        size_word, some_background, some_style, style_words, with_article,
    },
};

/// A caption in one of many phrasings. Three in ten use GenEval's phrasing. Every object is named with its count. Its
/// colour is named if it is one of the ten colours and the style shows it. Places, background and style are named
/// sometimes.
pub fn caption(scene: &Scene, rng: &mut impl Rng) -> String {
    if scene.objects.is_empty() {
        return fill(
            pick(rng, &["an empty {a}", "nothing but a {a}", "only a {a}"]),
            &[&background_in_full(scene)],
        );
    }
    if rng.random_bool(0.3) { in_genevals_words(scene, rng) } else { in_many_words(scene, rng) }
}

/// Scene `index` of a stream (the same as [`scene_at`](super::scene_at)) with a caption.
pub fn example_at(domain: impl Into<Domain>, seed: u64, index: u64) -> (Scene, String) {
    let (mut rng, domain) = (rng_at(seed, index), domain.into());
    let scene = sample_scene(&mut rng, domain);
    let caption = worded(domain.scope, &scene, &mut rng);
    (scene, caption)
}

/// The full canonical description: every object with its colour, place and pose, the background and the style.
pub fn description(scene: &Scene) -> String {
    let style = style_words(scene.style).first().map_or(String::new(), |style| format!(", {style}"));
    let look = if scene.look() == Look::Solid { ", in 3d" } else { "" };
    let background = with_article(&background_in_full(scene));
    if scene.objects.is_empty() {
        return format!("nothing on {background}{style}");
    }
    let places = scene.objects.iter().map(|object| {
        let thing = counted_in_pairs(object.class, scene.color_of(object), 1);
        format!("{thing} {}{}", in_region(region(object.center)), Pose::of(object).told())
    });
    format!("{} on {background}{style}{look}", places.collect::<Vec<_>>().join("; "))
}

fn in_genevals_words(scene: &Scene, rng: &mut impl Rng) -> String {
    let groups = scene.groups();
    let say = |group: &Group| counted(group.class, group.color, group.members.len());
    let what = match pair_relation(scene, rng) {
        Some((a, relation, b)) if rng.random_bool(0.6) => {
            format!("{} {} {}", say(&groups[a]), relation.name(), say(&groups[b]))
        }
        _ => list(&groups.iter().map(say).collect::<Vec<_>>()),
    };
    let what = format!("a photo of {what}");
    match rng.random_bool(0.3) {
        true => with_surroundings(scene, rng, what),
        false => what,
    }
}

fn in_many_words(scene: &Scene, rng: &mut impl Rng) -> String {
    let groups = scene.groups();
    let say = |group: &Group, rng: &mut _| some_count(scene, group, rng);
    let core = match pair_relation(scene, rng) {
        Some((a, relation, b)) if rng.random_bool(0.8) => {
            let (a, b) = (say(&groups[a], rng), say(&groups[b], rng));
            fill(pick(rng, relation_templates(relation)), &[&a, &b])
        }
        _ => {
            let with_places = scene.objects.len() == groups.len() && rng.random_bool(0.35);
            let items: Vec<String> = groups
                .iter()
                .map(|group| match with_places {
                    true => format!(
                        "{} {}",
                        say(group, rng),
                        in_region(region(scene.objects[group.members[0]].center))
                    ),
                    false => say(group, rng),
                })
                .collect();
            match rng.random_bool(0.25) {
                true => items.join(", "),
                false => list(&items),
            }
        }
    };
    let verb = if groups[0].members.len() == 1 { "is" } else { "are" };
    let lead = match rng.random_range(0..10) {
        0..4 => "{a}",
        4 => "a picture of {a}",
        5 => "an image of {a}",
        6 => "there {b} {a}",
        7 => "here {b} {a}",
        8 => pick(rng, &["a drawing of {a}", "stickers: {a}", "this is {a}", "this picture shows {a}"]),
        _ => pick(rng, &["i see {a}", "you can see {a}", "a scene with {a}", "an image with {a}"]),
    };
    let sentence = fill(lead, &[&core, verb]);
    match rng.random_bool(0.55) {
        true => with_surroundings(scene, rng, sentence),
        false => sentence,
    }
}

/// Adds the background, the style or both.
fn with_surroundings(scene: &Scene, rng: &mut impl Rng, mut text: String) -> String {
    let style = some_style(rng, scene.style);
    if style.is_none() || rng.random_bool(0.6) {
        if let Background::Scenery(scenery) = scene.background {
            text = format!("{text} {}", pick(rng, scenery.words()));
            return match style {
                Some(style) => format!("{text}, {style}"),
                None => text,
            };
        }
        let background = some_background(rng, scene.background, scene.style);
        let place = match pick(rng, &["on {a}", "on {a}", "in front of {a}", "against {a}", ", {b}"]) {
            ", {b}" => format!(", {background}"),
            place => format!(" {}", fill(place, &[&with_article(&background)])),
        };
        text += &place;
    }
    match style {
        Some(style) => format!("{text}{}{style}", pick(rng, &[" ", ", "])),
        None => text,
    }
}

fn some_count(scene: &Scene, group: &Group, rng: &mut impl Rng) -> String {
    let count = group.members.len();
    if scene.objects.len() == 1
        && let Some(size) = size_word(&scene.objects[0])
        && rng.random_bool(0.2)
    {
        return format!("a {size} {}", noun(group.class, group.color, 1));
    }
    match rng.random_range(0..20) {
        0 if count == 1 && !group.class.is_pair() => format!("one {}", noun(group.class, group.color, 1)),
        1 if count == 1 && !group.class.is_pair() => {
            format!("a single {}", noun(group.class, group.color, 1))
        }
        0 if count > 1 => format!("a group of {} {}", number(count), noun(group.class, group.color, count)),
        _ => counted_in_pairs(group.class, group.color, count),
    }
}

/// For a scene of two different objects: the groups in either order, with a relation that holds between them.
fn pair_relation(scene: &Scene, rng: &mut impl Rng) -> Option<(usize, Relation, usize)> {
    if scene.objects.len() != 2 || scene.groups().len() != 2 {
        return None;
    }
    let (a, b) = if rng.random_bool(0.5) { (0, 1) } else { (1, 0) };
    let held = scene.relations(a, b);
    (!held.is_empty()).then(|| (a, pick(rng, &held), b))
}

fn relation_templates(relation: Relation) -> &'static [&'static str] {
    match relation {
        Relation::Left => &[
            "{a} left of {b}",
            "{a} to the left of {b}",
            "{a} on the left of {b}",
            "{a} on the left and {b} on the right",
            "{b} with {a} to its left",
            "{b} and to its left {a}",
        ],
        Relation::Right => &[
            "{a} right of {b}",
            "{a} to the right of {b}",
            "{a} on the right of {b}",
            "{a} on the right and {b} on the left",
            "{b} with {a} to its right",
            "{b} and to its right {a}",
        ],
        Relation::Above => &[
            "{a} above {b}",
            "{a} over {b}",
            "{a} higher than {b}",
            "{a} at the top and {b} at the bottom",
            "{b} with {a} above it",
            "{b} and above it {a}",
        ],
        Relation::Below => &[
            "{a} below {b}",
            "{a} under {b}",
            "{a} beneath {b}",
            "{a} lower than {b}",
            "{a} at the bottom and {b} at the top",
            "{b} with {a} below it",
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Split, scene_at};

    #[test]
    fn examples_are_those_of_the_stream() {
        for split in [Split::Train, Split::Validation, Split::Test] {
            for index in 0..500 {
                assert_eq!(scene_at(split, 17, index), example_at(split, 17, index).0);
            }
        }
    }

    #[test]
    fn captions_name_every_object_and_visible_color() {
        for index in 0..3000 {
            let mut rng = rng_at(3, index);
            let scene = sample_scene(&mut rng, Split::Train);
            let full = description(&scene);
            for text in [caption(&scene, &mut rng), full] {
                for group in scene.groups() {
                    let one = noun(group.class, group.color, 1);
                    let many = noun(group.class, group.color, 2);
                    assert!(text.contains(&one) || text.contains(&many), "{text:?} lacks {one:?}");
                }
                assert_eq!(text, text.to_lowercase());
                assert!(!text.contains("  ") && !text.contains('{'), "{text:?}");
            }
        }
    }

    #[test]
    fn captions_count() {
        for index in 0..2000 {
            let mut rng = rng_at(4, index);
            let scene = sample_scene(&mut rng, Split::Train);
            let text = caption(&scene, &mut rng);
            for group in scene.groups().iter().filter(|group| group.members.len() > 1) {
                assert!(text.contains(number(group.members.len())), "{text:?}");
            }
        }
    }
}
