//! The things of the world with their names in English and Chinese, in the table `things.tsv`.
//!
//! The first 80 are GenEval's classes (COCO's, under GenEval's names). The others follow in the order in which people ask
//! for them. Names were written for this table; which emoji there are is Unicode's.

use std::{collections::HashMap, fmt, sync::LazyLock};

use serde::{Deserialize, Serialize};
use twemoji_assets::svg::SvgTwemojiAsset;
use unigen_evaluation::unknown;

use super::words::counted_in_pairs;

/// A thing. JSON holds its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub struct Class(u16);

/// A line of the table.
struct Entry {
    /// The emoji's code points, or the file name of a drawing of our own.
    code: &'static str,
    name: &'static str,
    plural: &'static str,
    synonyms: Vec<&'static str>,
    pair: bool,
    color: bool,
    chinese: &'static str,
    chinese_synonyms: Vec<&'static str>,
    measure: &'static str,
}

static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
    let lines = include_str!("things.tsv").lines().skip(1);
    let mut entries: Vec<(&str, Entry)> = lines.map(entry).collect();
    // GenEval's classes come first in the table, and they are of the first tier.
    entries.sort_by_key(|(tier, _)| *tier);
    entries.into_iter().map(|(_, entry)| entry).collect()
});

static ALL: LazyLock<Vec<Class>> = LazyLock::new(|| (0..ENTRIES.len() as u16).map(Class).collect());

/// Reads `code group tier name plural synonyms pair color chinese synonyms measure`. Lists are separated by `|`.
fn entry(line: &'static str) -> (&'static str, Entry) {
    let [code, _, tier, name, plural, synonyms, pair, color, chinese, chinese_synonyms, measure] =
        line.split('\t').collect::<Vec<_>>()[..]
    else {
        panic!("a line of things.tsv has eleven columns: {line}")
    };
    let list = |text: &'static str| text.split('|').filter(|name| !name.is_empty()).collect();
    let entry = Entry {
        code,
        name,
        plural,
        synonyms: list(synonyms),
        pair: pair == "1",
        color: color == "1",
        chinese,
        chinese_synonyms: list(chinese_synonyms),
        measure,
    };
    (tier, entry)
}

/// If Twemoji has no such object, or shows it together with something else (a surfer for a surfboard, a ball for a tennis
/// racket), the drawing is our own in the same style.
macro_rules! own {
    ($code:expr, $($name:literal)*) => {
        match $code {
            $($name => Some(include_str!(concat!("svg/", $name, ".svg"))),)*
            _ => None,
        }
    };
}

fn own_drawing(code: &str) -> Option<&'static str> {
    own!(code, "baseball_bat" "baseball_glove" "bench" "dining_table" "fire_hydrant" "fork" "hair_drier" "microwave" "oven"
        "parking_meter" "refrigerator" "sink" "snowboard" "stop_sign" "surfboard" "tennis_racket" "toaster" "tv_remote")
}

/// The characters of code points such as `1f3f3-fe0f`.
fn characters(code: &str) -> Option<String> {
    code.split('-').map(|point| char::from_u32(u32::from_str_radix(point, 16).ok()?)).collect()
}

