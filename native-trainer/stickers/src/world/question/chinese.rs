//! Questions and short answers in Chinese.

use rand::{Rng, RngExt};
use unigen_evaluation::geneval::Relation;

use super::{QuestionAnswer, QuestionKind, other_color, unique_pair};
use crate::world::{
    Background, Class, Scene, Scope,
    chinese::{name, number, place, style},
    random::pick,
    scene::Group,
    words::{fill, region, region_is_clear},
};

/// Ways to ask whether a thing is in the picture.
const IS_THERE: [&str; 3] = ["有{a}吗？", "图里有{a}吗？", "能看到{a}吗？"];

/// Whether a question asks if something is in the picture.
pub(super) fn asks_whether(question: &str) -> bool {
    let opening =
        |template: &&str| template.split('{').next().is_some_and(|words| question.starts_with(words));
    question.ends_with("吗？") && IS_THERE.iter().any(opening)
}

/// [`super::questions`] in Chinese.
pub(super) fn questions(scene: &Scene, scope: Scope, rng: &mut impl Rng) -> Vec<QuestionAnswer> {
    let mut asked = Vec::new();
    let mut ask =
        |kind, question: String, answer: String| asked.push(QuestionAnswer { kind, question, answer });
    let groups = scene.groups();
    let mut classes: Vec<Class> = scene.objects.iter().map(|object| object.class).collect();
    classes.sort_unstable();
    classes.dedup();
    let count = |class: Class| scene.objects.iter().filter(|object| object.class == class).count();

    match &classes[..] {
        [] => {}
        [class] => {
            let question = pick(rng, &["图里有什么？", "这是什么？", "画的是什么？", "你看到了什么？"]);
            ask(QuestionKind::What, question.to_owned(), class.chinese().to_owned());
        }
        _ => {
            if let Some((thing, relation, other)) = unique_pair(scene, &groups, rng) {
                let question = format!("{}的{}是什么？", name(other.class, rng), side(relation));
                ask(QuestionKind::What, question, thing.class.chinese().to_owned());
            }
        }
    }
    if rng.random_bool(0.25) {
        let words = style(scene.style, rng).unwrap_or("普通");
        ask(QuestionKind::What, "图片是什么风格？".to_owned(), words.to_owned());
    }

    if !classes.is_empty() {
        let class = pick(rng, &classes);
        let template = pick(rng, &["有几{a}{b}？", "图里有几{a}{b}？", "一共有多少{a}{b}？"]);
        let question = fill(template, &[class.measure(), name(class, rng)]);
        ask(QuestionKind::HowMany, question, format!("{}{}", number(count(class)), class.measure()));
        if rng.random_bool(0.3) {
            let question = pick(rng, &["图里一共有几个东西？", "一共有多少个物体？"]);
            ask(QuestionKind::HowMany, question.to_owned(), format!("{}个", number(scene.objects.len())));
        }
    }

    let colored: Vec<&Group> = groups
        .iter()
        .filter(|group| group.color.is_some() && group.members.len() == count(group.class))
        .collect();
    if !colored.is_empty() {
        let group = pick(rng, &colored);
        if let Some(color) = group.color {
            let template = pick(rng, &["{a}是什么颜色的？", "{a}是什么颜色？"]);
            let question = fill(template, &[name(group.class, rng)]);
            ask(QuestionKind::WhichColor, question, color.chinese().to_owned());
        }
    }
    if let Background::Plain(tint) = scene.background
        && scene.style.shows_color()
        && rng.random_bool(0.4)
    {
        ask(QuestionKind::WhichColor, "背景是什么颜色？".to_owned(), tint.chinese().to_owned());
    }

    match &scene.objects[..] {
        [object] if region_is_clear(object.center) => {
            let question = format!("{}在哪里？", name(object.class, rng));
            ask(QuestionKind::Where, question, place(region(object.center)).to_owned());
        }
        [_, _] => {
            if let Some((thing, relation, other)) = unique_pair(scene, &groups, rng) {
                let question = format!("{}在哪里？", name(thing.class, rng));
                let answer = format!("{}的{}", other.class.chinese(), side(relation));
                ask(QuestionKind::Where, question, answer);
            }
        }
        _ => {}
    }

    let yes = rng.random_bool(0.5);
    if let Some((question, [right, wrong])) = yes_no(scene, scope, &groups, &classes, yes, rng) {
        ask(QuestionKind::YesNo, question, if yes { right } else { wrong }.to_owned());
    }
    asked
}

