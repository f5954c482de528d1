//! Parity with published models: folders of config.json, model.safetensors and io.safetensors.

use anyhow::{Context, Result, bail, ensure};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pollster::FutureExt;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;
use unigen_core::config::{Config, DecoderConfig, ModelConfig, SpecialTokens, TokenizerConfig, VisionConfig};
use unigen_core::decoder::Decoder;
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::model::UniGen;
use unigen_core::ops;
use unigen_core::sampling::{self, Branch, Flow, MaskedDecoding, Noise, Order, Prefix, StepReport};
use unigen_core::sequence::AttentionLayout;
use unigen_core::vision::{Patches, Siglip, Siglip2};
use unigen_core::weights::{Checkpoint, keys, load};

use unigen_rewards::clip::{Clip, ClipConfig, OpenClip};
use unigen_runs::floats;
use unigen_training::optimizer::{AdamW, HostGradients, Step};
use unigen_training::rl::{Objective, Rollout, passes};
use unigen_training::train::scalar;

/// The largest size in a config.json.
const MAX_SIZE: u64 = 1 << 24;

/// One compared tensor.
pub struct Comparison {
    /// Name, as in io.safetensors; `[missing]` follows where that file lacks it, `[unknown]` where the model does.
    pub tensor: String,
    /// Largest absolute difference, or for ids the number that differ; NaN where one is, or where only one side has the
    /// tensor.
    pub difference: f64,
    /// Whether it is within the bound.
    pub ok: bool,
}

/// Compares everything in `folder`; `report` gets each comparison as soon as it is made.
///
/// # Errors
/// Name the tensor, or the key of config.json, that is missing, damaged, or does not fit the others.
pub fn verify(folder: &Path, device: &Device, report: &mut dyn FnMut(Comparison)) -> Result<()> {
    let config = folder.join("config.json");
    let text = std::fs::read(&config).with_context(|| format!("cannot read {}", config.display()))?;
    let config: Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", config.display()))?;
    let mut case = Case {
        config,
        model: Checkpoint::open(&folder.join("model.safetensors"))?,
        io: Checkpoint::open(&folder.join("io.safetensors"))?,
        device: device.clone(),
        report,
    };
    match case.kind()? {
        "qwen2" => case.qwen2(),
        "unigen" => case.unigen(),
        "train" => case.train(),
        "siglip" => case.siglip(),
        "siglip2" => case.siglip2(),
        "grpo" => case.grpo(),
        "magvitv2" => case.magvitv2(),
        "clip" | "openclip" => case.clip(),
        kind => bail!("parity of kind {kind} is not there yet"),
    }
}

struct Case<'a> {
    config: Value,
    model: Checkpoint,
    io: Checkpoint,
    device: Device,
    report: &'a mut dyn FnMut(Comparison),
}

