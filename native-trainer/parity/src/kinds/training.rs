//! Masked prediction: PyTorch's autograd and torch.optim.AdamW.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use unigen_core::model::UniGen;
use unigen_core::ops;
use unigen_core::weights::{keys, load};
use unigen_training::optimizer::{AdamW, HostGradients, Step};
use unigen_training::train::scalar;

use super::language_model::{delimiters, int_tensor, layout, model_config};
use super::parameters::{compare_gradients, compare_parameters};
use crate::Kind;
use crate::compare::{Comparer, bounds, largest_difference};
use crate::folder::{Config, Folder};

/// The loss over the code columns and over the whole vocabulary, every gradient, and every weight after some steps.
pub struct Training;

impl Kind for Training {
    fn name(&self) -> &'static str {
        "training"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type() == Some("qwen2") && config.has("adamw")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        let (io, device) = (&folder.io, folder.device.clone().autodiff());
        let config = model_config(folder)?;
        let [batch, length] = io.shape::<2>("input_ids")?;
        let tokens = folder.config.size("num_image_tokens")?;
        let ids = io.ints("input_ids", &[batch, length], 0..config.decoder.vocab_size as i64)?;
        let codes = io.ints("codes", &[batch, tokens], 0..config.codebook_size() as i64)?;
        let masked = io.ints("masked", &[batch, tokens], 0..2)?;
        let allow = io.ints("allow", &[batch, length, length], 0..2)?;
        let layout = layout(&allow, length).context("io.safetensors: allow")?;
        let picked: Vec<usize> = (0..batch * tokens).filter(|&i| masked[i] == 1).collect();
        ensure!(!picked.is_empty(), "io.safetensors: masked: no code is masked, so there is no loss");
        let [soi, _] = delimiters(folder, &config)?;
        let first = ids[..length].iter().position(|&id| id == i64::from(soi)).map(|soi| soi + 1);
        let first = first.filter(|first| first + tokens <= length);
        let first = first
            .with_context(|| format!("io.safetensors: input_ids: no soi with {tokens} codes after it"))?;
        let history = io.values("loss_history", &io.shape::<1>("loss_history")?)?;

        let mut model = load(UniGen::new(&config, &device), &folder.model, keys::unigen)?;
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
        let wanted = io.value("loss_full_vocabulary")?;
        comparer.difference("loss_full_vocabulary", (full - wanted).abs(), bounds::LOSSES);

        let (mut optimizer, learning_rate) = adamw(&folder.config)?;
        let mut losses = Vec::with_capacity(history.len());
        for step in 0..history.len() {
            let loss = loss(&model)?;
            let value = scalar(loss.clone())?;
            losses.push(value as f32);
            let gradients = HostGradients::read(&model, loss.backward())?;
            if step == 0 {
                let wanted = io.value("loss_code_columns")?;
                comparer.difference("loss_code_columns", (value - wanted).abs(), bounds::LOSSES);
                compare_gradients(folder, comparer, gradients.clone())?;
            }
            let step = Step { learning_rate, gradient_scale: 1.0, ema_decay: 0.0 };
            model = optimizer.step(model, gradients, step)?;
        }
        comparer.difference("loss_history", largest_difference(&losses, &history), bounds::LOSSES);
        compare_parameters(folder, comparer, &model)
    }
}

/// The optimiser that `adamw` describes, and its learning rate.
fn adamw(config: &Config) -> Result<(AdamW, f64)> {
    let hyper = &config.0["adamw"];
    let number = |v: &Value| v.as_f64().context("config.json: adamw lacks a number");
    let betas = [number(&hyper["betas"][0])?, number(&hyper["betas"][1])?];
    let optimizer = AdamW::new(betas, number(&hyper["eps"])?, number(&hyper["weight_decay"])?);
    Ok((optimizer, number(&hyper["lr"])?))
}
