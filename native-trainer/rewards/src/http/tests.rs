//! Servers that behave, and some that do not.

use super::contract::{Health, ScoreRequest, ScoreResponse, VERSION, WireFound, WireScore, WireScores};
use super::*;
use crate::{
    Deviation, Ensemble, Groups, Item, Member, Missing, NoWorld, Reward, RewardSettings, Score, open,
};
use axum::http::StatusCode;
use axum::{Json, Router};
use burn::tensor::Device;
use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use std::future::IntoFuture;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use tokio::runtime::Runtime;

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

/// Gives a score too few.
struct Short;

impl Reward for Short {
    fn name(&self) -> &str {
        "short"
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        vec![Ok(1.0); items.len() - 1]
    }
}

/// Has a bug.
struct Broken;

impl Reward for Broken {
    fn name(&self) -> &str {
        "broken"
    }

    fn score(&self, _: &[Item]) -> Vec<Score> {
        panic!("a bug")
    }
}

/// Runs `test` against a server that answers request number `n` with `answer(n, body)`: status and body.
fn mock(answer: impl Fn(usize, &Value) -> (u16, String) + Send + Sync + 'static, test: impl FnOnce(&str)) {
    let count = AtomicUsize::new(0);
    let answer = Arc::new(move |body: &Value| answer(count.fetch_add(1, Ordering::Relaxed), body));
    let app = Router::new().fallback(async move |body: Option<Json<Value>>| {
        let (status, text) = answer(&body.map_or(Value::Null, |Json(body)| body));
        (StatusCode::from_u16(status).unwrap(), text)
    });
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    runtime.spawn(axum::serve(listener, app).into_future());
    test(&url);
}

/// Ends servers when a test does, however it does.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `test` against a server of `rewards`.
fn serve(rewards: Vec<Box<dyn Reward>>, test: impl FnOnce(&str)) {
    let server = Server::bind("127.0.0.1", 0, rewards, None).unwrap();
    let url = format!("http://{}", server.address().unwrap());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| server.run(|| stop.load(Ordering::Relaxed)).unwrap());
        let _stop = Stop(&stop);
        test(&url);
    });
}

fn why(score: &Score) -> &str {
    &score.as_ref().unwrap_err().0
}

#[test]
fn what_a_server_scores_arrives_with_every_error_in_its_place() {
    serve(vec![Box::new(Redness)], |url| {
        let remote = RemoteReward::new("redness", url, &settings()).unwrap();
        let mut asked = items(&[50, 3, 70, 250, 90]);
        asked[4].before = Some(RgbImage::new(1, 1));
        let scores = remote.score(&asked);
        assert_eq!((&scores[0], &scores[2], &scores[4]), (&Ok(50.0), &Ok(70.0), &Ok(91.0)));
        assert_eq!(why(&scores[1]), "too dark");
        assert!(why(&scores[3]).contains("NaN"));

        let unknown = RemoteReward::new("beauty", url, &settings()).unwrap().score(&asked);
        assert!(why(&unknown[0]).contains(url) && why(&unknown[0]).contains("no reward beauty"));

        let (runtime, http) = (Runtime::new().unwrap(), client::http(None).unwrap());
        // Status and body.
        let ask = |request: reqwest::RequestBuilder| {
            runtime.block_on(async {
                let answer = request.send().await.unwrap();
                assert_eq!(answer.headers()["content-type"], "application/json");
                (answer.status().as_u16(), answer.text().await.unwrap())
            })
        };
        let (_, health) = ask(http.get(format!("{url}/health")));
        let health: Health = serde_json::from_str(&health).unwrap();
        assert_eq!(health, Health { version: VERSION, rewards: vec!["redness".into()] });
        let picture = contract::WireItem::new(&asked[0]).unwrap().image;
        for (body, status, part) in [
            ("{".to_owned(), 400, "cannot read the request"),
            (json!({ "version": 1, "rewards": [], "items": [] }).to_string(), 400, "version 1"),
            (
                json!({ "version": 2, "rewards": [],
                    "items": vec![json!({ "image": "", "description": "" }); 4097] })
                .to_string(),
                400,
                "4097 items",
            ),
            (" ".repeat(server::MAX_REQUEST + 1), 400, "send fewer items"),
            (
                json!({ "version": 2, "rewards": ["redness"], "items": [
                    { "image": "?", "description": "" },
                    { "image": "AAAA", "description": "" },
                    { "image": picture, "description": "" },
                ]})
                .to_string(),
                200,
                "base64",
            ),
        ] {
            let (found, text) = ask(http.post(format!("{url}/v2/score")).body(body));
            assert_eq!(found, status, "{text}");
            assert!(text.contains(part), "{text}");
            if status == 200 {
                let response: ScoreResponse = serde_json::from_str(&text).unwrap();
                let WireFound::Scores(scores) = &response.rewards[0].found else { panic!("{text}") };
                assert_eq!(scores[2], WireScore::Score(50.0));
            }
        }
        for (path, wanted) in [("/v1/score", 404), ("/v2/score", 400)] {
            let (status, text) = ask(http.get(format!("{url}{path}")));
            assert_eq!(status, wanted, "{path}");
            let failure: contract::Failure = serde_json::from_str(&text).unwrap();
            assert!(failure.error.contains("POST /v2/score"), "{text}");
        }
        // Also who is in a runtime may score.
        assert_eq!(runtime.block_on(async { remote.score(&asked[..1]) }), [Ok(50.0)]);
    });
    assert!(Server::bind("127.0.0.1", 0, vec![], None).is_err());
    assert!(Server::bind("127.0.0.1", 0, vec![Box::new(Redness), Box::new(Redness)], None).is_err());
}

