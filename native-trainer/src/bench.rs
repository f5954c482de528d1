//! Benchmarks of training steps and of reinforcement learning: `unigen bench`.

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Distribution, Int, Tensor};
use pollster::FutureExt;
use std::fmt;
use std::time::{Duration, Instant};
use unigen_core::config::ModelConfig;
use unigen_core::cost::tokenizer_flops;
use unigen_core::decoder::Decoder;
use unigen_core::image_tokenizer::{ImageTokenizer, lfq};
use unigen_core::model::UniGen;
use unigen_core::ops;
use unigen_core::precision::{MatmulPrecision, WithPrecision};
use unigen_core::sampling::{Branch, Flow, MaskedDecoding, Order, Prefix, Seeded};
use unigen_core::sequence::AttentionLayout;
use unigen_core::weights::parameters;

use unigen_training::optimizer::{AdamW, HostGradients, Step};
use unigen_training::rl::{Objective, Ratio, Sampling, Tokens, passes, step_views};

/// The minimum duration of each measurement.
const MIN_DURATION: Duration = Duration::from_secs(5);

/// A training step to measure.
pub struct Job {
    pub name: &'static str,
    /// Samples per step.
    pub batch: usize,
    /// Floating-point operations per sample: `6 x parameters x rows` for the decoder, three forward passes for the
    /// tokenizer.
    pub flops: f64,
    device: Device,
    step: Box<dyn Fn(MatmulPrecision) -> Result<()>>,
}

/// One measured training step.
pub struct TrainingStep {
    /// Precision of the matrix products.
    pub precision: MatmulPrecision,
    /// Samples per second.
    pub samples: f64,
    /// GFLOP/s.
    pub gflops: f64,
}

/// Forward, loss and backward of the nano decoder on `batch` sequences of `rows` rows each.
pub fn decoder(batch: usize, rows: usize, device: &Device) -> Result<Job> {
    let (plain, device) = (device.clone(), device.clone().autodiff());
    let config = ModelConfig::preset("nano")?.decoder;
    let decoder = Decoder::new(&config, &device);
    let ids: Vec<i32> = (0..batch * rows).map(|i| (i * 7919 % config.vocab_size) as i32).collect();
    let places: Vec<usize> = (0..batch * rows).map(|i| i % rows).collect();
    let layout = AttentionLayout::causal(&vec![rows; batch]);
    let targets: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
    let flops = 6.0 * parameters(&decoder) as f64 * rows as f64;
    let step = move |precision| {
        let decoder = decoder.clone().with_precision(precision);
        let x = decoder.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), &device));
        let hidden = decoder.forward(x, &decoder.positions(&places, &device), &layout);
        let loss = ops::cross_entropy(decoder.logits(hidden, 0..config.vocab_size), targets.clone())?;
        loss.backward();
        Ok(device.sync()?)
    };
    Ok(Job { name: "decoder", batch, flops, device: plain, step: Box::new(step) })
}

/// Encoding, straight-through quantisation, decoding, squared error and backward of the nano image tokenizer, on
/// `batch` images.
pub fn tokenizer(batch: usize, device: &Device) -> Result<Job> {
    let (plain, device) = (device.clone(), device.clone().autodiff());
    let config = ModelConfig::preset("nano")?;
    let (side, config) = (config.image_size, config.image_tokenizer);
    let tokenizer = ImageTokenizer::new(&config, &device)?;
    let images = Tensor::<4>::random([batch, side, side, 3], Distribution::Uniform(-1.0, 1.0), &device);
    let flops = 3.0 * tokenizer_flops(&config, side);
    let step = move |precision| {
        let tokenizer = tokenizer.clone().with_precision(precision);
        let bits = lfq::straight_through(tokenizer.latent(images.clone())?);
        (tokenizer.decode_bits(bits) - images.clone()).square().mean().backward();
        Ok(device.sync()?)
    };
    Ok(Job { name: "image tokenizer", batch, flops, device: plain, step: Box::new(step) })
}

impl Job {
    /// Times the step in every precision that its device supports.
    pub fn measure(&self) -> Result<Vec<TrainingStep>> {
        let mut measured = Vec::new();
        let precisions = match self.device == Device::flex() && ops::multiplies_bf16() {
            true => &[MatmulPrecision::F32, MatmulPrecision::Bf16][..],
            false => &[MatmulPrecision::F32],
        };
        for &precision in precisions {
            (self.step)(precision)?;
            let (start, mut steps) = (Instant::now(), 0);
            while start.elapsed() < MIN_DURATION {
                (self.step)(precision)?;
                steps += 1;
            }
            let samples = f64::from(steps) * self.batch as f64 / start.elapsed().as_secs_f64();
            measured.push(TrainingStep { precision, samples, gflops: samples * self.flops / 1e9 });
        }
        Ok(measured)
    }
}

