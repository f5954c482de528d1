//! Which things a model can draw: each thing in each look, drawn once from phrasings that training never uses, and named
//! by the judge.

use anyhow::{Result, ensure};
use image::RgbImage;
use pollster::FutureExt;
use rand::seq::IndexedRandom;
use serde::Serialize;
use std::fmt;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::{Engine, GenerateRequest};
use unigen_evaluation::BATCH;
use unigen_runs::{Interrupt, sheet};
use unigen_training::data::rng_at;

use crate::judge::Detector;
use crate::world::{Class, Look, Scope};

/// Phrasings for a thing alone, which the grammar of captions lacks. `{a}` is the thing, `{b}` another one.
const ENGLISH: [&str; 4] = [
    "could i get {a}",
    "show me {a} from up close",
    "nothing else, just {a}",
    "i would love to see {a} today",
];
const CHINESE: [&str; 4] = ["我想看{a}", "来{a}吧", "给我看看{a}好吗", "麻烦来{a}"];
/// Phrasings for a thing among others.
const ENGLISH_PAIRS: [&str; 2] = ["{a} next to {b}", "{b} together with {a}"];
const CHINESE_PAIRS: [&str; 2] = ["{a}旁边有{b}", "{b}陪着{a}"];
/// The judge's guesses that count for `top5`.
const RANKS: usize = 5;

/// One picture to draw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Asked {
    pub thing: Class,
    pub look: Look,
    pub prompt: String,
    /// Whether the prompt is in Chinese.
    pub chinese: bool,
    /// The thing beside it.
    pub beside: Option<Class>,
}

/// Every thing of a scope in each of its looks, each asked for once. Where the scope has Chinese, every second prompt is
/// in it; every second thing stands beside one of GenEval's.
pub fn asked(scope: Scope, seed: u64) -> Vec<Asked> {
    let looks = scope.looks();
    let all = scope.classes().iter().flat_map(|&thing| looks.iter().map(move |&look| (thing, look)));
    let drawable = all.filter(|(thing, look)| *look == Look::Flat || thing.has_solid());
    (0u64..)
        .zip(drawable)
        .map(|(index, (thing, look))| {
            let rng = &mut rng_at(seed, index);
            let chinese = scope.chinese && index % 2 == 1;
            let others: Vec<Class> = Class::GENEVAL
                .into_iter()
                .filter(|class| *class != thing && (look == Look::Flat || class.has_solid()))
                .collect();
            let beside = others.choose(rng).copied().filter(|_| index % 4 > 1);
            let say = |class: Class| match chinese {
                true => format!("一{}{}", class.measure(), class.chinese()),
                false => class.with_article(),
            };
            let templates: &[&str] = match (chinese, beside.is_some()) {
                (false, false) => &ENGLISH,
                (false, true) => &ENGLISH_PAIRS,
                (true, false) => &CHINESE,
                (true, true) => &CHINESE_PAIRS,
            };
            let template = templates.choose(rng).copied().unwrap_or("{a}");
            let text =
                template.replace("{a}", &say(thing)).replace("{b}", &beside.map(say).unwrap_or_default());
            let prompt = match (looks.len(), chinese, look) {
                (1, ..) => text,
                (_, false, Look::Solid) => format!("{text}, 3d"),
                (_, false, Look::Flat) => format!("{text}, flat"),
                (_, true, Look::Solid) => format!("{text}，3D"),
                (_, true, Look::Flat) => format!("{text}，扁平"),
            };
            Asked { thing, look, prompt, chinese, beside }
        })
        .collect()
}

/// A drawn picture and whether the judge named the thing in it first, or among its first five guesses.
#[derive(Clone, Debug, Serialize)]
pub struct Drawn {
    #[serde(flatten)]
    pub asked: Asked,
    pub top1: bool,
    pub top5: bool,
    /// The judge's first guess of each object.
    pub seen: Vec<Class>,
    #[serde(skip)]
    pub image: RgbImage,
}

/// Shares of the pictures in which the thing was named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Share {
    pub pictures: usize,
    pub top1: f64,
    pub top5: f64,
}

impl Share {
    fn of<'a>(drawn: impl Iterator<Item = &'a Drawn>) -> Self {
        let (mut pictures, mut first, mut five) = (0, 0, 0);
        for drawn in drawn {
            (pictures, first, five) =
                (pictures + 1, first + usize::from(drawn.top1), five + usize::from(drawn.top5));
        }
        let share = |count: usize| count as f64 / pictures.max(1) as f64;
        Self { pictures, top1: share(first), top5: share(five) }
    }
}

/// What a model can draw.
#[derive(Clone, Debug, Serialize)]
pub struct Coverage {
    /// Number of things.
    pub things: usize,
    #[serde(flatten)]
    pub all: Share,
    pub flat: Share,
    pub solid: Share,
    pub english: Share,
    pub chinese: Share,
    pub alone: Share,
    pub beside: Share,
    pub drawn: Vec<Drawn>,
}

impl Coverage {
    /// The shares of `drawn` pictures.
    fn new(drawn: Vec<Drawn>) -> Self {
        let of = |holds: &dyn Fn(&Asked) -> bool| Share::of(drawn.iter().filter(|drawn| holds(&drawn.asked)));
        let mut things: Vec<Class> = drawn.iter().map(|drawn| drawn.asked.thing).collect();
        things.sort_unstable();
        things.dedup();
        Self {
            things: things.len(),
            all: of(&|_| true),
            flat: of(&|asked| asked.look == Look::Flat),
            solid: of(&|asked| asked.look == Look::Solid),
            english: of(&|asked| !asked.chinese),
            chinese: of(&|asked| asked.chinese),
            alone: of(&|asked| asked.beside.is_none()),
            beside: of(&|asked| asked.beside.is_some()),
            drawn,
        }
    }