#[test]
fn a_reward_that_fails_takes_no_other_along() {
    serve(vec![Box::new(Short), Box::new(Broken), Box::new(Redness)], |url| {
        let client = client::Client::new(&settings(), None).unwrap();
        let items = items(&[50, 70]).iter().map(|item| contract::WireItem::new(item).unwrap()).collect();
        let names = ["short", "broken", "beauty", "redness"];
        let request = ScoreRequest { version: VERSION, rewards: names.map(String::from).into(), items };
        let asked = [(format!("{url}{}", contract::SCORE), request)];
        let answers = client.each(&asked, |(url, request)| client.post::<ScoreResponse>(url, request));
        let rewards = answers.into_iter().next().unwrap().unwrap().rewards;
        assert!(rewards.iter().map(|reward| reward.name.as_str()).eq(names));
        for (reward, words) in rewards.iter().zip(["1 scores for 2 items", "panicked", "no reward beauty"]) {
            assert!(matches!(&reward.found, WireFound::Error(why) if why.contains(words)), "{reward:?}");
        }
        assert_eq!(rewards[3].found, WireFound::Scores(vec![WireScore::Score(50.0), WireScore::Score(70.0)]));
    });
}

#[test]
fn a_server_is_asked_what_it_has_before_anything_depends_on_it() {
    let open = |url: &str, name: &str| {
        let source = format!("remote={url}#{name}").parse().unwrap();
        let settings = RewardSettings { source, weight: 1.0, http: settings() };
        open(&[settings], &Device::flex().into(), &mut NoWorld).map(|rewards| rewards.len())
    };
    let fails = |url: &str, name: &str, words: [&str; 2]| {
        let error = format!("{:#}", open(url, name).unwrap_err());
        assert!(error.contains(url) && words.iter().all(|word| error.contains(word)), "{error}");
    };
    serve(vec![Box::new(Redness)], |url| {
        assert_eq!(open(url, "redness").unwrap(), 1);
        fails(url, "beauty", ["no reward beauty", "it has redness"]);
    });
    mock(
        |_, _| (200, json!({ "version": 1, "rewards": ["x"] }).to_string()),
        |url| fails(url, "x", ["version 1", "not 2"]),
    );
    mock(|_, _| (200, "<html>".into()), |url| fails(url, "x", ["/health", "cannot read the answer"]));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    fails(&format!("http://{gone}"), "x", ["no answer", "unigen serve-rewards"]);
}

