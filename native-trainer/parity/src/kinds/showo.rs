//! Show-o (arXiv 2408.12528): its sampler on recorded noise, and an answer to a question about a picture's codes.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Int, Tensor};
use pollster::FutureExt;
use unigen_core::config::{Config as _, ModelConfig, ShowoConfig, SpecialTokens, TokenizerConfig};
use unigen_core::model::UniGen;
use unigen_core::sampling::{self, Counted, Flow, MaskedDecoding, Order, Prefix, Seeded, TextDecoding};
use unigen_core::sequence::{AttentionLayout, ImageRows, Layouts, Opener, Row, Sequence};
use unigen_core::text::Template;
use unigen_core::weights::{keys, load};

use super::language_model::decoder_config;
use super::recorded::{Recorded, prefixes, texts};
use crate::Kind;
use crate::compare::{Comparer, bounds};
use crate::folder::{Config, Folder};

/// A drawing whose codes may be given in part, and a question.
pub struct Showo;

impl Kind for Showo {
    fn name(&self) -> &'static str {
        "Show-o"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type() == Some("phi") && config.has("guidance")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        let config = model_config(folder)?;
        let model = load(UniGen::new(&config, &folder.device), &folder.model, keys::model(&folder.model))?;
        drawing(folder, &model)?.compare(folder, &model, comparer)?;
        if folder.io.contains("mmu_codes") {
            question(folder, &model, comparer)?;
        }
        Ok(())
    }
}

/// Sizes of the model. The image tokenizer plays no part.
fn model_config(folder: &Folder) -> Result<ModelConfig> {
    let config = &folder.config;
    let showo = ShowoConfig {
        vocab_size: config.size("vocab_size")?,
        llm_vocab_size: config.size("llm_vocab_size")?,
        codebook_size: config.size("codebook_size")?,
        num_vq_tokens: config.size("num_vq_tokens")?,
        w_clip_vit: false,
    };
    showo.validate()?;
    let bits = showo.codebook_size.ilog2() as usize;
    let image_tokenizer = TokenizerConfig { z_channels: bits, ..TokenizerConfig::default() };
    let end_of_text = config.token("bos", showo.llm_vocab_size)?;
    let model = showo.model(decoder_config(folder)?, image_tokenizer, end_of_text)?;
    let SpecialTokens { soi, eoi, t2i, mmu, .. } = model.special_tokens;
    for (key, wanted) in [("soi", soi), ("eoi", eoi), ("t2i", t2i), ("mmu", mmu)] {
        let found = config.token(key, showo.vocab_size)?;
        ensure!(found == wanted, "config.json: {key} is {found}, in Show-o's order {wanted}");
    }
    Ok(model)
}

/// The recorded drawing.
fn drawing(folder: &Folder, model: &UniGen) -> Result<Recorded> {
    let (io, config) = (&folder.io, model.config());
    let (vocabulary, SpecialTokens { soi, eoi, .. }) = (config.decoder.vocab_size, config.special_tokens);
    let [images, tokens] = io.shape::<2>("start_ids")?;
    let mask = folder.config.token("mask_token_id", vocabulary)?;
    let start = io.ints("start_ids", &[images, tokens], 0..vocabulary as i64)?;
    let known = |&id: &i64| (id != i64::from(mask)).then_some(id as u32);
    let order = Order::Confidence { temperature: folder.config.number("temperature")? as f32 };
    let scale = folder.config.number("guidance")? as f32;
    let cond = texts(folder, "cond_ids", images, vocabulary)?;
    let uncond = match io.contains("uncond_ids") {
        true => texts(folder, "uncond_ids", images, vocabulary)?,
        false => vec![],
    };
    let [cond, uncond] = [cond, uncond].map(|texts| prefixes(model, &texts, folder));
    let top_k = folder.config.0["top_k"].as_u64().map(|top_k| top_k as usize);
    Ok(Recorded {
        decoding: MaskedDecoding {
            top_k,
            counted: Counted::All,
            ..MaskedDecoding::new(folder.config.size("steps")?, order)
        },
        branches: sampling::text_guidance(config.guidance_factor(scale), cond, uncond),
        targets: start.chunks(tokens).map(|codes| codes.iter().map(known).collect()).collect(),
        delimiters: [soi, eoi],
    })
}

/// The logits of an answer's first token, over the whole vocabulary, and the likeliest answer.
fn question(folder: &Folder, model: &UniGen, comparer: &mut Comparer) -> Result<()> {
    let (io, config, device) = (&folder.io, model.config(), &folder.device);
    let (codes, text) = (config.codebook_size(), config.text_vocab);
    let [tokens] = io.shape::<1>("mmu_codes")?;
    let codes: Vec<u32> =
        io.ints("mmu_codes", &[tokens], 0..codes as i64)?.into_iter().map(|code| code as u32).collect();
    let [words] = io.shape::<1>("mmu_question")?;
    let question = io.ints("mmu_question", &[words], 0..text as i64)?;
    let question: Vec<u32> = question.into_iter().map(|token| token as u32).collect();
    let template = Template { user: vec![], assistant: vec![], newline: vec![] };
    let layouts = Layouts { special: &config.special_tokens, template: &template, opener: Opener::Block };
    let plan = layouts.describe(ImageRows::Codes(tokens), &question);

    let hidden = forward(model, &plan, &codes, device);
    let vocabulary = config.decoder.vocab_size;
    let logits = model.llm.logits(hidden.slice([plan.len() - 1..plan.len()]), 0..vocabulary);
    comparer.tensor("mmu_first_logits", logits.reshape([vocabulary]), bounds::FEATURES)?;

    let [length] = io.shape::<1>("mmu_answer")?;
    let wanted = io.ints("mmu_answer", &[length], 0..vocabulary as i64)?;
    let known: Vec<Option<u32>> = codes.iter().copied().map(Some).collect();
    let codes = model.embed_codes(&known, device)?;
    let prefix = Prefix::of(model, &plan, None, Some(&codes), device)?;
    let decoding =
        TextDecoding { max_tokens: length, temperature: 0.0, top_k: 1, stop: u32::MAX, vocabulary };
    let noise = Seeded { seed: 0 };
    let answer = sampling::decode_text(model, &prefix, decoding, &noise, async |_| Flow::Continue);
    let answer: Vec<i64> = answer.block_on()?.tokens.into_iter().map(i64::from).collect();
    comparer.ids("mmu_answer", &answer, &wanted);
    Ok(())
}

/// Hidden states of all rows of a plan with the codes of one picture, as in training.
fn forward(model: &UniGen, plan: &Sequence, codes: &[u32], device: &Device) -> Tensor<2> {
    let first = model.config().text_vocab as u32;
    let ids = plan.rows().map(|row| match row {
        Row::Token(id) => id as i32,
        Row::Semantic(i) | Row::Source(i) | Row::Target(i) => (first + codes[i]) as i32,
    });
    let ids: Vec<i32> = ids.collect();
    let x = model.llm.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), device));
    let positions = model.llm.positions(&(0..plan.len()).collect::<Vec<_>>(), device);
    model.llm.forward(x, &positions, &AttentionLayout::full([plan]))
}
