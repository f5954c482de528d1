//! Questions about a scene whose short answers depend on that scene alone.

mod chinese;
mod english;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use unigen_evaluation::geneval::Relation;

use super::{
    Background, Class, Color, Scene, Scope, Style, Tint,
    chinese::CHINESE,
    random::pick,
    scene::Group,
    words::{region, region_is_clear},
};

/// The kinds of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    What,
    HowMany,
    WhichColor,
    Where,
    YesNo,
}

impl QuestionKind {
    /// All five kinds.
    pub const ALL: [QuestionKind; 5] = {
        use QuestionKind::*;
        [What, HowMany, WhichColor, Where, YesNo]
    };

    /// The name in files, such as `how_many`.
    pub fn name(self) -> &'static str {
        ["what", "how_many", "which_color", "where", "yes_no"][self as usize]
    }
}

/// A question and its short answer, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionAnswer {
    pub kind: QuestionKind,
    pub question: String,
    pub answer: String,
}

impl QuestionAnswer {
    /// Whether the question gives away that an object it names is in the picture.
    pub fn takes_for_granted(&self) -> bool {
        !english::asks_whether(&self.question) && !chinese::asks_whether(&self.question)
    }
}

/// What a question is about, with what its answer says. A number beside a thing counts all of its kind.
enum Topic {
    /// The only kind of thing that there is.
    What(Class, usize),
    /// Which thing is so related to another.
    WhatIsThere(Pair),
    Style(Style),
    HowMany(Class, usize),
    HowManyThings(usize),
    WhichColor(Class, usize, Color),
    BackgroundColor(Tint),
    /// In which third of the canvas a thing is.
    WhereOnCanvas(Class, [i8; 2]),
    WhereFromAnother(Pair),
    /// Whether a claim holds.
    Whether(Claim, bool),
}

/// A thing, its relation to another, and that other.
#[derive(Clone, Copy)]
struct Pair {
    thing: Class,
    relation: Relation,
    other: Class,
}

enum Claim {
    HasColor(Class, usize, Color),
    Related(Pair),
    Exactly(Class, usize),
    IsThere(Class),
}

impl Topic {
    fn kind(&self) -> QuestionKind {
        match self {
            Topic::What(..) | Topic::WhatIsThere(_) | Topic::Style(_) => QuestionKind::What,
            Topic::HowMany(..) | Topic::HowManyThings(_) => QuestionKind::HowMany,
            Topic::WhichColor(..) | Topic::BackgroundColor(_) => QuestionKind::WhichColor,
            Topic::WhereOnCanvas(..) | Topic::WhereFromAnother(_) => QuestionKind::Where,
            Topic::Whether(..) => QuestionKind::YesNo,
        }
    }
}

/// Questions of each kind that the scene answers without doubt, in one language. Over many scenes, yes is right as often
/// as no.
pub fn questions<R: Rng>(scene: &Scene, scope: Scope, rng: &mut R) -> Vec<QuestionAnswer> {
    let chinese = scope.chinese && rng.random_bool(CHINESE);
    let say = if chinese { chinese::say::<R> } else { english::say::<R> };
    let mut asked = Vec::new();
    let mut ask = |topic: Topic, rng: &mut R| {
        let [question, answer] = say(&topic, rng);
        asked.push(QuestionAnswer { kind: topic.kind(), question, answer });
    };
    let groups = scene.groups();
    let classes = {
        let mut classes: Vec<Class> = scene.objects.iter().map(|object| object.class).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    };
    let count = |class: Class| scene.objects.iter().filter(|object| object.class == class).count();

    match &classes[..] {
        [] => {}
        [class] => ask(Topic::What(*class, count(*class)), rng),
        _ => {
            if let Some(pair) = unique_pair(scene, &groups, rng) {
                ask(Topic::WhatIsThere(pair), rng);
            }
        }
    }
    if rng.random_bool(0.25) {
        ask(Topic::Style(scene.style), rng);
    }

    if !classes.is_empty() {
        let class = pick(rng, &classes);
        ask(Topic::HowMany(class, count(class)), rng);
        if rng.random_bool(0.3) {
            ask(Topic::HowManyThings(scene.objects.len()), rng);
        }
    }

    let colored: Vec<(&Group, Color)> = groups
        .iter()
        .filter(|group| group.members.len() == count(group.class))
        .filter_map(|group| Some((group, group.color?)))
        .collect();
    if !colored.is_empty() {
        let (group, color) = pick(rng, &colored);
        ask(Topic::WhichColor(group.class, group.members.len(), color), rng);
    }
    if let Background::Plain(tint) = scene.background
        && scene.style.shows_color()
        && rng.random_bool(0.4)
    {
        ask(Topic::BackgroundColor(tint), rng);
    }

    match &scene.objects[..] {
        [object] if region_is_clear(object.center) => {
            ask(Topic::WhereOnCanvas(object.class, region(object.center)), rng);
        }
        [_, _] => {
            if let Some(pair) = unique_pair(scene, &groups, rng) {
                ask(Topic::WhereFromAnother(pair), rng);
            }
        }
        _ => {}
    }

    let holds = rng.random_bool(0.5);
    if let Some(claim) = claim(scene, scope, &groups, &classes, holds, rng) {
        ask(Topic::Whether(claim, holds), rng);
    }
    asked
}

