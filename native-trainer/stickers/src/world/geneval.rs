//! Prompts in GenEval's proportions. Some ask for combinations that training never shows, to judge a model. Others ask
//! for combinations that it shows, to train on.

use std::{collections::HashSet, sync::LazyLock};

use rand::{Rng, RngExt, seq::SliceRandom};
use unigen_evaluation::Vocabulary;
use unigen_evaluation::geneval::{Clause, Prompt, Relation, Tag};
use unigen_training::data::rng_at;

use super::{Class, Color, Split, random::pick, words::counted};

/// The number of GenEval's prompts for each relation, and for each count.
const POSITIONS: [(Relation, usize); 4] =
    [(Relation::Below, 28), (Relation::Right, 27), (Relation::Above, 26), (Relation::Left, 19)];
const COUNTS: [(usize, usize); 3] = [(2, 26), (3, 28), (4, 26)];

/// The names of the first `things` things and of all colours.
pub fn vocabulary(things: usize) -> Vocabulary<'static> {
    static CLASSES: LazyLock<Vec<&str>> =
        LazyLock::new(|| Class::all().iter().map(|class| class.name()).collect());
    static COLORS: LazyLock<[&str; 10]> = LazyLock::new(|| Color::ALL.map(Color::name));
    Vocabulary { classes: &CLASSES[..things.min(CLASSES.len())], colors: &*COLORS }
}

/// 553 prompts, as many of each tag as GenEval has: 80, 99, 80, 94, 100, 100. Colours and positions are combinations of
/// the test split. No prompt occurs twice.
pub fn geneval_prompts(seed: u64) -> Vec<Prompt> {
    prompts(Split::Test, seed)
}

/// Prompts of the validation split in the same proportions, to choose models by. That split has only 65 colours.
pub fn validation_prompts(seed: u64) -> Vec<Prompt> {
    prompts(Split::Validation, seed)
}

/// Prompts whose colours and positions are held out for `split`.
fn prompts(split: Split, seed: u64) -> Vec<Prompt> {
    let rng = &mut rng_at(seed, 0);
    let mut prompts: Vec<Prompt> =
        Class::GENEVAL.iter().map(|&class| prompt(Tag::SingleObject, vec![Things::new(class, 1)])).collect();

    prompts.extend(distinct(99, || {
        let [a, b] = two_classes(rng);
        prompt(Tag::TwoObject, vec![Things::new(a, 1), Things::new(b, 1)])
    }));
    for (count, many) in COUNTS {
        prompts.extend(distinct(many, || {
            let class = pick(rng, &Class::GENEVAL);
            let exclude = vec![Things::new(class, count + 1).into()];
            Prompt { exclude, ..prompt(Tag::Counting, vec![Things::new(class, count)]) }
        }));
    }

    let mut colored = held_out_colors(split);
    colored.shuffle(rng);
    prompts.extend(colored.iter().take(94).map(|&clause| prompt(Tag::Colors, vec![paint(clause)])));
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
                return prompt(Tag::ColorAttr, vec![paint(a), paint(b)]);
            }
        }
    }));
    prompts
}

/// A prompt of one of GenEval's kinds that asks for combinations that training may show. Two objects, counts and
/// positions are hard, so they come more often than in GenEval.
pub fn training_prompt(rng: &mut impl Rng) -> Prompt {
    let [a, b] = two_classes(rng);
    match rng.random_range(0..10) {
        0 => prompt(Tag::SingleObject, vec![Things::new(a, 1)]),
        1..4 => prompt(Tag::TwoObject, vec![Things::new(a, 1), Things::new(b, 1)]),
        4..6 => prompt(Tag::Counting, vec![Things::new(a, rng.random_range(2..=4))]),
        6 => prompt(Tag::Colors, vec![shown_color(rng)]),
        7..9 => loop {
            let ([target, class], relation) = (two_classes(rng), pick(rng, &Relation::ALL));
            if Split::Train.may_show(Split::of_relation(class, relation, target)) {
                break placed(class, relation, target);
            }
        },
        _ => loop {
            let (a, b) = (shown_color(rng), shown_color(rng));
            if a.class != b.class && a.color != b.color {
                break prompt(Tag::ColorAttr, vec![a, b]);
            }
        },
    }
}

