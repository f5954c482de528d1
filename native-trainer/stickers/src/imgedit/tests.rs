//! Tests the scale on real renders with the shipped judge.

use super::*;
use crate::judge::Detector;
use crate::rewards::Damage;
use crate::world::{Background, EditKind, Renderer, Split, Tint, scene_at};
use burn::tensor::Device;
use image::RgbImage;
use pollster::FutureExt;
use std::path::Path;
use unigen_core::engine::Engine;
use unigen_training::data::rng_at;

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

/// The mean score of `cases` when `draw` makes the edited pictures from the wanted ones.
fn mean_score(edits: &ImgEdit, draw: impl Fn(usize, &RgbImage) -> RgbImage) -> f64 {
    let mut at = 0..;
    let draw = |wanted: &[RgbImage]| {
        Ok(wanted.iter().map(|image| draw(at.next().unwrap_or_default(), image)).collect())
    };
    edits.oracle(draw).unwrap().overall
}

/// The eye's scale: reconstructions of the shipped tokenizer are nearly perfect, broken shapes, smears, things that nobody
/// asked for, blur and noise are not.
#[test]
fn what_the_eye_punishes_costs() {
    let judge = judge();
    let cases = held_out_cases(Split::Test, 1, 6);
    let others: Vec<RgbImage> = {
        let renderer = Renderer::new();
        (0..cases.len() as u64).map(|i| renderer.render(&scene_at(Split::Test, 4, i), SIZE, SIZE)).collect()
    };
    let edits = ImgEdit::new(cases, SIZE, &judge).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/nano");
    let engine = Engine::open(&path, &Device::flex()).unwrap();
    let reconstruction = edits.oracle(|wanted| Ok(engine.round_trip(wanted).block_on()?)).unwrap().overall;
    assert!((4.3..4.85).contains(&reconstruction), "{reconstruction}");
    let damaged = |damage: Damage, strength: f32| {
        mean_score(&edits, |at, image| damage.apply(image, &others[at], strength, &mut rng_at(3, at as u64)))
    };
    let damages = [
        (Damage::Scatter, 0.7),
        (Damage::Foreign, 0.7),
        (Damage::Flat, 0.7),
        (Damage::Blur, 0.8),
        (Damage::Noise, 0.8),
    ];
    let scores = damages.map(|(damage, strength)| (damage, damaged(damage, 0.1), damaged(damage, strength)));
    for (damage, little, much) in scores {
        // What is blurred or noisy is still what was asked for, so that quality alone is lost.
        let most = if matches!(damage, Damage::Blur | Damage::Noise) { 3.3 } else { 2.0 };
        assert!(much < most && little > much + 1.0, "{damage:?} in {scores:?}");
    }
    // A smear of a twentieth of the picture, and another sticker in a corner.
    let smear = mean_score(&edits, |_, image| {
        let mut image = image.clone();
        for (x, y) in (0..SIZE / 4).flat_map(|x| (0..SIZE / 5).map(move |y| (x, y))) {
            let pixel = image.get_pixel_mut(SIZE - 1 - x, SIZE - 1 - y);
            pixel.0 = pixel.0.map(|value| value / 2 + ((x * 7 + y * 3) % 64) as u8);
        }
        image
    });
    let stray = mean_score(&edits, |_, image| {
        let mut scene = scene_at(Split::Test, 11, 3);
        scene.objects.truncate(1);
        scene.objects[0].size = 0.26;
        scene.objects[0].center = [0.15, 0.85];
        scene.background = Background::Plain(Tint::White);
        let sticker = Renderer::new().render(&scene, SIZE, SIZE);
        let mut image = image.clone();
        for (x, y, pixel) in sticker.enumerate_pixels().filter(|(_, _, pixel)| pixel.0 != [255; 3]) {
            image.put_pixel(x, y, *pixel);
        }
        image
    });
    assert!(smear < 4.0 && stray < 4.0, "smear {smear}, stray {stray}");
}
