//! Speed of whole jobs, measured: `unigen bench`.

use anyhow::Result;
use burn::tensor::{Device, Int, Tensor};
use std::time::{Duration, Instant};
use unigen_core::config::ModelConfig;
use unigen_core::decoder::Decoder;
use unigen_core::ops::{self, cpu::MatmulPrecision};
use unigen_core::sequence::{AttentionLayout, Segment};
use unigen_core::weights::parameters;

use crate::optimizer::{AdamW, HostGradients, Step};

/// How long each measurement runs at least.
const SPAN: Duration = Duration::from_secs(5);

/// One measured training step of the nano decoder.
pub struct TrainingStep {
    /// What the multiplies round to.
    pub precision: MatmulPrecision,
    /// Sequences a second.
    pub sequences: f64,
    /// `6 x parameters x rows` a second, in GFLOP/s.
    pub gflops: f64,
}

/// Forward, loss and backward of the nano decoder on `batch` sequences of `rows` rows each, on the CPU device.
pub fn training_step(batch: usize, rows: usize) -> Result<Vec<TrainingStep>> {
    let device = Device::flex().autodiff();
    let config = ModelConfig::preset("nano")?.decoder;
    let decoder = Decoder::new(&config, &device);
    let ids: Vec<i32> = (0..batch * rows).map(|i| (i * 7919 % config.vocab_size) as i32).collect();
    let places: Vec<usize> = (0..batch * rows).map(|i| i % rows).collect();
    let sequence = |i: usize| i * rows..(i + 1) * rows;
    let layout = AttentionLayout {
        visible: (0..batch * rows).map(|i| [(i / rows * rows) as u32, i as u32 + 1]).collect(),
        segments: (0..batch).map(|i| Segment { queries: sequence(i), keys: sequence(i) }).collect(),
    };
    let targets: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
    let step = || -> Result<()> {
        let x = decoder.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), &device));
        let hidden = decoder.forward(x, &decoder.positions(&places, &device), &layout);
        let loss = ops::cross_entropy(decoder.logits(hidden, 0..config.vocab_size), targets.clone());
        loss.backward();
        Ok(device.sync()?)
    };
    let flops = 6.0 * parameters(&decoder) as f64 * (batch * rows) as f64;
    let mut measured = Vec::new();
    for precision in [MatmulPrecision::F32, MatmulPrecision::Bf16] {
        ops::cpu::set_matmul_precision(precision);
        if ops::cpu::matmul_precision() != precision {
            continue;
        }
        step()?;
        let (start, mut steps) = (Instant::now(), 0);
        while start.elapsed() < SPAN {
            step()?;
            steps += 1;
        }
        let seconds = start.elapsed().as_secs_f64() / f64::from(steps);
        let (sequences, gflops) = (batch as f64 / seconds, flops / seconds / 1e9);
        measured.push(TrainingStep { precision, sequences, gflops });
    }
    ops::cpu::set_matmul_precision(MatmulPrecision::F32);
    Ok(measured)
}

/// Milliseconds that one update of the nano decoder on the CPU device takes: reading gradients, their norm, AdamW and
/// the averaged weights.
pub fn optimizer_step() -> Result<f64> {
    const STEPS: u32 = 50;
    let device = Device::flex().autodiff();
    let config = ModelConfig::preset("nano")?.decoder;
    let mut decoder = Decoder::new(&config, &device);
    let mut optimizer = AdamW::new([0.9, 0.95], 1e-8, 0.01);
    let layout =
        AttentionLayout { visible: vec![[0, 1]], segments: vec![Segment { queries: 0..1, keys: 0..1 }] };
    let mut spent = Duration::ZERO;
    for step in 0..=STEPS {
        let x = decoder.embed(Tensor::<1, Int>::from_ints([0], &device));
        let hidden = decoder.forward(x, &decoder.positions(&[0], &device), &layout);
        let loss = ops::cross_entropy(decoder.logits(hidden, 0..config.vocab_size), vec![1]);
        let gradients = loss.backward();
        let start = Instant::now();
        let gradients = HostGradients::read(&decoder, gradients)?;
        let change =
            Step { learning_rate: 1e-3, gradient_scale: 1.0 / gradients.norm().max(1.0), ema_decay: 0.999 };
        decoder = optimizer.step(decoder, gradients, change)?;
        // The first step allocates.
        if step > 0 {
            spent += start.elapsed();
        }
    }
    Ok(spent.as_secs_f64() * 1e3 / f64::from(STEPS))
}