/// A claim that `holds` or does not. None if the scene allows none of the randomly chosen kind.
fn claim(
    scene: &Scene,
    scope: Scope,
    groups: &[Group],
    classes: &[Class],
    holds: bool,
    rng: &mut impl Rng,
) -> Option<Claim> {
    match rng.random_range(0..4) {
        1 => {
            let colored: Vec<&Group> = groups.iter().filter(|group| group.color.is_some()).collect();
            let group = *colored.get(rng.random_range(0..colored.len().max(1)))?;
            let alone = groups.iter().filter(|other| other.class == group.class).count() == 1;
            let color = group.color.filter(|_| alone)?;
            let color = if holds { color } else { other_color(color, rng) };
            Some(Claim::HasColor(group.class, group.members.len(), color))
        }
        2 => {
            let pair = unique_pair(scene, groups, rng)?;
            // The opposite relation is wrong even if two relations hold.
            let relation = if holds { pair.relation } else { pair.relation.inverse() };
            Some(Claim::Related(Pair { relation, ..pair }))
        }
        3 => {
            let class = *classes.get(rng.random_range(0..classes.len().max(1)))?;
            let count = scene.objects.iter().filter(|object| object.class == class).count();
            let others: Vec<usize> = (1..=4).filter(|n| *n != count).collect();
            Some(Claim::Exactly(class, if holds { count } else { pick(rng, &others) }))
        }
        _ if holds => {
            classes.get(rng.random_range(0..classes.len().max(1))).map(|class| Claim::IsThere(*class))
        }
        _ => {
            let absent = scope.classes().iter().copied().filter(|class| !classes.contains(class));
            Some(Claim::IsThere(pick(rng, &absent.collect::<Vec<_>>())))
        }
    }
}

/// Two objects whose classes occur once, with a relation that the first object has to the second and no other object
/// has.
fn unique_pair(scene: &Scene, groups: &[Group], rng: &mut impl Rng) -> Option<Pair> {
    let once =
        |group: &&Group| scene.objects.iter().filter(|object| object.class == group.class).count() == 1;
    let single: Vec<&Group> = groups.iter().filter(once).collect();
    if single.len() < 2 {
        return None;
    }
    let a = rng.random_range(0..single.len());
    let b = (a + rng.random_range(1..single.len())) % single.len();
    let (thing, other) = (single[a], single[b]);
    let (from, to) = (thing.members[0], other.members[0]);
    let held = scene.relations(from, to);
    let only = |relation: &Relation| {
        (0..scene.objects.len())
            .filter(|&index| index != from && index != to)
            .all(|index| !scene.relations(index, to).contains(relation))
    };
    let relation = held.into_iter().find(only)?;
    Some(Pair { thing: thing.class, relation, other: other.class })
}

fn other_color(color: Color, rng: &mut impl Rng) -> Color {
    Color::ALL[(color.index() + rng.random_range(1..Color::ALL.len())) % Color::ALL.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::world::{Split, sample_scene};
    use unigen_training::data::rng_at;

    #[test]
    fn answers_are_short_right_and_balanced() {
        let mut answers: HashMap<String, u32> = HashMap::new();
        let mut kinds: HashMap<QuestionKind, u32> = HashMap::new();
        let mut whether = 0;
        for index in 0..4000 {
            let mut rng = rng_at(8, index);
            let scene = sample_scene(&mut rng, Split::Train);
            for asked in questions(&scene, Scope::default(), &mut rng) {
                assert!(asked.question.ends_with('?') && !asked.question.contains('{'), "{asked:?}");
                assert!(asked.answer.split(' ').count() <= 6, "{asked:?}");
                *kinds.entry(asked.kind).or_default() += 1;
                if !asked.takes_for_granted() {
                    whether += 1;
                    assert_eq!(asked.kind, QuestionKind::YesNo, "{asked:?}");
                }
                if asked.kind == QuestionKind::YesNo {
                    *answers.entry(asked.answer).or_default() += 1;
                } else if asked.kind == QuestionKind::WhichColor && !asked.question.contains("background") {
                    assert!(scene.objects.iter().any(|object| {
                        object.color.is_some_and(|color| color.name() == asked.answer)
                            && (asked.question.contains(object.class.name())
                                || asked.question.contains(object.class.plural()))
                    }));
                }
            }
        }
        assert_eq!(kinds.len(), 5);
        assert!(whether > 800, "{whether}");
        let (yes, no) = (answers["yes"] as f32, answers["no"] as f32);
        assert!((yes / no - 1.).abs() < 0.1, "{yes} yes, {no} no");
        assert_eq!(answers.len(), 2);
    }
}
