//! Captions in Chinese.

use rand::{Rng, RngExt};
use unigen_evaluation::geneval::Relation;

use super::{
    Background, Class, Color, Look, Scene, Style, Tint,
    random::pick,
    scene::Group,
    words::{fill, region},
};

/// The share of texts in Chinese where a scope has it.
pub(super) const CHINESE: f64 = 0.4;

/// A caption in one of many phrasings. As in English, every object is named with its count and its visible colour;
/// places, background, style and look are named sometimes.
pub(super) fn caption(scene: &Scene, rng: &mut impl Rng) -> String {
    let groups = scene.groups();
    let core = match related(scene, &groups, rng) {
        Some(text) => text,
        None => things(scene, &groups, rng),
    };
    let leads = [
        "{a}",
        "{a}",
        "{a}",
        "画{a}",
        "请画{a}",
        "画一张{a}的图",
        "一张{a}的图片",
        "{a}的照片",
        "图中有{a}",
        "生成{a}的图片",
    ];
    // "画" and "图中有" ask for a number, which a bare noun lacks.
    let lead = if core.starts_with(['一', '两', '三', '四']) { pick(rng, &leads) } else { "{a}" };
    let mut text = fill(lead, &[&core]);
    if rng.random_bool(0.55)
        && let Some(words) = background(scene, rng)
    {
        text = match scene.background {
            Background::Scenery(_) if lead == "{a}" && rng.random_bool(0.5) => format!("{words}的{text}"),
            _ => format!("{text}，{words}"),
        };
    }
    if let Some(words) = style(scene.style, rng) {
        text = format!("{text}，{words}");
    }
    text
}

/// The words for a look.
pub(super) fn look(look: Look, rng: &mut impl Rng) -> &'static str {
    match look {
        Look::Solid => pick(rng, &["3D风格", "3D", "立体", "3D渲染"]),
        Look::Flat => pick(rng, &["扁平风格", "平面风格", "扁平"]),
    }
}

pub(super) fn number(count: usize) -> &'static str {
    ["零", "一", "两", "三", "四", "五", "六"][count.min(6)]
}

pub(super) fn name(class: Class, rng: &mut impl Rng) -> &'static str {
    match class.chinese_synonyms() {
        [] => class.chinese(),
        others if rng.random_bool(0.2) => pick(rng, others),
        _ => class.chinese(),
    }
}

fn colored(class: Class, color: Option<Color>, rng: &mut impl Rng) -> String {
    let name = name(class, rng);
    match color {
        None => name.to_owned(),
        // 红色的猫, or 红猫 for short.
        Some(color) if rng.random_bool(0.2) => {
            format!("{}{name}", color.chinese().trim_end_matches('色'))
        }
        Some(color) => format!("{}的{name}", color.chinese()),
    }
}

/// One thing, such as `一只红色的猫`.
pub(super) fn one(class: Class, color: Option<Color>, rng: &mut impl Rng) -> String {
    format!("一{}{}", class.measure(), colored(class, color, rng))
}

fn counted(group: &Group, rng: &mut impl Rng) -> String {
    let count = group.members.len();
    let thing = colored(group.class, group.color, rng);
    match count {
        1 if rng.random_bool(0.15) => thing,
        _ => format!("{}{}{thing}", number(count), group.class.measure()),
    }
}

fn things(scene: &Scene, groups: &[Group], rng: &mut impl Rng) -> String {
    let with_places = scene.objects.len() == groups.len() && rng.random_bool(0.3);
    let items: Vec<String> = groups
        .iter()
        .map(|group| {
            let thing = counted(group, rng);
            let [member, ..] = group.members[..] else { return thing };
            match with_places {
                true => format!("{thing}在{}", place(region(scene.objects[member].center))),
                false => thing,
            }
        })
        .collect();
    match &items[..] {
        [] => "空白的画面".to_owned(),
        _ if with_places => items.join("，"),
        [one] => one.clone(),
        [most @ .., last] => format!("{}和{last}", most.join("、")),
    }
}

