//! A vision-language model behind an OpenAI-compatible endpoint, as judge and as teacher.

use anyhow::{Context, Result};
use clap::Args;
use std::str::FromStr;
use unigen_evaluation::ask::{Ask, Asked};
use unigen_rewards::http::{Chat, HttpSettings, Message};

/// Where a model is: `URL#MODEL`.
#[derive(Debug, Clone)]
pub struct Endpoint {
    url: String,
    model: String,
}

impl FromStr for Endpoint {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (url, model) = text
            .rsplit_once('#')
            .filter(|(url, model)| !url.is_empty() && !model.is_empty())
            .context("write it as URL#MODEL, such as http://localhost:8000/v1#Qwen2.5-VL-7B-Instruct")?;
        Ok(Self { url: url.to_owned(), model: model.to_owned() })
    }
}

/// How a model is asked.
#[derive(Args)]
pub struct Asking {
    /// Requests to the model in flight at once
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=256))]
    concurrency: u64,
    /// Seconds until a request without an answer counts as failed
    #[arg(long, default_value_t = 120.0)]
    timeout: f64,
}

impl Asking {
    /// The model at `endpoint`. This sends no request.
    pub fn open(&self, endpoint: &Endpoint) -> Result<Vlm> {
        let concurrency = self.concurrency as usize;
        let settings = HttpSettings { timeout: self.timeout, concurrency, ..HttpSettings::default() };
        let Endpoint { url, model } = endpoint;
        Ok(Vlm { name: format!("{model} at {url}"), chat: Chat::new(url, model, &settings)? })
    }
}

/// A model that is asked.
pub struct Vlm {
    name: String,
    chat: Chat,
}

impl Ask for Vlm {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn ask(&self, asked: &[Asked]) -> Vec<Result<String, String>> {
        let message = |asked: &Asked| {
            let Asked { images, text, max_tokens } = asked.clone();
            Message { images, text, max_tokens }
        };
        let messages: Vec<Message> = asked.iter().map(message).collect();
        self.chat.ask(&messages).into_iter().map(|answer| answer.map_err(|missing| missing.0)).collect()
    }
}
