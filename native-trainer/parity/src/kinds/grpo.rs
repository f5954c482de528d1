//! GRPO (UniGen-1.5, arXiv 2511.14760, section 3.4) on stored rollouts: PyTorch's autograd.

use anyhow::{Context, Result};
use burn::tensor::Device;
use unigen_core::model::UniGen;
use unigen_core::sampling::Prefix;
use unigen_core::weights::{keys, load};
use unigen_runs::floats;
use unigen_training::optimizer::HostGradients;
use unigen_training::rl::{Objective, Ratio, Rollout, Tokens, passes, step_views};
use unigen_training::train::scalar;

use super::language_model::{delimiters, int_tensor, model_config};
use super::parameters::compare_gradients;
use crate::Kind;
use crate::compare::{Comparer, bounds};
use crate::folder::{Config, Folder};

/// Loss, divergence and gradients from a replay in one pass and in several.
pub struct Grpo;

impl Kind for Grpo {
    fn name(&self) -> &'static str {
        "GRPO"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type() == Some("qwen2") && config.has("group")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        let io = &folder.io;
        let (plain, device) = (folder.device.clone(), folder.device.clone().autodiff());
        let config = model_config(folder)?;
        let delimiters = delimiters(folder, &config)?;
        let size = |key| folder.config.size(key);
        let (group, tokens, steps) = (size("group")?, size("num_image_tokens")?, size("steps")?);
        let vocabulary = 0..config.decoder.vocab_size as i64;
        let [_, length] = io.shape::<2>("prompt_ids")?;
        let prompts = io.ints("prompt_ids", &[group, length], vocabulary.clone())?;
        let prompts: Vec<&[i64]> = prompts.chunks(length).collect();
        let codes = io.ints("final_codes", &[group, tokens], 0..config.codebook_size() as i64)?;
        let fixed = io.ints("newly_fixed", &[steps, group, tokens], 0..2)?;
        let step_inputs = io.ints("step_inputs", &[steps, group, tokens], vocabulary)?;
        let advantages = io.values("advantages", &[group])?;

        let model = load(UniGen::new(&config, &device), &folder.model, keys::unigen)?;
        let of_reference = |name: &str| keys::unigen(name).map(|key| format!("reference.{key}"));
        let reference = load(UniGen::new(&config, &plain), &folder.model, of_reference)?;
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
        comparer.ids("step_inputs", &inputs, &step_inputs);

        let objective =
            Objective::Policy { beta: folder.config.number("beta")?, clip: 0.0, ratio: Ratio::Token };
        let views = step_views(&rollouts, &(0..steps).collect::<Vec<_>>());
        for (label, blocks) in [("whole", usize::MAX), ("parts", group)] {
            let [mut found, mut of_reference] = [vec![0.0; group * tokens], vec![0.0; group * tokens]];
            let (mut loss, mut kl) = (0.0, 0.0);
            let mut gradients = HostGradients::default();
            for pass in passes(&rollouts, &views, blocks, &vec![true; group]) {
                let replay = |model: &UniGen, device: &Device| {
                    pass.replay(model, &rollouts, 1.0, delimiters, |g| prefix(model, g, device), device)
                };
                let (now, then) = (replay(&model, &device)?, replay(&reference, &plain)?);
                let (values, then) = (floats(now.log_probs.clone().detach())?, floats(then.log_probs)?);
                for ((&(sample, position), &value), &then) in pass.tokens.iter().zip(&values).zip(&then) {
                    found[sample * tokens + position] = value;
                    of_reference[sample * tokens + position] = then;
                }
                let of_tokens = Tokens {
                    old: Some(values),
                    reference: then,
                    advantages: pass.tokens.iter().map(|&(sample, _)| advantages[sample]).collect(),
                    weights: vec![1.0 / (group * tokens) as f32; pass.tokens.len()],
                    spans: pass.spans.clone(),
                };
                let terms = objective.terms(now.log_probs, &of_tokens);
                loss += scalar(terms.loss.clone())?;
                kl += scalar(terms.kl)?;
                gradients = gradients.plus(HostGradients::read(&model, terms.loss.backward())?);
            }
            for (name, found) in [("log_probs", found), ("reference_log_probs", of_reference)] {
                comparer.values(name, label, &found, &[group, tokens], bounds::LOG_PROBABILITIES)?;
            }
            for (name, found) in [("loss", loss), ("kl", kl)] {
                let wanted = io.value(name)?;
                comparer.difference(format!("{name}[{label}]"), (found - wanted).abs(), bounds::LOSSES);
            }
            if label == "parts" {
                compare_gradients(folder, comparer, gradients)?;
            }
        }
        Ok(())
    }
}
