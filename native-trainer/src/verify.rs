//! Parity with published models: folders of config.json, model.safetensors and io.safetensors.

use anyhow::{Context, Result, bail};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pollster::FutureExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use unigen_core::config::{DecoderConfig, ModelConfig};
use unigen_core::decoder::Decoder;
use unigen_core::image_tokenizer::{ImageTokenizer, TokenizerConfig};
use unigen_core::model::UniGen;
use unigen_core::ops;
use unigen_core::sampling::{self, Branch, Flow, MaskedDecoding, Noise, Order, Prefix, StepReport};
use unigen_core::sequence::AttentionLayout;
use unigen_core::vision::{Patches, Siglip, Siglip2, VisionConfig};
use unigen_core::weights::{Checkpoint, keys, load};

use crate::optimizer::{AdamW, HostGradients, Step, floats};
use crate::rewards::clip::{Clip, ClipConfig, OpenClip};
use crate::rl::{Objective, Rollout, passes};
use crate::train::scalar;

/// One compared tensor.
pub struct Comparison {
    /// Name, as in io.safetensors.
    pub tensor: String,
    /// Largest absolute difference, or for ids the number that differ.
    pub difference: f64,
    /// Whether it is within the bound.
    pub ok: bool,
}

/// Compares everything in `folder`.
pub fn verify(folder: &Path, device: &Device) -> Result<Vec<Comparison>> {
    let config = folder.join("config.json");
    let text = std::fs::read(&config).with_context(|| format!("cannot read {}", config.display()))?;
    let config: Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is not JSON", config.display()))?;
    let mut case = Case {
        config,
        model: Checkpoint::open(&folder.join("model.safetensors"))?,
        io: Checkpoint::open(&folder.join("io.safetensors"))?,
        device: device.clone(),
        comparisons: Vec::new(),
    };
    match case.kind()? {
        "qwen2" => case.qwen2()?,
        "unigen" => case.unigen()?,
        "train" => case.train()?,
        "siglip" => case.siglip()?,
        "siglip2" => case.siglip2()?,
        "grpo" => case.grpo()?,
        "magvitv2" => case.magvitv2()?,
        "clip" | "openclip" => case.clip()?,
        kind => bail!("{}: parity of kind {kind} is not there yet", folder.display()),
    }
    Ok(case.comparisons)
}

struct Case {
    config: Value,
    model: Checkpoint,
    io: Checkpoint,
    device: Device,
    comparisons: Vec<Comparison>,
}

impl Case {
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

    fn size(&self, key: &str) -> Result<usize> {
        Ok(self.number(key)? as usize)
    }

