//! From a picture and a question to an answer.

use super::{Engine, Source, layouts};
use crate::error::{Error, ErrorKind, Result};
use crate::image_tokenizer::pixels_from_images;
use crate::sampling::{DecodedText, Flow, Prefix, Seeded, TextDecoding, decode_text};
use crate::sequence::ImageRows;
use image::RgbImage;

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerSettings {
    /// The longest answer, in tokens, 1 to 4096.
    pub max_tokens: usize,
    /// 0 takes the likeliest token each time; above 0, up to 100, tokens are drawn.
    pub temperature: f32,
    /// Tokens are drawn from this many of the likeliest, at least 1.
    pub top_k: usize,
    /// The same seed gives the same answer.
    pub seed: u64,
}

impl Default for AnswerSettings {
    fn default() -> Self {
        Self { max_tokens: 128, temperature: 0.0, top_k: 50, seed: 0 }
    }
}

impl AnswerSettings {
    fn check(&self) -> Result<()> {
        let &Self { max_tokens, temperature, top_k, .. } = self;
        for (key, good, value, fix) in [
            ("max_tokens", (1..=4096).contains(&max_tokens), max_tokens.to_string(), "choose 1 to 4096"),
            ("temperature", (0.0..=100.0).contains(&temperature), temperature.to_string(), "choose 0 to 100"),
            ("top_k", top_k > 0, top_k.to_string(), "choose 1 or more"),
        ] {
            if !good {
                return Err(Error::new(ErrorKind::Config, key, format!("is {value}")).fix(fix));
            }
        }
        Ok(())
    }
}

/// What a model says about a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What it says.
    pub text: String,
    /// The mean of `ln p(token)` over the answer, in nats: 0 is sure, -2 is one choice of seven at each token. A model that
    /// sees what it has not learned may still be sure.
    pub mean_log_probability: f32,
}

/// A question about a picture, read but not answered yet.
pub struct Question {
    prefix: Prefix,
    decoding: TextDecoding,
    seed: u64,
}

impl Engine {
    /// Answers a question about a picture of any size. An encoder for any resolution (NaFlex) keeps the aspect ratio, others
    /// see the picture as a square. `on_text` sees the answer grow and may cancel.
    ///
    /// # Errors
    /// `Weights` for a model that cannot see pictures; `Text` for an empty question or one that is too long;
    /// `Image` for a picture without pixels; `Config` for settings out of range; `Cancelled`; `Device`.
    pub async fn ask(
        &self,
        image: &RgbImage,
        question: &str,
        settings: &AnswerSettings,
        on_text: impl AsyncFnMut(&str) -> Flow,
    ) -> Result<Answer> {
        self.answer(&self.begin_answer(image, question, settings)?, on_text).await
    }

    /// Reads a picture and a question. Errors as [`ask`](Self::ask).
    pub fn begin_answer(
        &self,
        image: &RgbImage,
        question: &str,
        settings: &AnswerSettings,
    ) -> Result<Question> {
        settings.check()?;
        let fix = "ask about the picture, for example \"what color is the apple?\"";
        let question = self.read("question", question, fix, |q| {
            self.text.encode_question(q, self.generation.max_prompt_tokens)
        })?;
        let (rows, source) = self.look(image)?;
        let prefix = self.prefix(&layouts(&self.text).describe(rows, &question), &source)?;
        let &AnswerSettings { max_tokens, temperature, top_k, seed } = settings;
        let stop = self.text.special().end_of_answer();
        let vocabulary = self.config.text_vocab;
        let decoding = TextDecoding { max_tokens, temperature, top_k, stop, vocabulary };
        Ok(Question { prefix, decoding, seed })
    }

