//! Servers that behave, and some that do not.

use super::contract::{Health, ScoreRequest, ScoreResponse, VERSION, WireScore, WireScores};
use super::*;
use crate::rewards::{Ensemble, Item, Member, Missing, Reward, Score};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use std::{io::Cursor, thread};

fn settings() -> HttpSettings {
    HttpSettings { timeout: 10.0, retries: 2, backoff: 0.001, concurrency: 3, batch: 2 }
}

fn items(reds: &[u8]) -> Vec<Item> {
    let item = |&red| Item {
        image: RgbImage::from_pixel(3, 2, Rgb([red, 0, 0])),
        description: format!("red {red}"),
        before: None,
    };
    reds.iter().map(item).collect()
}

/// Scores how red the first pixel is; nothing below 10.
struct Redness;

impl Reward for Redness {
    fn name(&self) -> &str {
        "redness"
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        let score = |item: &Item| match item.image.get_pixel(0, 0)[0] {
            red if red < 10 => Err(Missing("too dark".into())),
            200.. => Ok(f32::NAN),
            red => Ok(f32::from(red) + item.before.is_some() as u8 as f32),
        };
        items.iter().map(score).collect()
    }
}

/// Runs `test` against a server that answers request number `n` with `answer(n, body)`: status and body.
fn mock(answer: impl Fn(usize, &Value) -> (u16, String) + Sync, test: impl FnOnce(&str)) {
    let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.server_addr());
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(Some(mut request)) = server.recv_timeout(Duration::from_millis(20)) else {
                        continue;
                    };
                    let mut body = String::new();
                    request.as_reader().read_to_string(&mut body).unwrap();
                    let body = serde_json::from_str(&body).unwrap();
                    let (status, text) = answer(count.fetch_add(1, Ordering::Relaxed), &body);
                    let text = Cursor::new(text.into_bytes());
                    let _ =
                        request.respond(tiny_http::Response::new(status.into(), vec![], text, None, None));
                }
            });
        }
        let _stop = Stop(&stop);
        test(&url);
    });
}

/// Ends servers when a test does, however it does.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn why(score: &Score) -> &str {
    &score.as_ref().unwrap_err().0
}

#[test]
fn what_a_server_scores_arrives_with_every_error_in_its_place() {
    let server = Server::bind("127.0.0.1", 0, vec![Box::new(Redness)]).unwrap();
    let url = format!("http://{}", server.address().unwrap());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| server.run(|| stop.load(Ordering::Relaxed)));
        let _stop = Stop(&stop);
        let remote = RemoteReward::new("redness", &url, &settings());
        let mut asked = items(&[50, 3, 70, 250, 90]);
        asked[4].before = Some(RgbImage::new(1, 1));
        let scores = remote.score(&asked);
        assert_eq!((&scores[0], &scores[2], &scores[4]), (&Ok(50.0), &Ok(70.0), &Ok(91.0)));
        assert_eq!(why(&scores[1]), "too dark");
        assert!(why(&scores[3]).contains("NaN"));

        let unknown = RemoteReward::new("beauty", &url, &settings()).score(&asked);
        assert!(why(&unknown[0]).contains("no reward beauty") && why(&unknown[0]).contains("asked once"));

        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).max_idle_connections(0).build().into();
        let health = agent.get(format!("{url}/health")).call().unwrap().body_mut().read_to_string().unwrap();
        let health: Health = serde_json::from_str(&health).unwrap();
        assert_eq!(health, Health { version: VERSION, rewards: vec!["redness".into()] });
        let picture = contract::WireItem::new(&asked[0]).unwrap().image;
        for (body, status, part) in [
            ("{".to_owned(), 400, "not understood"),
            (json!({ "version": 2, "rewards": [], "items": [] }).to_string(), 400, "version 2"),
            (
                json!({ "version": 1, "rewards": ["redness"], "items": [
                    { "image": "?", "description": "" },
                    { "image": "AAAA", "description": "" },
                    { "image": picture, "description": "" },
                ]})
                .to_string(),
                200,
                "base64",
            ),
        ] {
            let mut answer = agent.post(format!("{url}/v1/score")).send(body.as_str()).unwrap();
            assert_eq!(answer.status().as_u16(), status);
            let text = answer.body_mut().read_to_string().unwrap();
            assert!(text.contains(part), "{text}");
            if status == 200 {
                let response: ScoreResponse = serde_json::from_str(&text).unwrap();
                assert_eq!(response.rewards[0].scores[2], WireScore::Score(50.0));
            }
        }
        assert_eq!(agent.get(format!("{url}/v2/score")).call().unwrap().status().as_u16(), 404);
    });
    assert!(Server::bind("127.0.0.1", 0, vec![]).is_err());
    assert!(Server::bind("127.0.0.1", 0, vec![Box::new(Redness), Box::new(Redness)]).is_err());
}

