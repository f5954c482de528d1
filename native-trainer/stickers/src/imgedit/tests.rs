//! Tests the scale on real renders with the shipped judge.

use super::*;
use crate::judge::Detector;
use crate::world::{EditKind, Renderer, Split, scene_at};
use burn::tensor::Device;
use std::path::Path;

const SIZE: u32 = 96;

fn judge() -> Detector {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/detector");
    Detector::open(&path, &Device::flex().into()).unwrap()
}

#[test]
fn a_copy_is_worth_nothing_and_the_wanted_picture_all() {
    let judge = judge();
    let cases = held_out_cases(Split::Test, 1, 8);
    let edits = ImgEdit::new(cases, SIZE, &judge).unwrap();
    let (copy, best) = (edits.copy().unwrap(), edits.oracle(|wanted| Ok(wanted.to_vec())).unwrap());
    let table =
        |model: &Report| Edits { model: model.clone(), copy: copy.clone(), oracle: best.clone() }.to_string();
    for (low, high) in copy.kinds.iter().zip(&best.kinds) {
        assert!(low.score < 1.5 && high.score > 4.2, "{}", table(&best));
        assert_eq!((low.images, high.images), (8, 8));
    }
    assert!(copy.overall < 1.2 && best.overall > 4.6, "{}", table(&best));
    for judged in copy.judged.iter().chain(&best.judged) {
        let Scores { instruction, preservation, quality } = judged.scores;
        assert!(preservation <= instruction && quality <= instruction);
        assert!((1.0..=5.0).contains(&quality) && (1.0..=5.0).contains(&preservation));
    }
    let json = serde_json::to_value(&best).unwrap();
    assert_eq!(json["kinds"]["compose"]["images"], 8);
    let first = &json["images"][0];
    assert_eq!((&first["type"], first["instruction"].is_string()), (&"add".into(), true));
    assert!(first["scores"]["instruction"].as_f64().unwrap() > 4.0);
    assert!(best.sheet().width() > 3 * SIZE);

    // The requested change on another picture does not preserve the rest.
    let renderer = Renderer::new();
    let mut seed = 0;
    let other = edits.run(
        5,
        |requests| {
            seed = requests[0].seed;
            let scenes = requests.iter().map(|request| scene_at(Split::Train, 9, request.seed));
            Ok(scenes.map(|scene| renderer.render(&scene, SIZE, SIZE)).collect())
        },
        |_| (),
    );
    let other = other.unwrap();
    assert!(other.overall < 2.0, "{}", table(&other));
    assert_eq!(other.judged[71].seed, 76);
    assert_eq!(seed, 5 + 64);
}

#[test]
fn a_picture_of_ones_own_is_judged_like_its_scene() {
    let judge = judge();
    let (renderer, cases) = (Renderer::new(), held_out_cases(Split::Test, 2, 3));
    let as_pictures = cases.iter().filter(|case| case.kind != EditKind::Action).map(|case| {
        let Before::Scene(scene) = &case.before else { panic!("a scene") };
        Case { before: Before::Picture(renderer.render(scene, 2 * SIZE, SIZE)), ..case.clone() }
    });
    let edits = ImgEdit::new(as_pictures.collect(), SIZE, &judge).unwrap();
    let (copy, best) = (edits.copy().unwrap(), edits.oracle(|wanted| Ok(wanted.to_vec())).unwrap());
    let table = Edits { model: best.clone(), copy: copy.clone(), oracle: best.clone() };
    assert!(copy.overall < 2.0 && best.overall > 3.8, "{table}");
}

#[test]
fn cases_that_ask_for_nothing_are_refused() {
    let judge = judge();
    let scene = scene_at(Split::Test, 1, 1);
    let case = Case {
        kind: EditKind::Adjust,
        before: Before::Scene(scene.clone()),
        instruction: "do nothing".into(),
        wanted: scene,
    };
    let fails = |cases| ImgEdit::new(cases, SIZE, &judge).err().unwrap().to_string();
    assert!(fails(vec![case]).contains("\"do nothing\" asks for nothing"));
    assert!(fails(vec![]).contains("nothing to edit"));
}