#[test]
fn settings_without_sense_are_named() {
    for (settings, words) in [
        (HttpSettings { timeout: -1.0, ..settings() }, "http.timeout is -1"),
        (HttpSettings { timeout: f64::NAN, ..settings() }, "http.timeout is NaN"),
        (HttpSettings { timeout: 1e300, ..settings() }, "at most 86400"),
        (HttpSettings { backoff: -0.5, ..settings() }, "http.backoff is -0.5"),
        (HttpSettings { backoff: f64::INFINITY, ..settings() }, "http.backoff is inf"),
        (HttpSettings { concurrency: 0, ..settings() }, "http.concurrency is 0"),
        (HttpSettings { batch: 0, ..settings() }, "http.batch is 0"),
    ] {
        let error = RemoteReward::new("x", "http://x", &settings).err().unwrap().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn failures_are_tried_again_and_then_missing() {
    // Every request fails once, with one status or another.
    let seen = Mutex::new(Vec::new());
    let answer = move |_: usize, body: &Value| {
        let request: ScoreRequest = serde_json::from_value(body.clone()).unwrap();
        let mut seen = seen.lock().unwrap();
        if !seen.contains(body) {
            seen.push(body.clone());
            return ([500, 429, 408, 503][seen.len() % 4], "busy".into());
        }
        let scores = vec![WireScore::Score(1.5); request.items.len()];
        let rewards = vec![WireScores { name: request.rewards[0].clone(), found: WireFound::Scores(scores) }];
        (200, serde_json::to_string(&ScoreResponse { version: VERSION, rewards }).unwrap())
    };
    mock(answer, |url| {
        let scores = RemoteReward::new("x", url, &settings()).unwrap().score(&items(&[1, 2, 3, 4, 5]));
        assert_eq!(scores, vec![Ok(1.5); 5]);
    });
    mock(
        |_, _| (503, json!({ "version": 2, "error": "loading" }).to_string()),
        |url| {
            let scores = RemoteReward::new("x", url, &settings()).unwrap().score(&items(&[1]));
            assert!(why(&scores[0]).contains("status 503: loading (asked 3 times)"), "{scores:?}");
        },
    );
    // Nobody listens there any more.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scores =
        RemoteReward::new("x", &format!("http://{gone}"), &settings()).unwrap().score(&items(&[1, 2, 3]));
    assert!(scores.iter().all(|score| why(score).contains("no answer")), "{scores:?}");
}

#[test]
fn a_server_that_does_not_answer_in_time_scores_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let hurried = HttpSettings { timeout: 0.2, retries: 1, ..settings() };
    // Its connections are never taken.
    let scores = RemoteReward::new("x", &url, &hurried).unwrap().score(&items(&[1]));
    assert!(why(&scores[0]).contains("timeout") && why(&scores[0]).contains("asked 2 times"), "{scores:?}");
}

#[test]
fn answers_that_are_none_score_nothing_and_stop_nothing() {
    let malformed = [
        "",
        "[]",
        "{\"version\": 2}",
        "<html>",
        "{\"version\": 7, \"rewards\": []}",
        "{\"version\": 2, \"rewards\": [{\"name\": \"y\", \"scores\": []}]}",
        "{\"version\": 2, \"rewards\": [{\"name\": \"x\"}]}",
        "{\"version\": 2, \"rewards\": [{\"name\": \"x\", \"error\": \"out of memory\"}]}",
        "{\"version\": 2, \"rewards\": [{\"name\": \"x\", \"scores\": [{\"score\": 1}]}]}",
        "{\"version\": 2, \"rewards\": [{\"name\": \"x\", \"scores\": [{\"score\": null}, {\"score\": \"1\"}]}]}",
    ];
    for answer in malformed {
        mock(
            move |_, _| (200, answer.into()),
            |url| {
                let remote = || RemoteReward::new("x", url, &settings()).unwrap();
                let scores = remote().score(&items(&[1, 2]));
                assert!(scores.iter().all(Result::is_err), "{answer}: {scores:?}");
                let member = |reward: Box<dyn Reward>, weight| Member { reward, weight };
                let ensemble =
                    Ensemble::new(vec![member(Box::new(Redness), 1.0), member(Box::new(remote()), 1.0)]);
                let scored = ensemble
                    .unwrap()
                    .score(&items(&[20, 40]), Groups::of(2), Deviation::Group, || ())
                    .unwrap()
                    .0;
                assert_eq!(scored.totals, [None; 2]);
                assert!(scored.reasons()[0].starts_with("x: http://"), "{:?}", scored.reasons());
                assert_eq!(scored.rewards[0].scores, [Ok(20.0), Ok(40.0)]);
            },
        );
    }
}

#[test]
fn a_score_that_is_none_takes_no_other_along() {
    for (score, words) in [
        ("null", "not a score"),
        ("{\"score\": null}", "not a score"),
        ("{\"score\": NaN}", "not a score"),
        ("{\"score\": -Infinity}", "not a score"),
        ("{\"score\": \"1\"}", "not a score"),
        ("{\"score\": [1]}", "not a score"),
        ("{\"score\": true}", "not a score"),
        ("{\"points\": 1}", "not a score"),
        ("{}", "not a score"),
        ("7", "not a score"),
        ("{\"error\": \"too dark\"}", "too dark"),
        ("{\"error\": null}", "not a score"),
    ] {
        let scores = format!("[{{\"score\": 0.25}}, {score}, {{\"score\": 0.5}}]");
        let answer = format!("{{\"version\": 2, \"rewards\": [{{\"name\": \"x\", \"scores\": {scores}}}]}}");
        mock(
            move |_, _| (200, answer.clone()),
            |url| {
                let together = HttpSettings { batch: 3, ..settings() };
                let scores = RemoteReward::new("x", url, &together).unwrap().score(&items(&[1, 2, 3]));
                assert_eq!((&scores[0], &scores[2]), (&Ok(0.25), &Ok(0.5)), "{score}");
                assert!(why(&scores[1]).contains(words), "{score}: {scores:?}");
            },
        );
    }
}

#[test]
fn pictures_take_no_more_room_than_a_request_has() {
    let wire = |width, height| {
        let image = RgbImage::from_pixel(width, height, Rgb([60, 0, 0]));
        contract::WireItem::new(&Item { image, description: String::new(), before: None }).unwrap()
    };
    let [most, all] = server::MAX_PIXELS;
    // Too large alone; then as many as fit, and one that does not.
    let (large, fits) = (wire(4097, 4096), wire(4096, 4096));
    let mut room = all;
    let error = format!("{:#}", large.open(&mut room).unwrap_err());
    assert!(error.contains("4097 x 4096") && error.contains("17 million"), "{error}");
    for _ in 0..all / most {
        fits.clone().open(&mut room).unwrap();
    }
    assert_eq!(room, 0);
    let error = format!("{:#}", wire(1, 1).open(&mut room).unwrap_err());
    assert!(error.contains("leave too little room"), "{error}");
}

#[test]
fn a_server_with_a_token_serves_who_has_it() {
    let server = Server::bind("127.0.0.1", 0, vec![Box::new(Redness)], Some("s3cret")).unwrap();
    let url = format!("http://{}", server.address().unwrap());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| server.run(|| stop.load(Ordering::Relaxed)).unwrap());
        let _stop = Stop(&stop);
        let ask = |token: Option<&str>, path: &str| {
            let client = client::Client::new(&settings(), token.map(String::from)).unwrap();
            client.get::<Value>(&format!("{url}{path}")).map_err(|Missing(why)| why)
        };
        assert_eq!(ask(Some("s3cret"), "/health").unwrap()["rewards"], json!(["redness"]));
        for token in [None, Some(""), Some("s3cre"), Some("s3cret2"), Some("S3cret")] {
            for path in ["/health", "/v2/score", "/"] {
                let why = ask(token, path).unwrap_err();
                assert!(why.contains("status 401") && why.contains("UNIGEN_REWARDS_TOKEN"), "{why}");
            }
        }
    });
}