/// A question with the words for yes and no. It is to be answered with yes if `yes` is set, and with no otherwise.
fn yes_no(
    scene: &Scene,
    scope: Scope,
    groups: &[Group],
    classes: &[Class],
    yes: bool,
    rng: &mut impl Rng,
) -> Option<(String, [&'static str; 2])> {
    match rng.random_range(0..4) {
        1 => {
            let colored: Vec<&Group> = groups.iter().filter(|group| group.color.is_some()).collect();
            let group = *colored.get(rng.random_range(0..colored.len().max(1)))?;
            let alone = groups.iter().filter(|other| other.class == group.class).count() == 1;
            let color = group.color.filter(|_| alone)?;
            let color = if yes { color } else { other_color(color, rng) };
            Some((format!("{}是{}的吗？", name(group.class, rng), color.chinese()), ["是", "不是"]))
        }
        2 => {
            let (thing, relation, other) = unique_pair(scene, groups, rng)?;
            let relation = if yes { relation } else { relation.inverse() };
            let (thing, other) = (name(thing.class, rng), name(other.class, rng));
            Some((format!("{thing}在{other}的{}吗？", side(relation)), ["在", "不在"]))
        }
        3 => {
            let class = *classes.get(rng.random_range(0..classes.len().max(1)))?;
            let count = scene.objects.iter().filter(|object| object.class == class).count();
            let others: Vec<usize> = (1..=4).filter(|n| *n != count).collect();
            let shown = if yes { count } else { pick(rng, &others) };
            let question = format!("图里正好有{}{}{}吗？", number(shown), class.measure(), name(class, rng));
            Some((question, ["是", "不是"]))
        }
        _ => {
            let class = if yes {
                *classes.get(rng.random_range(0..classes.len().max(1)))?
            } else {
                let absent = scope.classes().iter().copied().filter(|class| !classes.contains(class));
                pick(rng, &absent.collect::<Vec<_>>())
            };
            Some((fill(pick(rng, &IS_THERE), &[name(class, rng)]), ["有", "没有"]))
        }
    }
}

/// The side of another thing, such as `左边`.
fn side(relation: Relation) -> &'static str {
    match relation {
        Relation::Left => "左边",
        Relation::Right => "右边",
        Relation::Above => "上面",
        Relation::Below => "下面",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Domain, Split, sample_scene};
    use std::collections::HashMap;
    use unigen_training::data::rng_at;

    #[test]
    fn answers_are_short_right_and_balanced() {
        let scope = Scope { things: 400, solid: false, chinese: true };
        let (mut kinds, mut answers): (HashMap<QuestionKind, u32>, HashMap<String, u32>) = Default::default();
        for index in 0..4000 {
            let mut rng = rng_at(9, index);
            let scene = sample_scene(&mut rng, Domain { scope, split: Split::Train });
            for asked in questions(&scene, scope, &mut rng) {
                assert!(asked.question.ends_with('？') && !asked.question.contains('{'), "{asked:?}");
                assert!(!asked.question.is_ascii() && asked.answer.chars().count() <= 12, "{asked:?}");
                *kinds.entry(asked.kind).or_default() += 1;
                if !asked.takes_for_granted() {
                    assert_eq!(asked.kind, QuestionKind::YesNo, "{asked:?}");
                }
                match asked.kind {
                    QuestionKind::YesNo => *answers.entry(asked.answer).or_default() += 1,
                    QuestionKind::HowMany if !asked.question.contains(['东', '物']) => {
                        let right = scene.objects.iter().any(|object| {
                            let of_class =
                                scene.objects.iter().filter(|other| other.class == object.class).count();
                            asked.answer == format!("{}{}", number(of_class), object.class.measure())
                        });
                        assert!(right, "{asked:?}");
                    }
                    _ => {}
                }
            }
        }
        assert_eq!(kinds.len(), 5);
        for (yes, no) in [("有", "没有"), ("是", "不是"), ("在", "不在")] {
            let [yes, no] = [answers[yes], answers[no]].map(f64::from);
            assert!(yes > 100.0 && (yes / no - 1.0).abs() < 0.25, "{yes} yes, {no} no");
        }
        assert_eq!(answers.len(), 6);
    }
}