/// The words for a third of the canvas, such as `左上角`.
pub(super) fn place([x, y]: [i8; 2]) -> &'static str {
    const NAMES: [[&str; 3]; 3] =
        [["左上角", "上方", "右上角"], ["左边", "中间", "右边"], ["左下角", "下方", "右下角"]];
    NAMES[(y + 1) as usize][(x + 1) as usize]
}

/// Two different objects with a relation that holds between them.
fn related(scene: &Scene, groups: &[Group], rng: &mut impl Rng) -> Option<String> {
    let [first, second] = groups else { return None };
    if scene.objects.len() != 2 || !rng.random_bool(0.7) {
        return None;
    }
    let ((a, b), (from, to)) =
        if rng.random_bool(0.5) { ((first, second), (0, 1)) } else { ((second, first), (1, 0)) };
    let held = scene.relations(from, to);
    if held.is_empty() {
        return None;
    }
    let side = match pick(rng, &held) {
        Relation::Left => pick(rng, &["左边", "左侧"]),
        Relation::Right => pick(rng, &["右边", "右侧"]),
        Relation::Above => pick(rng, &["上面", "上方"]),
        Relation::Below => pick(rng, &["下面", "下方"]),
    };
    let (a, b) = (counted(a, rng), counted(b, rng));
    let template = pick(rng, &["{a}在{b}的{c}", "{a}在{b}{c}", "{b}的{c}有{a}", "{b}{c}是{a}"]);
    Some(fill(template, &[&a, &b, side]))
}

fn background(scene: &Scene, rng: &mut impl Rng) -> Option<String> {
    if !scene.style.shows_color() {
        return None;
    }
    let words = background_words(scene.background, rng);
    Some(match scene.background {
        Background::Plain(_) => {
            fill(pick(rng, &["{a}背景", "背景是{a}", "在{a}背景上", "{a}的背景"]), &[&words])
        }
        _ => words,
    })
}

/// The words for a background: a colour, a pattern, or a place such as `在海边`.
pub(super) fn background_words(background: Background, rng: &mut impl Rng) -> String {
    let template = match background {
        Background::Scenery(scenery) => return pick(rng, scenery.chinese()).to_owned(),
        Background::Plain(_) => "{a}",
        Background::Stripes(..) => "{a}和{b}条纹背景",
        Background::Dots(..) => "有{b}圆点的{a}背景",
        Background::Checks(..) => "{a}和{b}格子背景",
        Background::Gradient(..) => "{a}到{b}的渐变背景",
    };
    fill(template, &background.tints().unwrap_or([Tint::White; 2]).map(Tint::chinese))
}

/// The words for a style. None for the plain one.
pub(super) fn style(style: Style, rng: &mut impl Rng) -> Option<&'static str> {
    let words: &[&str] = match style {
        Style::Plain => return None,
        Style::Grey => &["灰度", "黑白风格"],
        Style::Sepia => &["棕褐色调", "复古色调"],
        Style::Outline => &["线稿", "线条画"],
        Style::Pixel => &["像素风格", "像素画"],
        Style::Inverted => &["反色", "负片效果"],
        Style::Blurred => &["模糊", "虚焦"],
        Style::Night => &["夜晚", "夜景"],
    };
    Some(pick(rng, words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Domain, Scope, Split, sample_scene};
    use unigen_training::data::rng_at;

    #[test]
    fn captions_name_every_thing_with_its_color_and_number() {
        let scope = Scope { things: 400, solid: false, chinese: true };
        for index in 0..2000 {
            let mut rng = rng_at(5, index);
            let scene = sample_scene(&mut rng, Domain { scope, split: Split::Train });
            let text = caption(&scene, &mut rng);
            assert!(!text.contains(['{', '}']) && !text.contains("，，"), "{text}");
            for group in scene.groups() {
                let class = group.class;
                let names = [class.chinese()].into_iter().chain(class.chinese_synonyms().iter().copied());
                assert!(names.into_iter().any(|name| text.contains(name)), "{class}: {text}");
                if let Some(color) = group.color {
                    assert!(text.contains(color.chinese().trim_end_matches('色')), "{color} {class}: {text}");
                }
                if group.members.len() > 1 {
                    let counted = format!("{}{}", number(group.members.len()), class.measure());
                    assert!(text.contains(&counted), "{counted}: {text}");
                }
            }
        }
    }
}