impl Case<'_> {
    fn kind(&self) -> Result<&'static str> {
        let has = |key: &str| self.config.get(key).is_some();
        Ok(match self.config.get("model_type").and_then(Value::as_str) {
            Some("qwen2") if has("guidance") => "unigen",
            Some("qwen2") if has("adamw") => "train",
            Some("qwen2") if has("group") => "grpo",
            Some("qwen2") => "qwen2",
            Some("siglip2_vision_model") => "siglip2",
            Some("siglip_vision_model") => "siglip",
            Some("clip") => "clip",
            None if has("z_channels") => "magvitv2",
            None if has("vision_cfg") || has("embed_dim") => "openclip",
            other => bail!("config.json: unknown model_type {other:?}"),
        })
    }

    fn number(&self, key: &str) -> Result<f64> {
        self.config.get(key).and_then(Value::as_f64).with_context(|| format!("config.json: no number {key}"))
    }

    /// A number of things, at least one.
    fn size(&self, key: &str) -> Result<usize> {
        let size = self.config.get(key).and_then(Value::as_u64).filter(|size| (1..=MAX_SIZE).contains(size));
        let size =
            size.with_context(|| format!("config.json: {key} is no whole number from 1 to {MAX_SIZE}"))?;
        Ok(size as usize)
    }

    /// A token of the decoder's.
    fn token(&self, key: &str, config: &DecoderConfig) -> Result<u32> {
        let vocabulary = config.vocab_size;
        let token = self.config.get(key).and_then(Value::as_u64).filter(|&token| token < vocabulary as u64);
        Ok(token.with_context(|| format!("config.json: {key} is no token below {vocabulary}"))? as u32)
    }

    /// The shape of a tensor of `D` dimensions, none of which is 0.
    fn shape<const D: usize>(&self, name: &str) -> Result<[usize; D]> {
        let shape = self.io.shape(name).with_context(|| format!("io.safetensors: {name}: no such tensor"))?;
        match <[usize; D]>::try_from(shape) {
            Ok(sizes) if !sizes.contains(&0) => Ok(sizes),
            _ => bail!("io.safetensors: {name}: shape {shape:?}, wanted {D} dimensions that are not 0"),
        }
    }

    /// A tensor of any shape of `D` dimensions.
    fn input<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        let shape = self.shape::<D>(name)?;
        Ok(Tensor::from_data(TensorData::new(self.values(name, &shape)?, shape), &self.device))
    }

    /// The values of a tensor that has this shape.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let (values, found) = self.io.tensor(name)?;
        ensure!(found == shape, "io.safetensors: {name}: shape {found:?}, wanted {shape:?}");
        Ok(values)
    }

    /// The whole numbers of a tensor that has this shape; all are in `range`.
    fn ints(&self, name: &str, shape: &[usize], range: Range<i64>) -> Result<Vec<i64>> {
        let (values, found) = self.io.ints(name)?;
        ensure!(found == shape, "io.safetensors: {name}: shape {found:?}, wanted {shape:?}");
        match values.iter().find(|value| !range.contains(value)) {
            Some(value) => {
                bail!("io.safetensors: {name}: {value} is not from {} to {}", range.start, range.end - 1)
            }
            None => Ok(values),
        }
    }

    /// A tensor of one value.
    fn value(&self, name: &str) -> Result<f64> {
        let (values, shape) = self.io.tensor(name)?;
        match values[..] {
            [value] => Ok(f64::from(value)),
            _ => bail!("io.safetensors: {name}: shape {shape:?}, wanted one value"),
        }
    }

    fn push(&mut self, tensor: impl Into<String>, difference: f64, bound: f64) {
        // A NaN is not within any bound.
        (self.report)(Comparison { tensor: tensor.into(), difference, ok: difference <= bound });
    }

    fn compare<const D: usize>(&mut self, name: &str, found: Tensor<D>, bound: f64) -> Result<()> {
        self.compare_rows(name, found, bound, |_| true)
    }

    /// Compares the rows (all but the last dimension) that `keep` wants.
    fn compare_rows<const D: usize>(
        &mut self,
        name: &str,
        found: Tensor<D>,
        bound: f64,
        keep: impl Fn(usize) -> bool,
    ) -> Result<()> {
        let shape = found.dims();
        let wanted = self.values(name, &shape)?;
        let width = shape.last().copied().unwrap_or(1);
        let kept = |values: Vec<f32>| -> Vec<f32> {
            values.into_iter().enumerate().filter(|(i, _)| keep(i / width)).map(|(_, value)| value).collect()
        };
        let difference = difference(&kept(floats(found)?), &kept(wanted));
        self.push(name, difference, bound);
        Ok(())
    }

    /// Compares values of this shape that were found in one way of several, which `label` tells apart.
    fn compare_values(
        &mut self,
        name: &str,
        label: &str,
        found: &[f32],
        shape: &[usize],
        bound: f64,
    ) -> Result<()> {
        let difference = difference(found, &self.values(name, shape)?);
        self.push(format!("{name}[{label}]"), difference, bound);
        Ok(())
    }

    fn compare_ids(&mut self, name: &str, found: &[i64], wanted: &[i64]) {
        let differ =
            found.iter().zip(wanted).filter(|(a, b)| a != b).count() + found.len().abs_diff(wanted.len());
        self.push(name, differ as f64, 0.0);
    }

    fn decoder_config(&self) -> Result<DecoderConfig> {
        let mut config: DecoderConfig =
            serde_json::from_value(self.config.clone()).context("config.json: not a Qwen2 decoder")?;
        config.validate().context("config.json")?;
        keys::untie_own_head(&mut config, &self.model)?;
        Ok(config)
    }

    fn qwen2(&mut self) -> Result<()> {
        let config = self.decoder_config()?;
        let [batch, length] = self.shape::<2>("input_ids")?;
        let ids = self.ints("input_ids", &[batch, length], 0..config.vocab_size as i64)?;
        let omni = self.ints("omni_allow", &[batch, length, length], 0..2)?;
        let decoder = load(Decoder::new(&config, &self.device), &self.model, keys::qwen2)?;
        let positions =
            decoder.positions(&(0..batch * length).map(|r| r % length).collect::<Vec<_>>(), &self.device);
        let x = decoder.embed(int_tensor(&ids, &self.device));
        let causal: Vec<i64> =
            (0..batch * length * length).map(|i| (i % length <= i / length % length) as i64).collect();
        let run = |allow: &[i64]| -> Result<Tensor<2>> {
            Ok(decoder.forward(x.clone(), &positions, &layout(allow, length)?))
        };
        let logits = |hidden: Tensor<2>| {
            decoder.logits(hidden, 0..config.vocab_size).reshape([batch, length, config.vocab_size])
        };
        let omni = run(&omni).context("io.safetensors: omni_allow")?;
        self.compare("logits_causal", logits(run(&causal)?), 1e-3)?;
        self.compare("hidden_omni", omni.clone().reshape([batch, length, config.hidden_size]), 1e-3)?;
        self.compare("logits_omni", logits(omni), 1e-3)
    }

    fn model_config(&self) -> Result<ModelConfig> {
        let codes = self.size("codebook_size")?;
        ensure!(
            codes > 1 && codes.is_power_of_two(),
            "config.json: codebook_size is {codes}, no power of two above 1"
        );
        let bits = codes.ilog2() as usize;
        // Special tokens and the image tokenizer play no part in parity folders.
        let config = ModelConfig {
            decoder: self.decoder_config()?,
            vision: None,
            text_vocab: self.size("text_vocab")?,
            code_groups: vec![bits],
            image_tokenizer: TokenizerConfig { z_channels: bits, ..TokenizerConfig::default() },
            special_tokens: SpecialTokens::FIRST,
            ..ModelConfig::preset("unigen-1.5b")?
        };
        config.validate().context("config.json")?;
        Ok(config)
    }

    fn unigen(&mut self) -> Result<()> {
        let config = self.model_config()?;
        let vocabulary = 0..config.decoder.vocab_size as i64;
        let (pad, soi, eoi) = (
            self.number("pad")? as i64,
            self.token("soi", &config.decoder)?,
            self.token("eoi", &config.decoder)?,
        );
        let (steps, tokens) = (self.size("steps")?, self.size("num_image_tokens")?);
        let [images, _] = self.shape::<2>("cond_ids")?;
        let all = [steps, images, tokens, config.codebook_size()];
        let codes = 0..config.codebook_size() as i64;
        let noise = Recorded {
            tokens: self.values("gumbel_tokens", &all)?,
            confidence: self.values("gumbel_confidence", &all[..3])?,
            images,
            positions: tokens,
            classes: config.codebook_size(),
        };
        let step_ids = self.ints("step_ids", &all[..3], codes.clone())?;
        let step_masked = self.ints("step_masked", &all[..3], 0..2)?;
        let final_ids = self.ints("final_ids", &all[1..3], codes)?;
        let texts = |name: &str| -> Result<Vec<Vec<i64>>> {
            let [_, length] = self.shape::<2>(name)?;
            let ids = self.ints(name, &[images, length], vocabulary.clone())?;
            let texts = ids.chunks(length).map(|row| {
                let text: Vec<i64> = row.iter().copied().skip_while(|&id| id == pad).collect();
                ensure!(!text.is_empty(), "io.safetensors: {name}: a row has nothing but padding");
                Ok(text)
            });
            texts.collect()
        };
        let (cond, uncond) = (texts("cond_ids")?, texts("uncond_ids")?);

        let model = load(UniGen::new(&config, &self.device), &self.model, keys::unigen)?;
        let prefixes = |texts: &[Vec<i64>]| -> Vec<Prefix> {
            let rows = texts.iter().map(|text| model.llm.embed(int_tensor(text, &self.device)));
            rows.map(Prefix::causal).collect()
        };
        let branches =
            sampling::text_guidance(self.number("guidance")? as f32, prefixes(&cond), prefixes(&uncond));
        for path in [sampling::Path::Cached, sampling::Path::Naive] {
            let label = format!("{path:?}").to_lowercase();
            let settings = MaskedDecoding {
                steps,
                order: Order::Confidence { temperature: self.number("temperature")? as f32 },
                path,
            };
            self.first_logits(&model, &branches, [images, tokens], [soi, eoi], settings, &label)?;
            let (mut ids, mut masked) = (Vec::new(), Vec::new());
            let targets = vec![vec![None; tokens]; images];
            let on_step = async |report: StepReport<'_>| {
                let Ok(step) = report.preview().await else { return Flow::Cancel };
                ids.extend(step.codes.iter().flatten().map(|&c| c as i64));
                masked.extend(step.masked.iter().flatten().map(|&m| m as i64));
                Flow::Continue
            };
            let result =
                settings.decode(&model, &branches, targets, [soi, eoi], &noise, on_step).block_on()?;
            let result: Vec<i64> = result.iter().flatten().map(|&c| c as i64).collect();
            self.compare_ids(&format!("step_ids[{label}]"), &ids, &step_ids);
            // The last re-masking is never used; what it masks depends on a rounding of cos(pi / 2).
            masked.truncate((steps - 1) * images * tokens);
            let wanted = &step_masked[..(steps - 1) * images * tokens];
            self.compare_ids(&format!("step_masked[{label}]"), &masked, wanted);
            self.compare_ids(&format!("final_ids[{label}]"), &result, &final_ids);
        }
        Ok(())
    }

    fn first_logits(
        &mut self,
        model: &UniGen,
        branches: &[Branch],
        [images, tokens]: [usize; 2],
        delimiters: [u32; 2],
        settings: MaskedDecoding,
        label: &str,
    ) -> Result<()> {
        let logits = settings.first_logits(model, branches, &vec![vec![None; tokens]; images], delimiters)?;
        let shape = [images, tokens, model.config().codebook_size()];
        self.compare_values("guided_logits_step0", label, &floats(logits)?, &shape, 1e-3)
    }

    fn train(&mut self) -> Result<()> {
        let device = self.device.clone().autodiff();
        let config = self.model_config()?;
        let [batch, length] = self.shape::<2>("input_ids")?;
        let tokens = self.size("num_image_tokens")?;
        let ids = self.ints("input_ids", &[batch, length], 0..config.decoder.vocab_size as i64)?;
        let codes = self.ints("codes", &[batch, tokens], 0..config.codebook_size() as i64)?;
        let masked = self.ints("masked", &[batch, tokens], 0..2)?;
        let allow = self.ints("allow", &[batch, length, length], 0..2)?;
        let layout = layout(&allow, length).context("io.safetensors: allow")?;
        let picked: Vec<usize> = (0..batch * tokens).filter(|&i| masked[i] == 1).collect();
        ensure!(!picked.is_empty(), "io.safetensors: masked: no code is masked, so there is no loss");
        let soi = i64::from(self.token("soi", &config.decoder)?);
        let first = ids[..length].iter().position(|&id| id == soi).map(|soi| soi + 1);
        let first = first.filter(|first| first + tokens <= length);
        let first = first
            .with_context(|| format!("io.safetensors: input_ids: no soi with {tokens} codes after it"))?;
        let history = self.values("loss_history", &self.shape::<1>("loss_history")?)?;

        let mut model = load(UniGen::new(&config, &device), &self.model, keys::unigen)?;
        let rows: Vec<i64> =
            picked.iter().map(|i| (i / tokens * length + first + i % tokens) as i64).collect();
        let labels: Vec<u32> = picked.iter().map(|&i| codes[i] as u32).collect();
        let places: Vec<usize> = (0..batch * length).map(|r| r % length).collect();
        let hidden = |model: &UniGen| {
            let positions = model.llm.positions(&places, &device);
            let hidden = model.llm.forward(model.llm.embed(int_tensor(&ids, &device)), &positions, &layout);
            hidden.select(0, int_tensor(&rows, &device))
        };
        let loss = |model: &UniGen| ops::cross_entropy(model.code_logits(hidden(model)), labels.clone());
        let all = model.llm.logits(hidden(&model), 0..config.decoder.vocab_size);
        let in_vocabulary: Vec<u32> = labels.iter().map(|l| l + config.text_vocab as u32).collect();
        let full = scalar(ops::cross_entropy(all, in_vocabulary)?)?;
        let wanted = self.value("loss_full_vocabulary")?;
        self.push("loss_full_vocabulary", (full - wanted).abs(), 1e-5);

        let hyper = &self.config["adamw"];
        let number = |v: &Value| v.as_f64().context("config.json: adamw lacks a number");
        let betas = [number(&hyper["betas"][0])?, number(&hyper["betas"][1])?];
        let learning_rate = number(&hyper["lr"])?;
        let mut optimizer = AdamW::new(betas, number(&hyper["eps"])?, number(&hyper["weight_decay"])?);
        let mut losses = Vec::with_capacity(history.len());
        for step in 0..history.len() {
            let loss = loss(&model)?;
            let value = scalar(loss.clone())?;
            losses.push(value as f32);
            let gradients = HostGradients::read(&model, loss.backward())?;
            if step == 0 {
                let wanted = self.value("loss_code_columns")?;
                self.push("loss_code_columns", (value - wanted).abs(), 1e-5);
                self.compare_gradients(gradients.clone())?;
            }
            let step = Step { learning_rate, gradient_scale: 1.0, ema_decay: 0.0 };
            model = optimizer.step(model, gradients, step)?;
        }
        self.push("loss_history", difference(&losses, &history), 1e-5);
        self.compare_parameters(&model, "after")
    }

    /// GRPO on stored rollouts: loss, divergence and gradients from a replay in one pass and in several.
    fn grpo(&mut self) -> Result<()> {
        let (plain, device) = (self.device.clone(), self.device.clone().autodiff());
        let config = self.model_config()?;
        let delimiters = [self.token("soi", &config.decoder)?, self.token("eoi", &config.decoder)?];
        let (group, tokens, steps) =
            (self.size("group")?, self.size("num_image_tokens")?, self.size("steps")?);
        let [_, length] = self.shape::<2>("prompt_ids")?;
        let prompts = self.ints("prompt_ids", &[group, length], 0..config.decoder.vocab_size as i64)?;
        let prompts: Vec<&[i64]> = prompts.chunks(length).collect();
        let codes = self.ints("final_codes", &[group, tokens], 0..config.codebook_size() as i64)?;
        let fixed = self.ints("newly_fixed", &[steps, group, tokens], 0..2)?;
        let step_inputs =
            self.ints("step_inputs", &[steps, group, tokens], 0..config.decoder.vocab_size as i64)?;
        let advantages = self.values("advantages", &[group])?;

        let model = load(UniGen::new(&config, &device), &self.model, keys::unigen)?;
        let of_reference = |name: &str| keys::unigen(name).map(|key| format!("reference.{key}"));
        let reference = load(UniGen::new(&config, &plain), &self.model, of_reference)?;
        let prefix = |model: &UniGen, group: usize, device: &Device| {
            Ok(Prefix::causal(model.llm.embed(int_tensor(prompts[group], device))))
        };
        let fixed_at = |sample: usize, position: usize| {
            (0..steps).find(|step| fixed[(step * group + sample) * tokens + position] == 1)
        };
        let rollouts = (0..group).map(|sample| {
            let at = (0..tokens).map(|position| {
                fixed_at(sample, position)
                    .with_context(|| format!("io.safetensors: newly_fixed: {position} of {sample} never is"))
            });
            Ok(Rollout {
                group: prompts.iter().position(|prompt| *prompt == prompts[sample]).unwrap_or(sample),
                codes: codes[sample * tokens..][..tokens].iter().map(|&code| code as u32).collect(),
                fixed_at: at.collect::<Result<_>>()?,
                log_probs: vec![0.0; tokens],
            })
        });
        let rollouts: Vec<Rollout> = rollouts.collect::<Result<_>>()?;
        let ids = |code: Option<u32>| code.map_or(config.mask_token_id(), |c| config.text_vocab + c as usize);
        let inputs = (0..steps).flat_map(|step| rollouts.iter().flat_map(move |rollout| rollout.known(step)));
        let inputs: Vec<i64> = inputs.map(|code| ids(code) as i64).collect();
        self.compare_ids("step_inputs", &inputs, &step_inputs);

        let objective = Objective { beta: self.number("beta")?, clip: 0.0 };
        let all: Vec<usize> = (0..steps).collect();
        for (label, blocks) in [("whole", usize::MAX), ("parts", group)] {
            let [mut found, mut of_reference] = [vec![0.0; group * tokens], vec![0.0; group * tokens]];
            let (mut loss, mut kl) = (0.0, 0.0);
            let mut gradients = HostGradients::default();
            for pass in passes(&rollouts, &all, blocks, &vec![true; group]) {
                let now =
                    pass.replay(&model, &rollouts, 1.0, delimiters, |g| prefix(&model, g, &device), &device)?;
                let then = pass.replay(
                    &reference,
                    &rollouts,
                    1.0,
                    delimiters,
                    |g| prefix(&reference, g, &plain),
                    &plain,
                )?;
                let (values, then) = (floats(now.log_probs.clone().detach())?, floats(then.log_probs)?);
                for ((&(sample, position), &value), &then) in pass.tokens.iter().zip(&values).zip(&then) {
                    found[sample * tokens + position] = value;
                    of_reference[sample * tokens + position] = then;
                }
                let tensor = |values: Vec<f32>| Tensor::<1>::from_floats(values.as_slice(), &device);
                let count = pass.tokens.len();
                let terms = objective.terms(
                    now.log_probs,
                    tensor(values),
                    tensor(then),
                    tensor(pass.tokens.iter().map(|&(sample, _)| advantages[sample]).collect()),
                    tensor(vec![1.0 / (group * tokens) as f32; count]),
                );
                loss += scalar(terms.loss.clone())?;
                kl += scalar(terms.kl)?;
                gradients = gradients.plus(HostGradients::read(&model, terms.loss.backward())?);
            }
            for (name, found) in [("log_probs", found), ("reference_log_probs", of_reference)] {
                self.compare_values(name, label, &found, &[group, tokens], 1e-4)?;
            }
            for (name, found) in [("loss", loss), ("kl", kl)] {
                let wanted = self.value(name)?;
                self.push(format!("{name}[{label}]"), (found - wanted).abs(), 1e-5);
            }
            if label == "parts" {
                self.compare_gradients(gradients)?;
            }
        }
        Ok(())
    }

    /// Compares the values of every parameter with `PREFIX.NAME`.
    fn compare_parameters(&mut self, model: &UniGen, prefix: &str) -> Result<()> {
        let mut named = Named { path: Vec::new(), values: BTreeMap::new() };
        model.visit(&mut named);
        self.compare_named(named.values, prefix, |_| 1.0)
    }

    /// Compares every gradient, relative to the tensor's largest, with `grad.NAME`.
    fn compare_gradients(&mut self, gradients: HostGradients) -> Result<()> {
        self.compare_named(gradients.into_values(), "grad", |wanted| {
            wanted.iter().fold(0.0_f32, |max, w| max.max(w.abs())).max(f32::MIN_POSITIVE)
        })
    }

    /// Compares every tensor `PREFIX.NAME` with what was found under its name, in units of what `unit` makes of it; one that
    /// only the file or only the model has fails.
    fn compare_named(
        &mut self,
        values: BTreeMap<String, Vec<f32>>,
        prefix: &str,
        unit: impl Fn(&[f32]) -> f32,
    ) -> Result<()> {
        const BOUND: f64 = 1e-4;
        let of = |key: &str| format!("{prefix}.{}", key.trim_start_matches("llm."));
        let mut found = BTreeMap::new();
        for (path, values) in values {
            let key = keys::unigen(&path).with_context(|| format!("no key for {path}"))?;
            found.insert(of(&key), (key, values));
        }
        // A tied head is the token table, which a file may name twice.
        let head = of("llm.lm_head.weight");
        if self.io.contains(&head) && !found.contains_key(&head) {
            let table = found.get(&of("llm.model.embed_tokens.weight")).cloned();
            found.extend(table.map(|table| (head, table)));
        }
        let start = of("");
        let in_file = self.io.names().filter(|name| name.starts_with(&start));
        let names: BTreeSet<String> = in_file.map(str::to_owned).chain(found.keys().cloned()).collect();
        for name in names {
            let Some((key, values)) = found.get(&name) else {
                self.push(format!("{name}[unknown]"), f64::NAN, BOUND);
                continue;
            };
            if !self.io.contains(&name) {
                self.push(format!("{name}[missing]"), f64::NAN, BOUND);
                continue;
            }
            let shape = self.model.shape(key).with_context(|| format!("model.safetensors: no {key}"))?;
            let wanted = self.values(&name, shape)?;
            let difference = difference(values, &wanted) / f64::from(unit(&wanted));
            self.push(name, difference, BOUND);
        }
        Ok(())
    }

    fn vision_config(&self) -> Result<VisionConfig> {
        Ok(VisionConfig::from_json(&self.config.to_string(), "config.json")?)
    }

    fn siglip(&mut self) -> Result<()> {
        let tower =
            load(Siglip::new(&self.vision_config()?, &self.device)?, &self.model, keys::siglip(&self.model))?;
        let pixels = self.input::<4>("pixel_values")?;
        self.compare("penultimate", tower.penultimate(pixels.clone())?, 1e-3)?;
        self.compare("last_hidden_state", tower.last_hidden_state(pixels)?, 1e-3)
    }

    fn siglip2(&mut self) -> Result<()> {
        let [batch, length, _] = self.shape::<3>("pixel_values")?;
        let mask = self.ints("pixel_mask", &[batch, length], 0..2)?;
        let shapes = self.ints("spatial_shapes", &[batch, 2], 1..length as i64 + 1)?;
        let tower = load(
            Siglip2::new(&self.vision_config()?, &self.device)?,
            &self.model,
            keys::siglip(&self.model),
        )?;
        let shapes = shapes.chunks(2).map(|s| [s[0] as usize, s[1] as usize]).collect();
        let patches = Patches { pixels: self.input("pixel_values")?, shapes };
        let keep = |row: usize| mask[row] == 1;
        self.compare("embeddings", tower.embeddings(&patches)?, 1e-3)?;
        self.compare_rows("penultimate", tower.penultimate(&patches)?, 1e-3, keep)?;
        self.compare_rows("last_hidden_state", tower.last_hidden_state(&patches)?, 1e-3, keep)
    }

    fn clip(&mut self) -> Result<()> {
        let config = ClipConfig::from_json(&self.config)?;
        let ([_, channels, height, width], side) = (self.shape::<4>("pixel_values")?, config.image_size());
        ensure!(
            [channels, height, width] == [3, side, side],
            "io.safetensors: pixel_values: pictures of {channels} x {height} x {width}, wanted 3 x {side} x {side}"
        );
        let [count, length] = self.shape::<2>("input_ids")?;
        let ids = self.ints("input_ids", &[count, length], 0..config.text.vocab_size as i64)?;
        let clip = match self.kind()? {
            "clip" => Clip::load(&config, &self.model, &self.device)?,
            _ => Clip::load(&config, &OpenClip::new(&self.model, self.model.names())?, &self.device)?,
        };
        let texts: Vec<Vec<u32>> =
            ids.chunks(length).map(|text| text.iter().map(|&id| id as u32).collect()).collect();
        let images = clip.image_embeds(self.input("pixel_values")?);
        let texts = clip.text_embeds(&texts, &self.device).context("io.safetensors: input_ids")?;
        self.compare("image_embeds", images.clone(), 1e-3)?;
        self.compare("text_embeds", texts.clone(), 1e-3)?;
        if self.io.contains("logits_per_image") {
            self.compare("logits_per_image", clip.logits_per_image(images, texts), 1e-3)?;
        }
        Ok(())
    }

    fn magvitv2(&mut self) -> Result<()> {
        let config: TokenizerConfig =
            serde_json::from_value(self.config.clone()).context("config.json: not a MAGVITv2")?;
        let tokenizer = load(ImageTokenizer::new(&config, &self.device)?, &self.model, keys::same)?;
        let [batch, channels, height, width] = self.shape::<4>("pixel_values")?;
        ensure!(channels == 3, "io.safetensors: pixel_values: {channels} channels, wanted 3");
        let grid = config.grid(height, width).context("io.safetensors: pixel_values")?;
        let (plane, bits) = (grid[0] * grid[1], config.z_channels);
        let codes = 0..1_i64 << bits;
        let wanted = self.ints("indices", &[batch, plane], codes.clone())?;
        let reference = self.values("latent", &[batch, bits, grid[0], grid[1]])?;
        let [pictures, tokens] = self.shape::<2>("random_indices")?;
        let random = self.ints("random_indices", &[pictures, tokens], codes)?;
        let side = tokens.isqrt();
        ensure!(
            side * side == tokens,
            "io.safetensors: random_indices: {tokens} codes make no square picture"
        );

        let pixels = self.input::<4>("pixel_values")?.permute([0, 2, 3, 1]);
        self.compare("latent", tokenizer.latent(pixels.clone()).permute([0, 3, 1, 2]), 1e-3)?;
        let found: Vec<i64> = tokenizer.encode(pixels).into_data().iter::<i64>().collect();
        let near_zero =
            |i: usize| (0..bits).any(|c| reference[(i / plane * bits + c) * plane + i % plane].abs() < 1e-4);
        let pairs = found.iter().zip(&wanted).enumerate();
        let differ = pairs.filter(|&(i, (found, wanted))| found != wanted && !near_zero(i)).count();
        self.push("indices", differ as f64, 0.0);
        let scale = tokenizer.downsampling();
        let decode = |codes: &[i64], batch: usize, [rows, columns]: [usize; 2]| {
            let codes = int_tensor(codes, &self.device).reshape([batch, rows * columns]);
            anyhow::Ok(tokenizer.decode(codes, rows * scale, columns * scale)?.permute([0, 3, 1, 2]))
        };
        let reconstruction = decode(&wanted, batch, grid)?;
        let random = decode(&random, pictures, [side, side])?;
        self.compare("reconstruction", reconstruction, 2e-3)?;
        self.compare("random_decoded", random, 2e-3)
    }
}

