//! Left-to-right decoding of text over cached keys and values.

use super::{Flow, Noise, Prefix};
use crate::decoder::KeyOrder;
use crate::error::{Error, ErrorKind, Result};
use crate::model::UniGen;
use crate::sequence::{AttentionLayout, Segment};
use burn::tensor::{Int, Tensor};

/// Settings of text decoding.
#[derive(Debug, Clone, Copy)]
pub struct TextDecoding {
    /// At most so many new tokens.
    pub max_tokens: usize,
    /// 0 takes the likeliest token; otherwise logits are divided by it and drawn from.
    pub temperature: f32,
    /// Draws come from the so many likeliest tokens.
    pub top_k: usize,
    /// The token that ends the answer; it is not returned.
    pub stop: u32,
}

/// Continues `prefix` token by token; `on_token` sees each one and may cancel.
///
/// # Errors
/// `Cancelled` where `on_token` asks for it; `Device` where logits cannot be read.
pub async fn decode_text(
    model: &UniGen,
    prefix: &Prefix,
    settings: TextDecoding,
    noise: &dyn Noise,
    mut on_token: impl AsyncFnMut(u32) -> Flow,
) -> Result<Vec<u32>> {
    let device = prefix.rows.device();
    let rows = prefix.visible.len();
    let all = |rows| vec![Segment { queries: 0..rows, keys: 0..rows }];
    let visible = prefix.visible.iter().map(|&v| [0, v as u32]).collect();
    let positions = model.llm.positions(&(0..rows).collect::<Vec<_>>(), &device);
    let layout = AttentionLayout { visible, segments: all(rows) };
    let (hidden, mut cache) = model.llm.prefill(prefix.rows.clone(), &positions, &layout);
    let mut last = hidden.slice([rows - 1..rows]);
    let mut answer = Vec::new();
    while answer.len() < settings.max_tokens {
        let error = |e| Error::new(ErrorKind::Device, "logits", e);
        let logits = model.llm.logits(last, 0..model.config().text_vocab).into_data_async().await;
        let logits = logits.map_err(|e| error(format!("{e:?}")))?;
        let logits: Vec<f32> = logits.try_to_vec().map_err(|e| error(format!("{e:?}")))?;
        let token = pick(&logits, settings, |class| noise.token(answer.len(), 0, 0, class));
        if token == settings.stop {
            break;
        }
        answer.push(token);
        if on_token(token).await == Flow::Cancel {
            return Err(Error::new(ErrorKind::Cancelled, "text decoding", "cancelled"));
        }
        let seen = rows + answer.len();
        let x = model.llm.embed(Tensor::<1, Int>::from_ints([token as i32], &device));
        let positions = model.llm.positions(&[seen - 1], &device);
        let layout = AttentionLayout::causal([(seen - 1, 1)]);
        let order = KeyOrder::new(&[0..seen - 1], &[0..1], seen - 1, &device);
        let (hidden, fresh) = model.llm.extend(x, &positions, &layout, &cache, &order, None);
        cache = cache.join(fresh, &order);
        last = hidden;
    }
    Ok(answer)
}

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
