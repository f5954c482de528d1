//! A vision-language model behind an OpenAI-compatible chat endpoint, as vLLM and others serve it.

use anyhow::Result;
use image::RgbImage;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Client, HttpSettings};
use super::contract::encode;
use super::thoughts::without_thoughts;
use crate::Missing;

/// Environment variable with the key for an endpoint that needs one.
const KEY: &str = "UNIGEN_JUDGE_KEY";

/// A model behind an endpoint.
pub struct Chat {
    model: String,
    url: String,
    client: Client,
}

/// Pictures and a question about them.
#[derive(Debug, Clone)]
pub struct Message {
    pub images: Vec<RgbImage>,
    pub text: String,
    /// The longest answer, in tokens.
    pub max_tokens: usize,
}

/// The part of a chat completion that is read.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
pub(super) struct Choice {
    pub message: Said,
    pub logprobs: Option<LogProbabilities>,
}

#[derive(Deserialize)]
pub(super) struct Said {
    pub content: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct LogProbabilities {
    pub content: Option<Vec<Token>>,
}

#[derive(Deserialize)]
pub(super) struct Token {
    pub top_logprobs: Option<Vec<Top>>,
}

#[derive(Deserialize)]
pub(super) struct Top {
    pub token: String,
    pub logprob: Option<f64>,
}

impl Completion {
    fn first(self) -> Result<Choice, String> {
        self.choices.into_iter().next().ok_or_else(|| "no choices came back".into())
    }
}

impl Choice {
    /// The first choice in the body of a completion.
    pub fn first_in(body: &[u8]) -> Result<Self, String> {
        unigen_core::json::from_slice::<Completion>(body).map_err(|e| e.to_string())?.first()
    }
}

impl Chat {
    /// The model `model` behind the endpoint at `url`, such as `http://judge:8000/v1`. This sends no request.
    ///
    /// # Errors
    /// If a setting is out of range, or the system lacks what a client needs.
    pub fn new(url: &str, model: &str, settings: &HttpSettings) -> Result<Self> {
        Ok(Self {
            model: model.into(),
            url: format!("{}/chat/completions", url.trim_end_matches('/')),
            client: Client::new(settings, std::env::var(KEY).ok())?,
        })
    }

    /// The address that is asked.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The answer to each message without the model's thoughts, or the reason why there is none. As many are asked at
    /// once as the settings allow.
    pub fn ask(&self, messages: &[Message]) -> Vec<Result<String, Missing>> {
        self.client.each(messages, |message| async {
            let choice = self.complete(message, json!({})).await?;
            let said = without_thoughts(&choice.message.content.unwrap_or_default()).trim().to_owned();
            if said.is_empty() {
                Err(Missing(format!("{}: the answer is empty", self.url)))
            } else {
                Ok(said)
            }
        })
    }

    /// The first choice for a message. `more` has further fields of the request.
    pub(super) async fn complete(&self, message: &Message, more: Value) -> Result<Choice, Missing> {
        let mut content = Vec::new();
        for image in &message.images {
            let image = format!("data:image/png;base64,{}", encode(image)?);
            content.push(json!({ "type": "image_url", "image_url": { "url": image } }));
        }
        content.push(json!({ "type": "text", "text": message.text }));
        let mut request = json!({
            "model": self.model,
            "temperature": 0,
            "max_tokens": message.max_tokens,
            "messages": [{ "role": "user", "content": content }],
        });
        if let (Some(request), Value::Object(more)) = (request.as_object_mut(), more) {
            request.extend(more);
        }
        let completion: Completion = self.client.post(&self.url, &request).await?;
        completion.first().map_err(|why| Missing(format!("{}: {why}", self.url)))
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }
}
