//! Reads facts about a scene from a text, with the grammar of captions in reverse.

use unigen_evaluation::geneval::Relation;

use super::{
    Background, Class, Color, Look, Pose, Scene, Scenery, Style, Tint, Turn,
    words::{number, region, region_name, size_word, style_words},
};

/// The facts that a text states. A text outside the grammar of captions and GenEval's prompts is understood only in
/// part, or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// All objects that are named. The scene must show no others.
    pub things: Vec<Thing>,
    /// `(a, relation, b)`, indices into the things.
    pub relations: Vec<(usize, Relation, usize)>,
    pub surroundings: Option<Surroundings>,
    pub scenery: Option<Scenery>,
    pub style: Option<Style>,
    pub look: Option<Look>,
}

/// Objects that look alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Thing {
    pub class: Class,
    /// None if not stated.
    pub color: Option<Color>,
    pub count: usize,
    /// The third of the canvas along x and y: -1, 0 or 1. Only a single object has one.
    pub place: Option<[i8; 2]>,
    /// `small` or `big`.
    pub size: Option<&'static str>,
    /// The pose of a single object with a place that does not stand as it was drawn.
    pub pose: Option<Pose>,
}

/// Kinds of background.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    Plain,
    Stripes,
    Dots,
    Checks,
    Gradient,
}

impl Pattern {
    /// All kinds.
    pub const ALL: [Pattern; 5] =
        [Pattern::Plain, Pattern::Stripes, Pattern::Dots, Pattern::Checks, Pattern::Gradient];

    /// The kind of a background.
    pub fn of(background: Background) -> Self {
        match background {
            Background::Plain(_) => Pattern::Plain,
            Background::Stripes(..) => Pattern::Stripes,
            Background::Dots(..) => Pattern::Dots,
            Background::Checks(..) => Pattern::Checks,
            Background::Gradient(..) => Pattern::Gradient,
            Background::Scenery(_) => Pattern::Plain,
        }
    }
}

/// The background and its tints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    pub pattern: Pattern,
    /// No tint, one tint of a plain background, or two in the order of [`Background::tints`].
    pub tints: Vec<Tint>,
}

impl Surroundings {
    /// The part of a scene's background that its style leaves visible.
    pub fn of(scene: &Scene) -> Self {
        let pattern = Pattern::of(scene.background);
        let Some([a, b]) = scene.background.tints() else { return Self { pattern, tints: vec![] } };
        let drawn = scene.style.shows_pattern();
        match pattern {
            Pattern::Plain if scene.style.shows_color() => Self { pattern, tints: vec![a] },
            _ if scene.style.shows_color() && drawn => Self { pattern, tints: vec![a, b] },
            Pattern::Stripes | Pattern::Dots | Pattern::Checks if drawn => Self { pattern, tints: vec![] },
            _ => Self { pattern: Pattern::Plain, tints: vec![] },
        }
    }
}

impl Facts {
    /// The facts that `text` states.
    pub fn of(text: &str) -> Self {
        let lower = text.to_lowercase();
        let words: Vec<&str> =
            lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let look = words.iter().find_map(|word| look_of(word));
        // "a red 3d fox" is "a red fox" in a look.
        let words: Vec<&str> = words.into_iter().filter(|word| look_of(word).is_none()).collect();
        let facts = Facts { look, ..Facts::default() };
        let mut reader = Reader { words: &words, behind: [0..0, 0..0, 0..0], spans: Vec::new(), facts };
        reader.scenery();
        reader.background();
        reader.style();
        reader.things();
        reader.relations();
        reader.surroundings();
        reader.facts
    }

    /// Whether the text states nothing that could be checked.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The stated number of objects of a class.
    pub fn count(&self, class: Class) -> usize {
        self.things.iter().filter(|thing| thing.class == class).map(|thing| thing.count).sum()
    }