    /// Lets `engine` draw everything that is `asked`, and `judge` name it. Calls `progress` with the number of pictures done.
    ///
    /// # Errors
    /// If nothing is asked, the judge knows fewer things, the engine or the judge fails, or Ctrl-C was pressed.
    pub fn of(
        engine: &Engine,
        asked: Vec<Asked>,
        settings: &GenerationConfig,
        seed: u64,
        judge: &Detector,
        mut progress: impl FnMut(usize),
    ) -> Result<Self> {
        ensure!(!asked.is_empty(), "there is nothing to draw");
        let known = judge.config.things;
        ensure!(
            asked.iter().all(|asked| asked.thing.index() < known),
            "the judge knows {known} things only; choose as few with --things, or another --detector"
        );
        let mut drawn = Vec::with_capacity(asked.len());
        for chunk in asked.chunks(BATCH) {
            Interrupt::check()?;
            let seeds = seed.wrapping_add(drawn.len() as u64)..;
            let requests: Vec<GenerateRequest> = chunk
                .iter()
                .zip(seeds)
                .map(|(asked, seed)| GenerateRequest { prompt: asked.prompt.clone(), seed })
                .collect();
            let images =
                engine.generate_batch(&requests, settings, async |_| Interrupt::flow()).block_on()?;
            let ranked = judge.rank(&images, 2, RANKS)?;
            for ((asked, image), objects) in chunk.iter().zip(images).zip(ranked) {
                drawn.push(judged(asked.clone(), image, &objects));
            }
            progress(drawn.len());
        }
        Ok(Self::new(drawn))
    }

    /// A sheet of all pictures. Those that were not named are marked.
    pub fn sheet(&self) -> RgbImage {
        let cells: Vec<_> = self.drawn.iter().map(|drawn| (drawn.image.clone(), label(drawn))).collect();
        sheet(&cells, 10, 1)
    }
}

/// A thing that stands alone must be the first object. Among others it may be the second.
fn judged(asked: Asked, image: RgbImage, objects: &[Vec<Class>]) -> Drawn {
    let objects = &objects[..objects.len().min(if asked.beside.is_some() { 2 } else { 1 })];
    let named = |ranks: usize| {
        objects.iter().any(|ranked| ranked.iter().take(ranks).any(|&class| class == asked.thing))
    };
    let seen = objects.iter().filter_map(|ranked| ranked.first().copied()).collect();
    Drawn { top1: named(1), top5: named(RANKS), seen, image, asked }
}

fn label(drawn: &Drawn) -> String {
    let mark = match (drawn.top1, drawn.top5) {
        (true, _) => "",
        (false, true) => "5: ",
        (false, false) => "NO ",
    };
    let look = if drawn.asked.look == Look::Solid { " 3d" } else { "" };
    format!("{mark}{}{look}", drawn.asked.thing)
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} things, {} pictures", self.things, self.all.pictures)?;
        let rows = [
            ("all", self.all),
            ("flat", self.flat),
            ("3d", self.solid),
            ("English", self.english),
            ("Chinese", self.chinese),
            ("alone", self.alone),
            ("beside another", self.beside),
        ];
        for (name, share) in rows.into_iter().filter(|(_, share)| share.pictures > 0) {
            writeln!(
                f,
                "{name:14}  top-1 {:.3}  top-5 {:.3}  of {}",
                share.top1, share.top5, share.pictures
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_asked_once_in_words_that_training_lacks() {
        let scope = Scope { things: 400, solid: true, chinese: true };
        let asked = asked(scope, 1);
        let own = scope.classes().iter().filter(|class| !class.has_solid()).count();
        assert_eq!(asked.len(), 2 * 400 - own);
        let chinese = asked.iter().filter(|asked| asked.chinese).count();
        assert!(chinese.abs_diff(asked.len() / 2) <= 1);
        let beside = asked.iter().filter(|asked| asked.beside.is_some()).count();
        assert!(beside.abs_diff(asked.len() / 2) <= 2);
        for asked in &asked {
            let name = if asked.chinese { asked.thing.chinese() } else { asked.thing.name() };
            assert!(asked.prompt.contains(name) && !asked.prompt.contains('{'), "{asked:?}");
        }
    }

    #[test]
    fn a_thing_alone_must_come_first() {
        let [cat, dog] = ["cat", "dog"].map(|name| Class::from_name(name).unwrap());
        let asked =
            |beside| Asked { thing: cat, look: Look::Flat, prompt: "a cat".into(), chinese: false, beside };
        let seen = [vec![dog, cat], vec![cat, dog]];
        let alone = judged(asked(None), RgbImage::new(1, 1), &seen);
        assert_eq!((alone.top1, alone.top5), (false, true));
        let beside = judged(asked(Some(dog)), RgbImage::new(1, 1), &seen);
        assert_eq!((beside.top1, beside.top5), (true, true));
        let coverage = Coverage::new(vec![alone, beside]);
        assert_eq!((coverage.things, coverage.all.top1, coverage.all.top5), (1, 0.5, 1.0));
        let json = serde_json::to_value(&coverage).unwrap();
        assert_eq!((&json["top1"], &json["things"]), (&0.5.into(), &1.into()));
    }
}
