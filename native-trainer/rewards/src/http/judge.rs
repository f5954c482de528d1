//! A vision-language model as a judge, behind an OpenAI-compatible chat endpoint.

use anyhow::Result;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::LazyLock;

use super::chat::{Chat, Choice, LogProbabilities, Message};
use super::client::{HttpSettings, shown};
use super::thoughts::without_thoughts;
use crate::{Item, Missing, Reward, Score};

/// The question for a judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Whether the picture shows the description: the probability of "yes" against "no", 0 to 1 (as an outcome reward
    /// model). If the answer has no log-probabilities, 0 or 1.
    YesNo,
    /// How well the picture shows the description, as a score from 1 to 5 (as UnifiedReward).
    Score,
}

/// A judge behind an endpoint.
pub struct Judge {
    name: String,
    question: Question,
    chat: Chat,
}

impl Judge {
    /// The model `model` behind the endpoint at `url`, such as `http://judge:8000/v1`. This sends no request.
    ///
    /// # Errors
    /// If a setting is out of range, or the system lacks what a client needs.
    pub fn new(
        name: &str,
        url: &str,
        model: &str,
        question: Question,
        settings: &HttpSettings,
    ) -> Result<Self> {
        Ok(Self { name: name.into(), question, chat: Chat::new(url, model, settings)? })
    }

    async fn ask(&self, item: &Item) -> Score {
        let text = match self.question {
            Question::YesNo => format!(
                "Does the picture show exactly this: \"{}\"? Objects, their number, colors and places must all be right. \
                 Answer with one word, yes or no.",
                item.description
            ),
            Question::Score => format!(
                "The picture was made for the text \"{}\". Judge how well it shows everything that the text says and how \
                 clean it looks. End your answer with a line of the form \"Final Score: N\", where N is a number from 1 \
                 (nothing is right) to 5 (all of it is right and the picture has no faults).",
                item.description
            ),
        };
        let (max_tokens, more) = match self.question {
            Question::YesNo => (1, json!({ "logprobs": true, "top_logprobs": 20 })),
            Question::Score => (512, json!({})),
        };
        let message = Message { images: vec![item.image.clone()], text, max_tokens };
        let choice = self.chat.complete(&message, more).await?;
        self.question.score_in(choice).map_err(|Missing(why)| Missing(format!("{}: {why}", self.chat.url())))
    }
}

impl Question {
    /// The score in the body of a chat completion, or the reason why there is none.
    pub fn score(self, body: &[u8]) -> Score {
        let choice =
            Choice::first_in(body).map_err(|why| Missing(format!("cannot read the answer: {why}")))?;
        self.score_in(choice)
    }

    fn score_in(self, choice: Choice) -> Score {
        let said = choice.message.content.unwrap_or_default();
        let score = match self {
            Question::YesNo => match probability(choice.logprobs.as_ref()) {
                Some(probability) => Ok(probability),
                None => yes_or_no(&said),
            },
            Question::Score => final_score(&said),
        };
        score.map_err(|why| {
            Missing(format!("cannot read the judge's answer: {why}: {}", shown(said.as_bytes())))
        })
    }
}

/// A token in lower case, without the characters around it. Vocabularies write spaces in several ways.
fn word(token: &str) -> String {
    token.trim_matches(|c: char| !c.is_alphanumeric() || c == 'Ġ').to_lowercase()
}

/// The probability of "yes" against "no" as the first token. `None` if neither is among the likely tokens.
fn probability(log: Option<&LogProbabilities>) -> Option<f32> {
    const LEAST: f64 = 0.5;
    let first = log?.content.as_ref()?.first()?.top_logprobs.as_ref()?;
    let mass = |wanted: &str| {
        let same = first.iter().filter(|top| word(&top.token) == wanted);
        same.filter_map(|top| top.logprob).map(f64::exp).sum::<f64>()
    };
    let (yes, no) = (mass("yes"), mass("no"));
    (yes + no >= LEAST).then_some((yes / (yes + no)) as f32)
}

