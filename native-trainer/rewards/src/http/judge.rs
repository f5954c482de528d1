//! A vision-language model as a judge, behind an OpenAI-compatible chat endpoint, as vLLM and others serve it.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::{Client, HttpSettings};
use super::contract::encode;
use crate::{Item, Missing, Reward, Score};

/// Environment variable with the key that is sent to the endpoint, where it wants one.
const KEY: &str = "UNIGEN_JUDGE_KEY";

/// What a judge is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Whether the picture shows the description: the probability of "yes" against "no", 0 to 1 (as an outcome reward
    /// model); without log-probabilities in the answer, 0 or 1.
    YesNo,
    /// How well it does, as a score from 1 to 5 (as UnifiedReward).
    Score,
}

/// A judge.
pub struct Judge {
    name: String,
    model: String,
    url: String,
    question: Question,
    client: Client,
}

/// As much of a chat completion as matters.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    logprobs: Option<LogProbabilities>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Deserialize)]
struct LogProbabilities {
    content: Option<Vec<Token>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    top_logprobs: Vec<Top>,
}

#[derive(Deserialize)]
struct Top {
    token: String,
    logprob: f64,
}

impl Judge {
    /// The model `model` behind the endpoint at `url`, such as `http://judge:8000/v1`. Nothing is asked yet.
    ///
    /// # Errors
    /// Where a setting is out of range, or the system lacks what a client needs.
    pub fn new(
        name: &str,
        url: &str,
        model: &str,
        question: Question,
        settings: &HttpSettings,
    ) -> Result<Self> {
        Ok(Self {
            name: name.into(),
            model: model.into(),
            url: format!("{}/chat/completions", url.trim_end_matches('/')),
            question,
            client: Client::new(settings, std::env::var(KEY).ok())?,
        })
    }

    async fn ask(&self, item: &Item) -> Score {
        let image = format!("data:image/png;base64,{}", encode(&item.image)?);
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
        let mut request = json!({
            "model": self.model,
            "temperature": 0,
            "messages": [{ "role": "user", "content": [
                { "type": "image_url", "image_url": { "url": image } },
                { "type": "text", "text": text },
            ]}],
        });
        match self.question {
            Question::YesNo => {
                request["max_tokens"] = 1.into();
                request["logprobs"] = true.into();
                request["top_logprobs"] = 20.into();
            }
            Question::Score => request["max_tokens"] = 512.into(),
        }
        let completion: Completion = self.client.post(&self.url, &request).await?;
        let wrong = |what: String| Missing(format!("{}: {what}", self.url));
        let choice =
            completion.choices.into_iter().next().ok_or_else(|| wrong("no choices came back".into()))?;
        let said = choice.message.content.unwrap_or_default();
        let score = match self.question {
            Question::YesNo => {
                probability(choice.logprobs.as_ref()).or_else(|| match answer(&said).as_str() {
                    "yes" => Some(1.0),
                    "no" => Some(0.0),
                    _ => None,
                })
            }
            Question::Score => final_score(&said),
        };
        score.ok_or_else(|| wrong(format!("the judge's answer is not understood: {said:?}")))
    }
}

/// A word without case and what stands around it.
fn answer(text: &str) -> String {
    text.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

/// Of "yes" against "no" as the first token; none where neither is among the likely ones.
fn probability(log: Option<&LogProbabilities>) -> Option<f32> {
    let first = log?.content.as_ref()?.first()?;
    let mass = |word: &str| {
        let same = first.top_logprobs.iter().filter(|top| answer(&top.token) == word);
        same.map(|top| top.logprob.exp()).sum::<f64>()
    };
    let (yes, no) = (mass("yes"), mass("no"));
    (yes + no > 0.0).then_some((yes / (yes + no)) as f32)
}

/// The number behind the last "Final Score:", from 1 to 5.
fn final_score(text: &str) -> Option<f32> {
    let lower = text.to_lowercase();
    let (_, behind) = lower.rsplit_once("final score")?;
    let start = behind.find(|c: char| c.is_ascii_digit())?;
    let number = &behind[start..];
    let end = number.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(number.len());
    let score: f32 = number[..end].trim_end_matches('.').parse().ok()?;
    // A sign, or words that are no mark-up, before the number: it is some other number.
    let plain = behind[..start].chars().all(|c| matches!(c, ':' | ' ' | '*' | '\n' | '\t' | '='));
    (plain && (1.0..=5.0).contains(&score)).then_some(score)
}

impl Reward for Judge {
    fn name(&self) -> &str {
        &self.name
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        self.client.each(items, |item| self.ask(item))
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
            ("All is there.\nFinal Score: 4.5", Some(4.5)),
            ("final score: **3**.", Some(3.0)),
            ("Final Score: 2 of the text. Final Score: 5", Some(5.0)),
            ("4", None),
            ("Final Score: -3", None),
            ("Final Score: 9", None),
            ("Final Score: none of 3", None),
            ("Final Score", None),
        ] {
            assert_eq!(final_score(text), wanted, "{text}");
        }
    }
}
