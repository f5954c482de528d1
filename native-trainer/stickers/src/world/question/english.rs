//! Questions and short answers in English.

use rand::Rng;

use super::{Claim, Pair, Topic};
use crate::world::{
    Class,
    random::pick,
    words::{counted_in_pairs, fill, in_region, noun, number, relation_words, style_words},
};

/// Ways to ask whether a thing is in the picture.
const IS_THERE: [&str; 3] = ["is there {a}?", "is there {a} in the picture?", "do you see {a}?"];

/// Whether a question asks if something is in the picture.
pub(super) fn asks_whether(question: &str) -> bool {
    let asks = |template: &&str| {
        let opening = template.split('{').next().unwrap_or_default();
        ["a ", "an "].into_iter().any(|article| question.starts_with(&format!("{opening}{article}")))
    };
    IS_THERE.iter().any(asks)
}

/// A question and its answer, in lower case.
pub(super) fn say<R: Rng>(topic: &Topic, rng: &mut R) -> [String; 2] {
    let the = |class: Class| format!("the {}", noun(class, None, 1));
    match *topic {
        Topic::What(class, count) => {
            let questions =
                ["what is in the picture?", "what is this?", "what do you see?", "what is shown?"];
            let name = if count == 1 { class.name() } else { class.plural() };
            [pick(rng, &questions).into(), name.into()]
        }
        Topic::WhatIsThere(Pair { thing, relation, other }) => {
            let place = fill(pick(rng, relation_words(relation)), &[&the(other)]);
            [format!("what is {place}?"), thing.name().into()]
        }
        Topic::Style(style) => {
            let words = style_words(style).first().map_or("plain", |words| words.trim_start_matches("in "));
            ["what style is the picture in?".into(), words.trim_end_matches(" style").into()]
        }
        Topic::HowMany(class, count) => {
            let templates =
                ["how many {a} are there?", "how many {a} do you see?", "how many {a} are in the picture?"];
            [fill(pick(rng, &templates), &[&counted_things(class)]), number(count).into()]
        }
        Topic::HowManyThings(count) => {
            let questions = ["how many things are there?", "how many objects are in the picture?"];
            [pick(rng, &questions).into(), number(count).into()]
        }
        Topic::WhichColor(class, count, color) => {
            let template = pick(rng, &["what color {b} the {a}?", "which color {b} the {a}?"]);
            [fill(template, &[&noun(class, None, count), is_or_are(class, count)]), color.name().into()]
        }
        Topic::BackgroundColor(tint) => ["what color is the background?".into(), tint.name().into()],
        Topic::WhereOnCanvas(class, third) => {
            [format!("where {} the {class}?", is_or_are(class, 1)), in_region(third)]
        }
        Topic::WhereFromAnother(Pair { thing, relation, other }) => {
            let question = format!("where {} {}?", is_or_are(thing, 1), the(thing));
            [question, format!("{} {}", relation.name(), the(other))]
        }
        Topic::Whether(ref claim, holds) => {
            let question = match *claim {
                Claim::HasColor(class, count, color) => {
                    format!("{} the {} {color}?", is_or_are(class, count), noun(class, None, count))
                }
                Claim::Related(Pair { thing, relation, other }) => {
                    format!("{} the {thing} {} the {other}?", is_or_are(thing, 1), relation.name())
                }
                Claim::Exactly(class, count) => {
                    let is = if count == 1 { "is" } else { "are" };
                    format!("{is} there {} in the picture?", counted_exactly(class, count))
                }
                Claim::IsThere(class) => fill(pick(rng, &IS_THERE), &[&counted_in_pairs(class, None, 1)]),
            };
            [question, if holds { "yes" } else { "no" }.into()]
        }
    }
}

fn is_or_are(class: Class, count: usize) -> &'static str {
    if count == 1 && !class.is_pair() { "is" } else { "are" }
}

fn counted_things(class: Class) -> String {
    if class.is_pair() { format!("pairs of {}", class.plural()) } else { class.plural().to_owned() }
}

fn counted_exactly(class: Class, count: usize) -> String {
    match count {
        1 if class.is_pair() => format!("exactly one pair of {class}"),
        1 => format!("exactly one {class}"),
        _ => format!("exactly {}", counted_in_pairs(class, None, count)),
    }
}
