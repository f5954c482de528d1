//! What a model costs, from its sizes alone: parameters, memory, and arithmetic per task.
//!
//! One multiply-add counts as two floating-point operations (FLOP). Norms, activations and softmax, a few per mille,
//! do not count.

use crate::config::{
    Ability, Config, DecoderConfig, DecoderKind, ModelConfig, TokenizerConfig, VisionConfig,
};
use crate::error::{Error, ErrorKind, Result};
use crate::sampling::still_masked;
use std::fmt::Write;

/// The most steps that are counted.
const MAX_STEPS: usize = 1 << 20;
/// The most tokens of text that are counted.
const MAX_TEXT_TOKENS: usize = 1 << 24;

/// A task of the model; [`Layouts`](crate::sequence::Layouts) has its sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Text to image, with and without text.
    Generate,
    /// Image and text to image.
    Edit {
        /// Branches of guidance. 2: the image alone, and the image with the text. 3: also neither.
        branches: usize,
    },
    /// Image and question to text; the steps are the answer's tokens.
    Describe,
}

/// Bits of a weight in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// 32 bits.
    F32,
    /// 16 bits, either kind.
    F16,
    /// 8 bits and one 16-bit scale for 32 weights.
    Q8,
    /// 4 bits and one 16-bit scale for 32 weights.
    Q4,
}

impl Storage {
    /// All of them, largest first.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Q8, Self::Q4];

    /// Name in tables.
    fn name(self) -> &'static str {
        match self {
            Storage::F32 => "f32",
            Storage::F16 => "f16",
            Storage::Q8 => "q8",
            Storage::Q4 => "q4",
        }
    }

    /// Bytes of `weights` weights.
    pub fn bytes(self, weights: u64) -> u64 {
        let half_bits = match self {
            Storage::F32 => 64,
            Storage::F16 => 32,
            Storage::Q8 => 17,
            Storage::Q4 => 9,
        };
        (weights * half_bits).div_ceil(16)
    }
}

/// Floating-point operations of one task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Flops {
    /// The decoder, every row of every branch recomputed at every step, with the whole head; branches padded to
    /// the longest.
    pub naive: f64,
    /// The decoder with the prefix's keys and values kept, no pads, code columns of the head only, and only masked
    /// rows in the last layer and head.
    pub cached: f64,
    /// The image tokenizer and the understanding encoder, once.
    pub images: f64,
}

/// What a model costs for one task.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Parameters by part, in the order of the computation.
    pub parameters: Vec<(&'static str, u64)>,
    /// The task's arithmetic.
    pub flops: Flops,
    /// Bytes of one token's keys and values over all layers, in 16 bits.
    pub cache_bytes: u64,
    task: Task,
    steps: usize,
    text_tokens: usize,
}

impl Cost {
    /// What `task` costs in `steps` steps with `text_tokens` tokens of text. For [`Task::Describe`] the steps are the tokens
    /// of the answer.
    ///
    /// # Errors
    /// `Config` where the sizes are not valid or lack what the task needs, or where a count is out of range.
    pub fn of(config: &ModelConfig, task: Task, steps: usize, text_tokens: usize) -> Result<Self> {
        config.validate()?;
        let error =
            |place: &str, what: &str, fix: &str| Err(Error::new(ErrorKind::Config, place, what).fix(fix));
        if !(1..=MAX_STEPS).contains(&steps) {
            return error("steps", &format!("is {steps}"), &format!("choose 1 to {MAX_STEPS}"));
        }
        if text_tokens > MAX_TEXT_TOKENS {
            let fix = format!("choose at most {MAX_TEXT_TOKENS}");
            return error("text tokens", &format!("are {text_tokens}"), &fix);
        }
        let ability = match task {
            Task::Generate => Ability::Draw,
            Task::Edit { .. } => Ability::Edit,
            Task::Describe => Ability::Answer,
        };
        if !config.can(ability) {
            let what = "is missing, but the task needs an understanding encoder";
            return error("vision", what, "use a model that has one");
        }
        if let Task::Edit { branches } = task
            && !(2..=3).contains(&branches)
        {
            return error("branches", &format!("are {branches}"), "choose 2 or 3");
        }
        let decoder = &config.decoder;
        Ok(Self {
            parameters: parameters(config),
            flops: flops(config, task, steps, text_tokens),
            cache_bytes: 4
                * (decoder.num_hidden_layers * decoder.num_key_value_heads * decoder.head_dim()) as u64,
            task,
            steps,
            text_tokens,
        })
    }