/// 1 if the answer begins with "yes", 0 if it begins with "no".
fn yes_or_no(text: &str) -> Result<f32, String> {
    let said = without_thoughts(text);
    let first = said.trim_start_matches(|c: char| !c.is_alphanumeric());
    let end = first.find(|c: char| !c.is_alphanumeric()).unwrap_or(first.len());
    let (first, behind) = first.split_at(end);
    let alone = behind.is_empty() || !behind.starts_with([' ', '\'', '-', '/']);
    match first.to_lowercase().as_str() {
        "yes" if alone => Ok(1.0),
        "no" if alone => Ok(0.0),
        _ => Err("it is neither yes nor no".into()),
    }
}

/// "Final Score: N" up to the end of the number, or of the scale after it.
static STATEMENT: LazyLock<Result<Regex, regex::Error>> = LazyLock::new(|| {
    let number = r"(\d+(?:[.,]\d+)?)";
    Regex::new(&format!(
        r"final\s+score\s*(?:is\b\s*)?[:=]?\s*\(?\s*{number}(?: *(?:/|out of|of) *{number})?(?: *\))?"
    ))
});
/// What may follow on the same line: nothing, the end of a sentence, or a remark in brackets or after a dash.
static END: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"^\s*(?:$|[.,;!]+(?:\s|$)|\(|-+\s*[^\d\s-])"));

/// The score of the last statement "Final Score: N" outside of thoughts, 1 to 5, or the reason why there is none. N
/// may stand in brackets or Markdown and be followed by its scale, "/5" or "out of 5". A mention without a number is
/// not a statement. A statement with a range, another scale or an unfinished number cannot be used.
fn final_score(text: &str) -> Result<f32, String> {
    let (statement, end) = match (&*STATEMENT, &*END) {
        (Ok(statement), Ok(end)) => (statement, end),
        (Err(e), _) | (_, Err(e)) => return Err(e.to_string()),
    };
    let said: String = without_thoughts(text).chars().map(plain).collect();
    let last = statement.captures_iter(&said).last().ok_or("it has no \"Final Score: N\"")?;
    let number =
        |group| last.get(group).and_then(|number| number.as_str().replace(',', ".").parse::<f32>().ok());
    let behind = &said[last.get(0).map_or(0, |all| all.end())..];
    let behind = behind.lines().next().unwrap_or_default();
    let scored = number(1).unwrap_or(f32::NAN);
    match number(2) {
        _ if !end.is_match(behind) => Err(format!("{:?} follows the number", behind.trim())),
        Some(scale) if scale != 5.0 => Err(format!("its scale is {scale}, not 5")),
        _ if !(1.0..=5.0).contains(&scored) => Err(format!("{scored} is not from 1 to 5")),
        _ => Ok(scored),
    }
}

/// One form for characters that are written in several ways: lower case; plain digits, signs, spaces and dashes; a
/// space for Markdown marks and quotes.
fn plain(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => plain(char::from_u32(u32::from(c) - 0xff01 + 0x21).unwrap_or(c)),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{301c}' | '~' => '-',
        '*' | '_' | '`' | '[' | ']' | '{' | '}' | '$' | '#' | '"' | '\'' | '“' | '”' => ' ',
        '\n' => '\n',
        c if c.is_whitespace() => ' ',
        c => c.to_ascii_lowercase(),
    }
}

