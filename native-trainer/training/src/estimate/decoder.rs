//! The decoder in training: rows of sequences, the values that its backward pass reads, and its arithmetic.

use unigen_core::config::{DecoderConfig, ModelConfig};
use unigen_core::cost::{Cost, Task};

use super::{Estimate, Place, Trained};

/// Tokens of the chat template and the markers around a sequence, about.
const TEMPLATE: f64 = 12.0;
/// The mean share of codes that the cosine schedule masks: 2 / π.
const MASKED: f64 = std::f64::consts::FRAC_2_PI;

/// The sequences of a model by task, with texts of so many tokens.
#[derive(Debug, Clone, Copy)]
pub struct Sequences<'a> {
    pub config: &'a ModelConfig,
    pub text: f64,
}

/// Adapters that are trained beside frozen weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adapters {
    /// Rank of each.
    pub rank: usize,
    /// Bytes of the frozen weights, as they are stored.
    pub base: f64,
}

/// Questions about one picture and their answers, in tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Conversation {
    /// All of them with their template.
    pub rows: f64,
    /// Those of the answers, which are predicted.
    pub answers: f64,
}

/// Rows that go through the decoder together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rows {
    /// All of them.
    pub all: f64,
    /// Those that predict a code, and those that predict a token of text.
    pub codes: f64,
    pub tokens: f64,
    /// Features of pictures among them.
    pub features: f64,
    /// Rows whose codes are embedded.
    pub embedded: f64,
}

impl Rows {
    /// This many such sequences.
    pub fn times(self, count: f64) -> Self {
        let Self { all, codes, tokens, features, embedded } = self;
        let [all, codes, tokens, features, embedded] =
            [all, codes, tokens, features, embedded].map(|rows| rows * count);
        Self { all, codes, tokens, features, embedded }
    }

    /// The mean over a mix of sequences.
    pub fn mean<const N: usize>(of: [Self; N], mix: [u64; N]) -> Self {
        let sum = mix.iter().sum::<u64>().max(1) as f64;
        let shares = of.into_iter().zip(mix).map(|(rows, share)| rows.times(share as f64 / sum));
        shares.fold(Self::default(), |a, b| Self {
            all: a.all + b.all,
            codes: a.codes + b.codes,
            tokens: a.tokens + b.tokens,
            features: a.features + b.features,
            embedded: a.embedded + b.embedded,
        })
    }
}

impl Sequences<'_> {
    fn codes(self) -> f64 {
        self.config.image_codes() as f64
    }

    fn features(self) -> f64 {
        self.config.vision.as_ref().map_or(0, |vision| vision.tokens(self.config.image_size)) as f64
    }

    /// A prompt and the picture that is drawn.
    pub fn generate(self) -> Rows {
        let codes = self.codes();
        Rows { all: TEMPLATE + self.text + codes, codes: MASKED * codes, embedded: codes, ..Rows::default() }
    }

    /// A picture twice, an instruction, and the picture that is drawn.
    pub fn edit(self) -> Rows {
        let (codes, features) = (self.codes(), self.features());
        Rows {
            all: TEMPLATE + self.text + features + 2.0 * codes + 4.0,
            codes: MASKED * codes,
            features,
            embedded: 2.0 * codes,
            ..Rows::default()
        }
    }

    /// A picture as features, and a conversation about it.
    pub fn describe(self, conversation: Conversation) -> Rows {
        let features = self.features();
        let all = 4.0 + conversation.rows + features;
        Rows { all, tokens: conversation.answers, features, ..Rows::default() }
    }

    /// A question and an answer of this many tokens each.
    pub fn turn(self, question: f64, answer: f64) -> Conversation {
        Conversation { rows: TEMPLATE + question + answer, answers: answer }
    }

    /// A picture as codes, a question, and the caption.
    pub fn caption(self) -> Rows {
        let codes = self.codes();
        let all = TEMPLATE + 2.0 * self.text + codes;
        Rows { all, tokens: self.text, embedded: codes, ..Rows::default() }
    }

    /// A text alone.
    pub fn text(self) -> Rows {
        Rows { all: self.text + 2.0, tokens: self.text, ..Rows::default() }
    }

    /// What a stage that trains this model, or `lora` beside it, needs with batches of `rows`. The frozen image tokenizer
    /// is in memory too, and the understanding encoder if the stage `sees`.
    pub fn estimate(
        self,
        rows: Rows,
        lora: Option<Adapters>,
        accumulate: u64,
        checkpointing: bool,
        sees: bool,
    ) -> anyhow::Result<Estimate> {
        let cost = Cost::of(self.config, Task::Generate, 1, 0)?;
        let of = |names: &[&str]| -> f64 {
            let named = cost.parameters.iter().filter(|(name, _)| names.contains(name));
            named.map(|(_, count)| *count as f64).sum()
        };
        let (tower, images) = (of(&["vision encoder"]), of(&["image encoder", "image decoder"]));
        let own = cost.total() as f64 - tower - images;
        let d = &self.config.decoder;
        let trained = lora.map_or(own, |lora| adapters(d, lora.rank));
        let frozen = lora.map_or(0.0, |lora| lora.base);
        let kept = self.kept(rows, lora, checkpointing);
        let run = Trained { trained, frozen, kept, accumulate };
        let forward = self.forward(rows);
        // The backward pass takes twice the forward pass; frozen weights have no gradient.
        let backward = if lora.is_some() { 1.0 } else { 2.0 };
        let mut found = Estimate::of(run, lora.is_some(), forward * (1.0 + backward));
        // The understanding encoder stays in half precision, as it is stored.
        let tower = if sees { tower / 2.0 } else { 0.0 };
        found.add("frozen encoders", (tower + images) * super::F32, Place::Device);
        Ok(found)
    }

    /// The values that the backward pass of a batch of `rows` reads.
    fn kept(self, rows: Rows, lora: Option<Adapters>, checkpointing: bool) -> f64 {
        let d = &self.config.decoder;
        let (width, hidden) = (d.hidden_size as f64, d.intermediate_size as f64);
        let head = d.head_dim() as f64;
        let (queries, keys) = (d.num_attention_heads as f64 * head, d.num_key_value_heads as f64 * head);
        // Checkpointing computes norms and activations again.
        let again = if checkpointing { 0.0 } else { 1.0 };
        // Keys before and after rotation, and values; the input of the norm and its result.
        let own = width + again * width + 3.0 * keys;
        // Queries before and after rotation, their mixture; the input of the second norm and its result; gate, up and
        // their product.
        let mixed = 3.0 * queries + width + again * width + (2.0 + again) * hidden;
        let adapted = lora.map_or(0.0, |lora| 7.0 * lora.rank as f64);
        let (layers, wanted) = (d.num_hidden_layers as f64, rows.codes + rows.tokens);
        // The last layer computes only rows that predict something.
        let inside = layers * rows.all * (own + adapted) + ((layers - 1.0) * rows.all + wanted) * mixed;
        // Embeddings of each kind, all of them in one tensor, and in order; the projector.
        let features = self.config.vision.as_ref().map_or(0.0, |vision| vision.hidden_size as f64);
        let embeddings = 3.0 * rows.all * width
            + rows.embedded * (width + self.config.code_bits() as f64)
            + rows.features * (2.0 * features + 3.0 * width);
        // The logits, the slices of their groups, and the gradients of both.
        let logits = 4.0 * rows.codes * self.config.code_classes() as f64
            + 3.0 * rows.tokens * self.config.text_vocab as f64;
        inside + embeddings + logits + 2.0 * wanted * width
    }

    /// Operations of the forward pass over `rows`.
    fn forward(self, rows: Rows) -> f64 {
        let d = &self.config.decoder;
        let width = d.hidden_size as f64;
        let head = d.head_dim() as f64;
        let (queries, keys) = (d.num_attention_heads as f64 * head, d.num_key_value_heads as f64 * head);
        let layer = width * (2.0 * queries + 2.0 * keys + 3.0 * d.intermediate_size as f64);
        let heads =
            rows.codes * self.config.code_classes() as f64 + rows.tokens * self.config.text_vocab as f64;
        2.0 * (rows.all * d.num_hidden_layers as f64 * layer + heads * width)
    }

    /// Bytes of the keys and values of `rows` rows, when pictures are drawn.
    pub fn cache(self, rows: f64) -> f64 {
        let d = &self.config.decoder;
        let keys = (d.num_key_value_heads * d.head_dim()) as f64;
        2.0 * rows * keys * d.num_hidden_layers as f64 * super::F32
    }
}

