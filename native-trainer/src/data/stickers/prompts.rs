//! Prompts of GenEval's make-up, to judge by from what training never shows and to train on from what it does.

use std::collections::HashSet;

use rand::{Rng, RngExt, seq::SliceRandom};

use super::{
    Class, Color, Relation, Split,
    sample::{pick, rng_at},
    words::counted,
};
use crate::eval::geneval::{Clause, Prompt, Tag};

/// How many prompts of each relation GenEval has, and of each count.
const POSITIONS: [(Relation, usize); 4] =
    [(Relation::Below, 28), (Relation::Right, 27), (Relation::Above, 26), (Relation::Left, 19)];
const COUNTS: [(usize, usize); 3] = [(2, 26), (3, 28), (4, 26)];

/// 553 prompts, as many of each tag as GenEval has: 80, 99, 80, 94, 100, 100. Colours and positions are combinations of
/// the test split; no prompt occurs twice.
pub fn geneval_prompts(seed: u64) -> Vec<Prompt> {
    prompts(Split::Test, seed)
}

/// The same of the validation split, to choose models by. It has but 65 colours.
pub fn validation_prompts(seed: u64) -> Vec<Prompt> {
    prompts(Split::Validation, seed)
}

/// Prompts whose colours and positions are held out for `split`.
fn prompts(split: Split, seed: u64) -> Vec<Prompt> {
    let rng = &mut rng_at(seed, 0);
    let mut prompts: Vec<Prompt> =
        Class::ALL.iter().map(|&class| Prompt::new(Tag::SingleObject, vec![Clause::new(class, 1)])).collect();

    prompts.extend(distinct(99, || {
        let [a, b] = two_classes(rng);
        Prompt::new(Tag::TwoObject, vec![Clause::new(a, 1), Clause::new(b, 1)])
    }));
    for (count, many) in COUNTS {
        prompts.extend(distinct(many, || {
            let class = pick(rng, &Class::ALL);
            let mut prompt = Prompt::new(Tag::Counting, vec![Clause::new(class, count)]);
            prompt.exclude = vec![Clause::new(class, count + 1)];
            prompt
        }));
    }

    let mut colored = held_out_colors(split);
    colored.shuffle(rng);
    prompts.extend(colored.iter().take(94).map(|&clause| Prompt::new(Tag::Colors, vec![paint(clause)])));
    for (relation, many) in POSITIONS {
        prompts.extend(distinct(many, || {
            loop {
                let [target, class] = two_classes(rng);
                if Split::of_relation(class, relation, target) == split {
                    return placed(class, relation, target);
                }
            }
        }));
    }
    prompts.extend(distinct(100, || {
        loop {
            let (a, b) = (pick(rng, &colored), pick(rng, &colored));
            if a.0 != b.0 && a.1 != b.1 {
                return Prompt::new(Tag::ColorAttr, vec![paint(a), paint(b)]);
            }
        }
    }));
    prompts
}

/// A prompt of one of GenEval's kinds from what training may show; two things, counts and places, which are hard, more
/// often than in GenEval.
pub fn training_prompt(rng: &mut impl Rng) -> Prompt {
    let [a, b] = two_classes(rng);
    match rng.random_range(0..10) {
        0 => Prompt::new(Tag::SingleObject, vec![Clause::new(a, 1)]),
        1..4 => Prompt::new(Tag::TwoObject, vec![Clause::new(a, 1), Clause::new(b, 1)]),
        4..6 => Prompt::new(Tag::Counting, vec![Clause::new(a, rng.random_range(2..=4))]),
        6 => Prompt::new(Tag::Colors, vec![shown_color(rng)]),
        7..9 => loop {
            let ([target, class], relation) = (two_classes(rng), pick(rng, &Relation::ALL));
            if Split::Train.may_show(Split::of_relation(class, relation, target)) {
                break placed(class, relation, target);
            }
        },
        _ => loop {
            let (a, b) = (shown_color(rng), shown_color(rng));
            if a.class != b.class && a.color != b.color {
                break Prompt::new(Tag::ColorAttr, vec![a, b]);
            }
        },
    }
}

/// Draws until there are `many` prompts that differ.
fn distinct(many: usize, mut draw: impl FnMut() -> Prompt) -> Vec<Prompt> {
    let mut seen = HashSet::new();
    let mut prompts = Vec::with_capacity(many);
    while prompts.len() < many {
        let prompt = draw();
        if seen.insert(prompt.prompt.clone()) {
            prompts.push(prompt);
        }
    }
    prompts
}

