//! The words that a model has learned, so that it can say which it has not.

use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Words in lower case, as a model's `generation.json` lists them; none where nobody has listed them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Vocabulary(Vec<String>);

impl Vocabulary {
    /// The words of `texts`, each once, in the order in which they come.
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut seen = HashSet::new();
        let words = texts.into_iter().flat_map(words).map(str::to_lowercase);
        Self(words.filter(|word| seen.insert(word.clone())).collect())
    }

    /// The words, the most telling first.
    pub fn words(&self) -> &[String] {
        &self.0
    }

    /// The word that is written most like `word`, for a word that the model has not learned: of its letters at most a third are
    /// wrong, missing, too many or swapped. None where the model knows nothing like it.
    pub fn nearest(&self, word: &str) -> Option<&str> {
        let word = word.to_lowercase();
        let most = word.chars().count() / 3;
        let distances =
            self.0.iter().map(|known| (strsim::damerau_levenshtein(&word, &known.to_lowercase()), known));
        let (_, known) =
            distances.filter(|&(distance, _)| distance <= most).min_by_key(|&(distance, _)| distance)?;
        Some(known.as_str())
    }

    /// Whether nobody has listed the words: nothing is known about any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words of `text` that the model has not learned, each once, as they are written there. Case does not matter, and
    /// what is neither letter nor digit parts words.
    pub fn unknown<'a>(&self, text: &'a str) -> Vec<&'a str> {
        if self.is_empty() {
            return vec![];
        }
        let mut known: HashSet<String> = self.0.iter().map(|word| word.to_lowercase()).collect();
        words(text).filter(|word| known.insert(word.to_lowercase())).collect()
    }
}

/// Runs of letters and digits, with apostrophes, accents and joiners inside.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let inside =
        |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’' | '\u{300}'..='\u{36f}' | '\u{200d}');
    text.split(move |c| !inside(c))
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_not_listed_are_named() {
        let known =
            Vocabulary::of(["a photo of two red dogs, in the dog's bed.", "Bed 4 größer 狗 e\u{301}t\u{e9}"]);
        assert_eq!(known.words()[..6], ["a", "photo", "of", "two", "red", "dogs"]);
        for (text, unknown) in [
            ("a red dog's bed", &[][..]),
            ("A RED BED!", &[]),
            ("two dogs,in the bed", &[]),
            ("a dragon", &["dragon"]),
            ("Dragons and dragons", &["Dragons", "and"]),
            ("a red-hot bed", &["hot"]),
            ("5 dogs", &["5"]),
            ("4 dogs", &[]),
            ("GRÖSSER größer", &["GRÖSSER"]),
            ("狗 一只红苹果", &["一只红苹果"]),
            ("e\u{301}t\u{e9} 'quoted'", &["quoted"]),
            ("🍎🍎 -- ...", &[]),
            ("", &[]),
        ] {
            assert_eq!(known.unknown(text), unknown, "{text}");
        }
        assert_eq!(Vocabulary::default().unknown("anything at all"), [""; 0]);
    }

    #[test]
    fn the_nearest_word_is_one_that_is_written_alike() {
        let known = Vocabulary::of(["apple apples dog bicycle yellow knives tv a of"]);
        for (word, nearest) in [
            ("aple", Some("apple")),
            ("appel", Some("apple")),
            ("Aples", Some("apples")),
            ("dogs", Some("dog")),
            ("dgo", Some("dog")),
            ("bycicle", Some("bicycle")),
            ("YELOW", Some("yellow")),
            ("knife", None),
            ("dragon", None),
            ("tx", None),
            ("q", None),
            ("一只红苹果", None),
            ("", None),
        ] {
            assert_eq!(known.nearest(word), nearest, "{word}");
        }
    }
}