impl Reward for Judge {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        self.chat.client().each(items, |item| self.ask(item))
    }

    fn waits(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn final_scores_are_read_and_nothing_else_is() {
        for (text, wanted) in [
            ("All is there.\nFinal Score: 4.5", Ok(4.5)),
            ("final score: **3**.", Ok(3.0)),
            ("Final Score: 2 of the text. Final Score: 5", Ok(5.0)),
            ("Final Score: 2\nFinal Score: 3", Ok(3.0)),
            ("**Final Score**: 3 (one object is missing)", Ok(3.0)),
            ("### Final Score\n\n4/5", Ok(4.0)),
            ("Final Score: 4 / 5.", Ok(4.0)),
            ("Final Score: 3.5 out of 5!", Ok(3.5)),
            ("The final score is 2.", Ok(2.0)),
            ("Final Score: $4$", Ok(4.0)),
            ("Final\u{a0}Score\u{ff1a}\u{ff14}", Ok(4.0)),
            ("Final Score: (4)", Ok(4.0)),
            ("Final Score: 4 — clean, but dark", Ok(4.0)),
            ("Final Score: 4, which is fair", Ok(4.0)),
            ("Final Score: 4\r\nThe final score counts 3 faults.", Ok(4.0)),
            ("Final Score: 5\nI leave the final score as it is.", Ok(5.0)),
            ("Final Score: 2 <think>or Final Score: 3?</think>", Ok(2.0)),
            ("Final Score: 1 is a draft.</think>Final Score: 5", Ok(5.0)),
            ("Final Score: 3\n<THINK>Final Score: 1", Ok(3.0)),
            ("[THINK]Final Score: 1[/THINK]\nFinal Score: 4", Ok(4.0)),
            ("4", Err("no \"Final Score")),
            ("Final Score: -3", Err("no \"Final Score")),
            ("Final Score: none of 3", Err("no \"Final Score")),
            ("Final Score", Err("no \"Final Score")),
            ("<think>Final Score: 4", Err("no \"Final Score")),
            ("Final Score: 9", Err("9 is not from 1 to 5")),
            ("Final Score: 0", Err("0 is not from 1 to 5")),
            ("Final Score: 4/10", Err("scale is 10")),
            ("Final Score: 4 of 100", Err("scale is 100")),
            ("Final Score: 3–4", Err("-4")),
            ("Final Score: 3 to 4", Err("to 4")),
            ("Final Score: 3 or 4", Err("or 4")),
            ("Final Score: 4.5.1", Err(".1")),
            ("Final Score: 4e0", Err("e0")),
            ("Final Score: 80%", Err("%")),
            ("Final Score: 4 points lower than before", Err("points lower")),
            ("Final Score: 5\nFinal Score: 4/10", Err("scale is 10")),
        ] {
            match (final_score(text), wanted) {
                (Ok(found), Ok(wanted)) => assert_eq!(found, wanted, "{text}"),
                (Err(why), Err(words)) => assert!(why.contains(words), "{text}: {why}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn yes_and_no_count_where_they_have_most_of_the_mass() {
        let of = |json: &str| {
            let choice: Choice = unigen_core::json::from_slice(json.as_bytes()).expect("a choice");
            let said = choice.message.content.unwrap_or_default();
            probability(choice.logprobs.as_ref()).map_or_else(|| yes_or_no(&said), Ok)
        };
        let answer = |says: &str, top: &str| {
            of(&format!(
                r#"{{"message": {{"content": "{says}"}}, "logprobs": {{"content": [{{"top_logprobs": {top}}}]}}}}"#
            ))
        };
        let top = |pairs: &[(&str, f64)]| {
            let tops =
                pairs.iter().map(|(token, p)| format!(r#"{{"token": "{token}", "logprob": {}}}"#, p.ln()));
            format!("[{}]", tops.collect::<Vec<_>>().join(","))
        };
        for (says, tops, wanted) in [
            ("Yes", top(&[("Yes", 0.6), ("No", 0.2)]), Some(0.75)),
            ("yes", top(&[(" yes", 0.5), ("YES", 0.25), ("no", 0.25)]), Some(0.75)),
            ("no", top(&[("Ġno", 0.9), ("▁yes", 0.1)]), Some(0.1)),
            ("Yes", top(&[("Yes", 0.4), ("No", 0.05)]), Some(1.0)),
            ("<think>", top(&[("<think>", 0.999), ("yes", 0.0003), ("no", 0.0007)]), None),
            ("The", top(&[("The", 0.9), ("Yes", 0.05)]), None),
            ("no", "null".into(), Some(0.0)),
            ("Yes.", "[]".into(), Some(1.0)),
            ("yes", r#"[{"token": "yes", "logprob": null}]"#.into(), Some(1.0)),
            (
                "no",
                r#"[{"token": "yes", "logprob": -Infinity}, {"token": "no", "logprob": 0.0}]"#.into(),
                Some(0.0),
            ),
            ("<think>yes</think> No, it has two.", "null".into(), Some(0.0)),
            ("Nothing", "null".into(), None),
            ("no doubt", "null".into(), None),
            ("", "null".into(), None),
        ] {
            let found = answer(says, &tops).ok();
            let near = found.zip(wanted).is_some_and(|(a, b): (f32, f32)| (a - b).abs() < 1e-6);
            assert!(near || found.is_none() && wanted.is_none(), "{says} {tops}: {found:?}");
        }
        assert_eq!(of(r#"{"message": {"content": "No"}, "logprobs": null}"#), Ok(0.0));
        assert!(of(r#"{"message": {"content": null}}"#).is_err());
    }
}