/// A thing in a colour that training shows.
fn shown_color(rng: &mut impl Rng) -> Clause {
    loop {
        let (class, color) = (pick(rng, &Class::ALL), pick(rng, &Color::ALL));
        if class.takes_color() && Split::Train.may_show(Split::of_color(class, color)) {
            return paint((class, color));
        }
    }
}

fn placed(class: Class, relation: Relation, target: Class) -> Prompt {
    let placed = Clause { position: Some((relation, 0)), ..Clause::new(class, 1) };
    Prompt::new(Tag::Position, vec![Clause::new(target, 1), placed])
}

fn two_classes(rng: &mut impl Rng) -> [Class; 2] {
    loop {
        let pair = [pick(rng, &Class::ALL), pick(rng, &Class::ALL)];
        if pair[0] != pair[1] {
            return pair;
        }
    }
}

fn held_out_colors(split: Split) -> Vec<(Class, Color)> {
    let all = Class::ALL.iter().flat_map(|&class| Color::ALL.map(|color| (class, color)));
    all.filter(|&(class, color)| class.takes_color() && Split::of_color(class, color) == split).collect()
}

fn paint((class, color): (Class, Color)) -> Clause {
    Clause { color: Some(color), ..Clause::new(class, 1) }
}

impl Prompt {
    /// Clauses in GenEval's words.
    fn new(tag: Tag, include: Vec<Clause>) -> Self {
        let say = |clause: &Clause| counted(clause.class, clause.color, clause.count);
        let words = match &include[..] {
            [target, Clause { position: Some((relation, 0)), .. }] => {
                format!("{} {} {}", say(&include[1]), relation.name(), say(target))
            }
            clauses => clauses.iter().map(say).collect::<Vec<_>>().join(" and "),
        };
        Prompt { tag, include, exclude: Vec::new(), prompt: format!("a photo of {words}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::stickers::Facts;
    use crate::eval::geneval::read_prompts;

    #[test]
    fn as_many_of_each_tag_as_geneval_has() {
        let prompts = geneval_prompts(0);
        let counts = Tag::ALL.map(|tag| prompts.iter().filter(|prompt| prompt.tag == tag).count());
        assert_eq!(counts, [80, 99, 80, 94, 100, 100]);
        let texts: HashSet<_> = prompts.iter().map(|prompt| &prompt.prompt).collect();
        assert_eq!(texts.len(), 553);
        assert_eq!(prompts, geneval_prompts(0));
        assert_ne!(prompts, geneval_prompts(1));
        let validation = validation_prompts(0);
        let counts = Tag::ALL.map(|tag| validation.iter().filter(|prompt| prompt.tag == tag).count());
        assert_eq!(counts, [80, 99, 80, 65, 100, 100]);
    }

    #[test]
    fn colors_and_positions_are_held_out() {
        for (split, prompts) in
            [(Split::Test, geneval_prompts(7)), (Split::Validation, validation_prompts(7))]
        {
            for Prompt { include, .. } in prompts {
                for clause in &include {
                    assert!(clause.color.is_none_or(|color| Split::of_color(clause.class, color) == split));
                    assert!(clause.position.is_none_or(|(relation, target)| {
                        Split::of_relation(clause.class, relation, include[target].class) == split
                    }));
                }
            }
        }
    }

    #[test]
    fn training_prompts_are_of_every_kind_and_hold_nothing_out() {
        let prompts: Vec<Prompt> = (0..500).map(|index| training_prompt(&mut rng_at(9, index))).collect();
        for tag in Tag::ALL {
            assert!(prompts.iter().filter(|prompt| prompt.tag == tag).count() > 20, "{tag:?}");
        }
        for Prompt { include, prompt, .. } in prompts {
            assert_eq!(Facts::of(&prompt).things.len(), include.len(), "{prompt}");
            for clause in &include {
                assert!(
                    clause.color.is_none_or(|color| Split::of_color(clause.class, color) == Split::Train)
                );
                assert!(clause.position.is_none_or(|(relation, target)| {
                    Split::of_relation(clause.class, relation, include[target].class) == Split::Train
                }));
            }
        }
    }

    #[test]
    fn they_can_be_read_as_a_geneval_file() {
        let prompts = geneval_prompts(0);
        let lines: Vec<String> =
            prompts.iter().map(|prompt| serde_json::to_string(prompt).expect("plain data")).collect();
        assert_eq!(read_prompts(lines.join("\n").as_bytes()).expect("valid lines"), prompts);
    }
}
