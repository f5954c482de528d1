//! `unigen bench model`.

use super::ComputeArgs;
use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Distribution, Int, Tensor};
use clap::Args;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use unigen_core::config::{Config, ModelConfig};
use unigen_core::engine::ModelFolder;
use unigen_core::model::UniGen;
use unigen_core::ops::{Launches, take_launches};
use unigen_core::precision::WithPrecision;
use unigen_core::sequence::AttentionLayout;
use unigen_core::weights::{Checkpoint, keys, load};

/// The shortest measurement.
const MIN_DURATION: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct BenchModel {
    /// Folder of the model
    #[arg(long, default_value = "models/nano")]
    model: PathBuf,
    /// Rows of a step: image codes and their delimiters, of all pictures and of both branches of guidance
    #[arg(long, default_value_t = 516, value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    rows: u64,
    #[command(flatten)]
    compute: ComputeArgs,
}

impl BenchModel {
    /// Times decoding steps without a prefix: all rows through the decoder, and the logits of image codes.
    pub fn run(&self) -> Result<ExitCode> {
        let (compute, rows) = (self.compute.open()?, self.rows as usize);
        let device = &compute.device;
        let mut config = ModelConfig::read(&self.model.join(ModelFolder::CONFIG))?;
        config.validate()?;
        let sharded = self.model.join(ModelFolder::MODEL_INDEX).exists();
        let file = if sharded { self.model.clone() } else { self.model.join(ModelFolder::MODEL) };
        let checkpoint = Checkpoint::open(&file)?;
        keys::untie_own_head(&mut config.decoder, &checkpoint)?;
        let model = load(UniGen::new(&config, device), &checkpoint, keys::model(&checkpoint))?;
        let model = model.with_precision(compute.precision);
        let x =
            Tensor::<2>::random([rows, config.decoder.hidden_size], Distribution::Normal(0.0, 1.0), device);
        let positions = model.llm.positions(&(0..rows).collect::<Vec<_>>(), device);
        // Rows of a step see one another.
        let layout = AttentionLayout::new(vec![[0, rows as u32]; rows], vec![(0..rows, 0..rows)]);
        let step = || -> Result<()> {
            drop(model.code_logits(model.llm.forward(x.clone(), &positions, &layout)));
            Ok(device.sync()?)
        };
        step()?;
        take_launches();
        step()?;
        let launches = take_launches();
        let (mut fastest, start) = (f64::INFINITY, Instant::now());
        while start.elapsed() < MIN_DURATION {
            let start = Instant::now();
            step()?;
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
        let weights = Weights::of(&model);
        println!("{weights}");
        println!(
            "{rows} rows: {fastest:.3} s a step, {:.0} rows/s, {:.0} GFLOP/s, {:.0} MB of weights read a step",
            rows as f64 / fastest,
            flops(&config, rows) / fastest / 1e9,
            weights.bytes() as f64 / 1e6
        );
        if launches.dispatches > 0 {
            let Launches { dispatches, bindings, bytes, largest } = launches;
            println!(
                "shaders: {dispatches} dispatches a step, {bindings} bindings of {:.0} MB in all, the largest {:.0} MB",
                bytes as f64 / 1e6,
                largest as f64 / 1e6
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Floating-point operations of a step: two for each weight and row, and two products of attention.
fn flops(config: &ModelConfig, rows: usize) -> f64 {
    let decoder = &config.decoder;
    let (width, inner, head) = (decoder.hidden_size, decoder.intermediate_size, decoder.head_dim());
    let (queries, keys) = (decoder.num_attention_heads * head, decoder.num_key_value_heads * head);
    let layer = 2 * width * (queries + keys) + 3 * width * inner;
    let weights = decoder.num_hidden_layers * layer + width * config.code_classes();
    let attention = decoder.num_hidden_layers * 2 * queries * rows;
    2.0 * rows as f64 * (weights + attention) as f64
}

/// Bytes of the linear layers of the decoder, by how they are stored.
#[derive(Default)]
struct Weights {
    path: Vec<String>,
    bytes: BTreeMap<String, usize>,
}

impl Weights {
    fn of(model: &UniGen) -> Self {
        let mut weights = Self::default();
        model.llm.visit(&mut weights);
        weights
    }

    fn bytes(&self) -> usize {
        self.bytes.values().sum()
    }

    fn add(&mut self, storage: String, bytes: usize) {
        if self.path.iter().any(|part| part == "layers") {
            *self.bytes.entry(storage).or_default() += bytes;
        }
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts =
            self.bytes.iter().map(|(storage, bytes)| format!("{:.0} MB in {storage}", *bytes as f64 / 1e6));
        write!(f, "layers: {}", parts.collect::<Vec<_>>().join(", "))
    }
}

impl ModuleVisitor for Weights {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (dtype, values) = (param.val().dtype(), param.dims().iter().product::<usize>());
        self.add(format!("{dtype:?}").to_lowercase(), values * dtype.size());
    }

    /// The bytes of blocks, in a module that is named after their format.
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        let format = self.path.last().cloned().unwrap_or_default();
        self.add(format, param.dims().iter().product());
    }
}
