//! Captions as people type prompts: in two languages, with other names for things, with capitals and typos.

use rand::{Rng, RngExt, seq::IndexedRandom};

use super::{
    Class, Color, Look, Scene, Scope, caption,
    chinese::{self, CHINESE},
    random::pick,
    words::{fill, with_article},
};

/// How often the look is said where a scope has two.
const LOOK: f64 = 0.6;

/// A caption in the languages and looks of a scope. In the small world it is a [`caption`].
pub fn worded(scope: Scope, scene: &Scene, rng: &mut impl Rng) -> String {
    if scope.is_small() || scene.objects.is_empty() {
        return caption(scene, rng);
    }
    let look = (scope.solid && rng.random_bool(LOOK)).then(|| scene.look());
    if scope.chinese && rng.random_bool(CHINESE) {
        let text = chinese::caption(scene, rng);
        return match look.map(|look| chinese::look(look, rng)) {
            None => text,
            Some(look) if rng.random_bool(0.3) => format!("{look}，{text}"),
            Some(look) => format!("{text}，{look}"),
        };
    }
    let text = bare(scene, rng).unwrap_or_else(|| caption(scene, rng));
    let text = scene.objects.iter().fold(text, |text, object| with_synonym(text, object.class, rng));
    match look {
        None => text,
        Some(look) => with_look(text, scene, look, rng),
    }
}

/// A caption with the slips of people who type. [`Facts`](super::Facts) may not be able to read it.
pub fn typed(scope: Scope, scene: &Scene, rng: &mut impl Rng) -> String {
    if !scope.is_small()
        && let Some(emoji) = emoji(scene, rng)
    {
        return emoji;
    }
    let text = worded(scope, scene, rng);
    if scope.is_small() || !text.is_ascii() {
        return text;
    }
    match rng.random_range(0..100) {
        0..6 => capitalized(&text),
        6..8 => text.to_uppercase(),
        8..12 => misspelt(&text, rng),
        12..16 => text + ".",
        16..20 => text.replace("a photo of ", "").replace(" a ", " ").trim_start_matches("a ").to_owned(),
        _ => text,
    }
}

/// A single thing in its natural colours as its emoji.
fn emoji(scene: &Scene, rng: &mut impl Rng) -> Option<String> {
    let [object] = &scene.objects[..] else { return None };
    let plain = object.color.is_none() && rng.random_bool(0.08);
    object.class.emoji().filter(|_| plain)
}

/// A single thing in the few words of most prompts.
fn bare(scene: &Scene, rng: &mut impl Rng) -> Option<String> {
    let [object] = &scene.objects[..] else { return None };
    if !rng.random_bool(0.3) {
        return None;
    }
    let name = match scene.color_of(object) {
        None => object.class.name().to_owned(),
        Some(color) => format!("{color} {}", object.class),
    };
    let with_article = with_article(&name);
    let templates = [
        "{a}",
        "{b}",
        "{b}",
        "the {a}",
        "draw {b}",
        "draw me {b}",
        "photo of {b}",
        "picture of {b}",
        "portrait of {b}",
        "a cute {a}",
        "a nice {a}",
        "a beautiful {a}",
        "please draw {b}",
        "an emoji of {b}",
        "{a} sticker",
        "{a} emoji",
    ];
    Some(fill(pick(rng, &templates), &[&name, &with_article]))
}

/// Another name for the class in some of the texts that name it once.
fn with_synonym(text: String, class: Class, rng: &mut impl Rng) -> String {
    let Some(synonym) = class.synonyms().choose(rng).filter(|_| rng.random_bool(0.2)) else { return text };
    replace_word(text, class.name(), synonym)
}

/// `name` replaced where it stands as words of its own, with the article that the new word needs. The text stays as it is
/// if the name is not there, or is part of another thing's name.
fn replace_word(text: String, name: &str, with: &str) -> String {
    let Some(start) = text.find(name) else { return text };
    let end = start + name.len();
    let alone = |byte: Option<&u8>| byte.is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let bytes = text.as_bytes();
    if !alone(start.checked_sub(1).and_then(|before| bytes.get(before))) || !alone(bytes.get(end)) {
        return text;
    }
    let (before, after) = (&text[..start], &text[end..]);
    let before = match before.strip_suffix("an ").or_else(|| before.strip_suffix("a ")) {
        Some(rest) if alone(rest.as_bytes().last()) => {
            return format!("{rest}{}{after}", with_article(with));
        }
        _ => before,
    };
    format!("{before}{with}{after}")
}

