//! The combinations that are held out from training.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};
use unigen_evaluation::geneval::{Relation, relations};

use super::{Class, Color, Look, Scene};

/// Train, validation or test. Every (class, colour), every (class, relation, class) and every (class in colour, look)
/// belongs to exactly one split. A
/// scene of a split shows no combination that is held out for another split. Validation and test scenes show at least
/// one combination of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Validation,
    Test,
}

/// Percentage of (class, relation, class) that belongs to validation. The same percentage belongs to test.
const RELATIONS: u64 = 8;
/// Percentages of classes of which one colour belongs to validation, and of which a second colour belongs to test. One
/// colour of every class belongs to test in any case, since GenEval has 94 prompts that ask for colours.
const VALIDATION_COLORS: u64 = 80;
const SECOND_TEST_COLORS: u64 = 30;
/// Percentage of classes that only validation shows in three dimensions with a colour. The same percentage belongs to
/// test.
const SOLID_COLORS: u64 = 6;

impl Split {
    /// The split that a class in a colour belongs to.
    pub fn of_color(class: Class, color: Color) -> Split {
        static COLORS: LazyLock<Vec<[Split; 10]>> =
            LazyLock::new(|| Class::all().iter().map(|&class| split_colors(class)).collect());
        COLORS[class.index()][color.index()]
    }

    /// The split that a thing in three dimensions and in any of the ten colours belongs to.
    pub fn of_colored_solid(class: Class) -> Split {
        match hash([3, class.index() as u64, 0, 0]) % 100 {
            share if share < SOLID_COLORS => Split::Validation,
            share if share < 2 * SOLID_COLORS => Split::Test,
            _ => Split::Train,
        }
    }

    /// The split that "a is `relation` b" belongs to. The inverse statement, from b to a, belongs to the same split.
    /// Two objects of one class are never held out, since their relation says nothing new.
    pub fn of_relation(a: Class, relation: Relation, b: Class) -> Split {
        let (a, b) = (a.index() as u64, b.index() as u64);
        if a == b {
            return Split::Train;
        }
        let words = match relation {
            Relation::Left => [2, a, b, 0],
            Relation::Right => [2, b, a, 0],
            Relation::Above => [2, a, b, 1],
            Relation::Below => [2, b, a, 1],
        };
        match hash(words) % 100 {
            share if share < RELATIONS => Split::Validation,
            share if share < 2 * RELATIONS => Split::Test,
            _ => Split::Train,
        }
    }

    /// Whether a scene of this split may show a combination of the other split. It may show its own and training's.
    pub(super) fn may_show(self, other: Split) -> bool {
        other == Split::Train || other == self
    }

    /// Whether the scene shows no combination that is held out for another split.
    pub fn allows(self, scene: &Scene) -> bool {
        combinations(scene).all(|other| self.may_show(other))
    }

    /// Whether the scene shows a combination of this split. This holds for every scene if the split is training.
    pub fn owns(self, scene: &Scene) -> bool {
        self == Split::Train || combinations(scene).any(|split| split == self)
    }

    /// Whether the scene belongs to the split.
    pub fn admits(self, scene: &Scene) -> bool {
        self.allows(scene) && self.owns(scene)
    }
}

fn combinations(scene: &Scene) -> impl Iterator<Item = Split> {
    let solid = scene.objects.iter().filter(|object| object.look == Look::Solid && object.color.is_some());
    let looks = solid.map(|object| Split::of_colored_solid(object.class));
    let colors = scene
        .objects
        .iter()
        .filter_map(|object| object.color.map(|color| Split::of_color(object.class, color)));
    let boxes = scene.boxes();
    let pairs = (0..boxes.len()).flat_map(move |b| (0..b).map(move |a| (a, b))).flat_map(move |(a, b)| {
        let (first, second) = (scene.objects[a].class, scene.objects[b].class);
        let related = relations(&boxes[a], &boxes[b]);
        related.into_iter().map(move |relation| Split::of_relation(first, relation, second))
    });
    colors.chain(pairs).chain(looks)
}

/// The colours of a class that are held out. Hashes order the colours, and the first few are held out.
fn split_colors(class: Class) -> [Split; 10] {
    let index = class.index() as u64;
    let mut order = Color::ALL;
    order.sort_by_key(|color| hash([1, index, color.index() as u64, 0]));
    let mut splits = [Split::Train; 10];
    splits[order[0].index()] = Split::Test;
    if hash([1, index, 10, 0]) % 100 < VALIDATION_COLORS {
        splits[order[1].index()] = Split::Validation;
    }
    if hash([1, index, 11, 0]) % 100 < SECOND_TEST_COLORS {
        splits[order[2].index()] = Split::Test;
    }
    splits
}

/// A stable hash (SplitMix64's finalizer over the words), so that the split never changes.
fn hash(words: [u64; 4]) -> u64 {
    words.iter().fold(0x9E37_79B9_7F4A_7C15, |hash: u64, word| {
        let mut z = (hash ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_belongs_to_one_split_in_due_shares() {
        let classes = || Class::GENEVAL.into_iter();
        let colors: Vec<Split> =
            classes().flat_map(|class| Color::ALL.map(|color| Split::of_color(class, color))).collect();
        let pairs = classes().flat_map(|a| classes().map(move |b| (a, b))).filter(|(a, b)| a != b);
        let relations: Vec<Split> = pairs
            .flat_map(|(a, b)| Relation::ALL.map(|relation| Split::of_relation(a, relation, b)))
            .collect();
        let share = |of: &[Split], split| of.iter().filter(|s| **s == split).count() as f32 / of.len() as f32;
        assert!((share(&colors, Split::Validation) - 0.08).abs() < 0.02);
        assert!((share(&colors, Split::Test) - 0.13).abs() < 0.02);
        assert!((share(&relations, Split::Validation) - 0.08).abs() < 0.01);
        assert!((share(&relations, Split::Test) - 0.08).abs() < 0.01);
    }

    #[test]
    fn training_shows_each_class_and_each_color_often_enough() {
        let train = |class, color| Split::of_color(class, color) == Split::Train;
        for class in Class::GENEVAL {
            assert!(Color::ALL.into_iter().filter(|color| train(class, *color)).count() >= 7, "{class}");
        }
        for color in Color::ALL {
            assert!(Class::GENEVAL.into_iter().filter(|class| train(*class, color)).count() >= 50, "{color}");
        }
    }

    #[test]
    fn both_ways_to_say_a_relation_belong_together() {
        let (a, b) = (Class::GENEVAL[3], Class::GENEVAL[50]);
        for relation in Relation::ALL {
            assert_eq!(Split::of_relation(a, relation, b), Split::of_relation(b, relation.inverse(), a));
        }
    }
}