/// A thing, one of its names in English, and whether that is the plural.
type Named = (Class, &'static str, bool);

/// The names of all things by their first word.
static NAMES: LazyLock<HashMap<&str, Vec<Named>>> = LazyLock::new(|| {
    let mut names: HashMap<_, Vec<Named>> = HashMap::new();
    for &class in Class::all() {
        let entry = class.entry();
        let singular = [entry.name].into_iter().chain(entry.synonyms.iter().copied());
        let named = singular.map(|name| (name, false)).chain([(entry.plural, true)]);
        for (name, plural) in named {
            let first = name.split([' ', '-', '\'']).next().unwrap_or(name);
            names.entry(first).or_default().push((class, name, plural));
        }
    }
    names
});

impl Class {
    /// GenEval's 80 classes in its order.
    pub const GENEVAL: [Class; 80] = {
        let mut all = [Class(0); 80];
        let mut index = 0;
        while index < all.len() {
            all[index] = Class(index as u16);
            index += 1;
        }
        all
    };

    /// All things.
    pub fn all() -> &'static [Class] {
        &ALL
    }

    /// The index in [`Class::all`].
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// The name in English, such as `tv remote`. GenEval's classes have its names.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The plural, such as `knives`.
    pub fn plural(self) -> &'static str {
        self.entry().plural
    }

    /// Other names in English.
    pub fn synonyms(self) -> &'static [&'static str] {
        &self.entry().synonyms
    }

    /// The name in Chinese.
    pub fn chinese(self) -> &'static str {
        self.entry().chinese
    }

    /// Other names in Chinese.
    pub fn chinese_synonyms(self) -> &'static [&'static str] {
        &self.entry().chinese_synonyms
    }

    /// The Chinese measure word, such as `只`.
    pub fn measure(self) -> &'static str {
        self.entry().measure
    }

    /// The thing with a name.
    pub fn from_name(name: &str) -> Option<Class> {
        Class::all().iter().copied().find(|class| class.name() == name)
    }

    /// The names in English whose first word is `word`.
    pub(super) fn named(word: &str) -> &'static [Named] {
        NAMES.get(word).map_or(&[], Vec::as_slice)
    }

    /// Whether English counts it in pairs (`skis`, `scissors`).
    pub fn is_pair(self) -> bool {
        self.entry().pair
    }

    /// Whether it may be painted in a colour. People keep their natural colours, as in GenEval's prompts.
    pub fn takes_color(self) -> bool {
        self.entry().color
    }

    /// The name with `a` or `an`, or as a pair.
    pub fn with_article(self) -> String {
        counted_in_pairs(self, None, 1)
    }

    /// Whether there is a drawing in three dimensions among the assets. A drawing of our own has none.
    pub fn has_solid(self) -> bool {
        self.code().is_some()
    }

    /// The emoji. None if the drawing is our own.
    pub fn emoji(self) -> Option<String> {
        characters(self.code()?)
    }

    /// The emoji's code points in hexadecimal, joined by `-`. None if the drawing is our own.
    pub(super) fn code(self) -> Option<&'static str> {
        let code = self.entry().code;
        own_drawing(code).is_none().then_some(code)
    }

    /// The flat drawing, an SVG of about 36 x 36 units.
    pub(super) fn svg(self) -> &'static str {
        let code = self.entry().code;
        let twemoji = |code: &str| SvgTwemojiAsset::from_emoji(&characters(code)?);
        // Twemoji omits the variation selector from most names.
        let drawing = own_drawing(code).or_else(|| {
            let bare = code.replace("-fe0f", "");
            twemoji(code).or_else(|| twemoji(&bare)).map(|asset| &***asset)
        });
        drawing.unwrap_or_else(|| panic!("Twemoji has no {code}"))
    }

    fn entry(self) -> &'static Entry {
        &ENTRIES[self.index()]
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Class({})", self.name())
    }
}

impl From<Class> for &'static str {
    fn from(class: Class) -> Self {
        class.name()
    }
}

impl TryFrom<String> for Class {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Class::from_name(&name).ok_or_else(|| unknown("thing", &name, &Class::GENEVAL.map(Class::name)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_indices_agree() {
        for (index, &class) in Class::all().iter().enumerate() {
            assert_eq!(class.index(), index);
            assert_eq!(Class::from_name(class.name()), Some(class));
        }
        let [first, .., last] = Class::GENEVAL;
        assert_eq!((first.name(), last.name()), ("person", "toothbrush"));
        assert!(Class::from_name("dragon").is_some_and(|dragon| dragon.index() >= Class::GENEVAL.len()));
        assert_eq!(Class::from_name("perpetual motion machine"), None);
    }

    #[test]
    fn every_name_names_one_thing() {
        let mut seen: HashMap<&str, Class> = HashMap::new();
        let mut chinese: HashMap<&str, Class> = HashMap::new();
        for &class in Class::all() {
            let names = [class.name(), class.plural()].into_iter().chain(class.synonyms().iter().copied());
            for name in names {
                assert!(!name.is_empty() && name == name.to_lowercase() && name.trim() == name, "{name:?}");
                assert_eq!(*seen.entry(name).or_insert(class), class, "{name}");
            }
            for name in [class.chinese()].into_iter().chain(class.chinese_synonyms().iter().copied()) {
                assert!(!name.is_empty() && !name.is_ascii(), "{name:?} of {class}");
                assert_eq!(*chinese.entry(name).or_insert(class), class, "{name}");
            }
            assert!(!class.measure().is_empty(), "{class}");
        }
    }

    #[test]
    fn every_thing_has_a_drawing_of_its_own() {
        let drawings: HashSet<&str> = Class::all().iter().map(|class| class.svg()).collect();
        assert_eq!(drawings.len(), Class::all().len());
        assert!(drawings.iter().all(|svg| svg.starts_with("<svg")));
        assert_eq!(Class::from_name("dog").and_then(Class::emoji).as_deref(), Some("🐕"));
        assert_eq!(Class::from_name("fork").and_then(Class::emoji), None);
    }

    #[test]
    fn an_unknown_name_is_named_in_the_error() {
        let error =
            serde_json::from_str::<Class>("\"remote\"").expect_err("GenEval says tv remote").to_string();
        assert!(error.contains("remote") && error.contains("tv remote"), "{error}");
    }
}
