//! Everything on files of the user's own, with a vision-language model behind HTTP that always says the same.

use super::*;
use crate::pipeline::SEEING;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A server that answers chat requests, and how many it has answered.
struct Model {
    endpoint: String,
    asked: Arc<AtomicUsize>,
}

impl Model {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}/v1#model", listener.local_addr().expect("an address"));
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = count.clone();
                thread::spawn(move || answer(stream, &count));
            }
        });
        Self { endpoint, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// Answers one request and closes the connection. A question with "fail at it" gets an error that is not worth another try.
fn answer(stream: TcpStream, count: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request: Value = serde_json::from_slice(&body).ok()?;
    let parts = request["messages"][0]["content"].as_array()?.clone();
    let text = parts.last()?["text"].as_str()?.to_owned();
    count.fetch_add(1, Ordering::SeqCst);
    let (status, answer) = match () {
        () if text.contains("fail at it") => ("400 Bad Request", ""),
        () if text.contains("yes or no") => ("200 OK", "Yes."),
        () if text.contains("Preservation") => {
            ("200 OK", "<think>Quality: 1</think>Good.\nInstruction: 4\nQuality: 5\nPreservation: 3")
        }
        () => ("200 OK", "A wall in other light."),
    };
    let answer = json!({ "choices": [{ "message": { "content": answer } }] }).to_string();
    let length = answer.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    let mut stream = stream;
    stream.write_all(format!("{head}{answer}").as_bytes()).ok()
}

/// A folder with pictures and files of captions, questions and edits, some of them without a description.
fn own() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    for number in 0..6_u8 {
        let picture =
            image::RgbImage::from_fn(24, 18, |x, y| image::Rgb([x as u8 * 9, y as u8 * 12, number * 40]));
        picture.save(path.join(format!("{number}.png"))).expect("writes");
    }
    let lines = |name: &str, lines: Vec<Value>| {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(path.join(name), text).expect("writes");
    };
    let picture = |number: usize| format!("{number}.png");
    lines(
        "captions.jsonl",
        (0..6).map(|i| json!({"image": picture(i), "caption": format!("wall number {i}")})).collect(),
    );
    lines(
        "questions.jsonl",
        (0..3).map(|i| json!({"image": picture(i), "question": "what is it?", "answer": "wall"})).collect(),
    );
    lines(
        "edits.jsonl",
        vec![
            json!({"before": picture(0), "after": picture(1), "instruction": "lighten it", "description": "a light wall"}),
            json!({"before": picture(1), "after": picture(2), "instruction": "darken it"}),
            json!({"before": picture(2), "after": picture(3), "instruction": "fail at it"}),
            json!({"before": picture(3), "after": "absent.png", "instruction": "paint it"}),
        ],
    );
    folder
}