/// The largest absolute difference; NaN where there is one, and where the two are not as long or have nothing to compare.
fn difference(found: &[f32], wanted: &[f32]) -> f64 {
    if found.len() != wanted.len() || found.is_empty() {
        return f64::NAN;
    }
    let differences = found.iter().zip(wanted).map(|(a, b)| f64::from((a - b).abs()));
    differences.fold(0.0, |max: f64, d| if d > max || d.is_nan() { d } else { max })
}

/// Gumbel noise from a file.
struct Recorded {
    tokens: Vec<f32>,
    confidence: Vec<f32>,
    images: usize,
    positions: usize,
    classes: usize,
}

impl Noise for Recorded {
    fn token(&self, step: usize, image: usize, position: usize, class: usize) -> f32 {
        self.tokens[((step * self.images + image) * self.positions + position) * self.classes + class]
    }

    fn confidence(&self, step: usize, image: usize, position: usize) -> f32 {
        self.confidence[(step * self.images + image) * self.positions + position]
    }
}

/// Collects parameters by path.
struct Named {
    path: Vec<String>,
    values: BTreeMap<String, Vec<f32>>,
}

impl ModuleVisitor for Named {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Ok(values) = param.val().inner().into_data().try_to_vec() {
            self.values.insert(self.path.join("."), values);
        }
    }
}

