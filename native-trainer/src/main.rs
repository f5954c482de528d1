//! The `unigen` command: generates, edits and describes images, trains and evaluates models, and makes training data.

mod cli;

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use cli::{
    Ablate, BenchModel, DataCheck, DataDescribe, Describe, Diversity, Dpg, Edit, EvalAll, EvalRewards,
    EvalTokenizer, Extend, Generate, Geneval, ImgEdit, Import, Inpaint, Pull, Reconstruct, Runs,
    ServeRewards, Understanding, Vocabulary, WorldArgs, interruptible, models,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use unigen_core::ErrorKind;
use unigen_core::config::{Ability, Config, GenerationConfig, ModelConfig};
use unigen_core::cost::{Cost, Task};
use unigen_core::engine::ModelFolder;
use unigen_core::precision::MatmulPrecision;
use unigen_models::{Found, Library};
use unigen_runs::DeviceChoice;
use unigen_stickers::Stickers;
use unigen_stickers::judge::DetectorStage;
use unigen_stickers::rewards::RewardsStage;
use unigen_stickers::shards::write_stickers;
use unigen_trainer::bench;
use unigen_training::stages::{AlignStage, PretrainStage, RlStage, SftStage, TokenizerStage, VisionStage};
use unigen_training::train;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The allocator's option `purge_delay`: after how many milliseconds unused memory goes back to the system. -1 means
/// never.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// A unified multimodal model that understands, generates and edits images.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Generate images from prompts
    Generate(Generate),
    /// Edit a picture by an instruction
    Edit(Edit),
    /// Draw the masked part of a picture anew, by a prompt
    Inpaint(Inpaint),
    /// Draw on past an edge of a picture, by a prompt
    Extend(Extend),
    /// Describe a picture, or answer a question about it
    Describe(Describe),
    /// Show what an image tokenizer makes of your pictures
    Reconstruct(Reconstruct),
    /// Evaluate a model or rewards
    #[command(subcommand)]
    Eval(EvalCommand),
    /// Compare this implementation with reference implementations, from parity folders
    Verify {
        /// Folders with config.json, model.safetensors (or model.gguf alone) and io.safetensors
        #[arg(required = true)]
        folders: Vec<PathBuf>,
        /// Device to compute on
        #[arg(long, default_value = "cpu")]
        device: DeviceChoice,
    },
    /// Turn published weights into a model folder
    #[command(subcommand)]
    Import(Import),
    /// Download a published model from the Hugging Face Hub, and import it
    Pull(Pull),
    /// List the models that --model finds by name: what they are and what they can do
    Models,
    /// Show the parameters, memory and cost of a model without loading its weights
    Info {
        /// Name of a model that `unigen models` lists, model folder, config.json, or preset: nano, unigen-1.5b, unigen15-7b
        model: String,
    },
    /// Measure training steps of the nano decoder and the nano image tokenizer, and an optimiser step
    Bench {
        /// Device that computes the training steps
        #[arg(long, default_value = "cpu")]
        device: DeviceChoice,
        /// Sequences per step
        #[arg(long, default_value_t = 32)]
        batch: usize,
        /// Rows per sequence, one for each token or image code
        #[arg(long, default_value_t = 180)]
        rows: usize,
        #[command(subcommand)]
        job: Option<BenchJob>,
    },
    /// Train one stage, or all runs of a recipe
    #[command(subcommand)]
    Train(Train),
    /// Train with and without each part of reinforcement learning, and compare with the numbers of UniGen-1.5
    Ablate(Ablate),
    /// Serve rewards to training runs on other machines
    ServeRewards(ServeRewards),
    /// Write a page that shows the curves and sample sheets of runs side by side
    Runs(Runs),
    /// Make, check and describe training data
    #[command(subcommand)]
    Data(DataCommand),
}

