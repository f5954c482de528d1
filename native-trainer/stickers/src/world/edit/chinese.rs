//! Instructions in Chinese, from what an edit changes.

use rand::{Rng, RngExt};

use super::EditKind;
use crate::world::{
    Background, Color, Look, Object, Pose, Scene, Turn, chinese,
    random::pick,
    words::{fill, region, region_is_clear},
};

/// One difference between the scenes before and after. Objects are those before, but for a new one.
enum Change<'a> {
    Add(&'a Object),
    Remove(Vec<&'a Object>),
    Replace(&'a Object, &'a Object),
    Recolor(Vec<&'a Object>, Option<Color>),
    Resize(&'a Object, bool),
    Turn(&'a Object, Pose, Pose),
    Move(&'a Object, [f32; 2]),
    Background,
    Style,
    Look(Look),
}

/// An instruction for an edit from `before` to `after`. None if Chinese words cannot name its objects without doubt, or if
/// the places are unclear.
pub(super) fn instruction(
    kind: EditKind,
    before: &Scene,
    after: &Scene,
    rng: &mut impl Rng,
) -> Option<String> {
    if kind == EditKind::Extract {
        let [kept] = &after.objects[..] else { return None };
        let kept = refer(before, &[kept], rng)?;
        let templates = ["把{a}抠出来，白色背景", "只保留{a}，背景变白", "在白色背景上单独显示{a}"];
        return Some(fill(pick(rng, &templates), &[&kept]));
    }
    let parts: Option<Vec<String>> =
        changes(before, after)?.iter().map(|change| say(change, before, after, rng)).collect();
    match &parts?[..] {
        [one] => Some(one.clone()),
        [first, second] => {
            Some(fill(pick(rng, &["{a}，{b}", "先{a}，再{b}", "{a}，然后{b}"]), &[first, second]))
        }
        _ => None,
    }
}

/// What differs. None if objects cannot be told apart.
fn changes<'a>(before: &'a Scene, after: &'a Scene) -> Option<Vec<Change<'a>>> {
    let mut changes = Vec::new();
    let gone: Vec<&Object> = before.objects.iter().filter(|object| !after.objects.contains(object)).collect();
    let come: Vec<&Object> = after.objects.iter().filter(|object| !before.objects.contains(object)).collect();
    if before.look() != after.look() && gone.len() == before.objects.len() {
        return Some(vec![Change::Look(after.look())]);
    }
    let mut rest = come;
    let (mut removed, mut recolored): (Vec<&Object>, Vec<(&Object, Option<Color>)>) =
        (Vec::new(), Vec::new());
    for old in gone {
        let near = |new: &&Object| {
            let same = new.class == old.class;
            [same && new.center == old.center, same && new.color == old.color, new.center == old.center]
        };
        let best = (0..3).find_map(|rule| rest.iter().position(|new| near(new)[rule]));
        let Some(new) = best.map(|place| rest.remove(place)) else {
            removed.push(old);
            continue;
        };
        match () {
            () if new.class != old.class => changes.push(Change::Replace(old, new)),
            () if new.color != old.color => recolored.push((old, new.color)),
            () if new.size != old.size => changes.push(Change::Resize(old, new.size > old.size)),
            () if Pose::of(new) != Pose::of(old) => {
                changes.push(Change::Turn(old, Pose::of(old), Pose::of(new)));
            }
            () => changes.push(Change::Move(old, new.center)),
        }
    }
    if let Some((_, color)) = recolored.first() {
        let color = *color;
        if recolored.iter().any(|(_, other)| *other != color) {
            return None;
        }
        changes.push(Change::Recolor(recolored.into_iter().map(|(object, _)| object).collect(), color));
    }
    if !removed.is_empty() {
        changes.push(Change::Remove(removed));
    }
    changes.extend(rest.into_iter().map(Change::Add));
    if before.background != after.background {
        changes.push(Change::Background);
    }
    if before.style != after.style {
        changes.push(Change::Style);
    }
    Some(changes)
}

fn say(change: &Change, before: &Scene, after: &Scene, rng: &mut impl Rng) -> Option<String> {
    let text = match change {
        Change::Add(object) => {
            let thing = chinese::one(object.class, object.color, rng);
            let place = region(object.center);
            match region_is_clear(object.center) && rng.random_bool(0.5) {
                true => fill(
                    pick(rng, &["在{b}加{a}", "在{b}画{a}", "在{b}放{a}"]),
                    &[&thing, chinese::place(place)],
                ),
                false => fill(pick(rng, &["加{a}", "添加{a}", "画{a}", "再来{a}"]), &[&thing]),
            }
        }
        Change::Remove(objects) => {
            let what = refer(before, objects, rng)?;
            fill(pick(rng, &["去掉{a}", "删除{a}", "把{a}去掉", "擦掉{a}", "移除{a}"]), &[&what])
        }
        Change::Replace(old, new) => {
            let (old, new) = (refer(before, &[old], rng)?, chinese::one(new.class, new.color, rng));
            fill(pick(rng, &["把{a}换成{b}", "用{b}替换{a}", "把{a}变成{b}"]), &[&old, &new])
        }
        Change::Recolor(objects, color) => {
            let what = refer(before, objects, rng)?;
            match color {
                Some(color) => {
                    let templates = ["把{a}变成{b}", "把{a}涂成{b}", "把{a}的颜色改成{b}", "让{a}变成{b}"];
                    fill(pick(rng, &templates), &[&what, color.chinese()])
                }
                None => fill(pick(rng, &["让{a}恢复自然的颜色", "给{a}自然的颜色"]), &[&what]),
            }
        }
        Change::Resize(object, grows) => {
            let what = refer(before, &[object], rng)?;
            let templates: &[&str] =
                if *grows { &["把{a}变大", "放大{a}"] } else { &["把{a}变小", "缩小{a}"] };
            fill(pick(rng, templates), &[&what])
        }
        Change::Turn(object, from, to) => {
            let what = refer(before, &[object], rng)?;
            let templates: &[&str] = match (from.mirrored != to.mirrored, to.turn) {
                (true, _) => &["把{a}左右翻转", "镜像{a}", "让{a}朝另一边"],
                (false, Turn::UpsideDown) => &["把{a}倒过来", "把{a}上下颠倒"],
                (false, Turn::Right) => &["把{a}向右转", "顺时针旋转{a}"],
                (false, Turn::Left) => &["把{a}向左转", "逆时针旋转{a}"],
                _ => return None,
            };
            fill(pick(rng, templates), &[&what])
        }
        Change::Move(object, center) => {
            let (from, to) = (region(object.center), region(*center));
            if from == to || !region_is_clear(*center) {
                return None;
            }
            let what = refer(before, &[object], rng)?;
            fill(pick(rng, &["把{a}移到{b}", "把{a}挪到{b}", "将{a}放到{b}"]), &[&what, chinese::place(to)])
        }
        Change::Background => {
            let templates: &[&str] = match after.background {
                // The words are such as 在海边.
                Background::Scenery(_) => &["放{a}", "让它们{a}", "改为{a}"],
                _ => &["把背景换成{a}", "把背景改成{a}", "背景变成{a}"],
            };
            fill(pick(rng, templates), &[&chinese::background_words(after.background, rng)])
        }
        Change::Style => {
            let style = chinese::style(after.style, rng)?;
            fill(pick(rng, &["变成{a}", "把图片改成{a}", "用{a}显示"]), &[style])
        }
        Change::Look(look) => {
            fill(pick(rng, &["变成{a}", "改成{a}", "用{a}画"]), &[chinese::look(*look, rng)])
        }
    };
    Some(text)
}

/// Words for objects that fit no others: the class, with its colour or its side where that is needed.
fn refer(scene: &Scene, objects: &[&Object], rng: &mut impl Rng) -> Option<String> {
    let first = objects.first()?;
    let like: Vec<&Object> = scene.objects.iter().filter(|object| object.class == first.class).collect();
    if objects.iter().any(|object| object.class != first.class) {
        return None;
    }
    let name = chinese::name(first.class, rng);
    if like.len() == objects.len() {
        return Some(if objects.len() > 1 { format!("所有的{name}") } else { name.to_owned() });
    }
    let color = |object: &Object| scene.color_of(object);
    if let Some(shown) = color(first)
        && objects.iter().all(|object| color(object) == Some(shown))
        && like.iter().filter(|object| color(object) == Some(shown)).count() == objects.len()
    {
        return Some(format!("{}的{name}", shown.chinese()));
    }
    let ([object], [a, b]) = (objects, &like[..]) else { return None };
    let other = if *a == *object { b } else { a };
    let [dx, dy] = [0, 1].map(|axis| object.center[axis] - other.center[axis]);
    let side = match (dx, dy) {
        (dx, _) if dx < -0.15 => "左边",
        (dx, _) if dx > 0.15 => "右边",
        (_, dy) if dy < -0.15 => "上面",
        (_, dy) if dy > 0.15 => "下面",
        _ => return None,
    };
    Some(format!("{side}的{name}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::world::{Domain, Scope, Split, sample_edit};
    use unigen_training::data::rng_at;

    #[test]
    fn most_edits_of_every_kind_can_be_said() {
        let domain =
            Domain { scope: Scope { things: 400, solid: false, chinese: false }, split: Split::Train };
        for kind in EditKind::ALL {
            let (mut said, mut texts) = (0, HashSet::new());
            for index in 0..300 {
                let mut rng = rng_at(77, index);
                let edit = sample_edit(&mut rng, domain, kind);
                let Some(text) = instruction(kind, &edit.before, &edit.after, &mut rng) else { continue };
                assert!(!text.contains(['{', '}']) && !text.is_ascii(), "{text}");
                for object in edit
                    .after
                    .objects
                    .iter()
                    .filter(|object| !edit.before.objects.iter().any(|old| old.class == object.class))
                {
                    let names = [object.class.chinese()];
                    let all = names.iter().chain(object.class.chinese_synonyms());
                    assert!(all.into_iter().any(|name| text.contains(name)), "{text}: {}", object.class);
                }
                said += 1;
                texts.insert(text);
            }
            assert!(said > if kind == EditKind::Compose { 100 } else { 180 }, "{kind:?}: {said}");
            assert!(texts.len() > 15, "{kind:?}: {}", texts.len());
        }
    }

    #[test]
    fn the_two_of_a_kind_are_told_apart_by_color_or_side() {
        let cat = |color, x| Object {
            class: crate::world::Class::from_name("cat").unwrap(),
            color,
            center: [x, 0.5],
            size: 0.4,
            flipped: false,
            rotation: 0.,
            look: Look::Flat,
        };
        let scene = |objects| Scene {
            objects,
            background: Background::Plain(crate::world::Tint::White),
            style: crate::world::Style::Plain,
        };
        let rng = &mut rng_at(1, 1);
        let alike = scene(vec![cat(None, 0.25), cat(None, 0.75)]);
        let words = refer(&alike, &[&alike.objects[1]], rng).unwrap();
        assert!(words.starts_with("右边的"), "{words}");
        let colored = scene(vec![cat(Some(Color::Red), 0.25), cat(Some(Color::Blue), 0.75)]);
        let words = refer(&colored, &[&colored.objects[0]], rng).unwrap();
        assert!(words.starts_with("红色的"), "{words}");
        let both: Vec<&Object> = alike.objects.iter().collect();
        assert!(refer(&alike, &both, rng).unwrap().starts_with("所有的"));
    }
}
