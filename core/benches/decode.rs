//! Masked decoding with and without the cache: measured on the nano preset, counted for the published sizes.

use burn::tensor::{Device, Distribution, Tensor};
use pollster::FutureExt;
use std::time::Instant;
use unigen_core::Result;
use unigen_core::config::{ModelConfig, SpecialTokens};
use unigen_core::cost::{Cost, Task};
use unigen_core::model::UniGen;
use unigen_core::sampling::{
    Branch, Flow, MaskedDecoding, Order, Path, Prefix, Seeded, edit_guidance, text_guidance,
};
use unigen_core::sequence::{EditBranch, Layouts, Opener, Sequence};
use unigen_core::text::Template;

/// Decodings of a kind.
const RUNS: usize = 4;
/// Tokens of a prompt.
const TEXT: [u32; 24] = [300; 24];

/// The prefix of `sequence` with random rows: what is in them does not matter for speed.
fn prefix(sequence: &Sequence, width: usize, device: &Device) -> Result<Prefix> {
    let rows = sequence.prefix_len;
    let mut visible: Vec<usize> = (1..=rows).collect();
    for block in sequence.blocks.iter().filter(|block| block.end <= rows) {
        visible[block.clone()].fill(block.end);
    }
    Prefix::new(Tensor::random([rows, width], Distribution::Normal(0.0, 1.0), device), visible)
}

fn main() -> Result<()> {
    let (config, device) = (ModelConfig::preset("nano")?, Device::flex());
    let (model, codes) = (UniGen::new(&config, &device), config.image_codes());
    let semantic = config.vision.as_ref().map_or(0, |vision| vision.tokens(config.image_size));
    let special = SpecialTokens::FIRST;
    let template = Template { user: vec![20, 10], assistant: vec![21, 10], newline: vec![10] };
    let layouts = Layouts { special: &special, template: &template, opener: Opener::Block };
    let one = |sequence: Sequence| Ok(vec![prefix(&sequence, config.decoder.hidden_size, &device)?]);
    let edit = |branch| one(layouts.edit(branch, &TEXT, semantic, codes).expect("a chat model"));
    let generate =
        text_guidance(4.0, one(layouts.generate(&TEXT, codes))?, one(layouts.generate(&[], codes))?);
    let edit =
        edit_guidance(4.0, 1.5, edit(EditBranch::Full)?, edit(EditBranch::Image)?, edit(EditBranch::None)?);

    let decode = |branches: &[Branch], steps, path| {
        let decoding =
            MaskedDecoding { path, ..MaskedDecoding::new(steps, Order::Confidence { temperature: 1.0 }) };
        let (targets, delimiters) = (vec![vec![None; codes]], [special.soi, special.eoi]);
        let noise = Seeded { seed: 0 };
        decoding.decode(&model, branches, targets, delimiters, &noise, async |_| Flow::Continue).block_on()
    };
    for (name, branches) in [("text to image", &generate), ("edit", &edit)] {
        for steps in [12, 50] {
            // The two take turns, so that a busy machine slows both; the fastest run of each counts.
            let mut fastest = [f64::INFINITY; 2];
            for _ in 0..RUNS {
                for (path, fastest) in [Path::Naive, Path::Cached].into_iter().zip(&mut fastest) {
                    let start = Instant::now();
                    decode(branches, steps, path)?;
                    *fastest = fastest.min(start.elapsed().as_secs_f64() * 1e3);
                }
            }
            let [naive, cached] = fastest;
            println!(
                "nano, {name}, {steps} steps: naive {naive:.1} ms, cached {cached:.1} ms, {:.2}x",
                naive / cached
            );
        }
    }
    for (preset, task, name) in [
        ("unigen-1.5b", Task::Generate, "text to image"),
        ("unigen15-7b", Task::Generate, "text to image"),
        ("unigen-1.5b", Task::Edit { branches: 3 }, "edit"),
        ("unigen15-7b", Task::Edit { branches: 3 }, "edit"),
    ] {
        let flops = Cost::of(&ModelConfig::preset(preset)?, task, 50, 128)?.flops;
        println!(
            "{preset}, {name}, 50 steps: naive {:.1} TFLOP, cached {:.1} TFLOP, {:.2}x",
            flops.naive / 1e12,
            flops.cached / 1e12,
            flops.naive / flops.cached
        );
    }
    Ok(())
}
