//! Which combinations are held out from training.

use serde::{Deserialize, Serialize};

use super::{Class, Color, Relation, Scene};

/// Train, validation or test. Every (class, colour) and every (class, relation, class) belongs to exactly one of them;
/// a scene of a split shows no combination that is held out for another one, and validation and test scenes show at
/// least one of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Validation,
    Test,
}

/// Shares of the combinations, in thousandths. Test has more colours, as GenEval asks for 94 prompts of them.
const VALIDATION: u64 = 80;
const TEST_COLORS: u64 = 130;
const TEST_RELATIONS: u64 = 80;

impl Split {
    /// The split that a class in a colour belongs to.
    pub fn of_color(class: Class, color: Color) -> Split {
        bucket([1, class.index() as u64, color.index() as u64, 0], TEST_COLORS)
    }

    /// The split that "a is `relation` b" belongs to; "b is the inverse of a" belongs to the same. Two of one class are
    /// never held out, since their relation says nothing new.
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
        bucket(words, TEST_RELATIONS)
    }

    /// Whether the scene shows nothing that is held out for another split.
    pub fn allows(self, scene: &Scene) -> bool {
        combinations(scene).all(|split| split == Split::Train || split == self)
    }

    /// Whether the scene shows something that is this split's own; every scene is training's own.
    pub fn owns(self, scene: &Scene) -> bool {
        self == Split::Train || combinations(scene).any(|split| split == self)
    }

    /// Whether the scene belongs to the split.
    pub fn admits(self, scene: &Scene) -> bool {
        self.allows(scene) && self.owns(scene)
    }
}

fn combinations(scene: &Scene) -> impl Iterator<Item = Split> {
    let colors = scene
        .objects
        .iter()
        .filter_map(|object| object.color.map(|color| Split::of_color(object.class, color)));
    let boxes = scene.boxes();
    let pairs = (0..boxes.len()).flat_map(move |b| (0..b).map(move |a| (a, b))).flat_map(move |(a, b)| {
        let (first, second) = (scene.objects[a].class, scene.objects[b].class);
        let related = super::relations(&boxes[a], &boxes[b]);
        related.into_iter().map(move |relation| Split::of_relation(first, relation, second))
    });
    colors.chain(pairs)
}

/// A stable hash (SplitMix64's finalizer over the words), so that the split is the same for ever.
fn bucket(words: [u64; 4], test: u64) -> Split {
    let hash = words.iter().fold(0x9E37_79B9_7F4A_7C15u64, |hash, word| {
        let mut z = (hash ^ word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    });
    match hash % 1000 {
        share if share < VALIDATION => Split::Validation,
        share if share < VALIDATION + test => Split::Test,
        _ => Split::Train,
    }
}
