//! How much the pictures of one prompt differ from seed to seed, beside how much renders differ in what the prompt leaves
//! open.

use anyhow::{Result, ensure};
use image::RgbImage;
use pollster::FutureExt;
use serde::Serialize;
use std::fmt;
use unigen_core::config::GenerationConfig;
use unigen_core::engine::{Engine, GenerateRequest};
use unigen_runs::{Interrupt, sheet};
use unigen_training::data::rng_at;

use crate::judge::Detector;
use crate::world::{Class, Domain, Renderer, Scope, Split, scene_of};

/// Number of pictures of each prompt.
pub const SEEDS: usize = 8;

/// The pictures of one prompt.
#[derive(Clone, Debug, Serialize)]
pub struct Prompt {
    pub prompt: String,
    /// The mean distance of two drawings, and of two renders.
    pub drawn: f64,
    pub renders: f64,
    #[serde(skip)]
    pub images: Vec<RgbImage>,
}

/// Mean distances of two pictures of one prompt: one minus the cosine of the judge's features, as the mean over the
/// picture.
#[derive(Clone, Debug, Serialize)]
pub struct Diversity {
    pub drawn: f64,
    pub renders: f64,
    /// `drawn` over `renders`: 1 if seeds differ as much as renders do.
    pub share: f64,
    pub prompts: Vec<Prompt>,
}

impl Diversity {
    /// Lets `engine` draw `count` things of a scope, each by its name alone, from [`SEEDS`] seeds. Calls `progress` with
    /// the number of prompts done.
    ///
    /// # Errors
    /// If `count` is 0, the engine or the judge fails, or Ctrl-C was pressed.
    pub fn of(
        engine: &Engine,
        scope: Scope,
        count: usize,
        settings: &GenerationConfig,
        seed: u64,
        judge: &Detector,
        mut progress: impl FnMut(usize),
    ) -> Result<Self> {
        ensure!(count > 0, "there is nothing to draw");
        let (renderer, size) = (Renderer::new(), engine.config().image_size as u32);
        let domain = Domain { scope, split: Split::Test };
        let things = scope.classes();
        let count = count.min(things.len());
        let mut prompts = Vec::with_capacity(count);
        for index in 0..count {
            Interrupt::check()?;
            let class: Class = things[index * things.len() / count];
            let prompt = class.with_article();
            let seeds = seed.wrapping_add((index * SEEDS) as u64)..;
            let requests: Vec<GenerateRequest> =
                seeds.take(SEEDS).map(|seed| GenerateRequest { prompt: prompt.clone(), seed }).collect();
            let images =
                engine.generate_batch(&requests, settings, async |_| Interrupt::flow()).block_on()?;
            let render = |at: usize| {
                let rng = &mut rng_at(seed, (index * SEEDS + at) as u64);
                renderer.render(&scene_of(rng, class, domain), size, size)
            };
            let renders: Vec<RgbImage> = (0..SEEDS).map(render).collect();
            let (drawn, renders) = (distance(judge, &images)?, distance(judge, &renders)?);
            prompts.push(Prompt { prompt, drawn, renders, images });
            progress(prompts.len());
        }
        let mean = |of: fn(&Prompt) -> f64| prompts.iter().map(of).sum::<f64>() / count as f64;
        let (drawn, renders) = (mean(|prompt| prompt.drawn), mean(|prompt| prompt.renders));
        Ok(Self { drawn, renders, share: drawn / renders.max(1e-9), prompts })
    }

    /// A sheet with a row for each prompt.
    pub fn sheet(&self) -> RgbImage {
        let cells: Vec<_> = self
            .prompts
            .iter()
            .flat_map(|prompt| prompt.images.iter().map(|image| (image.clone(), prompt.prompt.clone())))
            .collect();
        sheet(&cells, SEEDS, 1)
    }
}

/// The mean distance of two pictures among several.
fn distance(judge: &Detector, images: &[RgbImage]) -> Result<f64> {
    let pairs = (0..images.len()).flat_map(|a| (a + 1..images.len()).map(move |b| (a, b)));
    let (a, b): (Vec<RgbImage>, Vec<RgbImage>) =
        pairs.map(|(a, b)| (images[a].clone(), images[b].clone())).unzip();
    let maps = judge.unlikeness(&a, &b)?;
    Ok(maps.iter().map(|map| map.mean()).sum::<f64>() / maps.len().max(1) as f64)
}

impl fmt::Display for Diversity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { drawn, renders, share, prompts } = self;
        writeln!(
            f,
            "diversity        {drawn:.4} of {SEEDS} seeds, renders {renders:.4}: {share:.2} of it, over {} prompts",
            prompts.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use std::path::Path;

    #[test]
    fn equal_pictures_have_no_distance_and_renders_of_a_thing_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/detector");
        let judge = Detector::open(&path, &Device::flex().into()).unwrap();
        let cat = Class::from_name("cat").unwrap();
        let renderer = Renderer::new();
        let render =
            |index| renderer.render(&scene_of(&mut rng_at(1, index), cat, Split::Test.into()), 96, 96);
        let same: Vec<RgbImage> = (0..4).map(|_| render(0)).collect();
        assert!(distance(&judge, &same).unwrap() < 1e-4);
        let others: Vec<RgbImage> = (0..4).map(render).collect();
        assert!(distance(&judge, &others).unwrap() > 0.02);
    }
}