#[derive(Subcommand)]
enum Train {
    /// Train a detector, which judges pictures or teaches the image tokenizer
    Detector(train::Options),
    /// Train the image tokenizer, which turns pictures into codes and back
    Tokenizer(train::Options),
    /// Train the understanding encoder
    Vision(train::Options),
    /// Pre-train on generation, captioning and text
    Pretrain(train::Options),
    /// Train all tasks together: generation, editing, understanding and text
    Sft(train::Options),
    /// Train edit instruction alignment
    Align(train::Options),
    /// Train the nano rewards that reinforcement learning uses
    Rewards(train::Options),
    /// Train by reinforcement learning: generation and editing under one reward
    Rl(train::Options),
    /// Train all unfinished runs of a recipe, one after another. Start it again after an interruption and it
    /// continues
    All(train::RecipeOptions),
    /// Try a few steps of each run of a recipe, and show its memory, predicted and measured, and its time; or predict
    /// them for a card
    Check(train::CheckOptions),
}

/// The stages that a recipe may name.
const STAGES: &[train::Entry] = &[
    train::Entry::of::<DetectorStage>(),
    train::Entry::of::<TokenizerStage<Stickers>>(),
    train::Entry::of::<VisionStage<Stickers>>(),
    train::Entry::of::<PretrainStage<Stickers>>(),
    train::Entry::of::<SftStage<Stickers>>(),
    train::Entry::of::<AlignStage<Stickers>>(),
    train::Entry::of::<RewardsStage>(),
    train::Entry::of::<RlStage<Stickers>>(),
];

impl Train {
    fn run(&self) -> Result<()> {
        let find: train::Find = |name| Ok(Library::of_user().folder_of(name)?);
        match self {
            Train::Detector(options) => train::command::<DetectorStage>(options, find),
            Train::Tokenizer(options) => train::command::<TokenizerStage<Stickers>>(options, find),
            Train::Vision(options) => train::command::<VisionStage<Stickers>>(options, find),
            Train::Pretrain(options) => train::command::<PretrainStage<Stickers>>(options, find),
            Train::Sft(options) => train::command::<SftStage<Stickers>>(options, find),
            Train::Align(options) => train::command::<AlignStage<Stickers>>(options, find),
            Train::Rewards(options) => train::command::<RewardsStage>(options, find),
            Train::Rl(options) => train::command::<RlStage<Stickers>>(options, find),
            Train::All(options) => train::train_all(options, STAGES, find),
            Train::Check(options) => train::check_all(options, STAGES, find),
        }
    }
}

#[derive(Subcommand)]
enum BenchJob {
    /// Measure reinforcement learning instead: seconds per group of samples, computed together and one by one
    Rl {
        /// Samples per input
        #[arg(long, default_value_t = 8)]
        samples: usize,
        /// Decoding steps
        #[arg(long, default_value_t = 8)]
        steps: usize,
    },
    /// Measure the decoding steps of a model instead: seconds, rows and GFLOP a second, bytes of weights
    Model(BenchModel),
}

#[derive(Subcommand)]
enum EvalCommand {
    /// GenEval: check that images show the objects, counts, colours and positions of their prompts
    Geneval(Geneval),
    /// ImgEdit: score nine types of edits from 1 to 5, beside an unchanged copy and a reconstruction of the wanted
    /// picture
    Imgedit(ImgEdit),
    /// Understanding: answer questions about held-out scenes or your own pictures, and compare with the most frequent
    /// answers
    Understanding(Understanding),
    /// DPG-Bench: long prompts of your own, whose pictures a vision-language model is asked about
    Dpg(Dpg),
    /// Draw every thing in every look once, and let the judge name it
    Vocabulary(Vocabulary),
    /// Measure how much the pictures of one prompt differ from seed to seed
    Diversity(Diversity),
    /// Image tokenizer: measure the reconstructions of held-out scenes
    Tokenizer(EvalTokenizer),
    /// Rewards: measure how often they agree with the truth about held-out pairs of pictures and descriptions
    Rewards(EvalRewards),
    /// All evaluations of a model: image tokenizer, understanding, ImgEdit and GenEval
    All(EvalAll),
}