    /// What the model sees of a picture: the features of its tower, or the codes of the picture's middle.
    fn look(&self, image: &RgbImage) -> Result<(ImageRows, Source)> {
        if !self.config.sees_codes {
            let semantic = self.semantic(std::slice::from_ref(image))?.pop();
            let rows = semantic.as_ref().map_or(0, |rows| rows.dims()[0]);
            return Ok((ImageRows::Semantic(rows), Source { semantic, codes: None }));
        }
        let pixels = pixels_from_images(&[self.square(image)?], &self.device)?;
        let codes = self.image_tokenizer.encode(pixels)?.reshape([-1]);
        let rows = self.model.embed_code_tensor(codes);
        Ok((ImageRows::Codes(rows.dims()[0]), Source { semantic: None, codes: Some(rows) }))
    }

    /// Answers a question that [`begin_answer`](Self::begin_answer) has read. `on_text` sees the answer grow and may cancel.
    ///
    /// # Errors
    /// `Cancelled`; `Device`.
    pub async fn answer(
        &self,
        question: &Question,
        mut on_text: impl AsyncFnMut(&str) -> Flow,
    ) -> Result<Answer> {
        let &Question { ref prefix, decoding, seed } = question;
        let mut tokens = Vec::new();
        let on_token = async |token| {
            tokens.push(token);
            on_text(self.text.decode(&tokens).trim_start()).await
        };
        let answer = decode_text(&self.model, prefix, decoding, &Seeded { seed }, on_token).await?;
        let DecodedText { tokens, mean_log_probability } = answer;
        // Where no turn begins with it, an answer begins with a space.
        Ok(Answer { text: self.text.decode(&tokens).trim_start().to_owned(), mean_log_probability })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{engine, picture};
    use super::*;
    use pollster::FutureExt;
    use std::collections::HashSet;

    #[test]
    fn a_question_has_an_answer() {
        let engine = engine();
        let ask = |settings| {
            engine.ask(&picture(60, 20), "what is this?", &settings, async |_| Flow::Continue).block_on()
        };
        let few = AnswerSettings { max_tokens: 4, ..AnswerSettings::default() };
        assert_eq!(ask(few).unwrap(), ask(few).unwrap());
        // Of 300 tokens none is sure in a model that has learned nothing.
        let sure = ask(few).unwrap().mean_log_probability;
        assert!((-10.0..-0.5).contains(&sure), "{sure}");
        let drawn = |seed| ask(AnswerSettings { temperature: 5.0, seed, ..few }).unwrap().text;
        assert_eq!(drawn(1), drawn(1));
        let answers: HashSet<String> = (1..17).map(drawn).collect();
        assert!(answers.len() > 1, "{answers:?}");
    }

    #[test]
    fn bad_questions_are_errors() {
        let engine = engine();
        let good = AnswerSettings::default();
        let ask = |image: &RgbImage, question: &str, settings: &AnswerSettings| {
            engine.ask(image, question, settings, async |_| Flow::Continue).block_on().unwrap_err()
        };
        let error = ask(&picture(9, 9), "\n", &good);
        assert!(error.kind == ErrorKind::Text && error.to_string().contains("question"), "{error}");
        assert_eq!(ask(&RgbImage::new(0, 3), "what?", &good).kind, ErrorKind::Image);
        for wrong in [
            (AnswerSettings { max_tokens: 0, ..good }, "max_tokens: is 0 (choose 1 to 4096)"),
            (AnswerSettings { max_tokens: 4097, ..good }, "max_tokens: is 4097 (choose 1 to 4096)"),
            (AnswerSettings { max_tokens: 99_999_999, ..good }, "max_tokens: is 99999999 (choose 1 to 4096)"),
            (AnswerSettings { temperature: f32::NAN, ..good }, "temperature: is NaN (choose 0 to 100)"),
            (AnswerSettings { temperature: -0.5, ..good }, "temperature: is -0.5 (choose 0 to 100)"),
            (AnswerSettings { temperature: 101.0, ..good }, "temperature: is 101 (choose 0 to 100)"),
            (AnswerSettings { top_k: 0, ..good }, "top_k: is 0 (choose 1 or more)"),
        ] {
            let error = ask(&picture(9, 9), "what?", &wrong.0);
            assert_eq!((error.kind, error.to_string()), (ErrorKind::Config, wrong.1.to_owned()));
        }
    }
}