/// The prompt in Chinese, from its clauses. None if a clause names what the world does not have.
pub fn in_chinese(prompt: &Prompt) -> Option<Prompt> {
    let say = |clause: &Clause| {
        let class = Class::from_name(&clause.class)?;
        let number = ["零", "一", "两", "三", "四", "五", "六", "七", "八", "九", "十"].get(clause.count)?;
        let name = class.chinese();
        let thing = match &clause.color {
            Some(color) => format!("{}的{name}", Color::from_name(color)?.chinese()),
            None => name.to_owned(),
        };
        Some(format!("{number}{}{thing}", class.measure()))
    };
    let said: Vec<String> = prompt.include.iter().map(say).collect::<Option<_>>()?;
    let placed = prompt.include.iter().zip(&said).find_map(|(clause, said)| Some((clause.position?, said)));
    let words = match placed {
        Some(((relation, target), said_of)) => {
            let side = match relation {
                Relation::Left => "左边",
                Relation::Right => "右边",
                Relation::Above => "上面",
                Relation::Below => "下面",
            };
            format!("{said_of}在{}的{side}", said.get(target)?)
        }
        None => said.join("和"),
    };
    Some(Prompt { prompt: format!("一张{words}的照片"), ..prompt.clone() })
}

/// Draws until there are `many` different prompts.
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

/// An object in a colour that training shows.
fn shown_color(rng: &mut impl Rng) -> Things {
    loop {
        let (class, color) = (pick(rng, &Class::GENEVAL), pick(rng, &Color::ALL));
        if class.takes_color() && Split::Train.may_show(Split::of_color(class, color)) {
            return paint((class, color));
        }
    }
}

fn placed(class: Class, relation: Relation, target: Class) -> Prompt {
    let placed = Things { position: Some((relation, 0)), ..Things::new(class, 1) };
    prompt(Tag::Position, vec![Things::new(target, 1), placed])
}

fn two_classes(rng: &mut impl Rng) -> [Class; 2] {
    loop {
        let pair = [pick(rng, &Class::GENEVAL), pick(rng, &Class::GENEVAL)];
        if pair[0] != pair[1] {
            return pair;
        }
    }
}

fn held_out_colors(split: Split) -> Vec<(Class, Color)> {
    let all = Class::GENEVAL.iter().flat_map(|&class| Color::ALL.map(|color| (class, color)));
    all.filter(|&(class, color)| class.takes_color() && Split::of_color(class, color) == split).collect()
}

fn paint((class, color): (Class, Color)) -> Things {
    Things { color: Some(color), ..Things::new(class, 1) }
}

/// A [`Clause`] in the world's own terms.
struct Things {
    class: Class,
    count: usize,
    color: Option<Color>,
    position: Option<(Relation, usize)>,
}

impl Things {
    fn new(class: Class, count: usize) -> Self {
        Self { class, count, color: None, position: None }
    }
}

impl From<Things> for Clause {
    fn from(Things { class, count, color, position }: Things) -> Self {
        let color = color.map(|color| color.name().to_owned());
        Self { class: class.name().to_owned(), count, color, position }
    }
}