#[test]
fn clients_that_say_nothing_or_never_end_leave_the_server_to_others() {
    use std::io::Write;
    serve(vec![Box::new(Redness)], |url| {
        let address = url.strip_prefix("http://").unwrap();
        let open = |text: &str| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            stream
        };
        let head = |length: usize| {
            format!("POST /v2/score HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{{")
        };
        // Fewer than are served at once: none of them holds what another needs.
        let _silent: Vec<_> = (0..20).map(|_| open("")).collect();
        let _half: Vec<_> = (0..20).map(|_| open("POST /v2/sc")).collect();
        let _slow: Vec<_> = (0..3).map(|_| open(&head(server::MAX_REQUEST))).collect();
        let scores = RemoteReward::new("redness", url, &settings()).unwrap().score(&items(&[50]));
        assert_eq!(scores, [Ok(50.0)]);
    });
}

#[test]
fn an_answer_without_end_is_not_read_to_it() {
    mock(
        |_, _| (200, " ".repeat(client::MAX_ANSWER + 1)),
        |url| {
            let scores = RemoteReward::new("x", url, &settings()).unwrap().score(&items(&[1]));
            assert!(why(&scores[0]).contains("more than 16777216 bytes (asked once)"), "{scores:?}");
        },
    );
}

#[test]
fn judges_are_shown_the_picture_and_only_answers_count() {
    let chat = |content: &str| json!({ "choices": [{ "message": { "content": content } }] }).to_string();
    let answer = move |_: usize, body: &Value| {
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
        let judge =
            |question| Judge::new("judge", &format!("{url}/v1/"), "judge-7b", question, &settings()).unwrap();
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
