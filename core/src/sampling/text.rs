//! Left-to-right decoding of text over cached keys and values.

use super::prefix::ints;
use super::read::read_logits;
use super::{Flow, Noise, Prefix};
use crate::decoder::KeyOrder;
use crate::error::{Error, ErrorKind, Result};
use crate::model::UniGen;
use crate::sequence::AttentionLayout;

/// Settings of text decoding.
#[derive(Debug, Clone, Copy)]
pub struct TextDecoding {
    /// The most new tokens.
    pub max_tokens: usize,
    /// 0 takes the likeliest token. Above 0, logits are divided by it and a token is drawn.
    pub temperature: f32,
    /// Number of likeliest tokens that are drawn from.
    pub top_k: usize,
    /// The token that ends the answer; it is not returned.
    pub stop: u32,
    /// How many tokens may be written, from the first of the vocabulary: a model's text, or image codes too.
    pub vocabulary: usize,
}

/// What [`decode_text`] has written.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedText {
    /// Tokens, without the one that ends them.
    pub tokens: Vec<u32>,
    /// The mean over all tokens that were chosen, also the one that ends them, of `ln p(token | what is before it)`, in nats:
    /// 0 is sure.
    pub mean_log_probability: f32,
}

/// Continues `prefix` token by token; `on_token` sees each one and may cancel.
///
/// # Errors
/// `Config` for an empty prefix or one of another width; `Cancelled` where `on_token` asks for it; `Device` where logits
/// cannot be read.
pub async fn decode_text(
    model: &UniGen,
    prefix: &Prefix,
    settings: TextDecoding,
    noise: &dyn Noise,
    mut on_token: impl AsyncFnMut(u32) -> Flow,
) -> Result<DecodedText> {
    let ([rows, width], device) = (prefix.rows().dims(), prefix.device());
    if rows == 0 || width != model.config().decoder.hidden_size {
        let what = format!("a prefix of {rows} rows of {width} cannot be continued");
        return Err(Error::new(ErrorKind::Config, "text decoding", what)
            .fix("embed at least one row with the same model"));
    }
    let visible = prefix.visible().iter().map(|&v| [0, v as u32]).collect();
    let positions = model.llm.positions(&(0..rows).collect::<Vec<_>>(), &device);
    let layout = AttentionLayout::new(visible, vec![(0..rows, 0..rows)]);
    let (hidden, mut cache) = model.llm.prefill(prefix.rows().clone(), &positions, &layout);
    let mut last = hidden.slice([rows - 1..rows]);
    let (mut answer, mut log_probabilities) = (Vec::new(), Vec::new());
    while answer.len() < settings.max_tokens {
        let logits = read_logits(model.llm.logits(last, 0..settings.vocabulary)).await?;
        let token = pick(&logits, settings, |class| noise.token(answer.len(), 0, 0, class));
        log_probabilities.push(log_probability(&logits, token));
        if token == settings.stop {
            break;
        }
        answer.push(token);
        if on_token(token).await == Flow::Cancel {
            return Err(Error::new(ErrorKind::Cancelled, "text decoding", "cancelled"));
        }
        let seen = rows + answer.len();
        let x = model.llm.embed(ints(std::iter::once(token as i32), &device));
        let positions = model.llm.positions(&[seen - 1], &device);
        let layout = AttentionLayout::extending([(seen - 1, 1)]);
        let order = KeyOrder::new(&[0..seen - 1], &[0..1], seen - 1, &device);
        let (hidden, fresh) = model.llm.extend(x, &positions, &layout, &cache, &order);
        cache = cache.join(fresh, &order);
        last = hidden;
    }
    let mean_log_probability = log_probabilities.iter().sum::<f32>() / log_probabilities.len().max(1) as f32;
    Ok(DecodedText { tokens: answer, mean_log_probability })
}

/// `ln softmax(logits)[token]`
fn log_probability(logits: &[f32], token: u32) -> f32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    logits.get(token as usize).map_or(f32::NEG_INFINITY, |logit| logit - largest - sum.ln())
}

/// The next token.
fn pick(logits: &[f32], settings: TextDecoding, noise: impl Fn(usize) -> f32) -> u32 {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    if settings.temperature <= 0.0 {
        return order.first().map_or(settings.stop, |&i| i as u32);
    }
    order.truncate(settings.top_k.max(1));
    let score = |i: usize| logits[i] / settings.temperature + noise(i);
    let best = order.into_iter().max_by(|&a, &b| score(a).total_cmp(&score(b)));
    best.map_or(settings.stop, |i| i as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::sampling::Seeded;
    use burn::tensor::{Device, Tensor};
    use pollster::FutureExt;

    #[test]
    fn a_prefix_that_cannot_be_continued_is_an_error() {
        let mut config = ModelConfig::preset("nano").unwrap();
        config.decoder.num_hidden_layers = 1;
        let model = UniGen::new(&config, &Device::flex());
        let settings = TextDecoding { max_tokens: 2, temperature: 0.0, top_k: 1, stop: 2, vocabulary: 9 };
        for shape in [[0, 256], [2, 3]] {
            let prefix = Prefix::causal(Tensor::zeros(shape, &Device::flex()));
            let noise = Seeded { seed: 0 };
            let answer = decode_text(&model, &prefix, settings, &noise, async |_| Flow::Continue).block_on();
            let error = answer.unwrap_err();
            assert!(error.kind == ErrorKind::Config && !error.fix.is_empty(), "{error}");
        }
    }

    #[test]
    fn probabilities_are_those_of_a_softmax() {
        for (logits, token, probability) in [
            (&[0.0, 0.0][..], 0, 0.5),
            (&[0.0; 4], 3, 0.25),
            (&[5.0], 0, 1.0),
            (&[2.0f32.ln(), 0.0, 0.0], 0, 0.5),
            (&[1000.0, 0.0], 0, 1.0),
            (&[-1000.0, -1000.0], 1, 0.5),
        ] {
            let found = log_probability(logits, token).exp();
            assert!((found - probability).abs() < 1e-6, "{logits:?}: {found}");
        }
        assert_eq!(log_probability(&[1000.0, 0.0], 1), -1000.0);
    }
}