/// The layout of square `allow` matrices of `length` rows, sequence after sequence.
fn layout(allow: &[i64], length: usize) -> Result<AttentionLayout> {
    let allow: Vec<bool> = allow.iter().map(|&a| a == 1).collect();
    let sequences = allow.chunks(length * length).map(|one| AttentionLayout::from_allow(one, length, length));
    Ok(AttentionLayout::concat(sequences.collect::<unigen_core::Result<Vec<_>>>()?))
}

fn int_tensor(values: &[i64], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|&v| v as i32).collect();
    Tensor::from_ints(values.as_slice(), device)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::HashMap;
    use std::fs;
    use tempfile::TempDir;
    use unigen_core::weights::{Precision, save};

    /// A tensor of a safetensors file: type, shape and bytes.
    type Stored = (&'static str, Vec<usize>, Vec<u8>);
    type File = BTreeMap<String, Stored>;

    fn f32s(shape: &[usize], values: &[f32]) -> Stored {
        ("F32", shape.to_vec(), values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn i64s(shape: &[usize], values: &[i64]) -> Stored {
        ("I64", shape.to_vec(), values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn file(tensors: impl IntoIterator<Item = (&'static str, Stored)>) -> File {
        tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect()
    }

    fn write(path: &Path, file: &File) {
        let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, (dtype, shape, bytes)) in file {
            let start = data.len();
            data.extend(bytes);
            let offsets = [start, data.len()];
            header.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": offsets }));
        }
        let header = Value::Object(header).to_string();
        let length = (header.len() as u64).to_le_bytes();
        fs::write(path, [&length[..], header.as_bytes(), &data].concat()).unwrap();
    }

    fn decoder() -> Value {
        json!({
            "model_type": "qwen2", "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1,
            "num_attention_heads": 2, "vocab_size": 11, "tie_word_embeddings": true,
        })
    }

    /// A qwen2 folder that passes: outputs of the core itself.
    fn qwen2() -> (TempDir, File) {
        let (folder, device) = (tempfile::tempdir().unwrap(), Device::flex());
        fs::write(folder.path().join("config.json"), decoder().to_string()).unwrap();
        let config: DecoderConfig = serde_json::from_value(decoder()).unwrap();
        let decoder = Decoder::new(&config, &device);
        let path = folder.path().join("model.safetensors");
        save(&decoder, &path, Precision::F32, keys::qwen2, HashMap::new()).unwrap();

        let (ids, causal) = ([1_i64, 2, 3, 4], [1_i64, 0, 1, 1, 1, 0, 1, 1]);
        let positions = decoder.positions(&[0, 1, 0, 1], &device);
        let x = decoder.embed(int_tensor(&ids, &device));
        let hidden = decoder.forward(x, &positions, &layout(&causal, 2).unwrap());
        let logits = f32s(&[2, 2, 11], &floats(decoder.logits(hidden.clone(), 0..11)).unwrap());
        let io = file([
            ("input_ids", i64s(&[2, 2], &ids)),
            ("omni_allow", i64s(&[2, 2, 2], &causal)),
            ("logits_causal", logits.clone()),
            ("hidden_omni", f32s(&[2, 2, 8], &floats(hidden).unwrap())),
            ("logits_omni", logits),
        ]);
        (folder, io)
    }

    /// The comparisons and how the folder ended.
    fn outcome(folder: &Path) -> (Vec<Comparison>, Result<()>) {
        let mut found = Vec::new();
        let ended = verify(folder, &Device::flex(), &mut |comparison| found.push(comparison));
        (found, ended)
    }

    fn error(folder: &Path) -> String {
        format!("{:#}", outcome(folder).1.unwrap_err())
    }

    #[test]
    fn what_is_not_a_number_or_not_there_is_within_no_bound() {
        assert_eq!(difference(&[1.0, -3.0], &[1.5, -1.0]), 2.0);
        let nan = f32::NAN;
        let cases: [(&[f32], &[f32]); 5] = [
            (&[nan, nan], &[0.0, 0.0]),
            (&[nan, 5.0], &[0.0, 0.0]),
            (&[5.0, nan], &[0.0, 0.0]),
            (&[1.0], &[1.0, 1.0]),
            (&[], &[]),
        ];
        for (found, wanted) in cases {
            assert!(difference(found, wanted).is_nan(), "{found:?} {wanted:?}");
        }

        let mut reported = Vec::new();
        let (folder, io) = qwen2();
        let path = folder.path().join("io.safetensors");
        write(&path, &io);
        let mut case = Case {
            config: decoder(),
            model: Checkpoint::open(&folder.path().join("model.safetensors")).unwrap(),
            io: Checkpoint::open(&path).unwrap(),
            device: Device::flex(),
            report: &mut |comparison: Comparison| reported.push(comparison.ok),
        };
        let hidden = Tensor::<3>::full([2, 2, 8], f32::NAN, &Device::flex());
        case.compare("hidden_omni", hidden.clone(), 1e9).unwrap();
        case.compare_rows("hidden_omni", hidden, 1e9, |_| false).unwrap();
        case.compare_values("hidden_omni", "cached", &[f32::NAN; 32], &[2, 2, 8], 1e9).unwrap();
        let shape = case.compare_values("hidden_omni", "cached", &[0.0; 32], &[4, 8], 1e9).unwrap_err();
        assert_eq!(shape.to_string(), "io.safetensors: hidden_omni: shape [2, 2, 8], wanted [4, 8]");
        assert_eq!(reported, [false; 3]);
    }

    #[test]
    fn every_named_tensor_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let model = ["llm.model.norm.weight", "llm.model.embed_tokens.weight", "llm.model.layers.0.x"];
        write(&path("model.safetensors"), &file(model.map(|name| (name, f32s(&[2], &[1.0, 2.0])))));
        let io = ["norm.weight", "embed_tokens.weight", "other.weight"];
        let mut io: File =
            io.iter().map(|name| (format!("grad.model.{name}"), f32s(&[2], &[1.0, 2.0]))).collect();
        io.insert("grad.lm_head.weight".into(), f32s(&[2], &[1.0, 2.0]));
        io.insert("after.model.norm.weight".into(), f32s(&[2], &[9.0, 9.0]));
        write(&path("io.safetensors"), &io);
        let mut reported = Vec::new();
        let mut case = Case {
            config: Value::Null,
            model: Checkpoint::open(&path("model.safetensors")).unwrap(),
            io: Checkpoint::open(&path("io.safetensors")).unwrap(),
            device: Device::flex(),
            report: &mut |c: Comparison| reported.push((c.tensor, c.ok)),
        };
        let values = |norm: [f32; 2]| {
            let named =
                [("norm.weight", norm), ("embed_tokens.weight", [1.0, 2.0]), ("layers.0.x", [0.0; 2])];
            BTreeMap::from(named.map(|(name, values)| (format!("llm.{name}"), values.to_vec())))
        };
        case.compare_named(values([1.0, 2.0]), "grad", |_| 1.0).unwrap();
        case.compare_named(values([f32::NAN; 2]), "after", |_| 1.0).unwrap();
        let short = BTreeMap::from([("llm.norm.weight".to_owned(), vec![1.0])]);
        case.compare_named(short, "after", |_| 1.0).unwrap();
        let wanted = [
            // A tied head is the token table.
            ("grad.lm_head.weight", true),
            ("grad.model.embed_tokens.weight", true),
            ("grad.model.layers.0.x[missing]", false),
            ("grad.model.norm.weight", true),
            ("grad.model.other.weight[unknown]", false),
            ("after.model.embed_tokens.weight[missing]", false),
            ("after.model.layers.0.x[missing]", false),
            ("after.model.norm.weight", false),
            ("after.model.norm.weight", false),
        ];
        assert_eq!(reported, wanted.map(|(name, ok)| (name.to_owned(), ok)));
    }

    #[test]
    fn a_folder_that_breaks_off_keeps_what_was_compared() {
        let (folder, mut io) = qwen2();
        let path = folder.path().join("io.safetensors");
        write(&path, &io);
        let (found, ended) = outcome(folder.path());
        ended.unwrap();
        assert!(found.len() == 3 && found.iter().all(|comparison| comparison.ok));
        io.remove("logits_omni");
        write(&path, &io);
        let (found, ended) = outcome(folder.path());
        let names: Vec<&str> = found.iter().map(|comparison| comparison.tensor.as_str()).collect();
        assert_eq!(names, ["logits_causal", "hidden_omni"]);
        assert!(ended.unwrap_err().to_string().contains("logits_omni: no such tensor"));
    }

    #[test]
    fn bad_tensors_are_named() {
        let (folder, good) = qwen2();
        for (name, tensor, words) in [
            ("input_ids", i64s(&[4], &[1; 4]), "input_ids: shape [4], wanted 2 dimensions"),
            ("input_ids", i64s(&[0, 2], &[]), "input_ids: shape [0, 2]"),
            ("input_ids", i64s(&[2, 2], &[1, 2, 3, 11]), "input_ids: 11 is not from 0 to 10"),
            ("input_ids", i64s(&[2, 2], &[1, 2, 3, -1]), "input_ids: -1 is not"),
            ("omni_allow", i64s(&[2, 2], &[1; 4]), "omni_allow: shape [2, 2], wanted [2, 2, 2]"),
            ("omni_allow", i64s(&[2, 2, 2], &[0; 8]), "omni_allow: attention mask: row 0 sees nothing"),
            ("hidden_omni", f32s(&[2, 8], &[0.0; 16]), "hidden_omni: shape [2, 8], wanted [2, 2, 8]"),
        ] {
            let mut io = good.clone();
            io.insert(name.into(), tensor);
            write(&folder.path().join("io.safetensors"), &io);
            let text = error(folder.path());
            assert!(text.contains(words), "no {words:?} in: {text}");
        }
    }

    #[test]
    fn sizes_that_no_model_has_are_named() {
        let (folder, io) = qwen2();
        write(&folder.path().join("io.safetensors"), &io);
        let with = |changes: Value| {
            let mut config = decoder();
            config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
            error(folder.path())
        };
        assert!(with(json!({ "num_attention_heads": 0 })).contains("config.json: num_attention_heads: is 0"));
        for (codes, words) in [
            (0, "codebook_size is no whole number from 1"),
            (1, "codebook_size is 1, no power of two above 1"),
            (6, "codebook_size is 6, no power of two"),
            (4, "decoder.vocab_size: is 11, wanted 8 text + 5 image"),
        ] {
            for kind in ["guidance", "adamw", "group"] {
                let text = with(json!({ kind: 1, "codebook_size": codes, "text_vocab": 8 }));
                assert!(text.contains(words), "{kind}: no {words:?} in: {text}");
            }
        }
    }

    #[test]
    fn recorded_noise_is_as_long_as_the_decoding() {
        let (folder, _) = qwen2();
        let mut config = decoder();
        let more = json!({
            "guidance": 2.0, "codebook_size": 2, "text_vocab": 8, "pad": 0, "soi": 1, "eoi": 2, "steps": 2,
            "num_image_tokens": 3, "temperature": 1.0,
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let path = folder.path().join("io.safetensors");
        let mut io =
            file([("cond_ids", i64s(&[3], &[1, 2, 3])), ("gumbel_tokens", f32s(&[1, 1, 3, 2], &[0.0; 6]))]);
        write(&path, &io);
        assert!(error(folder.path()).contains("cond_ids: shape [3], wanted 2 dimensions"));
        io.insert("cond_ids".into(), i64s(&[1, 3], &[1, 2, 3]));
        write(&path, &io);
        let text = error(folder.path());
        assert!(text.contains("gumbel_tokens: shape [1, 1, 3, 2], wanted [2, 1, 3, 2]"), "{text}");
    }
}