fn with_look(text: String, scene: &Scene, look: Look, rng: &mut impl Rng) -> String {
    let word = match look {
        Look::Solid => "3d",
        Look::Flat => "flat",
    };
    // "a red 3d fox"
    if let [object] = &scene.objects[..]
        && rng.random_bool(0.4)
    {
        let name = object.class.name();
        let changed = replace_word(text.clone(), name, &format!("{word} {name}"));
        if changed != text {
            return changed;
        }
    }
    let suffixes: &[&str] = match look {
        Look::Solid => &["{a} in 3d", "{a}, 3d", "{a}, 3d style", "{a}, 3d render", "3d: {a}"],
        Look::Flat => {
            &["{a}, flat", "{a} in flat style", "{a}, flat style", "{a}, flat drawing", "flat: {a}"]
        }
    };
    fill(pick(rng, suffixes), &[&text])
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// One letter left out, doubled, or exchanged with the next, within a word of at least five letters that is no colour.
fn misspelt(text: &str, rng: &mut impl Rng) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let long = |word: &&str| {
        word.len() >= 5
            && word.bytes().all(|byte| byte.is_ascii_lowercase())
            && Color::from_name(word).is_none()
    };
    let places: Vec<usize> = (0..words.len()).filter(|&place| long(&words[place])).collect();
    let Some(&place) = places.choose(rng) else { return text.to_owned() };
    let mut letters: Vec<char> = words[place].chars().collect();
    let at = rng.random_range(1..letters.len() - 1);
    match rng.random_range(0..3) {
        0 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        _ => letters.swap(at, at + 1),
    }
    let misspelt: String = letters.into_iter().collect();
    let words = words.iter().enumerate().map(|(index, word)| if index == place { &misspelt } else { *word });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Domain, Facts, Split, sample_scene};
    use unigen_training::data::rng_at;

    const SCOPE: Scope = Scope { things: 400, solid: true, chinese: false };

    #[test]
    fn what_is_said_in_english_holds() {
        let (mut looks, mut synonyms) = (0, 0);
        for index in 0..4000 {
            let mut rng = rng_at(31, index);
            let scene = sample_scene(&mut rng, Domain { scope: SCOPE, split: Split::Train });
            let text = worded(SCOPE, &scene, &mut rng);
            let facts = Facts::of(&text);
            assert!(facts.hold(&scene), "{text:?} {facts:?} {scene:?}");
            let objects: usize = facts.things.iter().map(|thing| thing.count).sum();
            assert_eq!(objects, scene.objects.len(), "{text:?} {facts:?}");
            looks += usize::from(facts.look.is_some());
            synonyms += usize::from(
                scene
                    .objects
                    .iter()
                    .any(|object| object.class.synonyms().iter().any(|synonym| text.contains(synonym))),
            );
        }
        assert!((2200..2600).contains(&looks), "{looks}");
        assert!(synonyms > 200, "{synonyms}");
    }

    #[test]
    fn words_are_replaced_with_their_article() {
        let replaced = |text: &str, name, with| replace_word(text.to_owned(), name, with);
        assert_eq!(replaced("a cat on a mat", "cat", "animal"), "an animal on a mat");
        assert_eq!(replaced("an apple", "apple", "3d apple"), "a 3d apple");
        assert_eq!(replaced("a red car", "car", "auto"), "a red auto");
        assert_eq!(replaced("a carrot", "car", "auto"), "a carrot");
        assert_eq!(replaced("two cats", "cat", "kitten"), "two cats");
    }

    #[test]
    fn people_type_in_many_ways() {
        let scope = Scope { chinese: true, ..SCOPE };
        let texts: Vec<String> = (0..3000)
            .map(|index| {
                let mut rng = rng_at(7, index);
                let scene = sample_scene(&mut rng, Domain { scope, split: Split::Train });
                typed(scope, &scene, &mut rng)
            })
            .collect();
        let count = |holds: &dyn Fn(&str) -> bool| texts.iter().filter(|text| holds(text)).count();
        let chinese = |text: &str| text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter));
        assert!((1000..1300).contains(&count(&chinese)));
        assert!(count(&|text| text.chars().count() <= 4 && !text.is_ascii() && !chinese(text)) > 20);
        assert!(count(&|text| text.starts_with(char::is_uppercase)) > 80);
        assert!(
            texts.iter().all(|text| !text.is_empty() && !text.contains(['{', '}']) && !text.contains("  "))
        );
    }
}