#[test]
fn files_are_surveyed_and_described() {
    let (folder, model) = (own(), Model::start());
    let path = folder.path();
    let text = unigen(
        path,
        &["data", "check", "captions.jsonl", "questions.jsonl", "edits.jsonl", "--out", "checked"],
    )
    .succeeds();
    for line in [
        "samples                     13",
        "captions                    6",
        "edits                       3",
        "cannot be used              1",
        "edits without description   2",
        "24 x 18",
        "absent.png",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let page = fs::read_to_string(path.join("checked/survey.html")).expect("a page");
    assert!(page.contains("wall number 3") && path.join("checked/pictures/000-image.png").exists());
    let survey: Value =
        serde_json::from_slice(&fs::read(path.join("checked/survey.json")).expect("JSON")).expect("JSON");
    assert_eq!(survey["broken"], 1);
    unigen(path, &["data", "check", "absent.jsonl"]).fails(&["absent.jsonl"]);

    let describe = ["data", "describe", "edits.jsonl", "--teacher", &model.endpoint, "--out", "described"];
    let ended = unigen(path, &describe);
    assert!(
        ended.text.contains("is asked: The first picture was edited"),
        "the prompt is shown: {}",
        ended.text
    );
    ended.fails(&["2 samples are left out", "1 described", "1 had a text already", "absent.png"]);
    assert_eq!(model.asked(), 2);
    let line = fs::read_to_string(path.join("described/described.jsonl")).expect("lines");
    let line: Value = serde_json::from_str(&line).expect("one line");
    assert_eq!(
        (&line["description"], &line["instruction"]),
        (&json!("A wall in other light."), &json!("darken it"))
    );
    assert_eq!(size(&path.join("described").join(line["after"].as_str().expect("a path"))), (24, 18));
    // Only what failed is asked about again, and the result is training data.
    unigen(path, &describe).fails(&["2 samples are left out"]);
    assert_eq!(model.asked(), 3);
    unigen(path, &["data", "check", "described/described.jsonl"]).succeeds();
    unigen(path, &["data", "describe", "edits.jsonl", "--teacher", "http://x", "--out", "o"])
        .fails_early("URL#MODEL");
}

#[test]
fn a_model_is_evaluated_on_ones_own() {
    let (folder, judge) = (own(), Model::start());
    let path = folder.path();
    let model = SEEING.path().join("align/export").display().to_string();
    let with_model = |args: &[&str]| unigen(path, &[args, &["--model", &model]].concat());
    let report = |folder: &str| -> Value {
        assert!(fs::read_to_string(path.join(folder).join("report.html")).expect("a page").contains("<img"));
        serde_json::from_slice(&fs::read(path.join(folder).join("report.json")).expect("a report"))
            .expect("JSON")
    };

    let text =
        with_model(&["reconstruct", "0.png", ".", "--size", "16", "--json", "r.json", "--sheet", "r.png"])
            .succeeds();
    assert!(text.contains("psnr") && text.contains("ssim") && text.contains("over 7 pictures"), "{text}");

    let triples = "edits.jsonl";
    fs::write(
        path.join("good.jsonl"),
        fs::read_to_string(path.join(triples)).expect("lines").lines().take(2).collect::<Vec<_>>().join("\n"),
    )
    .expect("writes");
    let imgedit =
        ["eval", "imgedit", "--triples", "good.jsonl", "--judge", &judge.endpoint, "--out", "edits"];
    let text = with_model(&imgedit).succeeds();
    assert!(text.contains("3.67 over 2 edits, 0 without a score"), "{text}");
    assert_eq!(report("edits")["parts"][1], json!(["quality", 5.0]));
    let asked = judge.asked();
    with_model(&imgedit).succeeds();
    assert_eq!(judge.asked(), asked, "nothing is asked twice");

    fs::write(path.join("dpg.jsonl"), json!({"prompt": "a wall", "questions": [{"id": 1, "question": "is there a wall?", "category": "entity"}]}).to_string()).expect("writes");
    let text = with_model(&[
        "eval",
        "dpg",
        "dpg.jsonl",
        "--judge",
        &judge.endpoint,
        "--out",
        "dpg",
        "--samples",
        "2",
    ])
    .succeeds();
    assert!(text.contains("100.00 over 2 pictures"), "{text}");
    assert_eq!(report("dpg")["categories"]["entity"], 100.0);
    with_model(&["eval", "dpg", "captions.jsonl", "--judge", &judge.endpoint, "--out", "x"])
        .fails(&["captions.jsonl", "line 1"]);

    let text = with_model(&["eval", "understanding", "questions.jsonl", "--out", "answers"]).succeeds();
    assert!(text.contains("3 questions"), "{text}");
    assert_eq!(report("answers")["majority"], 1.0);

    let prompt = r#"{"tag": "single_object", "include": [{"class": "wall", "count": 1}], "prompt": "a photo of a wall"}"#;
    fs::write(path.join("prompts.jsonl"), prompt).expect("writes");
    let geneval = ["eval", "geneval", "--prompts", "prompts.jsonl", "--out", "geneval", "--samples", "2"];
    let text = with_model(&geneval).succeeds();
    assert!(text.contains("2 pictures in"), "{text}");
    let found = json!({"00000-0.png": [{"class": "wall", "score": 0.9, "bbox": [0, 0, 4, 4], "color": null}], "00000-1.png": []});
    fs::write(path.join("found.json"), found.to_string()).expect("writes");
    with_model(&[&geneval[..], &["--detections", "found.json"]].concat()).succeeds();
    assert_eq!(report("geneval")["overall"], 0.5);
    with_model(&[&geneval[..], &["--judge", &judge.endpoint]].concat()).succeeds();
    assert_eq!(report("geneval")["overall"], 1.0);
    with_model(&[&geneval[..], &["--seed", "5"]].concat()).fails(&["other settings"]);
}

#[test]
fn a_run_that_the_machine_cannot_hold_is_refused() {
    let folder = own();
    let model = SEEING.path().join("align/export").display().to_string();
    let (base, vision) = (format!("model={model}"), format!("vision={model}"));
    let huge = [&base, &vision, "training.batch=1000000000", r#"data.shards=["captions.jsonl"]"#];
    let words = ["this run needs about", "activations", "this machine has", "--set training.batch="];
    train(folder.path(), "sft", "huge", &[SFT, &huge]).fails(&words);
    let recipe = "[[run]]\nname = \"sft\"\nsettings = { model = \"MODEL\", vision = \"MODEL\", data = { shards = [\"captions.jsonl\"] } }\n";
    fs::write(folder.path().join("all.toml"), recipe.replace("MODEL", &model.replace('\\', "/")))
        .expect("writes");
    let check =
        |card: &str| unigen(folder.path(), &["train", "check", "--config", "all.toml", "--card", card]);
    let text = check("24GB,20TFLOPS").succeeds();
    assert!(text.contains("on the card") && text.contains("hours in total"), "{text}");
    check("0.001GB").fails(&["sft needs", "on the card"]);
    assert_eq!(check("big").code, Some(2));
}

impl Ended {
    /// Checks that the command line itself was refused.
    #[track_caller]
    fn fails_early(self, word: &str) {
        assert!(self.code == Some(2) && self.text.contains(word), "{}", self.text);
    }
}