/// A prompt for the objects in GenEval's words.
fn prompt(tag: Tag, include: Vec<Things>) -> Prompt {
    let say = |things: &Things| counted(things.class, things.color, things.count);
    let words = match &include[..] {
        [target, Things { position: Some((relation, 0)), .. }] => {
            format!("{} {} {}", say(&include[1]), relation.name(), say(target))
        }
        all => all.iter().map(say).collect::<Vec<_>>().join(" and "),
    };
    let prompt = format!("a photo of {words}");
    Prompt { tag, include: include.into_iter().map(Clause::from).collect(), exclude: Vec::new(), prompt }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::world::{Background, Facts, Look, Object, Renderer, Scene, Style, Tint};
    use anyhow::Result;
    use image::RgbImage;
    use std::cell::RefCell;
    use unigen_core::engine::GenerateRequest;
    use unigen_evaluation::geneval::{Evaluation, read_prompts};
    use unigen_evaluation::{Detect, Detection};

    /// The splits that the colours and positions of a prompt belong to.
    pub(crate) fn splits(Prompt { include, .. }: &Prompt) -> Vec<Split> {
        let class = |clause: &Clause| Class::from_name(&clause.class).expect("a class");
        let color = |clause: &Clause| {
            let color = Color::from_name(clause.color.as_ref()?).expect("a colour");
            Some(Split::of_color(class(clause), color))
        };
        let position = |clause: &Clause| {
            let (relation, target) = clause.position?;
            Some(Split::of_relation(class(clause), relation, class(&include[target])))
        };
        include.iter().flat_map(|clause| color(clause).into_iter().chain(position(clause))).collect()
    }

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
            assert!(prompts.iter().flat_map(splits).all(|found| found == split));
        }
    }

    #[test]
    fn training_prompts_are_of_every_kind_and_hold_nothing_out() {
        let prompts: Vec<Prompt> = (0..500).map(|index| training_prompt(&mut rng_at(9, index))).collect();
        for tag in Tag::ALL {
            assert!(prompts.iter().filter(|prompt| prompt.tag == tag).count() > 20, "{tag:?}");
        }
        for prompt in prompts {
            assert!(splits(&prompt).into_iter().all(|split| split == Split::Train), "{prompt:?}");
            let Prompt { include, prompt, .. } = prompt;
            assert_eq!(Facts::of(&prompt).things.len(), include.len(), "{prompt}");
        }
    }

    #[test]
    fn they_can_be_read_as_a_geneval_file() {
        let prompts = geneval_prompts(0);
        let lines: Vec<String> =
            prompts.iter().map(|prompt| serde_json::to_string(prompt).expect("plain data")).collect();
        let read = read_prompts(lines.join("\n").as_bytes(), vocabulary(80)).expect("valid lines");
        assert_eq!(read, prompts);
    }

    #[test]
    fn they_can_be_said_in_chinese() {
        for prompt in geneval_prompts(2) {
            let chinese = in_chinese(&prompt).expect("the world's own classes");
            assert_eq!((&chinese.include, chinese.tag), (&prompt.include, prompt.tag));
            let named = |clause: &Clause| {
                Class::from_name(&clause.class).is_some_and(|class| chinese.prompt.contains(class.chinese()))
            };
            assert!(prompt.include.iter().all(named), "{}", chinese.prompt);
        }
        let placed = placed(Class::GENEVAL[15], Relation::Left, Class::GENEVAL[16]);
        let chinese = in_chinese(&placed).expect("cat and dog").prompt;
        assert!(chinese.starts_with("一张一只猫在一") && chinese.ends_with("的左边的照片"), "{chinese}");
        let mut unknown = placed;
        unknown.include[0].class = "perpetual motion machine".to_owned();
        assert_eq!(in_chinese(&unknown), None);
    }

    /// A scene that a prompt describes: objects in a row, or above one another if the prompt says so.
    fn scene(prompt: &Prompt) -> Scene {
        let mut objects = Vec::new();
        for clause in &prompt.include {
            let center = match clause.position {
                None => [0.5, 0.5],
                Some((Relation::Left, _)) => [0.2, 0.5],
                Some((Relation::Right, _)) => [0.8, 0.5],
                Some((Relation::Above, _)) => [0.5, 0.2],
                Some((Relation::Below, _)) => [0.5, 0.8],
            };
            objects.extend((0..clause.count).map(|_| Object {
                class: Class::from_name(&clause.class).expect("a class"),
                color: clause.color.as_deref().and_then(Color::from_name),
                center,
                size: 0.2,
                flipped: false,
                rotation: 0.0,
                look: Look::Flat,
            }));
        }
        Scene { objects, background: Background::Plain(Tint::White), style: Style::Plain }
    }

    /// Knows the drawn scenes, so it can name their objects.
    #[derive(Default)]
    struct Oracle(RefCell<Vec<Scene>>);

    impl Detect for Oracle {
        fn accuracy(&self) -> f64 {
            0.99
        }

        fn vocabulary(&self) -> Vocabulary<'_> {
            vocabulary(80)
        }

        fn detect(&self, images: &[RgbImage]) -> Result<Vec<Vec<Detection>>> {
            let drawn = self.0.take();
            assert_eq!(drawn.len(), images.len());
            let detection = |object: &Object| Detection {
                class: object.class.name().to_owned(),
                score: 0.95,
                color: object.color.map(|color| color.name().to_owned()),
                bbox: object.bounds(),
            };
            Ok(drawn.iter().map(|scene| scene.objects.iter().map(detection).collect()).collect())
        }
    }

    #[test]
    fn true_scenes_are_all_right() {
        let (prompts, oracle, renderer) = (geneval_prompts(3), Oracle::default(), Renderer::new());
        let mut done = 0;
        let draw = |requests: &[GenerateRequest]| {
            let images = requests.iter().map(|request| {
                let prompt = prompts.iter().find(|p| p.prompt == request.prompt).expect("one of them");
                let scene = scene(prompt);
                let image = renderer.render(&scene, 24, 24);
                oracle.0.borrow_mut().push(scene);
                image
            });
            Ok(images.collect())
        };
        let evaluation =
            Evaluation::run(&prompts, 1, 0, &oracle, draw, |images| done = images).expect("an evaluation");
        assert_eq!((evaluation.overall, done), (Some(1.0), 553), "{evaluation}");
        assert_eq!(evaluation.scores.all_images(), 553);
        let text = evaluation.to_string();
        assert!(text.starts_with("single_object    1.0000      80 images\n"), "{text}");
        assert!(text.ends_with("overall          1.0000     553 images\n"), "{text}");
    }
}