    /// Parameters of all parts.
    pub fn total(&self) -> u64 {
        self.parameters.iter().map(|(_, count)| count).sum()
    }

    /// [`sizes`](Self::sizes) and [`work`](Self::work), a line between them.
    pub fn report(&self) -> String {
        format!("{}\n{}", self.sizes(), self.work())
    }

    /// Parameters and memory by part, as a table for people; the same for every task.
    pub fn sizes(&self) -> String {
        text(|out| self.write_sizes(out))
    }

    /// What the task costs, as a table for people.
    pub fn work(&self) -> String {
        text(|out| self.write_work(out))
    }

    fn write_sizes(&self, out: &mut String) -> std::fmt::Result {
        write!(out, "{:<22}{:>16}", "part", "parameters")?;
        for storage in Storage::ALL {
            write!(out, "{:>12}", storage.name())?;
        }
        writeln!(out)?;
        for (part, count) in self.parameters.iter().copied().chain([("total", self.total())]) {
            write!(out, "{part:<22}{:>16}", grouped(count))?;
            for storage in Storage::ALL {
                write!(out, "{:>12}", bytes(storage.bytes(count)))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_work(&self, out: &mut String) -> std::fmt::Result {
        let steps = match self.task {
            Task::Generate => format!("generate, {} steps", self.steps),
            Task::Edit { branches } => format!("edit, {branches} branches, {} steps", self.steps),
            Task::Describe => format!("describe, {} tokens", self.steps),
        };
        let Flops { naive, cached, images } = self.flops;
        writeln!(out, "{steps}, {} tokens of text", self.text_tokens)?;
        writeln!(out, "{:<22}{:>16}", "decoder, naive", operations(naive))?;
        writeln!(out, "{:<22}{:>16}  {:.2}x", "decoder, cached", operations(cached), naive / cached)?;
        writeln!(out, "{:<22}{:>16}", "images in and out", operations(images))?;
        writeln!(out, "{:<22}{:>16}  a token, f16", "keys and values", bytes(self.cache_bytes))
    }
}

fn text(write: impl FnOnce(&mut String) -> std::fmt::Result) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out);
    out
}

/// Parameters by part, in the order of the computation.
fn parameters(config: &ModelConfig) -> Vec<(&'static str, u64)> {
    let d = &config.decoder;
    let width = d.hidden_size as u64;
    let (queries, keys) = heads(d);
    let table = d.vocab_size as u64 * width;
    let (layers, head) = (d.num_hidden_layers as u64, d.head_dim() as u64);
    let vectors = match d.kind {
        // Two norms a layer and one after the last; Qwen2 also has biases on queries, keys and values.
        DecoderKind::Llama => (2 * layers + 1) * width,
        DecoderKind::Qwen2 => (2 * layers + 1) * width + layers * (queries + 2 * keys),
        // Norms have biases too, and so has every linear layer.
        DecoderKind::Phi => {
            let norms = 2 * width + 4 * head;
            let biases = queries + 2 * keys + width + d.intermediate_size as u64 + width;
            layers * (norms + biases) + 2 * width
        }
    };
    let mut parts = vec![("token table", table), ("decoder layers", linears(d) + vectors)];
    if !d.tie_word_embeddings {
        let bias = if d.kind == DecoderKind::Phi { d.vocab_size as u64 } else { 0 };
        parts.push(("head", table + bias));
    }
    if config.bit_groups() {
        // Bits in with a bias, the mask, rows and columns, and the classes out with a bias.
        let (bits, classes) = (config.code_bits() as u64, config.code_classes() as u64);
        parts.push(("code bits", (bits + 2 + 2 * config.grid() as u64) * width + (width + 1) * classes));
    }
    if let Some(vision) = &config.vision {
        let features = vision.hidden_size as u64;
        parts.push(("projector", features * width + width + width * width + width));
        parts.push(("vision encoder", vision_parameters(vision)));
    }
    let (encoder, decoder) = tokenizer(&config.image_tokenizer, 1);
    parts.extend([("image encoder", encoder.parameters), ("image decoder", decoder.parameters)]);
    parts
}

/// Widths of all queries and of all keys.
fn heads(d: &DecoderConfig) -> (u64, u64) {
    let head = d.head_dim() as u64;
    (d.num_attention_heads as u64 * head, d.num_key_value_heads as u64 * head)
}

/// Weights of the matrices of all decoder layers.
fn linears(d: &DecoderConfig) -> u64 {
    let (queries, keys) = heads(d);
    let attention = 2 * queries + 2 * keys;
    d.num_hidden_layers as u64 * d.hidden_size as u64 * (attention + feed_forward(d))
}

/// Weights of a layer's feed-forward network for each entry of the residual stream: two matrices, or three with a gate.
fn feed_forward(d: &DecoderConfig) -> u64 {
    let matrices = match d.kind {
        DecoderKind::Qwen2 | DecoderKind::Llama => 3,
        DecoderKind::Phi => 2,
    };
    matrices * d.intermediate_size as u64
}

/// Parameters of the tower without its last layer and head, which nothing reads.
fn vision_parameters(v: &VisionConfig) -> u64 {
    let [width, hidden, layers] =
        [v.hidden_size, v.intermediate_size, v.num_hidden_layers - 1].map(|x| x as u64);
    let patch = (v.num_channels * v.patch_size.pow(2)) as u64;
    let layer = 4 * (width + 1) * width + 2 * width * hidden + width + hidden + 4 * width;
    layers * layer + (patch + 1) * width + v.position_grid().pow(2) as u64 * width
}

fn vision_flops(v: &VisionConfig, tokens: usize) -> f64 {
    let [width, hidden, tokens, layers] =
        [v.hidden_size, v.intermediate_size, tokens, v.num_hidden_layers - 1].map(|x| x as f64);
    let patch = (v.num_channels * v.patch_size.pow(2)) as f64;
    let layer = 2.0 * width * (4.0 * width + 2.0 * hidden) + 4.0 * width * tokens;
    tokens * (layers * layer + 2.0 * patch * width)
}

/// One branch of guidance: its fixed prefix and its live rows.
#[derive(Clone, Copy)]
struct Branch {
    prefix: f64,
    live: f64,
}

impl Branch {
    fn length(self) -> f64 {
        self.prefix + self.live
    }
}

fn flops(config: &ModelConfig, task: Task, steps: usize, text_tokens: usize) -> Flops {
    let d = &config.decoder;
    let width = d.hidden_size as f64;
    let layers = d.num_hidden_layers as f64;
    let (queries, _) = heads(d);
    let row = 2.0 * linears(d) as f64;
    // Scores and mixtures of one row over one key, in all layers.
    let pair = layers * 4.0 * queries as f64;
    let full_head =
        2.0 * width * if config.bit_groups() { config.code_classes() } else { d.vocab_size } as f64;
    let text_head = 2.0 * width * d.vocab_size as f64;
    let code_head = 2.0 * width * config.code_classes() as f64;
    let prefill = |n: f64| n * row + pair * n * (n + 1.0) / 2.0;

    let codes = config.image_codes();
    let (n, text) = (codes as f64, text_tokens as f64);
    // What the decoder sees of a picture: features, or its codes.
    let semantic = config.vision.as_ref().map_or(codes, |vision| vision.tokens(config.image_size));
    let encoder = config.vision.as_ref().map_or(0.0, |vision| {
        let projector = 2.0 * width * (vision.hidden_size as f64 + width);
        vision_flops(vision, semantic) + semantic as f64 * projector
    });
    let (encode, decode) = tokenizer(&config.image_tokenizer, config.image_size);

    // im_start, task, "user", "\n", im_end, "\n", im_start, "assistant", "\n"; or t2i, bos and eos.
    let template = if config.special_tokens.chat.is_some() { 9.0 } else { 3.0 };
    // soi and eoi of the target are live as well as its codes.
    let live = n + 2.0;
    let branch = |prefix| Branch { prefix, live };
    let images = template + semantic as f64 + 2.0 + n + 2.0;
    let (branches, images) = match task {
        Task::Generate => (vec![branch(template + text), branch(template)], decode.flops),
        Task::Edit { branches } => {
            let all = [branch(images + text), branch(images), branch(template)];
            (all[..branches].to_vec(), encoder + encode.flops + decode.flops)
        }
        Task::Describe => {
            let start = template + semantic as f64 + 2.0 + text;
            let (mut naive, mut cached) = (0.0, prefill(start) + text_head);
            for step in 0..steps {
                let length = start + step as f64;
                naive += length * (row + text_head + pair * length);
                // The first token comes from the prefill.
                if step > 0 {
                    cached += row + text_head + pair * length;
                }
            }
            let images = if config.vision.is_some() { encoder } else { encode.flops };
            return Flops { naive, cached, images };
        }
    };

    let longest = branches.iter().map(|b| b.length()).fold(0.0, f64::max);
    let naive = (steps * branches.len()) as f64 * longest * (row + full_head + pair * longest);
    let masked: f64 = masked_counts(codes, steps).into_iter().map(|m| m as f64).sum();
    // What a row does in the last layer after its keys and values are there.
    let last_row = 2.0 * width * (2.0 * queries as f64 + feed_forward(d) as f64);
    let cached = branches.iter().map(|b| {
        let all_rows = steps as f64 * b.live * (row + pair * b.length());
        let skipped = (steps as f64 * b.live - masked) * (last_row + pair / layers * b.length());
        prefill(b.prefix) + all_rows - skipped + masked * code_head
    });
    Flops { naive, cached: cached.sum(), images }
}

/// Codes that are masked when each step begins.
fn masked_counts(codes: usize, steps: usize) -> Vec<usize> {
    let next = |&masked: &(usize, usize)| {
        let (step, masked) = masked;
        Some((step + 1, still_masked(codes, masked, step, steps)))
    };
    std::iter::successors(Some((1, codes)), next).take(steps).map(|(_, masked)| masked).collect()
}

/// Parameters and operations of a network on one image.
#[derive(Clone, Copy, Default)]
struct Network {
    parameters: u64,
    flops: f64,
}

impl Network {
    /// A convolution with bias whose output has `pixels` pixels.
    fn conv(&mut self, inputs: usize, outputs: usize, kernel: usize, pixels: f64) {
        let weights = (inputs * outputs * kernel * kernel) as u64;
        self.parameters += weights + outputs as u64;
        self.flops += 2.0 * weights as f64 * pixels;
    }

