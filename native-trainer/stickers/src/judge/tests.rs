use super::detector::pixels;
use super::*;
use crate::world::{Renderer, Split, Truth, scene_at};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use image::RgbImage;
use unigen_training::optimizer::{AdamW, HostGradients, Step};
use unigen_training::train::{Stage, Training};

fn tiny() -> DetectorConfig {
    DetectorConfig { widths: [16, 24, 32], blocks: [1, 1], head: 32, groups: 4, ..DetectorConfig::default() }
}

#[test]
fn the_default_network_is_cheap() {
    let flops = DetectorConfig::default().flops(96, 96);
    assert!((100_000_000..160_000_000).contains(&flops), "{flops}");
    assert!(DetectorConfig { groups: 7, ..tiny() }.validate().is_err());
    assert!(DetectorConfig { blocks: [1, 0], ..tiny() }.validate().is_err());
}

#[test]
fn it_learns_a_few_scenes() {
    const SIZE: u32 = 48;
    let device = Device::flex().autodiff();
    device.seed(3);
    let renderer = Renderer::new();
    let scenes: Vec<_> = (0..4).map(|index| scene_at(Split::Train, 9, index)).collect();
    let images: Vec<_> = scenes.iter().map(|scene| renderer.render(scene, SIZE, SIZE)).collect();
    let truths: Vec<_> = scenes.iter().map(|scene| Truth::of(scene, SIZE, SIZE)).collect();
    let batch = pixels(&images, &device).expect("pictures of one size");

    let mut net = DetectorNet::new(&tiny(), &device).expect("a valid config");
    let mut optimizer = AdamW::new([0.9, 0.99], 1e-8, 0.);
    let (mut first, mut last) = (None, 0.);
    for step in 0..150 {
        let loss = loss(net.forward(&batch), &truths).expect("objects");
        let gradients = loss.total.backward();
        if step == 0 {
            let (weight, gradient) = (net.stem.weight.val(), net.stem.weight.val().grad(&gradients));
            assert_eq!(gradient.map(|gradient| gradient.dims()), Some(weight.dims()));
        }
        last = loss.total.into_scalar::<f32>();
        first.get_or_insert(last);
        let gradients = HostGradients::read(&net, gradients).expect("gradients");
        let change = Step { learning_rate: 5e-3, gradient_scale: 1., ema_decay: 0. };
        net = optimizer.step(net, gradients, change).expect("a step");
    }
    assert!(last < 0.1 * first.unwrap_or(0.), "{first:?} fell to {last} only");

    let pictures: Vec<_> = scenes.into_iter().zip(images).collect();
    let found = sprites_found(&Detector::new(tiny(), net.valid(), 1.), &pictures).expect("pictures");
    assert_eq!((found.both, found.boxes, found.false_positives), (1., 1., 0.), "{found:?}");
}

#[test]
fn a_saved_detector_detects_the_same() {
    let device = Device::flex();
    let training = Training { batch: 2, ..Training::default() };
    let settings = Settings { size: 32, model: tiny(), training, ..Settings::default() };
    let text = toml::to_string(&settings).expect("plain data");
    assert_eq!(toml::from_str::<Settings>(&text).expect("its own TOML"), settings);

    let (stage, net) = DetectorStage::open(&settings, &device.clone().into()).expect("good settings");
    assert!(stage.loss(&net, 5).expect("a batch").total.into_scalar::<f32>().is_finite());
    let evaluation = stage.evaluate(&net).expect("an evaluation");
    assert_eq!((evaluation.scalars.len(), evaluation.sheets.len()), (6, 1));

    let folder = tempfile::tempdir().expect("a folder");
    stage.export(&net, folder.path()).expect("written");
    let read = Detector::open(&folder.path().join(FILE), &device.clone().into()).expect("its own file");
    assert_eq!(read.accuracy, evaluation.scalars[4].1);
    let images = vec![RgbImage::from_fn(32, 48, |x, y| image::Rgb([x as u8 * 7, y as u8 * 5, 90])); 3];
    let batch = pixels(&images, &device).expect("pictures of one size");
    // Weights are kept in half precision.
    let (kept, whole) = (read.net.forward(&batch), net.forward(&batch));
    let apart = (kept - whole.clone()).abs().max().into_scalar::<f32>();
    assert!(apart < 0.01 * whole.abs().max().into_scalar::<f32>(), "{apart}");
    let sizes: Vec<_> = read.net.features(&batch).iter().map(Tensor::dims).collect();
    assert_eq!(sizes, [[3, 12, 8, 16], [3, 6, 4, 24], [3, 3, 2, 32]]);

    assert_eq!(read.find(&[]).expect("no pictures").len(), 0);
    assert!(read.find(&[RgbImage::new(40, 32)]).is_err());
    assert!(read.find(&[RgbImage::new(32, 32), RgbImage::new(32, 48)]).is_err());
    assert!(Detector::open(&folder.path().join("none.safetensors"), &device.clone().into()).is_err());
}
