//! Questions about a scene whose short answers depend on that scene alone.

mod chinese;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use unigen_evaluation::geneval::Relation;

use super::{
    Background, Class, Color, Scene, Scope,
    chinese::CHINESE,
    random::pick,
    scene::Group,
    words::{
        counted_in_pairs, fill, in_region, noun, number, region, region_is_clear, relation_words, style_words,
    },
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

/// Ways to ask whether a thing is in the picture.
const IS_THERE: [&str; 3] = ["is there {a}?", "is there {a} in the picture?", "do you see {a}?"];

impl QuestionAnswer {
    /// Whether the question gives away that an object it names is in the picture.
    pub fn takes_for_granted(&self) -> bool {
        let asks_whether = |template: &&str| {
            let opening = template.split('{').next().unwrap_or_default();
            ["a ", "an "].into_iter().any(|article| self.question.starts_with(&format!("{opening}{article}")))
        };
        !IS_THERE.iter().any(asks_whether) && !chinese::asks_whether(&self.question)
    }
}

/// Questions of each kind that the scene answers without doubt, in one language. Over many scenes, yes is right as often
/// as no.
pub fn questions(scene: &Scene, scope: Scope, rng: &mut impl Rng) -> Vec<QuestionAnswer> {
    if scope.chinese && rng.random_bool(CHINESE) {
        return chinese::questions(scene, scope, rng);
    }
    let mut asked = Vec::new();
    let mut ask =
        |kind, question: String, answer: String| asked.push(QuestionAnswer { kind, question, answer });
    let groups = scene.groups();
    let classes = {
        let mut classes: Vec<Class> = scene.objects.iter().map(|object| object.class).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    };
    let count = |class: Class| scene.objects.iter().filter(|object| object.class == class).count();

    // What.
    match &classes[..] {
        [] => {}
        [class] => {
            let question = pick(
                rng,
                &["what is in the picture?", "what is this?", "what do you see?", "what is shown?"],
            );
            let answer = if count(*class) == 1 { class.name() } else { class.plural() };
            ask(QuestionKind::What, question.to_owned(), answer.to_owned());
        }
        _ => {
            if let Some((thing, relation, other)) = unique_pair(scene, &groups, rng) {
                let the_other = format!("the {}", noun(other.class, None, 1));
                let place = fill(pick(rng, relation_words(relation)), &[&the_other]);
                ask(QuestionKind::What, format!("what is {place}?"), thing.class.name().to_owned());
            }
        }
    }
    if rng.random_bool(0.25) {
        let style = style_words(scene.style).first().map_or("plain", |words| words.trim_start_matches("in "));
        let style = style.trim_end_matches(" style");
        ask(QuestionKind::What, "what style is the picture in?".to_owned(), style.to_owned());
    }

    // How many.
    if !classes.is_empty() {
        let class = pick(rng, &classes);
        let things = counted_things(class);
        let template = pick(
            rng,
            &["how many {a} are there?", "how many {a} do you see?", "how many {a} are in the picture?"],
        );
        ask(QuestionKind::HowMany, fill(template, &[&things]), number(count(class)).to_owned());
        if rng.random_bool(0.3) {
            let template = pick(rng, &["how many things are there?", "how many objects are in the picture?"]);
            ask(QuestionKind::HowMany, template.to_owned(), number(scene.objects.len()).to_owned());
        }
    }

    // Which colour.
    let colored: Vec<&Group> = groups
        .iter()
        .filter(|group| group.color.is_some() && group.members.len() == count(group.class))
        .collect();
    if !colored.is_empty() {
        let group = pick(rng, &colored);
        if let Some(color) = group.color {
            let thing = noun(group.class, None, group.members.len());
            let is = is_or_are(group.class, group.members.len());
            let template = pick(rng, &["what color {b} the {a}?", "which color {b} the {a}?"]);
            ask(QuestionKind::WhichColor, fill(template, &[&thing, is]), color.name().to_owned());
        }
    }
    if let Background::Plain(tint) = scene.background
        && scene.style.shows_color()
        && rng.random_bool(0.4)
    {
        ask(QuestionKind::WhichColor, "what color is the background?".to_owned(), tint.name().to_owned());
    }

    // Where.
    match &scene.objects[..] {
        [object] if region_is_clear(object.center) => {
            let is = is_or_are(object.class, 1);
            ask(
                QuestionKind::Where,
                format!("where {is} the {}?", object.class),
                in_region(region(object.center)),
            );
        }
        [_, _] => {
            if let Some((thing, relation, other)) = unique_pair(scene, &groups, rng) {
                let is = is_or_are(thing.class, 1);
                let question = format!("where {is} the {}?", noun(thing.class, None, 1));
                let answer = format!("{} the {}", relation.name(), noun(other.class, None, 1));
                ask(QuestionKind::Where, question, answer);
            }
        }
        _ => {}
    }

    // Yes or no.
    let yes = rng.random_bool(0.5);
    if let Some(question) = yes_no(scene, scope, &groups, &classes, yes, rng) {
        ask(QuestionKind::YesNo, question, if yes { "yes" } else { "no" }.to_owned());
    }
    asked
}

/// A question whose answer is yes if `yes` is set, and no otherwise. None if the scene allows no question of the
/// randomly chosen kind.
fn yes_no(
    scene: &Scene,
    scope: Scope,
    groups: &[Group],
    classes: &[Class],
    yes: bool,
    rng: &mut impl Rng,
) -> Option<String> {
    let absent =
        || scope.classes().iter().copied().filter(|class| !classes.contains(class)).collect::<Vec<_>>();
    match rng.random_range(0..4) {
        1 => {
            let colored: Vec<&Group> = groups.iter().filter(|group| group.color.is_some()).collect();
            let group = *colored.get(rng.random_range(0..colored.len().max(1)))?;
            let alone = groups.iter().filter(|other| other.class == group.class).count() == 1;
            if !alone {
                return None;
            }
            let color = match yes {
                true => group.color?,
                false => other_color(group.color?, rng),
            };
            let is = is_or_are(group.class, group.members.len());
            Some(format!("{is} the {} {color}?", noun(group.class, None, group.members.len())))
        }
        2 => {
            let (thing, relation, other) = unique_pair(scene, groups, rng)?;
            // The opposite relation is wrong even if two relations hold.
            let relation = if yes { relation } else { relation.inverse() };
            let is = is_or_are(thing.class, 1);
            Some(format!("{is} the {} {} the {}?", thing.class, relation.name(), other.class))
        }
        3 => {
            let class = *classes.get(rng.random_range(0..classes.len().max(1)))?;
            let count = scene.objects.iter().filter(|object| object.class == class).count();
            let shown = if yes {
                count
            } else {
                pick(rng, &[1, 2, 3, 4].into_iter().filter(|n| *n != count).collect::<Vec<_>>())
            };
            Some(format!(
                "{} there {} in the picture?",
                if shown == 1 { "is" } else { "are" },
                counted_exactly(class, shown)
            ))
        }
        _ => {
            let class = match yes {
                true => *classes.get(rng.random_range(0..classes.len().max(1)))?,
                false => pick(rng, &absent()),
            };
            let thing = counted_in_pairs(class, None, 1);
            Some(fill(pick(rng, &IS_THERE), &[&thing]))
        }
    }
}

/// Two objects whose classes occur once, with a relation that the first object has to the second and no other object
/// has.
fn unique_pair<'a>(
    scene: &Scene,
    groups: &'a [Group],
    rng: &mut impl Rng,
) -> Option<(&'a Group, Relation, &'a Group)> {
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
    held.into_iter().find(only).map(|relation| (thing, relation, other))
}

fn other_color(color: Color, rng: &mut impl Rng) -> Color {
    Color::ALL[(color.index() + rng.random_range(1..Color::ALL.len())) % Color::ALL.len()]
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
