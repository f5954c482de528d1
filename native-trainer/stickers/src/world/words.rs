//! The words of captions, questions and instructions: a small closed vocabulary in lower case.

use rand::{Rng, RngExt};
use unigen_evaluation::geneval::Relation;

use super::{Background, Class, Color, Object, Scene, Style, Tint, random::pick};

/// Fills a template: `{a}`, `{b}`, ... by position in `parts`.
pub(super) fn fill(template: &str, parts: &[&str]) -> String {
    let mut text = String::with_capacity(template.len() + 64);
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        text.push_str(&rest[..start]);
        text.push_str(parts[usize::from(rest.as_bytes()[start + 1] - b'a')]);
        rest = &rest[start + 3..];
    }
    text + rest
}

/// A text with `a` or `an` before it.
pub(super) fn with_article(noun: &str) -> String {
    let consonant = ["uni", "ufo", "eu"].iter().any(|spoken| noun.starts_with(spoken));
    let vowel = ["a", "e", "i", "o", "u", "hour", "x-ray"].iter().any(|spoken| noun.starts_with(spoken));
    let article = if vowel && !consonant { "an" } else { "a" };
    format!("{article} {noun}")
}

/// A noun such as `dog`, `red dog`, `red dogs`.
pub(super) fn noun(class: Class, color: Option<Color>, count: usize) -> String {
    let name = if count == 1 { class.name() } else { class.plural() };
    match color {
        Some(color) => format!("{color} {name}"),
        None => name.to_owned(),
    }
}

/// A number word such as `two`, `three`.
pub(super) fn number(count: usize) -> &'static str {
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight"][count.min(8)]
}

/// A counted noun such as `a red dog` or `three red dogs`, in GenEval's words (`a scissors`, `two skis`).
pub(super) fn counted(class: Class, color: Option<Color>, count: usize) -> String {
    let noun = noun(class, color, count);
    if count == 1 { with_article(&noun) } else { format!("{} {noun}", number(count)) }
}

/// A counted noun in correct English (`a pair of scissors`, `two pairs of skis`).
pub(super) fn counted_in_pairs(class: Class, color: Option<Color>, count: usize) -> String {
    match (class.is_pair(), count) {
        (false, _) => counted(class, color, count),
        (true, 1) => format!("a pair of {}", noun(class, color, 1)),
        (true, _) => format!("{} pairs of {}", number(count), noun(class, color, count)),
    }
}

/// A list such as `a`, `a and b`, `a, b and c`.
pub(super) fn list(items: &[String]) -> String {
    match items {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// The third of the canvas that contains a centre, along x and y: -1, 0 or 1.
pub fn region(center: [f32; 2]) -> [i8; 2] {
    center.map(|at| i8::from(at > 0.6) - i8::from(at < 0.4))
}

/// Whether a centre is clearly in one region, away from the borders between thirds.
pub(super) fn region_is_clear(center: [f32; 2]) -> bool {
    center.iter().all(|at| [0.4f32, 0.6].iter().all(|border| (at - border).abs() > 0.03))
}

/// The name of a region, such as `top left`, `left`, `center`.
pub(super) fn region_name([x, y]: [i8; 2]) -> &'static str {
    const NAMES: [[&str; 3]; 3] = [
        ["top left", "top", "top right"],
        ["left", "center", "right"],
        ["bottom left", "bottom", "bottom right"],
    ];
    NAMES[(y + 1) as usize][(x + 1) as usize]
}

/// The words for a place in a region, such as `in the top left corner`, `on the left`, `at the top`, `in the center`.
pub(super) fn in_region(region: [i8; 2]) -> String {
    let name = region_name(region);
    match region {
        [0, 0] => format!("in the {name}"),
        [_, 0] => format!("on the {name}"),
        [0, _] => format!("at the {name}"),
        _ => format!("in the {name} corner"),
    }
}

/// `small` or `big` for an object that stands alone. None for sizes in between.
pub(super) fn size_word(object: &Object) -> Option<&'static str> {
    match object.size {
        size if size < 0.4 => Some("small"),
        size if size > 0.6 => Some("big"),
        _ => None,
    }
}

/// Phrases for a relation to `{a}`, without the words for the other object.
pub(super) fn relation_words(relation: Relation) -> &'static [&'static str] {
    match relation {
        Relation::Left => &["left of {a}", "to the left of {a}", "on the left of {a}"],
        Relation::Right => &["right of {a}", "to the right of {a}", "on the right of {a}"],
        Relation::Above => &["above {a}", "over {a}", "higher than {a}"],
        Relation::Below => &["below {a}", "under {a}", "lower than {a}", "beneath {a}"],
    }
}