/// Milliseconds of one optimiser step of the nano decoder on the CPU device: reading gradients, their norm, AdamW and
/// the averaged weights.
pub fn optimizer_step() -> Result<f64> {
    const STEPS: u32 = 50;
    let device = Device::flex().autodiff();
    let config = ModelConfig::preset("nano")?.decoder;
    let mut decoder = Decoder::new(&config, &device);
    let mut optimizer = AdamW::new([0.9, 0.95], 1e-8, 0.01);
    let layout = AttentionLayout::causal(&[1]);
    let mut spent = Duration::ZERO;
    for step in 0..=STEPS {
        let x = decoder.embed(Tensor::<1, Int>::from_ints([0], &device));
        let hidden = decoder.forward(x, &decoder.positions(&[0], &device), &layout);
        let loss = ops::cross_entropy(decoder.logits(hidden, 0..config.vocab_size), vec![1])?;
        let gradients = loss.backward();
        let start = Instant::now();
        let gradients = HostGradients::read(&decoder, gradients)?;
        let change =
            Step { learning_rate: 1e-3, gradient_scale: 1.0 / gradients.norm().max(1.0), ema_decay: 0.999 };
        decoder = optimizer.step(decoder, gradients, change)?;
        // The first step also allocates memory.
        if step > 0 {
            spent += start.elapsed();
        }
    }
    Ok(spent.as_secs_f64() * 1e3 / f64::from(STEPS))
}

/// Seconds that reinforcement learning takes for one group of samples. The nano model has random weights and computes
/// in bf16 where the processor supports it.
pub struct Group {
    /// The task, and the number of rows before the target.
    task: &'static str,
    prefix: usize,
    /// Drawing all samples at once over one prefix, and drawing each alone.
    rollout: [f64; 2],
    /// Replay of all steps, objective and gradients: with one prefix for many samples, and with each step of each
    /// sample alone.
    update: [f64; 2],
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { task, prefix, rollout: [rollout, drawn], update: [update, replayed] } = self;
        write!(
            f,
            "{task}, {prefix} rows before the target: rollout {rollout:.2} s per group, {drawn:.2} s one by one ({:.1} times); \
             update {update:.2} s, {replayed:.2} s one by one ({:.1} times)",
            drawn / rollout,
            replayed / update
        )
    }
}

/// Measures a group of prompts and a group of edits. Each time is the median of three runs.
///
/// # Errors
/// If there are fewer than two samples, or more steps than codes.
pub fn groups(samples: usize, steps: usize) -> Result<Vec<Group>> {
    const DELIMITERS: [u32; 2] = [1, 2];
    let (plain, device) = (Device::flex(), Device::flex().autodiff());
    let config = ModelConfig::preset("nano")?;
    let tokens = config.image_codes();
    let trained = UniGen::new(&config, &device).with_precision(MatmulPrecision::Bf16);
    let model = trained.valid();
    let sampling = Sampling { samples, steps, ..Sampling::default() };
    // A short prompt, and an instruction with the features and codes of a picture.
    let groups = [("generate", 24), ("edit", 36 + 2 * tokens)].map(|(task, rows)| -> Result<Group> {
        let ids: Vec<i32> = (0..rows).map(|i| (i * 7919 % config.text_vocab) as i32).collect();
        let prefix = |model: &UniGen, device: &Device| {
            Prefix::causal(model.llm.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), device)))
        };
        let timed = |job: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
            let once = |_| {
                let start = Instant::now();
                job().map(|()| start.elapsed().as_secs_f64())
            };
            let mut seconds = (0..3).map(once).collect::<Result<Vec<_>>>()?;
            seconds.sort_by(f64::total_cmp);
            Ok(seconds[1])
        };
        let draw = || sampling.draw(&model, vec![prefix(&model, &plain)], tokens, DELIMITERS, [0, 0]);
        let rollouts = draw()?;
        let views = step_views(&rollouts, &(0..steps).collect::<Vec<_>>());
        let objective = Objective::Policy { beta: 0.01, clip: 0.0, ratio: Ratio::Token };
        let learn = |blocks: usize| -> Result<()> {
            for pass in passes(&rollouts, &views, blocks, &vec![true; samples]) {
                let prefix = |_| Ok(prefix(&trained, &device));
                let replayed =
                    pass.replay(&trained, &rollouts, sampling.temperature, DELIMITERS, prefix, &device)?;
                let ones = vec![1.0; pass.tokens.len()];
                let reference = pass.tokens.iter().map(|&(sample, at)| rollouts[sample].log_probs[at]);
                let tokens = Tokens {
                    old: None,
                    reference: reference.collect(),
                    advantages: ones.clone(),
                    weights: ones,
                    spans: pass.spans.clone(),
                };
                let terms = objective.terms(replayed.log_probs, &tokens);
                HostGradients::read(&trained, terms.loss.backward())?;
            }
            Ok(())
        };
        // A warm-up: until something large has been freed, the allocator returns memory to the system and takes it
        // again.
        learn(32)?;
        let together = timed(&mut || draw().map(drop))?;
        let decoding = MaskedDecoding::new(steps, Order::Halton);
        let alone = timed(&mut || {
            (0..samples as u64).try_for_each(|seed| {
                let branches =
                    [Branch { weight: 1.0 / sampling.temperature, prefixes: vec![prefix(&model, &plain)] }];
                let targets = vec![vec![None; tokens]];
                decoding
                    .decode(&model, &branches, targets, DELIMITERS, &Seeded { seed }, async |_| {
                        Flow::Continue
                    })
                    .block_on()?;
                Ok(())
            })
        })?;
        let update = [timed(&mut || learn(32))?, timed(&mut || learn(1))?];
        Ok(Group { task, prefix: rows, rollout: [together, alone], update })
    });
    groups.into_iter().collect()
}
