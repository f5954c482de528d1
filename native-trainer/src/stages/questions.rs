//! What is asked about a picture in training.

use rand::{Rng, RngExt, seq::SliceRandom};

use crate::data::stickers::{QuestionAnswer, QuestionKind, questions};
use crate::data::{Caption, pick_at};

/// What captions are asked for with.
pub const QUESTIONS: [&str; 5] = [
    "describe the picture.",
    "describe this image.",
    "what does the picture show?",
    "write a caption.",
    "what is in this image?",
];
/// How often questions are drawn for a picture: those of yes or no, and others.
const DRAWS: [usize; 2] = [8, 3];

/// What is asked about a picture, with the answers: where the scene is known, mostly much that has a short answer, else the
/// caption. To find the thing that is asked for is the hard part, and a sequence with a dozen questions costs half as much
/// again as one with a single.
///
/// But a conversation tells much: "what color is the cup?" that there is a cup, and where the cup is tells where the other
/// thing is. Whoever can look an answer up there does not learn to look at the picture (whether a thing is there stayed at
/// chance). So one question of what or where comes first and alone of its kind, and yes or no is asked of other pictures.
pub fn ask(caption: &Caption, visit: u64, rng: &mut impl Rng) -> Vec<[String; 2]> {
    use QuestionKind::{HowMany, What, Where, WhichColor, YesNo};
    if let Caption::Scene(scene) = caption
        && rng.random_bool(0.75)
    {
        let first = *pick_at(&[YesNo, YesNo, YesNo, What, Where, Where, HowMany], rng.random());
        let draws = if first == YesNo { DRAWS[0] } else { DRAWS[1] };
        let mut asked: Vec<_> = (0..draws).flat_map(|_| questions(scene, rng)).collect();
        asked.sort_unstable_by(|a, b| a.question.cmp(&b.question));
        asked.dedup();
        asked.shuffle(rng);
        match first {
            YesNo => {
                asked.retain(|asked| asked.kind == YesNo);
                asked.sort_by_key(QuestionAnswer::takes_for_granted);
            }
            _ => {
                let opening =
                    asked.iter().position(|asked| asked.kind == first).map(|place| asked.remove(place));
                asked.retain(|asked| matches!(asked.kind, HowMany | WhichColor));
                asked.splice(..0, opening);
            }
        }
        if !asked.is_empty() {
            return asked
                .into_iter()
                .map(|QuestionAnswer { question, answer, .. }| [question, answer])
                .collect();
        }
    }
    vec![[pick_at::<&str>(&QUESTIONS, visit).to_string(), caption.text(visit)]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Source;
    use crate::data::stickers::rng_at;

    #[test]
    fn what_is_asked_has_its_answer() {
        let source = Source::held_out(1);
        let (mut short, mut told, mut questions) = (0, 0, 0);
        for index in 0..100 {
            let caption = source.uncut(index, [16, 24]).unwrap().caption;
            let turns = ask(&caption, index, &mut rng_at(2, index));
            assert!(turns.iter().flatten().all(|text| !text.is_empty()));
            match QUESTIONS.contains(&turns[0][0].as_str()) {
                true => told += turns.len(),
                false => (short, questions) = (short + 1, questions + turns.len()),
            }
        }
        assert!(short > 60 && told > 10 && short + told == 100, "{short} {told}");
        assert!(questions > 6 * short, "{questions} about {short} pictures");
        let own = Caption::Text("my picture".into());
        assert_eq!(ask(&own, 3, &mut rng_at(2, 3))[0][1], "my picture");
    }
}