/// All visible parts of a background, without an article, such as `light blue background`.
pub(super) fn background_in_full(scene: &Scene) -> String {
    background_noun(scene.background, scene.style, 0)
}

/// A background with all of its parts or only its kind, in one of several phrasings.
pub(super) fn some_background(rng: &mut impl Rng, background: Background, style: Style) -> String {
    background_noun(background, style, rng.random_range(0..4))
}

fn background_noun(background: Background, style: Style, wording: usize) -> String {
    if let Background::Scenery(scenery) = background {
        return format!("{} background", scenery.name());
    }
    let [a, b] = background.tints().unwrap_or([Tint::White; 2]).map(|tint| tint.name());
    if !style.shows_color() || !style.shows_pattern() && !matches!(background, Background::Plain(_)) {
        return match background {
            Background::Stripes(..) if style.shows_pattern() => "striped background",
            Background::Dots(..) if style.shows_pattern() => "dotted background",
            Background::Checks(..) if style.shows_pattern() => "checkered background",
            _ => "plain background",
        }
        .to_owned();
    }
    let template = match (background, wording) {
        (Background::Plain(_), 1) => "plain {a} background",
        (Background::Plain(_), _) => "{a} background",
        (Background::Stripes(..), 1) => "striped background",
        (Background::Stripes(..), 2) => "background with {a} and {b} stripes",
        (Background::Stripes(..), _) => "{a} and {b} striped background",
        (Background::Dots(..), 1) => "dotted background",
        (Background::Dots(..), _) => "{a} background with {b} dots",
        (Background::Checks(..), 1) => "checkered background",
        (Background::Checks(..), 2) => "background with {a} and {b} checks",
        (Background::Checks(..), _) => "{a} and {b} checkered background",
        (Background::Gradient(..), 1) => "gradient background",
        (Background::Gradient(..), 2) => "background fading from {a} to {b}",
        (Background::Gradient(..) | Background::Scenery(_), _) => "{a} to {b} gradient background",
    };
    fill(template, &[a, b])
}

/// The words for a style, such as `in sepia`, `as pixel art`. None for the plain style.
pub(super) fn some_style(rng: &mut impl Rng, style: Style) -> Option<&'static str> {
    let ways = style_words(style);
    (!ways.is_empty()).then(|| pick(rng, ways))
}

/// All phrases for a style that may follow a picture, the canonical one first.
pub(super) fn style_words(style: Style) -> &'static [&'static str] {
    match style {
        Style::Plain => &[],
        Style::Grey => &["in grey style", "in shades of grey", "in greyscale"],
        Style::Sepia => &["in sepia style", "in sepia", "in sepia tones"],
        Style::Outline => &["in outline style", "as an outline drawing", "as a line drawing"],
        Style::Pixel => &["in pixel style", "as pixel art", "made of pixels"],
        Style::Inverted => &["in inverted style", "with inverted colors", "as a negative"],
        Style::Blurred => &["in blurred style", "blurred", "out of focus"],
        Style::Night => &["in night style", "at night", "in the dark"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_numbers_and_pairs() {
        let class = |name| Class::from_name(name).expect("a class");
        assert_eq!(counted(class("apple"), None, 1), "an apple");
        assert_eq!(counted(class("apple"), Some(Color::Red), 1), "a red apple");
        assert_eq!(counted(class("dog"), Some(Color::Orange), 1), "an orange dog");
        assert_eq!(counted(class("person"), None, 3), "three people");
        assert_eq!(counted(class("scissors"), None, 1), "a scissors");
        assert_eq!(counted_in_pairs(class("skis"), Some(Color::Blue), 2), "two pairs of blue skis");
        assert_eq!(list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
        assert_eq!(fill("{b} of {a}", &["x", "y"]), "y of x");
    }

    #[test]
    fn regions_have_names() {
        assert_eq!(in_region(region([0.1, 0.9])), "in the bottom left corner");
        assert_eq!(in_region(region([0.5, 0.1])), "at the top");
        assert_eq!(in_region(region([0.9, 0.5])), "on the right");
        assert_eq!(in_region(region([0.5, 0.5])), "in the center");
    }
}