#[derive(Subcommand)]
enum DataCommand {
    /// Read your own files once, and report what they have: kinds, sizes, languages, lengths, broken samples, repetitions
    Check(DataCheck),
    /// Let a teacher describe the edits without a description and the pictures without a caption
    Describe(DataDescribe),
    /// Write scenes of the sticker world as WebDataset shards, with a preview sheet
    Stickers {
        /// Folder to write to
        #[arg(long)]
        out: PathBuf,
        /// Number of scenes
        #[arg(long)]
        count: u64,
        /// Seed; the same seed gives the same scenes
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Side of the square images in pixels
        #[arg(long, default_value_t = 96)]
        size: u32,
        #[command(flatten)]
        world: WorldArgs,
    },
    /// List the words of the sticker world in a model's generation.json, so that it says which of a prompt it has not learned
    Vocabulary {
        /// Folder of a model that was trained on it
        model: PathBuf,
        #[command(flatten)]
        world: WorldArgs,
    },
}

/// Stack size of a thread in bytes, the same as that of the main thread.
const STACK: usize = 8 << 20;

fn main() -> ExitCode {
    // Memory is kept for the next step: new pages from the system take longer than some kernels.
    // SAFETY: this sets a number, and no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    #[cfg(target_os = "linux")]
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // The search for GPUs tries a Wayland display, whose library complains if it has no folder to look in.
        // SAFETY: there are no other threads yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
    let matches = with_negative_numbers(Cli::command()).get_matches();
    let Cli { command } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // The command runs on a thread of the pool, so that the tasks of a kernel start on the thread that asks for them.
    // Waking another thread takes as long as a small kernel.
    let pool = rayon::ThreadPoolBuilder::new().stack_size(STACK).build_global();
    match pool.map_err(Into::into).and_then(|()| rayon::scope(|_| run(command))) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}{}", remedy(&error).unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

/// The command that helps with an error of the core, which knows no commands.
fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    let error = error.downcast_ref::<unigen_core::Error>()?;
    let blind = error.kind == ErrorKind::Weights && error.place == ModelFolder::VISION;
    blind.then_some("; `unigen train sft` makes a model with an understanding encoder")
}