    /// Whether the scene shows everything that is stated and nothing else.
    pub fn hold(&self, scene: &Scene) -> bool {
        let class = |class: Class| scene.objects.iter().filter(|object| object.class == class).count();
        let counted = scene.objects.iter().all(|object| self.count(object.class) > 0)
            && self.things.iter().all(|thing| self.count(thing.class) == class(thing.class));
        counted
            && self.things.iter().all(|thing| self.stands(thing, scene))
            && self.relations.iter().all(|&(a, relation, b)| {
                let (a, b) = (self.members(a, scene), self.members(b, scene));
                a.iter().any(|&a| b.iter().any(|&b| a != b && scene.relations(a, b).contains(&relation)))
            })
            && self.surroundings.as_ref().is_none_or(|stated| {
                let seen = Surroundings::of(scene);
                stated.pattern == seen.pattern && (stated.tints.is_empty() || stated.tints == seen.tints)
            })
            && self.scenery.is_none_or(|scenery| scene.background == Background::Scenery(scenery))
            && self.style.is_none_or(|style| style == scene.style)
            && self.look.is_none_or(|look| scene.objects.iter().all(|object| object.look == look))
    }

    /// The objects of the scene to which thing `index` may refer.
    fn members(&self, index: usize, scene: &Scene) -> Vec<usize> {
        let thing = &self.things[index];
        (0..scene.objects.len())
            .filter(|&i| {
                let object = &scene.objects[i];
                object.class == thing.class
                    && thing.color.is_none_or(|color| scene.color_of(object) == Some(color))
            })
            .collect()
    }

    fn stands(&self, thing: &Thing, scene: &Scene) -> bool {
        let objects = || scene.objects.iter().filter(|object| object.class == thing.class);
        let alike = |other: &&Thing| other.class == thing.class && other.color == thing.color;
        let colored = thing.color.is_none_or(|color| {
            let stated: usize = self.things.iter().filter(alike).map(|thing| thing.count).sum();
            objects().filter(|object| scene.color_of(object) == Some(color)).count() == stated
        });
        colored
            && thing.place.is_none_or(|place| objects().any(|object| region(object.center) == place))
            && thing.size.is_none_or(|size| objects().any(|object| size_word(object) == Some(size)))
            && thing.pose.is_none_or(|pose| objects().any(|object| Pose::of(object) == pose))
    }
}

/// The words of a name or a phrase, as texts are split into words.
fn words_of(phrase: &str) -> impl Iterator<Item = &str> {
    phrase.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

fn look_of(word: &str) -> Option<Look> {
    match word {
        "3d" => Some(Look::Solid),
        "flat" => Some(Look::Flat),
        _ => None,
    }
}

struct Reader<'a> {
    words: &'a [&'a str],
    /// The words of a place in the background, of a background in colour, and of a style. A beach, an olive or shades there
    /// are no things.
    behind: [std::ops::Range<usize>; 3],
    /// The range of words of each thing, from its number to its place.
    spans: Vec<std::ops::Range<usize>>,
    facts: Facts,
}