    fn norm(&mut self, channels: usize) {
        self.parameters += 2 * channels as u64;
    }

    /// Two normalised 3 x 3 convolutions and a skip.
    fn block(&mut self, inputs: usize, outputs: usize, pixels: f64) {
        self.norm(inputs);
        self.conv(inputs, outputs, 3, pixels);
        self.norm(outputs);
        self.conv(outputs, outputs, 3, pixels);
        if inputs != outputs {
            self.conv(inputs, outputs, 1, pixels);
        }
    }

    /// Block, attention over all pixels, block.
    fn middle(&mut self, channels: usize, pixels: f64) {
        self.block(channels, channels, pixels);
        self.norm(channels);
        (0..4).for_each(|_| self.conv(channels, channels, 1, pixels));
        self.flops += 4.0 * channels as f64 * pixels * pixels;
        self.block(channels, channels, pixels);
    }
}

/// The image tokenizer's encoder and decoder on an image of `side` pixels a side.
fn tokenizer(t: &TokenizerConfig, side: usize) -> (Network, Network) {
    let pixels = |level: usize| (side as f64 / (t.patch << level) as f64).powi(2);
    let last = t.encoder_ch_mult.len() - 1;

    let mut encoder = Network::default();
    let mut channels = t.ch;
    encoder.conv(t.in_ch * t.patch.pow(2), channels, 3, pixels(0));
    for (level, (mult, blocks)) in t.encoder_ch_mult.iter().zip(&t.encoder_num_res_blocks).enumerate() {
        for _ in 0..*blocks {
            encoder.block(channels, t.ch * mult, pixels(level));
            channels = t.ch * mult;
        }
        if level < last {
            encoder.conv(channels, channels, 3, pixels(level + 1));
        }
    }
    encoder.middle(channels, pixels(last));
    encoder.norm(channels);
    encoder.conv(channels, t.z_channels, 3, pixels(last));
    encoder.conv(t.z_channels, t.z_channels, 1, pixels(last));

    let mut decoder = Network::default();
    let mut channels = t.ch * t.decoder_ch_mult[last];
    decoder.conv(t.z_channels, t.z_channels, 1, pixels(last));
    decoder.conv(t.z_channels, channels, 3, pixels(last));
    decoder.middle(channels, pixels(last));
    for (level, (mult, blocks)) in t.decoder_ch_mult.iter().zip(&t.decoder_num_res_blocks).enumerate().rev() {
        for _ in 0..*blocks {
            decoder.block(channels, t.ch * mult, pixels(level));
            channels = t.ch * mult;
        }
        if level > 0 {
            decoder.conv(channels, channels, 3, pixels(level - 1));
        }
    }
    decoder.norm(channels);
    decoder.conv(channels, t.out_ch * t.patch.pow(2), 3, pixels(0));
    (encoder, decoder)
}

/// Floating-point operations of encoding an image of `side` pixels a side to codes and decoding it again.
pub fn tokenizer_flops(config: &TokenizerConfig, side: usize) -> f64 {
    let (encoder, decoder) = tokenizer(config, side);
    encoder.flops + decoder.flops
}

/// With commas: 1,555,896,320.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// With a decimal unit: 3.11 GB.
fn bytes(count: u64) -> String {
    scaled(count as f64, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// With a decimal unit: 69.0 TFLOP.
fn operations(count: f64) -> String {
    scaled(count, &["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"])
}

fn scaled(mut value: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value >= 100.0 || unit == 0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::Decoder;
    use burn::module::Module;
    use burn::tensor::Device;

    fn cost(preset: &str, task: Task, steps: usize, text: usize) -> Cost {
        Cost::of(&ModelConfig::preset(preset).unwrap(), task, steps, text).unwrap()
    }

    fn part(cost: &Cost, name: &str) -> u64 {
        cost.parameters.iter().find(|(part, _)| *part == name).unwrap().1
    }

    #[track_caller]
    fn near(found: f64, wanted: f64) {
        within(0.01, found, wanted);
    }

    #[track_caller]
    fn within(bound: f64, found: f64, wanted: f64) {
        assert!((found / wanted - 1.0).abs() < bound, "{found:e}, wanted {wanted:e}");
    }

    /// Counted in the published checkpoints.
    #[test]
    fn published_parameters() {
        let cost = cost("unigen-1.5b", Task::Generate, 50, 128);
        assert_eq!(part(&cost, "token table") + part(&cost, "decoder layers"), 1_555_896_320);
        assert_eq!(part(&cost, "projector"), 4_131_840);
        assert_eq!(part(&cost, "image encoder"), 55_439_171);
        assert_eq!(part(&cost, "image decoder"), 39_947_833);
        assert_eq!(cost.cache_bytes, 28_672);
    }

    /// Counted in a Show-o of the published sizes, and a step of Show-o-512 worked out by hand.
    #[test]
    fn published_show_o() {
        let cost = cost("show-o-512", Task::Generate, 1, 16);
        let decoder = part(&cost, "token table") + part(&cost, "decoder layers") + part(&cost, "head");
        assert_eq!(decoder, 1_448_176_770);
        // Both branches of guidance.
        within(0.03, cost.flops.cached, 2.0 * 2.72e12);
    }

    #[test]
    fn every_architecture_has_the_parameters_that_are_counted() {
        let mut config = ModelConfig::preset("nano").unwrap();
        for kind in [DecoderKind::Qwen2, DecoderKind::Llama, DecoderKind::Phi] {
            let (decoder, tied) = (&config.decoder, kind != DecoderKind::Phi);
            config.decoder = DecoderConfig { kind, tie_word_embeddings: tied, ..decoder.clone() };
            let counted = parameters(&config)
                .into_iter()
                .filter(|(part, _)| ["token table", "decoder layers", "head"].contains(part));
            let counted: u64 = counted.map(|(_, count)| count).sum();
            assert_eq!(
                counted,
                Decoder::new(&config.decoder, &Device::flex()).num_params() as u64,
                "{kind:?}"
            );
        }
    }

    /// Worked out by hand for the published sizes.
    #[test]
    fn published_operations() {
        let generate = cost("unigen-1.5b", Task::Generate, 50, 128).flops;
        near(generate.naive, 125.6e12);
        near(generate.cached, 69.0e12);
        let mut config = ModelConfig::preset("unigen-1.5b").unwrap();
        config.image_size = 384;
        let edit = Cost::of(&config, Task::Edit { branches: 2 }, 50, 128).unwrap().flops;
        near(edit.naive, 700.2e12);
        near(edit.cached, 177.3e12);
        let describe = cost("unigen-1.5b", Task::Describe, 128, 130).flops;
        near(describe.naive, 391e12);
        // Known to two digits.
        within(0.03, describe.cached, 2.83e12);
    }

    /// Worked out by hand for the published sizes.
    #[test]
    fn published_image_operations() {
        for (side, encode, decode) in [(256, 355e9, 301e9), (384, 800e9, 677e9), (512, 1422e9, 1205e9)] {
            let (encoder, decoder) = tokenizer(&TokenizerConfig::default(), side);
            near(encoder.flops, encode);
            near(decoder.flops, decode);
        }
        within(0.02, cost("unigen-1.5b", Task::Describe, 1, 1).flops.images, 0.64e12);
    }

    #[test]
    fn schedule() {
        let mean = |n, steps| masked_counts(n, steps).iter().sum::<usize>() as f64 / (n * steps) as f64;
        assert!((mean(256, 50) - 0.644).abs() < 1e-3 && (mean(576, 50) - 0.646).abs() < 1e-3);
        let counts = masked_counts(4, 50);
        assert!(counts[49] == 1 && counts.is_sorted_by(|a, b| a >= b));
    }

    #[test]
    fn report() {
        for preset in ModelConfig::PRESETS {
            let edits = ModelConfig::preset(preset).unwrap().can(Ability::Edit);
            let edit = edits.then_some(Task::Edit { branches: 3 });
            for task in [Some(Task::Generate), edit, Some(Task::Describe)].into_iter().flatten() {
                let cost = cost(preset, task, 50, 128);
                assert!(cost.flops.cached < cost.flops.naive);
                println!("{preset}\n{}", cost.report());
            }
        }
        assert!(cost("unigen-1.5b", Task::Generate, 50, 128).report().contains("69.0 TFLOP  1.82x"));
    }

    #[test]
    fn impossible_jobs() {
        let mut config = ModelConfig::preset("nano").unwrap();
        assert!(Cost::of(&config, Task::Generate, 0, 1).is_err());
        assert!(Cost::of(&config, Task::Generate, 1, usize::MAX).is_err());
        assert!(Cost::of(&config, Task::Edit { branches: 4 }, 1, 1).is_err());
        config.vision = None;
        assert!(Cost::of(&config, Task::Describe, 1, 1).is_err());
        assert!(Cost::of(&config, Task::Generate, 1, 1).is_ok());
    }
}