    fn input<const D: usize>(&self, name: &str) -> Result<Tensor<D>> {
        let (values, shape) = self.io.tensor(name)?;
        Ok(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }

    fn push(&mut self, tensor: impl Into<String>, difference: f64, bound: f64) {
        // A NaN is not within any bound.
        self.comparisons.push(Comparison { tensor: tensor.into(), difference, ok: difference <= bound });
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
        let (wanted, shape) = self.io.tensor(name)?;
        if found.dims().as_slice() != shape {
            bail!("{name}: shape {:?}, wanted {shape:?}", found.dims());
        }
        let width = shape.last().copied().unwrap_or(1);
        let found = floats(found)?;
        let kept = (0..found.len()).filter(|i| keep(i / width)).map(|i| (found[i] - wanted[i]).abs() as f64);
        let difference = kept.fold(0.0, |max: f64, d| if d > max || d.is_nan() { d } else { max });
        self.push(name, difference, bound);
        Ok(())
    }

    fn compare_ids(&mut self, name: &str, found: &[i64], wanted: &[i64]) {
        let differ =
            found.iter().zip(wanted).filter(|(a, b)| a != b).count() + found.len().abs_diff(wanted.len());
        self.push(name, differ as f64, 0.0);
    }

    fn decoder_config(&self) -> Result<DecoderConfig> {
        serde_json::from_value(self.config.clone()).context("config.json: not a Qwen2 decoder")
    }

    fn qwen2(&mut self) -> Result<()> {
        let config = self.decoder_config()?;
        let decoder = load(Decoder::new(&config, &self.device), &self.model, keys::qwen2)?;
        let (ids, shape) = self.io.ints("input_ids")?;
        let (batch, length) = (shape[0], shape[1]);
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
        let omni = run(&self.io.ints("omni_allow")?.0)?;
        self.compare("logits_causal", logits(run(&causal)?), 1e-3)?;
        self.compare("hidden_omni", omni.clone().reshape([batch, length, config.hidden_size]), 1e-3)?;
        self.compare("logits_omni", logits(omni), 1e-3)
    }

    fn model_config(&self) -> Result<ModelConfig> {
        // Special tokens and the image tokenizer play no part in parity folders.
        Ok(ModelConfig {
            decoder: self.decoder_config()?,
            vision: None,
            text_vocab: self.size("text_vocab")?,
            code_groups: vec![self.size("codebook_size")?.ilog2() as usize],
            ..ModelConfig::preset("unigen-1.5b")?
        })
    }

    fn unigen(&mut self) -> Result<()> {
        let config = self.model_config()?;
        let model = load(UniGen::new(&config, &self.device), &self.model, keys::unigen)?;
        let (pad, soi, eoi) = (self.size("pad")? as i64, self.size("soi")? as u32, self.size("eoi")? as u32);
        let (steps, tokens) = (self.size("steps")?, self.size("num_image_tokens")?);
        let prefixes = |name: &str| -> Result<Vec<Prefix>> {
            let (ids, shape) = self.io.ints(name)?;
            let rows = ids.chunks(shape[1]).map(|row| {
                let text: Vec<i64> = row.iter().copied().skip_while(|&id| id == pad).collect();
                Prefix::causal(model.llm.embed(int_tensor(&text, &self.device)))
            });
            Ok(rows.collect())
        };
        let branches = sampling::text_guidance(
            self.number("guidance")? as f32,
            prefixes("cond_ids")?,
            prefixes("uncond_ids")?,
        );
        let noise = Recorded {
            tokens: self.io.tensor("gumbel_tokens")?.0,
            confidence: self.io.tensor("gumbel_confidence")?.0,
            images: branches[0].prefixes.len(),
            positions: tokens,
            classes: config.codebook_size(),
        };
        for path in [sampling::Path::Cached, sampling::Path::Naive] {
            let label = format!("{path:?}").to_lowercase();
            let settings = MaskedDecoding {
                steps,
                order: Order::Confidence { temperature: self.number("temperature")? as f32 },
                path,
            };
            self.first_logits(&model, &branches, tokens, [soi, eoi], settings, &label)?;
            let (mut ids, mut masked) = (Vec::new(), Vec::new());
            let targets = vec![vec![None; tokens]; noise.images];
            let on_step = async |report: StepReport<'_>| {
                let Ok(step) = report.preview().await else { return Flow::Cancel };
                ids.extend(step.codes.iter().flatten().map(|&c| c as i64));
                masked.extend(step.masked.iter().flatten().map(|&m| m as i64));
                Flow::Continue
            };
            let result =
                settings.decode(&model, &branches, targets, [soi, eoi], &noise, on_step).block_on()?;
            let result: Vec<i64> = result.iter().flatten().map(|&c| c as i64).collect();
            self.compare_ids(&format!("step_ids[{label}]"), &ids, &self.io.ints("step_ids")?.0);
            // The last re-masking is never used; what it masks depends on a rounding of cos(pi / 2).
            let kept = masked.len() * (steps - 1) / steps;
            self.compare_ids(
                &format!("step_masked[{label}]"),
                &masked[..kept],
                &self.io.ints("step_masked")?.0[..kept],
            );
            self.compare_ids(&format!("final_ids[{label}]"), &result, &self.io.ints("final_ids")?.0);
        }
        Ok(())
    }

