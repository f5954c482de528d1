//! Prompts of GenEval's make-up from what training never shows.

use std::collections::HashSet;

use rand::{Rng, seq::SliceRandom};

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

    let mut colored = held_out_colors();
    colored.shuffle(rng);
    prompts.extend(colored.iter().take(94).map(|&clause| Prompt::new(Tag::Colors, vec![paint(clause)])));
    for (relation, many) in POSITIONS {
        prompts.extend(distinct(many, || {
            loop {
                let [target, class] = two_classes(rng);
                if Split::of_relation(class, relation, target) == Split::Test {
                    let placed = Clause { position: Some((relation, 0)), ..Clause::new(class, 1) };
                    return Prompt::new(Tag::Position, vec![Clause::new(target, 1), placed]);
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

fn two_classes(rng: &mut impl Rng) -> [Class; 2] {
    loop {
        let pair = [pick(rng, &Class::ALL), pick(rng, &Class::ALL)];
        if pair[0] != pair[1] {
            return pair;
        }
    }
}

fn held_out_colors() -> Vec<(Class, Color)> {
    let all = Class::ALL.iter().flat_map(|&class| Color::ALL.map(|color| (class, color)));
    all.filter(|&(class, color)| class.takes_color() && Split::of_color(class, color) == Split::Test)
        .collect()
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
    }

    #[test]
    fn colors_and_positions_are_held_out() {
        for prompt in geneval_prompts(7) {
            for clause in &prompt.include {
                assert!(clause.color.is_none_or(|color| Split::of_color(clause.class, color) == Split::Test));
                assert!(clause.position.is_none_or(|(relation, target)| {
                    Split::of_relation(clause.class, relation, prompt.include[target].class) == Split::Test
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