/// Parameters of adapters of rank `rank` on the linear maps of all layers.
fn adapters(d: &DecoderConfig, rank: usize) -> f64 {
    let (width, hidden, head) = (d.hidden_size, d.intermediate_size, d.head_dim());
    let (queries, keys) = (d.num_attention_heads * head, d.num_key_value_heads * head);
    let sides = 2 * (width + queries) + 2 * (width + keys) + 3 * (width + hidden);
    (d.num_hidden_layers * rank * sides) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::tensor::Device;
    use unigen_core::model::UniGen;

    #[test]
    fn parameters_are_those_of_the_model() {
        let config = ModelConfig::preset("nano").unwrap();
        let sequences = Sequences { config: &config, text: 20.0 };
        let model = UniGen::new(&config, &Device::flex());
        let bytes = |estimate: &Estimate, name: &str| {
            estimate.parts.iter().find(|part| part.name == name).map_or(0.0, |part| part.bytes)
        };
        let rows = sequences.generate().times(4.0);
        let full = sequences.estimate(rows, None, 1, false, true).unwrap();
        assert_eq!(bytes(&full, "weights"), 4.0 * model.num_params() as f64);
        let adapted = model.clone().adapted(4, 8.0);
        let base = 0.5 * model.num_params() as f64;
        let found = sequences.estimate(rows, Some(Adapters { rank: 4, base }), 1, false, true).unwrap();
        assert_eq!(bytes(&found, "adapters"), 4.0 * (adapted.num_params() - model.num_params()) as f64);
        assert_eq!(bytes(&found, "weights"), base);
        assert!(found.flops < full.flops);
        let less = sequences.estimate(rows, None, 1, true, true).unwrap();
        assert!(bytes(&less, "activations") < bytes(&full, "activations"));
    }

    #[test]
    fn rows_are_those_of_the_mix() {
        let config = ModelConfig::preset("nano").unwrap();
        let sequences = Sequences { config: &config, text: 20.0 };
        let (generate, text) = (sequences.generate(), sequences.text());
        let mixed = Rows::mean([generate, text], [3, 1]).times(8.0);
        assert_eq!(mixed.all, 6.0 * generate.all + 2.0 * text.all);
        assert_eq!((mixed.codes, mixed.tokens), (6.0 * generate.codes, 2.0 * text.tokens));
        assert!(sequences.edit().all > 2.0 * generate.all - 40.0);
    }
}
