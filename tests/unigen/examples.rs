//! The examples of the demo app draw what they say with the seeds that come with them: the judge looks at each, and the gallery
//! shows the same pictures.

use super::unigen;
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn the_examples_of_the_app_draw_what_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join("web/app/examples.json")).expect("the examples");
    let examples: Value = serde_json::from_str(&text).expect("JSON");
    let drawn = examples["generate"].as_array().expect("examples that draw");
    assert!(drawn.len() >= 8);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path();
    let models = root.join("models");
    let [model, detector] =
        ["nano", "detector"].map(|name| models.join(name).to_str().expect("text").to_owned());
    for (i, example) in drawn.iter().enumerate() {
        let prompt = example["prompt"].as_str().expect("a prompt");
        let seed = example["seed"].as_u64().expect("a seed").to_string();
        fs::write(path.join("prompts.jsonl"), example.to_string()).expect("writes");
        let eval =
            ["eval", "geneval", "--model", &model, "--detector", &detector, "--prompts", "prompts.jsonl"];
        let more = ["--samples", "1", "--seed", &seed, "--json", "judged.json"];
        unigen(path, &[&eval[..], &more[..]].concat()).succeeds();
        let judged = fs::read_to_string(path.join("judged.json")).expect("a report");
        let judged: Value = serde_json::from_str(&judged).expect("JSON");
        assert_eq!(judged["images"][0]["correct"], true, "{prompt}: {}", judged["images"][0]["reason"]);
        // Rounding may differ from one processor to another; the picture is the same.
        unigen(path, &["generate", prompt, "--model", &model, "--seed", &seed, "-o", "drawn.png"]).succeeds();
        let picture = |path: &Path| image::open(path).expect("a picture").to_rgb8();
        let shown = picture(&root.join(format!("web/site/gallery/{i}.png")));
        let pairs = shown.iter().zip(picture(&path.join("drawn.png")).into_raw());
        let error = pairs.map(|(&a, b)| f64::from(a.abs_diff(b))).sum::<f64>() / shown.len() as f64;
        assert!(error < 8.0, "{prompt}: the gallery shows another picture, {error:.1} levels away");
    }
}
