//! Questions and short answers in Chinese.

use rand::Rng;
use unigen_evaluation::geneval::Relation;

use super::{Claim, Pair, Topic};
use crate::world::{
    chinese::{name, number, place, style},
    random::pick,
    words::fill,
};

/// Ways to ask whether a thing is in the picture.
const IS_THERE: [&str; 3] = ["有{a}吗？", "图里有{a}吗？", "能看到{a}吗？"];

/// Whether a question asks if something is in the picture.
pub(super) fn asks_whether(question: &str) -> bool {
    let opening =
        |template: &&str| template.split('{').next().is_some_and(|words| question.starts_with(words));
    question.ends_with("吗？") && IS_THERE.iter().any(opening)
}

/// A question and its answer.
pub(super) fn say<R: Rng>(topic: &Topic, rng: &mut R) -> [String; 2] {
    match *topic {
        Topic::What(class, _) => {
            let questions = ["图里有什么？", "这是什么？", "画的是什么？", "你看到了什么？"];
            [pick(rng, &questions).into(), class.chinese().into()]
        }
        Topic::WhatIsThere(Pair { thing, relation, other }) => {
            [format!("{}的{}是什么？", name(other, rng), side(relation)), thing.chinese().into()]
        }
        Topic::Style(of) => ["图片是什么风格？".into(), style(of, rng).unwrap_or("普通").into()],
        Topic::HowMany(class, count) => {
            let template = pick(rng, &["有几{a}{b}？", "图里有几{a}{b}？", "一共有多少{a}{b}？"]);
            let question = fill(template, &[class.measure(), name(class, rng)]);
            [question, format!("{}{}", number(count), class.measure())]
        }
        Topic::HowManyThings(count) => {
            let question = pick(rng, &["图里一共有几个东西？", "一共有多少个物体？"]);
            [question.into(), format!("{}个", number(count))]
        }
        Topic::WhichColor(class, _, color) => {
            let template = pick(rng, &["{a}是什么颜色的？", "{a}是什么颜色？"]);
            [fill(template, &[name(class, rng)]), color.chinese().into()]
        }
        Topic::BackgroundColor(tint) => ["背景是什么颜色？".into(), tint.chinese().into()],
        Topic::WhereOnCanvas(class, third) => [format!("{}在哪里？", name(class, rng)), place(third).into()],
        Topic::WhereFromAnother(Pair { thing, relation, other }) => {
            [format!("{}在哪里？", name(thing, rng)), format!("{}的{}", other.chinese(), side(relation))]
        }
        Topic::Whether(ref claim, holds) => {
            let (question, [yes, no]) = match *claim {
                Claim::HasColor(class, _, color) => {
                    (format!("{}是{}的吗？", name(class, rng), color.chinese()), ["是", "不是"])
                }
                Claim::Related(Pair { thing, relation, other }) => {
                    let (thing, other) = (name(thing, rng), name(other, rng));
                    (format!("{thing}在{other}的{}吗？", side(relation)), ["在", "不在"])
                }
                Claim::Exactly(class, count) => {
                    let thing = name(class, rng);
                    (format!("图里正好有{}{}{thing}吗？", number(count), class.measure()), ["是", "不是"])
                }
                Claim::IsThere(class) => (fill(pick(rng, &IS_THERE), &[name(class, rng)]), ["有", "没有"]),
            };
            [question, if holds { yes } else { no }.into()]
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
    use crate::world::question::{QuestionKind, questions};
    use crate::world::{Domain, Scope, Split, sample_scene};
    use std::collections::HashMap;
    use unigen_training::data::rng_at;

    #[test]
    fn answers_are_short_right_and_balanced() {
        let scope = Scope { things: 400, solid: false, chinese: true };
        let (mut kinds, mut answers): (HashMap<QuestionKind, u32>, HashMap<String, u32>) = Default::default();
        for index in 0..10_000 {
            let mut rng = rng_at(9, index);
            let scene = sample_scene(&mut rng, Domain { scope, split: Split::Train });
            let asked = questions(&scene, scope, &mut rng).into_iter();
            // Four in ten scenes are asked about in Chinese.
            for asked in asked.filter(|asked| !asked.question.is_ascii()) {
                assert!(asked.question.ends_with('？') && !asked.question.contains('{'), "{asked:?}");
                assert!(asked.answer.chars().count() <= 12, "{asked:?}");
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
