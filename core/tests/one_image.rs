//! One seed, one image: the CPU and the GPU draw the same codes from a model with random weights.

#![cfg(all(feature = "cpu", feature = "wgpu"))]

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, DeviceKind, Int, Tensor};
use pollster::FutureExt;
use unigen_core::config::ModelConfig;
use unigen_core::model::UniGen;
use unigen_core::sampling::{Counted, Flow, MaskedDecoding, Order, Prefix, Seeds, StepReport, text_guidance};

/// Pairs of a prompt and a seed.
const PAIRS: usize = 100;
const TOKENS: usize = 16;

/// Larger weights than a new model's, so that logits differ and matter.
struct Larger;

impl ModuleMapper for Larger {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| if D == 2 { weight * 4.0 } else { weight })
    }
}

fn model() -> UniGen {
    let mut config = ModelConfig::preset("nano").expect("a preset");
    config.decoder.num_hidden_layers = 2;
    config.image_size = config.image_size / config.grid() * 4;
    UniGen::new(&config, &Device::flex()).map(&mut Larger)
}

/// What one prompt gives for several seeds, some of them with a part of the codes given.
struct Decoded {
    codes: Vec<Vec<u32>>,
    /// How many codes were masked again, over all steps.
    masked: usize,
    /// Of the last step.
    log_probs: Vec<Vec<f32>>,
}

fn decode(model: &UniGen, device: &Device, prompt: usize, seeds: &[u64]) -> Decoded {
    let prefix = |ids: &[i32]| Prefix::causal(model.llm.embed(Tensor::<1, Int>::from_ints(ids, device)));
    let words: Vec<i32> = (0..3 + prompt as i32 % 4).map(|word| 30 + 7 * word + prompt as i32).collect();
    let (cond, uncond) = (prefix(&words), prefix(&[1, 2]));
    let branches = text_guidance(3.0, vec![cond; seeds.len()], vec![uncond; seeds.len()]);
    let given = |i: usize| (i % 2 == 1).then_some(i as u32);
    let targets =
        (0..seeds.len()).map(|image| (0..TOKENS).map(|i| given(i * (image % 2))).collect()).collect();
    let order = [Order::Confidence { temperature: 2.0 }, Order::Halton][prompt % 2];
    // As UniGen, as Show-o, and as Show-o-Turbo.
    let (top_k, counted) =
        [(None, Counted::Unknown), (None, Counted::All), (Some(9), Counted::All)][prompt % 3];
    let settings = MaskedDecoding { top_k, counted, ..MaskedDecoding::new(5, order) };
    let (mut masked, mut log_probs) = (0, Vec::new());
    let on_step = async |report: StepReport<'_>| {
        let preview = report.preview().await.expect("codes come back");
        masked += preview.masked.iter().flatten().filter(|&&masked| masked).count();
        log_probs = preview.log_probs;
        Flow::Continue
    };
    let noise = Seeds(seeds.to_vec());
    let codes = settings.decode(model, &branches, targets, [3, 4], &noise, on_step).block_on();
    Decoded { codes: codes.expect("decoding succeeds"), masked, log_probs }
}

#[test]
fn cpu_and_gpu_draw_the_same_image() {
    let (cpu, gpu) = (Device::flex(), Device::wgpu(DeviceKind::DefaultDevice));
    let here = model();
    let there = here.clone().to_device(&gpu);
    let (mut same, mut codes, mut equal_codes) = (0, 0, 0);
    for prompt in 0..PAIRS / 4 {
        let seeds: Vec<u64> = (0..4).map(|seed| 1000 * prompt as u64 + seed).collect();
        let (want, got) = (decode(&here, &cpu, prompt, &seeds), decode(&there, &gpu, prompt, &seeds));
        assert_eq!(got.masked, want.masked, "as many stay masked at every step");
        for image in (0..seeds.len()).filter(|&image| got.codes[image] == want.codes[image]) {
            let (got, want) = (&got.log_probs[image], &want.log_probs[image]);
            assert!(
                got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-3),
                "{got:?}, want {want:?}"
            );
        }
        let (got, want) = (got.codes, want.codes);
        for (seed, (got, want)) in seeds.iter().zip(got.iter().zip(&want)) {
            same += usize::from(got == want);
            codes += want.len();
            equal_codes += got.iter().zip(want).filter(|(got, want)| got == want).count();
            if got != want {
                println!("prompt {prompt}, seed {seed}: {got:?}, want {want:?}");
            }
        }
        assert!(want[0] != want[2], "seeds matter");
        // Given codes stay.
        assert!((1..TOKENS).step_by(2).all(|i| got[1][i] == i as u32));
    }
    println!("identical images: {same} of {PAIRS}; identical codes: {equal_codes} of {codes}");
    // A miss needs two scores within rounding of each other: rare, not impossible.
    assert!(same * 20 >= PAIRS * 19, "{same} of {PAIRS} images are the same");
}