    fn first_logits(
        &mut self,
        model: &UniGen,
        branches: &[Branch],
        tokens: usize,
        delimiters: [u32; 2],
        settings: MaskedDecoding,
        label: &str,
    ) -> Result<()> {
        let images = branches[0].prefixes.len();
        let logits = settings.first_logits(model, branches, &vec![vec![None; tokens]; images], delimiters);
        let (wanted, _) = self.io.tensor("guided_logits_step0")?;
        let found = floats(logits)?;
        let difference = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs() as f64).fold(0.0, f64::max);
        self.push(format!("guided_logits_step0[{label}]"), difference, 1e-3);
        Ok(())
    }

    fn train(&mut self) -> Result<()> {
        let device = self.device.clone().autodiff();
        let config = self.model_config()?;
        let mut model = load(UniGen::new(&config, &device), &self.model, keys::unigen)?;
        let (ids, shape) = self.io.ints("input_ids")?;
        let (batch, length) = (shape[0], shape[1]);
        let tokens = self.size("num_image_tokens")?;
        let (codes, masked) = (self.io.ints("codes")?.0, self.io.ints("masked")?.0);
        let layout = layout(&self.io.ints("allow")?.0, length)?;
        let picked: Vec<usize> = (0..batch * tokens).filter(|&i| masked[i] == 1).collect();
        let soi = self.size("soi")? as i64;
        let first = ids[..length].iter().position(|&id| id == soi).context("input_ids: no soi")? + 1;
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
        let full = scalar(ops::cross_entropy(all, in_vocabulary))?;
        let wanted = self.io.tensor("loss_full_vocabulary")?.0[0] as f64;
        self.push("loss_full_vocabulary", (full - wanted).abs(), 1e-5);

        let hyper = &self.config["adamw"];
        let number = |v: &Value| v.as_f64().context("config.json: adamw lacks a number");
        let betas = [number(&hyper["betas"][0])?, number(&hyper["betas"][1])?];
        let learning_rate = number(&hyper["lr"])?;
        let mut optimizer = AdamW::new(betas, number(&hyper["eps"])?, number(&hyper["weight_decay"])?);
        let history = self.io.tensor("loss_history")?.0;
        let mut worst = 0.0_f64;
        for (step, wanted) in history.iter().enumerate() {
            let loss = loss(&model);
            let value = scalar(loss.clone())?;
            worst = worst.max((value - *wanted as f64).abs());
            let gradients = HostGradients::read(&model, loss.backward())?;
            if step == 0 {
                let wanted = self.io.tensor("loss_code_columns")?.0[0] as f64;
                self.push("loss_code_columns", (value - wanted).abs(), 1e-5);
                self.compare_gradients(gradients.clone())?;
            }
            let step = Step { learning_rate, gradient_scale: 1.0, ema_decay: 0.0 };
            model = optimizer.step(model, gradients, step)?;
        }
        self.push("loss_history", worst, 1e-5);
        self.compare_parameters(&model, "after")
    }

    /// GRPO on stored rollouts: loss, divergence and gradients from a replay in one pass and in several.
    fn grpo(&mut self) -> Result<()> {
        let (plain, device) = (self.device.clone(), self.device.clone().autodiff());
        let config = self.model_config()?;
        let model = load(UniGen::new(&config, &device), &self.model, keys::unigen)?;
        let of_reference = |name: &str| keys::unigen(name).map(|key| format!("reference.{key}"));
        let reference = load(UniGen::new(&config, &plain), &self.model, of_reference)?;
        let delimiters = [self.size("soi")? as u32, self.size("eoi")? as u32];
        let (group, tokens, steps) =
            (self.size("group")?, self.size("num_image_tokens")?, self.size("steps")?);
        let (prompts, shape) = self.io.ints("prompt_ids")?;
        let prompts: Vec<&[i64]> = prompts.chunks(shape[1]).collect();
        let prefix = |model: &UniGen, group: usize, device: &Device| {
            Ok(Prefix::causal(model.llm.embed(int_tensor(prompts[group], device))))
        };

        let (codes, fixed) = (self.io.ints("final_codes")?.0, self.io.ints("newly_fixed")?.0);
        let fixed_at = |sample: usize, position: usize| {
            (0..steps).find(|step| fixed[(step * group + sample) * tokens + position] == 1)
        };
        let rollouts = (0..group).map(|sample| {
            let at = (0..tokens).map(|position| {
                fixed_at(sample, position)
                    .with_context(|| format!("newly_fixed: {position} of {sample} never is"))
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
        self.compare_ids("step_inputs", &inputs, &self.io.ints("step_inputs")?.0);

        let advantages = self.io.tensor("advantages")?.0;
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
                let wanted = self.io.tensor(name)?.0;
                let difference =
                    found.iter().zip(&wanted).map(|(a, b)| (a - b).abs() as f64).fold(0.0, f64::max);
                self.push(format!("{name}[{label}]"), difference, 1e-4);
            }
            for (name, found) in [("loss", loss), ("kl", kl)] {
                let wanted = f64::from(self.io.tensor(name)?.0[0]);
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

    fn compare_named(
        &mut self,
        values: BTreeMap<String, Vec<f32>>,
        prefix: &str,
        unit: impl Fn(&[f32]) -> f32,
    ) -> Result<()> {
        for (path, values) in values {
            let key = keys::unigen(&path).with_context(|| format!("no key for {path}"))?;
            let name = format!("{prefix}.{}", key.trim_start_matches("llm."));
            let (wanted, _) = self.io.tensor(&name)?;
            let unit = unit(&wanted);
            let difference =
                values.iter().zip(&wanted).map(|(a, b)| ((a - b).abs() / unit) as f64).fold(0.0, f64::max);
            let whole = values.len() == wanted.len();
            self.push(name, if whole { difference } else { f64::NAN }, 1e-4);
        }
        Ok(())
    }

    fn vision_config(&self) -> Result<VisionConfig> {
        Ok(VisionConfig::from_json(&self.config)?)
    }

    fn siglip(&mut self) -> Result<()> {
        let tower =
            load(Siglip::new(&self.vision_config()?, &self.device)?, &self.model, keys::siglip(&self.model))?;
        let pixels = self.input::<4>("pixel_values")?;
        self.compare("penultimate", tower.penultimate(pixels.clone())?, 1e-3)?;
        self.compare("last_hidden_state", tower.last_hidden_state(pixels)?, 1e-3)
    }

    fn siglip2(&mut self) -> Result<()> {
        let tower = load(
            Siglip2::new(&self.vision_config()?, &self.device)?,
            &self.model,
            keys::siglip(&self.model),
        )?;
        let (mask, _) = self.io.ints("pixel_mask")?;
        let shapes =
            self.io.ints("spatial_shapes")?.0.chunks(2).map(|s| [s[0] as usize, s[1] as usize]).collect();
        let patches = Patches { pixels: self.input("pixel_values")?, shapes };
        let keep = |row: usize| mask[row] == 1;
        self.compare("embeddings", tower.embeddings(&patches)?, 1e-3)?;
        self.compare_rows("penultimate", tower.penultimate(&patches)?, 1e-3, keep)?;
        self.compare_rows("last_hidden_state", tower.last_hidden_state(&patches)?, 1e-3, keep)
    }

    fn clip(&mut self) -> Result<()> {
        let config = ClipConfig::from_json(&self.config)?;
        let clip = match self.kind()? {
            "clip" => Clip::load(&config, &self.model, &self.device)?,
            _ => Clip::load(&config, &OpenClip::new(&self.model, self.model.names())?, &self.device)?,
        };
        let (ids, shape) = self.io.ints("input_ids")?;
        let texts: Vec<Vec<u32>> =
            ids.chunks(shape[1].max(1)).map(|text| text.iter().map(|&id| id as u32).collect()).collect();
        let images = clip.image_embeds(self.input("pixel_values")?);
        let texts = clip.text_embeds(&texts, &self.device)?;
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
        let pixels = self.input::<4>("pixel_values")?.permute([0, 2, 3, 1]);
        let latent = tokenizer.latent(pixels.clone());
        let [_, height, width, _] = latent.dims();
        self.compare("latent", latent.permute([0, 3, 1, 2]), 1e-3)?;
        let (wanted, shape) = self.io.ints("indices")?;
        let found: Vec<i64> = tokenizer.encode(pixels).into_data().iter::<i64>().collect();
        let (reference, _) = self.io.tensor("latent")?;
        let (plane, channels) = (height * width, config.z_channels);
        let near_zero = |i: usize| {
            (0..channels).any(|c| reference[(i / plane * channels + c) * plane + i % plane].abs() < 1e-4)
        };
        let differ = (0..wanted.len()).filter(|&i| found[i] != wanted[i] && !near_zero(i)).count();
        self.push("indices", differ as f64, 0.0);
        let batch = shape[0];
        let scale = tokenizer.downsampling();
        let decode = |codes: &[i64], height: usize, width: usize| {
            let codes = int_tensor(codes, &self.device).reshape([batch, height * width]);
            tokenizer.decode(codes, height * scale, width * scale).permute([0, 3, 1, 2])
        };
        let reconstruction = decode(&wanted, height, width);
        let (random, shape) = self.io.ints("random_indices")?;
        let side = shape[1].isqrt();
        let random = decode(&random, side, side);
        self.compare("reconstruction", reconstruction, 2e-3)?;
        self.compare("random_decoded", random, 2e-3)
    }
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
