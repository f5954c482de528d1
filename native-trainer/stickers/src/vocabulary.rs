//! The words of the sticker world, so that a model of it can say which it has not learned.

use anyhow::Result;
use unigen_core::text::Vocabulary;
use unigen_training::data::{Pictures, QUESTIONS};

use crate::pictures::ScenePictures;
use crate::world::{Color, Domain, Scope, Split};

/// So many texts have every word of the grammar.
const TEXTS: u64 = 40_000;

/// The words of captions, questions, answers and instructions: names of things and colours, then the others as they come.
///
/// # Errors
/// None in practice: texts of scenes are always there.
pub fn vocabulary(scope: Scope) -> Result<Vocabulary> {
    let texts = ScenePictures::new(Domain { scope, split: Split::Train }, 0).texts(TEXTS)?;
    let names = scope.classes().iter().map(|class| class.name());
    let plurals = scope.classes().iter().map(|class| class.plural());
    let colors = Color::ALL.iter().map(|color| color.name());
    let told = names.chain(colors).chain(plurals).chain(QUESTIONS);
    Ok(Vocabulary::of(told.chain(texts.iter().map(String::as_str))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_scenes_have_no_other_words() {
        let known = vocabulary(Scope::default()).unwrap();
        for text in ScenePictures::new(Split::Validation, 77).texts(8_000).unwrap() {
            assert_eq!(known.unknown(&text), [""; 0], "{text}");
        }
        for (text, unknown) in [
            ("a photo of two red dogs", &[][..]),
            ("a photo of a dragon", &["dragon"]),
            ("three Purple bicycles above a cow", &[]),
            ("make the castle green", &["castle"]),
            ("what is in this image?", &[]),
            ("a red apple left of a blue car", &[]),
            ("an oil painting of a cat", &["oil", "painting"]),
            ("remove the traffic light", &[]),
            ("ein roter Apfel", &["ein", "roter", "Apfel"]),
            ("一只红苹果", &["一只红苹果"]),
        ] {
            assert_eq!(known.unknown(text), unknown, "{text}");
        }
    }
}