#[test]
fn failures_are_tried_again_and_then_missing() {
    // Every request fails once, with one status or another.
    let seen = Mutex::new(Vec::new());
    let answer = |_: usize, body: &Value| {
        let request: ScoreRequest = serde_json::from_value(body.clone()).unwrap();
        let mut seen = seen.lock().unwrap();
        if !seen.contains(body) {
            seen.push(body.clone());
            return ([500, 429, 408, 503][seen.len() % 4], "busy".into());
        }
        let scores = vec![WireScore::Score(1.5); request.items.len()];
        let rewards = vec![WireScores { name: request.rewards[0].clone(), scores }];
        (200, serde_json::to_string(&ScoreResponse { version: 1, rewards }).unwrap())
    };
    mock(answer, |url| {
        let scores = RemoteReward::new("x", url, &settings()).score(&items(&[1, 2, 3, 4, 5]));
        assert_eq!(scores, vec![Ok(1.5); 5]);
    });
    mock(
        |_, _| (503, json!({ "version": 1, "error": "loading" }).to_string()),
        |url| {
            let scores = RemoteReward::new("x", url, &settings()).score(&items(&[1]));
            assert!(why(&scores[0]).contains("status 503: loading (asked 3 times)"), "{scores:?}");
        },
    );
    // Nobody listens there any more.
    let gone = tiny_http::Server::http("127.0.0.1:0").unwrap().server_addr();
    let scores = RemoteReward::new("x", &format!("http://{gone}"), &settings()).score(&items(&[1, 2, 3]));
    assert!(scores.iter().all(|score| why(score).contains("no answer")), "{scores:?}");
}

#[test]
fn a_server_that_does_not_answer_in_time_scores_nothing() {
    let server = tiny_http::Server::http("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.server_addr());
    let hurried = HttpSettings { timeout: 0.2, retries: 1, ..settings() };
    // Its requests are never taken.
    let scores = RemoteReward::new("x", &url, &hurried).score(&items(&[1]));
    assert!(why(&scores[0]).contains("timeout") && why(&scores[0]).contains("asked 2 times"), "{scores:?}");
}

#[test]
fn answers_that_are_none_score_nothing_and_stop_nothing() {
    let malformed = [
        "",
        "[]",
        "{\"version\": 1}",
        "<html>",
        "{\"version\": 7, \"rewards\": []}",
        "{\"version\": 1, \"rewards\": [{\"name\": \"y\", \"scores\": []}]}",
        "{\"version\": 1, \"rewards\": [{\"name\": \"x\", \"scores\": [{\"score\": 1}]}]}",
        "{\"version\": 1, \"rewards\": [{\"name\": \"x\", \"scores\": [{\"score\": null}, {\"score\": \"1\"}]}]}",
    ];
    for answer in malformed {
        mock(
            |_, _| (200, answer.into()),
            |url| {
                let remote = || RemoteReward::new("x", url, &settings());
                let scores = remote().score(&items(&[1, 2]));
                assert!(scores.iter().all(Result::is_err), "{answer}: {scores:?}");
                let member = |reward: Box<dyn Reward>, weight| Member { reward, weight };
                let ensemble =
                    Ensemble::new(vec![member(Box::new(Redness), 1.0), member(Box::new(remote()), 1.0)]);
                let scored = ensemble.unwrap().score(&items(&[20, 40]), 2).unwrap();
                assert_eq!(scored.totals, [None; 2]);
                assert!(scored.reasons()[0].starts_with("x: http://"), "{:?}", scored.reasons());
                assert_eq!(scored.rewards[0].scores, [Ok(20.0), Ok(40.0)]);
            },
        );
    }
}

#[test]
fn judges_are_shown_the_picture_and_only_answers_count() {
    let chat = |content: &str| json!({ "choices": [{ "message": { "content": content } }] }).to_string();
    let answer = |_: usize, body: &Value| {
        assert_eq!(body["model"], "judge-7b");
        let content = &body["messages"][0]["content"];
        assert!(content[0]["image_url"]["url"].as_str().unwrap().starts_with("data:image/png;base64,iVBOR"));
        let text = content[1]["text"].as_str().unwrap();
        match (body["logprobs"] == json!(true), text) {
            (true, text) if text.contains("red 1\"") => {
                let top = json!([{ "token": "Yes", "logprob": 0.6_f64.ln() },
                    { "token": " no", "logprob": 0.2_f64.ln() }, { "token": "maybe", "logprob": -1.6 }]);
                let choice = json!({ "message": { "content": "Yes" }, "logprobs": { "content": [
                    { "token": "Yes", "logprob": -0.5, "top_logprobs": top }] } });
                (200, json!({ "choices": [choice] }).to_string())
            }
            (true, text) if text.contains("red 2\"") => (200, chat("No.")),
            (true, text) if text.contains("red 3\"") => (200, chat("It depends.")),
            (true, _) => (400, json!({ "object": "error", "message": "too long" }).to_string()),
            (false, text) if text.contains("red 1\"") => (200, chat("Fine.\n**Final Score: 4.5**")),
            (false, text) if text.contains("red 2\"") => (200, chat("Ten of ten!")),
            (false, _) => (200, json!({ "choices": [] }).to_string()),
        }
    };
    mock(answer, |url| {
        let judge = |question| Judge::new("judge", &format!("{url}/v1/"), "judge-7b", question, &settings());
        let scores = judge(Question::YesNo).score(&items(&[1, 2, 3, 4]));
        assert!((scores[0].clone().unwrap() - 0.75).abs() < 1e-6, "{scores:?}");
        assert_eq!(scores[1], Ok(0.0));
        assert!(why(&scores[2]).contains("It depends") && why(&scores[3]).contains("too long"), "{scores:?}");
        let scores = judge(Question::Score).score(&items(&[1, 2, 3]));
        assert_eq!(scores[0], Ok(4.5));
        assert!(
            why(&scores[1]).contains("Ten of ten") && why(&scores[2]).contains("no choices"),
            "{scores:?}"
        );
    });
}