/// Takes `-1` for a value, so that an error names the option and what is wrong with the number.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let values = |arg: clap::Arg| match arg.get_action().takes_values() {
        true => arg.allow_negative_numbers(true),
        false => arg,
    };
    command.mut_args(values).mut_subcommands(with_negative_numbers)
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Generate(generate) => generate.run(),
        Command::Edit(edit) => edit.run(),
        Command::Inpaint(inpaint) => inpaint.run(),
        Command::Extend(extend) => extend.run(),
        Command::Describe(describe) => describe.run(),
        Command::Eval(EvalCommand::Geneval(geneval)) => geneval.run(),
        Command::Eval(EvalCommand::Imgedit(imgedit)) => imgedit.run(),
        Command::Eval(EvalCommand::Understanding(understanding)) => understanding.run(),
        Command::Eval(EvalCommand::Vocabulary(vocabulary)) => vocabulary.run(),
        Command::Eval(EvalCommand::Diversity(diversity)) => diversity.run(),
        Command::Eval(EvalCommand::Tokenizer(tokenizer)) => tokenizer.run(),
        Command::Eval(EvalCommand::Dpg(dpg)) => dpg.run(),
        Command::Reconstruct(reconstruct) => reconstruct.run(),
        Command::Eval(EvalCommand::Rewards(rewards)) => rewards.run(),
        Command::Eval(EvalCommand::All(all)) => all.run(),
        Command::ServeRewards(serve) => serve.run(),
        Command::Runs(runs) => runs.run(),
        Command::Verify { folders, device } => verify_all(&folders, &device.open()?),
        Command::Import(import) => import.run(),
        Command::Pull(pull) => pull.run(),
        Command::Models => models::list(),
        Command::Info { model } => info(&model),
        Command::Bench { job: Some(BenchJob::Rl { samples, steps }), .. } => {
            for group in bench::groups(samples, steps)? {
                println!("{group}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Bench { job: Some(BenchJob::Model(model)), .. } => model.run(),
        Command::Bench { device, batch, rows, job: None } => {
            let device = device.open()?;
            let (batch, rows) = (batch.max(1), rows.max(1));
            for job in [bench::decoder(batch, rows, &device)?, bench::tokenizer(batch.min(8), &device)?] {
                for bench::TrainingStep { precision, samples, gflops } in job.measure()? {
                    let precision = match precision {
                        MatmulPrecision::F32 => "f32",
                        MatmulPrecision::Bf16 => "bf16",
                    };
                    println!("{}, {precision}: {samples:.1} samples/s, {gflops:.0} GFLOP/s", job.name);
                }
            }
            println!("optimizer: {:.1} ms a step", bench::optimizer_step()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Ablate(ablate) => ablate.run(),
        Command::Train(train) => interruptible(|| train.run()),
        Command::Data(DataCommand::Check(check)) => check.run(),
        Command::Data(DataCommand::Describe(describe)) => describe.run(),
        Command::Data(DataCommand::Vocabulary { model, world }) => {
            let path = model.join(ModelFolder::GENERATION);
            let vocabulary = unigen_stickers::vocabulary(world.scope())?;
            println!("{} words in {}", vocabulary.words().len(), path.display());
            GenerationConfig { vocabulary, ..GenerationConfig::read(&path)? }.write(&path)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Data(DataCommand::Stickers { out, count, seed, size, world }) => {
            let style = ProgressStyle::with_template("{bar:40} {pos}/{len} scenes, {eta} left")?;
            let bar = ProgressBar::new(count).with_style(style);
            write_stickers(&out, count, seed, size, world.scope(), |done| bar.set_position(done))?;
            bar.finish();
            println!("{count} scenes in {}, preview in {}", out.display(), out.join("preview.png").display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn verify_all(folders: &[PathBuf], device: &Device) -> Result<ExitCode> {
    let mut failed = false;
    for folder in folders {
        let mut report = |c: unigen_parity::Comparison| {
            let verdict = if c.ok { "ok" } else { "FAIL" };
            println!("{} {} {:.3e} {verdict}", folder.display(), c.tensor, c.difference);
            failed |= !c.ok;
        };
        if let Err(error) = unigen_parity::verify(folder, device, &mut report) {
            println!("{} - - FAIL", folder.display());
            eprintln!("error: {}: {error:#}", folder.display());
            failed = true;
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn info(model: &str) -> Result<ExitCode> {
    let config = match ModelConfig::preset(model) {
        Ok(config) => config,
        Err(unknown) => {
            let path = match Library::of_user().find(Path::new(model)) {
                Ok(Found::Folder(folder)) => folder.join(ModelFolder::CONFIG),
                _ => PathBuf::from(model),
            };
            if !path.exists() {
                bail!(unknown);
            }
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let config: Value =
                serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
            ensure!(
                config.get("decoder").is_some(),
                "{} is not the configuration of a whole model: it has no \"decoder\". Published files of Qwen2 or SigLIP \
                 describe one part of a model. Give the folder of a whole model, its config.json, or one of {}",
                path.display(),
                ModelConfig::PRESETS.join(", ")
            );
            serde_json::from_value(config)
                .with_context(|| format!("{} is not a model configuration", path.display()))?
        }
    };
    config.validate()?;
    print!("{}", cost_report(&config)?);
    Ok(ExitCode::SUCCESS)
}

/// A table of the cost of each task that the model supports.
fn cost_report(config: &ModelConfig) -> Result<String> {
    const STEPS: usize = 50;
    const TEXT: usize = 128;
    let mut text = Cost::of(config, Task::Generate, STEPS, TEXT)?.report();
    for (ability, task) in [(Ability::Edit, Task::Edit { branches: 3 }), (Ability::Answer, Task::Describe)] {
        if config.can(ability) {
            text += &format!("\n{}", Cost::of(config, task, STEPS, TEXT)?.work());
        }
    }
    Ok(text)
}
