//! Masked decoding with guidance: the loop that UniGen publishes (arXiv 2505.14682), on recorded noise.

use anyhow::Result;
use unigen_core::model::UniGen;
use unigen_core::sampling::{self, MaskedDecoding, Order};
use unigen_core::weights::{keys, load};

use super::language_model::{delimiters, model_config};
use super::recorded::{Recorded, prefixes, texts};
use crate::Kind;
use crate::compare::Comparer;
use crate::folder::{Config, Folder};

/// Guided logits of the first step, then every draw and every re-masking, with the prefix cached and without.
pub struct Decoding;

impl Kind for Decoding {
    fn name(&self) -> &'static str {
        "UniGen decoding"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type() == Some("qwen2") && config.has("guidance")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        let config = model_config(folder)?;
        let delimiters = delimiters(folder, &config)?;
        let (steps, tokens) = (folder.config.size("steps")?, folder.config.size("num_image_tokens")?);
        let guidance = folder.config.number("guidance")? as f32;
        let temperature = folder.config.number("temperature")? as f32;
        let [images, _] = folder.io.shape::<2>("cond_ids")?;
        let vocabulary = config.decoder.vocab_size;
        let cond = texts(folder, "cond_ids", images, vocabulary)?;
        let uncond = texts(folder, "uncond_ids", images, vocabulary)?;
        let model = load(UniGen::new(&config, &folder.device), &folder.model, keys::unigen)?;
        let [cond, uncond] = [cond, uncond].map(|texts| prefixes(&model, &texts, folder));
        let recorded = Recorded {
            decoding: MaskedDecoding::new(steps, Order::Confidence { temperature }),
            branches: sampling::text_guidance(guidance, cond, uncond),
            targets: vec![vec![None; tokens]; images],
            delimiters,
        };
        recorded.compare(folder, &model, comparer)
    }
}
