//! What comes over the network in reinforcement learning: requests for scores, servers' answers, and judges' answers.

use crate::{Target, text};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::{ImageFormat, RgbImage};
use std::io::Cursor;
use unigen_rewards::http::Question;
use unigen_rewards::http::contract::{ScoreRequest, ScoreResponse};

pub const REQUEST: Target = Target {
    name: "request",
    memory: [64 << 20, 512],
    most: 4096,
    load: |input| {
        let Ok(request) = ScoreRequest::read(input) else { return };
        let mut room = 1 << 18;
        for item in request.items {
            let _ = item.open(&mut room);
        }
    },
    seeds: || {
        let mut png = Cursor::new(Vec::new());
        RgbImage::new(2, 2).write_to(&mut png, ImageFormat::Png).expect("memory");
        let png = BASE64_STANDARD.encode(png.into_inner());
        vec![
            text(
                "one",
                format!(
                    r#"{{"version":2,"rewards":["clip"],"items":[{{"image":"{png}","description":"a dog"}}]}}"#
                ),
            ),
            text(
                "edit",
                format!(
                    r#"{{"version":2,"rewards":["clip","hps"],"items":[{{"image":"{png}","before":"{png}","description":""}},{{"image":"??","description":"a"}}]}}"#
                ),
            ),
            text("old", r#"{"version":1,"rewards":[],"items":[]}"#),
        ]
    },
};

pub const RESPONSE: Target = Target {
    name: "response",
    memory: [1 << 20, 512],
    most: 2048,
    load: |input| {
        let _ = unigen_core::json::from_slice::<ScoreResponse>(input);
    },
    seeds: || {
        vec![
            text(
                "scores",
                r#"{"version":2,"rewards":[{"name":"clip","scores":[{"score":0.5},{"error":"none"},{"score":NaN},null]}]}"#,
            ),
            text("error", r#"{"version":2,"rewards":[{"name":"clip","error":"the reward has panicked"}]}"#),
        ]
    },
};

pub const JUDGE: Target = Target {
    name: "judge",
    memory: [2 << 20, 512],
    most: 2048,
    load: |input| {
        for (question, range) in [(Question::YesNo, 0.0..=1.0), (Question::Score, 1.0..=5.0)] {
            // The body of a completion, and the same bytes as what it says.
            let said = serde_json::json!({ "choices": [{ "message": { "content": String::from_utf8_lossy(input) } }] });
            for body in [input, said.to_string().as_bytes()] {
                if let Ok(score) = question.score(body) {
                    assert!(range.contains(&score), "{score}");
                }
            }
        }
    },
    seeds: || {
        vec![
            text("score", r#"{"choices":[{"message":{"content":"All is there.\nFinal Score: 4.5"}}]}"#),
            text(
                "logprobs",
                r#"{"choices":[{"message":{"content":"Yes"},"logprobs":{"content":[{"top_logprobs":[{"token":"Yes","logprob":-0.1},{"token":" no","logprob":-Infinity}]}]}}]}"#,
            ),
            text("thoughts", "<think>Final Score: 1</think>\n**Final Score**: 3,5 out of 5."),
            text("wide", "Final\u{a0}Score\u{ff1a}\u{ff14} / 5"),
            text("yes", "[THINK]no[/THINK] *Yes*, it has."),
            text("range", "Final Score: 3\u{2013}4"),
        ]
    },
};