impl Reader<'_> {
    /// Whether the words from `at` on are `phrase`.
    fn says(&self, at: usize, phrase: &str) -> bool {
        let mut words = self.words.iter().skip(at);
        words_of(phrase).all(|wanted| words.next() == Some(&wanted))
    }

    /// The class named at `at`, by the longest name that fits, with its number of words and whether it is a plural.
    fn class(&self, at: usize) -> Option<(Class, usize, bool)> {
        let fits = Class::named(self.words.get(at)?).iter().copied();
        let fits = fits.filter(|(_, name, _)| self.says(at, name));
        let longest = fits.map(|(class, name, plural)| (class, words_of(name).count(), plural));
        // Of equally long names the first wins: one sheep rather than several.
        longest.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }

    /// What the longest of the phrases that the text says stands for, and the range of its words.
    fn longest<'p, T>(
        &self,
        phrases: impl Iterator<Item = (T, &'p str)>,
    ) -> Option<(T, std::ops::Range<usize>)> {
        let said = phrases.filter_map(|(what, phrase)| {
            let at = (0..self.words.len()).find(|&at| self.says(at, phrase))?;
            Some((what, at..at + words_of(phrase).count()))
        });
        said.max_by_key(|(_, words)| words.len())
    }

    fn scenery(&mut self) {
        let named = Scenery::ALL.map(|place| (place, format!("{} background", place.name())));
        let said = Scenery::ALL.iter().flat_map(|place| place.words().iter().map(|words| (*place, *words)));
        let all = said.chain(named.iter().map(|(place, words)| (*place, words.as_str())));
        if let Some((place, words)) = self.longest(all) {
            self.facts.scenery = Some(place);
            self.behind[0] = words;
        }
    }

    /// The tint that is named by the words from `at` on, as its number of words.
    fn tint(&self, at: usize) -> Option<usize> {
        let named = Tint::ALL.into_iter().filter(|tint| self.says(at, tint.name()));
        named.map(|tint| words_of(tint.name()).count()).max()
    }

    /// The number of words of the tint that ends before `end`.
    fn tint_before(&self, end: usize) -> Option<usize> {
        [2, 1].into_iter().find(|&count| end >= count && self.tint(end - count) == Some(count))
    }

    /// The words of a background in colour, such as "mint and rose striped background" or "peach background with white
    /// dots".
    fn background(&mut self) {
        let Some(at) = self.words.iter().position(|word| *word == "background") else { return };
        let (mut start, mut end) = (at, at + 1);
        let patterns = ["plain", "striped", "dotted", "checkered", "gradient"];
        start -= usize::from(start > 0 && patterns.contains(&self.words[start - 1]));
        if let Some(count) = self.tint_before(start) {
            start -= count;
            let joined = start > 0 && ["and", "to"].contains(&self.words[start - 1]);
            let patterned = patterns[1..].contains(&self.words[at - 1]);
            if let Some(count) = self.tint_before(start.saturating_sub(1)).filter(|_| joined && patterned) {
                start -= count + 1;
            }
        }
        let opening = ["with", "fading from"].into_iter().find(|words| self.says(end, words));
        let first = end + opening.map_or(0, |words| words_of(words).count());
        if let Some(count) = opening.and_then(|_| self.tint(first)) {
            end = first + count;
            if let Some(count) = self.tint(end + 1).filter(|_| self.says(end, "and") || self.says(end, "to"))
            {
                end += count + 1;
            }
        }
        self.behind[1] = start..end;
    }

    fn style(&mut self) {
        let styles = Style::ALL.into_iter();
        let all = styles.flat_map(|style| style_words(style).iter().map(move |words| (style, *words)));
        if let Some((style, words)) = self.longest(all) {
            self.facts.style = Some(style);
            self.behind[2] = words;
        }
    }

    fn things(&mut self) {
        let mut at = 0;
        while at < self.words.len() {
            if let Some(words) = self.behind.iter().find(|words| words.contains(&at)) {
                at = words.end;
                continue;
            }
            let color = Color::from_name(self.words[at]).filter(|_| self.class(at + 1).is_some());
            let noun = at + usize::from(color.is_some());
            let Some((class, length, plural)) = self.class(noun) else {
                at += 1;
                continue;
            };
            let end = noun + length;
            let (start, count, size) = self.before(at, plural && !class.is_pair());
            let place = self.place(end).filter(|_| count == 1);
            let pose = place.and_then(|place| self.pose(end + 2 + region_name(place).split(' ').count()));
            self.facts.things.push(Thing { class, color, count, place, size, pose });
            self.spans.push(start..end);
            at = end;
        }
    }

    /// The words before a noun: where they begin, the number, and the size.
    fn before(&self, mut at: usize, plural: bool) -> (usize, usize, Option<&'static str>) {
        let previous = |at: usize| at.checked_sub(1).map(|i| self.words[i]);
        let size = previous(at).and_then(|word| ["small", "big"].into_iter().find(|size| *size == word));
        at -= usize::from(size.is_some());
        if previous(at) == Some("of") && at >= 2 && self.words[at - 2].starts_with("pair") {
            at -= 2;
        }
        let numbered = previous(at).and_then(|word| (1..=8).find(|&count| number(count) == word));
        match (numbered, previous(at)) {
            (Some(count), _) => (at - 1, count, size),
            (None, Some("a" | "an" | "single" | "another")) => (at - 1, 1, size),
            _ => (at, if plural { 2 } else { 1 }, size),
        }
    }

    /// The place that is stated at `at`, unless the words go on to another thing.
    fn place(&self, at: usize) -> Option<[i8; 2]> {
        let regions = (-1..=1).flat_map(|y| (-1..=1).map(move |x| [x, y]));
        let at = at + 2;
        let opens =
            at.checked_sub(2).is_some_and(|i| ["in the", "on the", "at the"].iter().any(|w| self.says(i, w)));
        let named = regions.filter(|&place| self.says(at, region_name(place)));
        let longest = named.max_by_key(|&place| region_name(place).len());
        longest.filter(|&place| opens && !self.says(at + region_name(place).split(' ').count(), "of"))
    }

    /// The pose that is stated at `at`.
    fn pose(&self, at: usize) -> Option<Pose> {
        let mirrored = self.says(at, Pose::MIRRORED);
        let at = at + usize::from(mirrored);
        let said = |turn: &Turn| turn.words().is_some_and(|words| self.says(at, words));
        let turn = Turn::ALL.into_iter().find(said);
        (mirrored || turn.is_some()).then(|| Pose { mirrored, turn: turn.unwrap_or(Turn::Upright) })
    }

    /// The relations of neighbours in the text, from the words between them and the words after the last one.
    fn relations(&mut self) {
        for second in 1..self.spans.len() {
            let first = second - 1;
            let between = self.spans[first].end..self.spans[second].start;
            let last = second + 1 == self.spans.len();
            let behind = self.spans[second].end..if last { self.words.len() } else { self.spans[second].end };
            let either = Relation::ALL.into_iter().find_map(|relation| {
                let name = relation.name();
                let its = match relation {
                    Relation::Left => "to its left",
                    Relation::Right => "to its right",
                    Relation::Above => "above it",
                    Relation::Below => "below it",
                };
                let within = |range: &std::ops::Range<usize>, phrase: &str| {
                    range.clone().any(|at| self.says(at, phrase))
                };
                if within(&between, its) || within(&behind, its) {
                    return Some((second, relation, first));
                }
                let others: &[&str] = match relation {
                    Relation::Above => &["over", "higher than"],
                    Relation::Below => &["under", "beneath", "lower than"],
                    _ => &[],
                };
                let said = within(&between, name) || others.iter().any(|other| within(&between, other));
                said.then_some((first, relation, second))
            });
            // "a on the left and b on the right" states a relation, not thirds of the picture.
            let places = [first, second].map(|thing| self.facts.things[thing].place);
            let opposite = match places {
                [Some([-1, 0]), Some([1, 0])] => Some(Relation::Left),
                [Some([1, 0]), Some([-1, 0])] => Some(Relation::Right),
                [Some([0, -1]), Some([0, 1])] => Some(Relation::Above),
                [Some([0, 1]), Some([0, -1])] => Some(Relation::Below),
                _ => None,
            };
            if opposite.is_some() && self.spans.len() == 2 {
                self.facts.things[first..=second].iter_mut().for_each(|thing| thing.place = None);
            }
            self.facts
                .relations
                .extend(either.or_else(|| opposite.map(|relation| (first, relation, second))));
        }
    }

    /// The background's pattern and tints.
    fn surroundings(&mut self) {
        let words = self.behind[1].clone();
        if words.is_empty() {
            return;
        }
        let kinds: [(&[&str], Pattern); 4] = [
            (&["striped", "stripes"], Pattern::Stripes),
            (&["dotted", "dots"], Pattern::Dots),
            (&["checkered", "checks"], Pattern::Checks),
            (&["gradient", "fading"], Pattern::Gradient),
        ];
        // The word for a pattern may follow the tints: "with mint and rose stripes".
        let near = &self.words[words.start..(words.end + 1).min(self.words.len())];
        let pattern = kinds.into_iter().find(|(names, _)| near.iter().any(|word| names.contains(word)));
        let (mut tints, mut at) = (Vec::new(), words.start);
        while at < words.end {
            let named = Tint::ALL.into_iter().filter(|tint| self.says(at, tint.name()));
            let longest = named.max_by_key(|tint| tint.name().len());
            at += longest.map_or(1, |tint| words_of(tint.name()).count());
            tints.extend(longest);
        }
        self.facts.surroundings =
            Some(Surroundings { pattern: pattern.map_or(Pattern::Plain, |(_, pattern)| pattern), tints });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{Split, caption, description, edit_at, geneval_prompts, sample_scene};
    use unigen_training::data::rng_at;

    #[test]
    fn captions_and_descriptions_hold_of_their_own_scene() {
        for index in 0..6000 {
            let mut rng = rng_at(21, index);
            let scene = sample_scene(&mut rng, Split::Train);
            for text in [caption(&scene, &mut rng), description(&scene)] {
                let facts = Facts::of(&text);
                assert!(facts.hold(&scene), "{text:?} {facts:?} {scene:?}");
                let objects: usize = facts.things.iter().map(|thing| thing.count).sum();
                assert_eq!(objects, scene.objects.len(), "{text:?} {facts:?}");
            }
        }
    }

    #[test]
    fn a_description_is_false_before_its_edit() {
        let mut told = 0;
        for index in 0..1000 {
            let edit = edit_at(Split::Train, 22, index);
            let facts = Facts::of(&edit.description);
            assert!(facts.hold(&edit.after), "{edit:?} {facts:?}");
            told += usize::from(!facts.hold(&edit.before));
        }
        // Most captions omit backgrounds, styles, places and poses.
        assert!(told > 550, "{told} of 1000");
    }

    #[test]
    fn a_full_description_tells_nearly_every_edit() {
        let (mut told, mut posed) = (0, 0);
        for index in 0..1000 {
            let edit = edit_at(Split::Train, 23, index);
            let facts = Facts::of(&description(&edit.after));
            assert!(facts.hold(&edit.after), "{edit:?} {facts:?}");
            told += usize::from(!facts.hold(&edit.before));
            posed += usize::from(facts.things.iter().any(|thing| thing.pose.is_some()));
        }
        // The rest are sizes, small moves, and objects that are mirrored back.
        assert!(told > 850, "{told} of 1000");
        assert!(posed > 50, "{posed} of 1000");
    }

    #[test]
    fn prompts_of_geneval_are_understood() {
        for prompt in geneval_prompts(3) {
            let facts = Facts::of(&prompt.prompt);
            let wanted: usize = prompt.include.iter().map(|object| object.count).sum();
            let read: usize = facts.things.iter().map(|thing| thing.count).sum();
            assert_eq!(read, wanted, "{prompt:?} {facts:?}");
            for object in &prompt.include {
                let color = object.color.as_deref();
                let known = |thing: &Thing| {
                    thing.class.name() == object.class && thing.color.map(Color::name) == color
                };
                assert!(facts.things.iter().any(known), "{prompt:?} {facts:?}");
            }
        }
    }

    #[test]
    fn phrases_by_hand() {
        let facts = Facts::of("a blue vase and to its left two orange hot dogs");
        assert_eq!(facts.things.len(), 2);
        assert_eq!((facts.things[1].class.name(), facts.things[1].count), ("hot dog", 2));
        assert_eq!(facts.relations, [(1, Relation::Left, 0)]);
        let facts = Facts::of("an orange in the top left corner, mint background with white dots, at night");
        assert_eq!((facts.things[0].class.name(), facts.things[0].color), ("orange", None));
        assert_eq!(facts.things[0].place, Some([-1, -1]));
        let dots = Surroundings { pattern: Pattern::Dots, tints: vec![Tint::Mint, Tint::White] };
        assert_eq!((facts.surroundings, facts.style), (Some(dots), Some(Style::Night)));
        let facts = Facts::of(
            "a cat on the left, mirrored, turned to the left; a red dog in the center, upside down",
        );
        let poses = [(true, Turn::Left), (false, Turn::UpsideDown)];
        let poses = poses.map(|(mirrored, turn)| Some(Pose { mirrored, turn }));
        assert_eq!([facts.things[0].pose, facts.things[1].pose], poses);
        let facts = Facts::of("a rose and a peach on a rose and olive striped background");
        assert_eq!(facts.things.len(), 2, "{facts:?}");
        let facts = Facts::of("an olive, lavender background with peach dots");
        assert_eq!(facts.things.len(), 1, "{facts:?}");
        let facts = Facts::of("a red 3d dragon at the beach");
        assert_eq!((facts.scenery, facts.look), (Some(Scenery::Beach), Some(Look::Solid)));
        assert_eq!((facts.things.len(), facts.things[0].color), (1, Some(Color::Red)));
        assert!(Facts::of("果物").is_empty() && Facts::of("").is_empty());
    }
}
