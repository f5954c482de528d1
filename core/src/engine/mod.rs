//! From a model folder to pictures and answers (UniGen-1.5, arXiv 2511.14760, section 3).
//!
//! [`Engine::open`] loads a folder, [`Engine::new`] takes a model's parts wherever they come from. Then
//! [`Engine::generate`] draws, [`Engine::edit`] edits, [`Engine::extend`] draws on past an edge, and [`Engine::ask`] answers a
//! question about a picture. [`Engine::can`] says which of it a model can do.
//!
//! The steps can be called one by one. For pictures: [`Engine::draw_codes`] and [`Engine::images`],
//! [`Engine::edit_codes`] and [`Engine::edit_images`], [`Engine::inpaint_codes`] and [`Engine::inpaint_image`]. Callers who
//! show their progress take the first of each pair apart as well: [`Engine::begin_drawing`], [`Engine::begin_edit`]
//! or [`Engine::begin_inpainting`], then [`Engine::decode`]. For answers: [`Engine::begin_answer`], then
//! [`Engine::answer`].
//!
//! Whatever reads back from a device is async, because a browser cannot wait. Natively, block on it (crate `pollster`).

mod ask;
mod edit;
mod extend;
mod folder;
mod generate;
mod images;
mod inpaint;
mod warm_up;

pub use ask::{Answer, AnswerSettings, Question};
pub use edit::EditRequest;
pub use extend::{ExtendRequest, Side};
pub use folder::{ModelFolder, ModelParts};
pub use generate::GenerateRequest;
pub use inpaint::InpaintRequest;
pub use warm_up::warm_up;

use crate::config::{Ability, Config, GenerationConfig, ModelConfig, TokenizerConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::image_tokenizer::{Codes, ImageTokenizer};
use crate::model::UniGen;
use crate::precision::{MatmulPrecision, WithPrecision};
use crate::sampling::{Branch, Counted, Flow, MaskedDecoding, Order, Prefix, Seeds, StepReport};
use crate::sequence::{Layouts, Opener, Sequence};
use crate::text::TextTokenizer;
use crate::vision::Tower;
use crate::weights::{Checkpoint, keys, load};
use burn::tensor::{Device, Tensor};
use image::RgbImage;

/// A loaded model on a device.
pub struct Engine {
    config: ModelConfig,
    generation: GenerationConfig,
    text: TextTokenizer,
    model: UniGen,
    image_tokenizer: ImageTokenizer,
    vision: Option<Tower>,
    device: Device,
}

/// Pictures whose prompts and sources are read, before any step is taken.
pub struct Drawing {
    branches: Vec<Branch>,
    /// `None` where a code is to be drawn.
    targets: Vec<Vec<Option<u32>>>,
    seeds: Vec<u64>,
    decoding: MaskedDecoding,
}

impl Drawing {
    /// Number of decoding steps.
    pub fn steps(&self) -> usize {
        self.decoding.steps
    }
}

/// The embedded rows that stand for a picture in a sequence, `[rows, width]` each.
#[derive(Clone, Default)]
struct Source {
    /// Projected features.
    semantic: Option<Tensor<2>>,
    /// Codes.
    codes: Option<Tensor<2>>,
}

impl Engine {
    /// Opens a model folder, see [`ModelFolder`].
    ///
    /// # Errors
    /// They name the file, and the tensor or key in it that is missing, damaged, of another model or not finite.
    pub fn open(folder: &std::path::Path, device: &Device) -> Result<Self> {
        Self::new(ModelFolder::at(folder).parts()?, device)
    }

    /// Puts a model together on `device`. Errors as [`open`](Self::open).
    pub fn new(parts: ModelParts, device: &Device) -> Result<Self> {
        let ModelParts { config, generation, text, model, image_tokenizer, vision } = parts;
        check_config(&config)?;
        check_text(&config, &text)?;
        generation.check(config.image_codes()).map_err(|e| within("generation.json", e))?;
        let vision = config.vision.as_ref().zip(vision);
        Ok(Self {
            vision: vision.map(|(config, weights)| Tower::open(config, &weights, device)).transpose()?,
            model: load(UniGen::new(&config, device), &model, keys::model(&model))?,
            image_tokenizer: load_image_tokenizer(&config.image_tokenizer, &image_tokenizer, device)?,
            config,
            generation,
            text,
            device: device.clone(),
        })
    }

    /// An engine of modules in memory, as training has them.
    ///
    /// # Errors
    /// Where the modules do not fit together.
    pub fn of(
        text: TextTokenizer,
        model: UniGen,
        image_tokenizer: ImageTokenizer,
        vision: Option<Tower>,
        device: &Device,
    ) -> Result<Self> {
        let config = model.config().clone();
        check_config(&config)?;
        check_text(&config, &text)?;
        let generation = GenerationConfig::of(config.image_codes());
        Ok(Self { config, generation, text, model, image_tokenizer, vision, device: device.clone() })
    }

    /// The same engine with this precision of matrix products in all of its parts.
    pub fn with_precision(self, precision: MatmulPrecision) -> Self {
        Self {
            model: self.model.with_precision(precision),
            image_tokenizer: self.image_tokenizer.with_precision(precision),
            vision: self.vision.map(|tower| tower.with_precision(precision)),
            ..self
        }
    }

    /// Sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Whether this model can both edit and answer.
    pub fn sees(&self) -> bool {
        self.can(Ability::Edit) && self.can(Ability::Answer)
    }

    /// Whether this model can do this, with the parts that it has come with.
    pub fn can(&self, ability: Ability) -> bool {
        let tower = self.vision.is_some() && self.model.mm_projector.is_some();
        let seen = match ability {
            Ability::Draw => true,
            Ability::Edit => tower,
            Ability::Answer => tower || self.config.sees_codes,
        };
        seen && self.config.can(ability)
    }

    /// How this model draws unless told otherwise.
    pub fn generation(&self) -> &GenerationConfig {
        &self.generation
    }

    /// The words of a prompt, an instruction or a question that the model has not learned, each once, as they are written
    /// there; none where nobody has listed what it knows.
    pub fn unknown_words<'a>(&self, text: &'a str) -> Vec<&'a str> {
        self.generation.vocabulary.unknown(text)
    }

    /// Takes the steps of a drawing: the codes of its pictures, row-major. `on_step` sees every step and may cancel.
    ///
    /// # Errors
    /// `Cancelled`; `Device`.
    pub async fn decode(
        &self,
        drawing: Drawing,
        on_step: impl AsyncFnMut(StepReport<'_>) -> Flow,
    ) -> Result<Vec<Codes>> {
        let Drawing { branches, targets, seeds, decoding } = drawing;
        if targets.is_empty() {
            return Ok(vec![]);
        }
        let delimiters = [self.text.special().soi, self.text.special().eoi];
        decoding.decode(&self.model, &branches, targets, delimiters, &Seeds(seeds), on_step).await
    }

    /// How pictures are drawn in `steps` steps.
    fn decoding(&self, steps: usize, settings: &GenerationConfig) -> MaskedDecoding {
        let order = Order::Confidence { temperature: settings.temperature };
        let counted = if self.config.special_tokens.chat.is_some() { Counted::Unknown } else { Counted::All };
        MaskedDecoding { top_k: settings.top_k, counted, ..MaskedDecoding::new(steps, order) }
    }

    /// The tokens of a user's text. Errors call it `name`, and `fix` says what to do where it is empty.
    fn read(
        &self,
        name: &str,
        text: &str,
        fix: &str,
        encode: impl FnOnce(&str) -> Result<Vec<u32>>,
    ) -> Result<Vec<u32>> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Error::new(ErrorKind::Text, name, "is empty").fix(fix));
        }
        encode(text).map_err(|e| Error { place: name.into(), ..e })
    }

    /// Everything before the live block of `plan`, or all of it where there is none.
    fn prefix(&self, plan: &Sequence, source: &Source) -> Result<Prefix> {
        Prefix::of(&self.model, plan, source.semantic.as_ref(), source.codes.as_ref(), &self.device)
    }

    /// Features of pictures in the decoder's width, `[features, width]` each.
    fn semantic(&self, pictures: &[RgbImage]) -> Result<Vec<Tensor<2>>> {
        let (Some(config), Some(tower), Some(projector)) =
            (&self.config.vision, &self.vision, &self.model.mm_projector)
        else {
            let what = "is missing: this model draws, but it cannot see pictures";
            return Err(Error::new(ErrorKind::Weights, ModelFolder::VISION, what)
                .fix("use a model with an understanding encoder"));
        };
        let features = tower.features(pictures, config.max_tokens(), &self.device)?;
        Ok(features.into_iter().map(|features| projector.forward(features)).collect())
    }
}

/// The sequences that an engine completes, with `soi` in the live block. A model must be trained on these.
pub fn layouts(text: &TextTokenizer) -> Layouts<'_> {
    Layouts { opener: Opener::Block, ..Layouts::new(text) }
}

/// Checks the sizes.
fn check_config(config: &ModelConfig) -> Result<()> {
    config.validate().map_err(|e| within("config.json", e))
}

/// Checks that the text tokenizer and the model have the same ids.
fn check_text(config: &ModelConfig, text: &TextTokenizer) -> Result<()> {
    let error = |what| {
        Error::new(ErrorKind::Text, "tokenizer.json", what)
            .fix("take config.json and tokenizer.json from the same model")
    };
    if text.vocab_size() > config.text_vocab {
        let what = format!("has {} tokens, the model {}", text.vocab_size(), config.text_vocab);
        return Err(error(what));
    }
    for ((name, found), (_, wanted)) in text.special().named().into_iter().zip(config.special_tokens.named())
    {
        if found != wanted {
            return Err(error(format!("{name} is token {found}, in config.json {wanted}")));
        }
    }
    Ok(())
}

fn load_image_tokenizer(
    config: &TokenizerConfig,
    checkpoint: &Checkpoint,
    device: &Device,
) -> Result<ImageTokenizer> {
    load(ImageTokenizer::new(config, device)?, checkpoint, keys::same)
}

fn within(file: &str, e: Error) -> Error {
    Error { place: format!("{file}: {}", e.place), ..e }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VisionConfig;
    use crate::philox::{Draws, Stream};
    use crate::sampling::text_guidance;
    use crate::sequence::{AttentionLayout, EditBranch, Row};
    use crate::text::train_bpe;
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::{Int, TensorData};
    use pollster::FutureExt;

    /// Draws the weights of each parameter from its number alone: burn's generator is shared by all tests
    /// that run at once, so that a seed would not repeat them.
    struct Seeded(u32);

    impl ModuleMapper for Seeded {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            let (draws, parameter) = (Draws::new(0, Stream::Confidence), self.0);
            param.map(|old| {
                // Zeros and ones stay.
                if (old.clone().max() - old.clone().min()).into_scalar::<f32>() == 0.0 {
                    return old;
                }
                let weight = |i| 0.06 * draws.uniform(parameter, i, 0) - 0.03;
                let weights: Vec<f32> = (0..old.shape().num_elements() as u32).map(weight).collect();
                Tensor::from_data(TensorData::new(weights, old.shape()), &old.device())
            })
        }
    }

    /// A small engine with random weights, the same ones each time, that draws 32 x 32 pixels in 4 x 4 codes.
    pub(super) fn engine() -> Engine {
        let (mut config, device) = (ModelConfig::preset("nano").unwrap(), Device::flex());
        (config.decoder.num_hidden_layers, config.image_size) = (2, 32);
        if let Some(vision) = &mut config.vision {
            (vision.num_hidden_layers, vision.num_patches) = (2, Some(16));
        }
        let bpe = train_bpe(["a photo of a red apple".to_owned()], 300).unwrap();
        let mut seeded = Seeded(0);
        let model = UniGen::new(&config, &device).map(&mut seeded);
        let image_tokenizer = ImageTokenizer::new(&config.image_tokenizer, &device).unwrap().map(&mut seeded);
        let tower = |vision: &VisionConfig| match Tower::new(vision, &device).unwrap() {
            Tower::Siglip(tower) => Tower::Siglip(tower.map(&mut seeded)),
            Tower::Siglip2(tower) => Tower::Siglip2(tower.map(&mut seeded)),
        };
        Engine {
            generation: GenerationConfig { steps: 4, edit_steps: 3, ..GenerationConfig::default() },
            text: TextTokenizer::from_bytes(&bpe).unwrap(),
            model,
            image_tokenizer,
            vision: config.vision.as_ref().map(tower),
            device,
            config,
        }
    }

    pub(super) fn picture(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8 * 5, y as u8 * 7, 90]))
    }

    /// Logits of a masked target from all rows of `plan` at once, as in training.
    fn trained(engine: &Engine, plan: &Sequence, source: &Source) -> Tensor<2> {
        let (llm, device) = (&engine.model.llm, &engine.device);
        let part = |of: &Option<Tensor<2>>, i: usize| of.clone().unwrap().slice([i..i + 1]);
        let masked = vec![None; engine.config.image_codes()];
        let masked = Some(engine.model.embed_codes(&masked, device).unwrap());
        let rows = plan.rows().map(|row| match row {
            Row::Token(id) => llm.embed(Tensor::<1, Int>::from_ints([id as i32], device)),
            Row::Semantic(i) => part(&source.semantic, i),
            Row::Source(i) => part(&source.codes, i),
            Row::Target(i) => part(&masked, i),
        });
        let positions = llm.positions(&(0..plan.len()).collect::<Vec<_>>(), device);
        let layout = AttentionLayout::full([plan]);
        let hidden = llm.forward(Tensor::cat(rows.collect(), 0), &positions, &layout);
        engine.model.code_logits(hidden.slice([plan.target.clone()]))
    }

    /// Decoding sees the rows, positions and attention of the sequence that training sees.
    #[test]
    fn decoding_completes_the_sequences_of_training() {
        let engine = engine();
        let prompt = engine.prompt("a red apple", 128).unwrap();
        let special = engine.text.special();
        let decoding = MaskedDecoding::new(1, Order::Confidence { temperature: 0.0 });
        let decoded = |plan: &Sequence, source: &Source| {
            let branches = text_guidance(1.0, vec![engine.prefix(plan, source).unwrap()], vec![]);
            let targets = [vec![None; 16]];
            decoding.first_logits(&engine.model, &branches, &targets, [special.soi, special.eoi]).unwrap()
        };
        let difference = |a: Tensor<2>, b: Tensor<2>| (a - b).abs().max().into_scalar::<f32>();

        let (ours, others) = (layouts(&engine.text), Layouts::new(&engine.text));
        let none = Source::default();
        let drawn = decoded(&ours.generate(&prompt, 16), &none);
        let same = difference(trained(&engine, &ours.generate(&prompt, 16), &none), drawn.clone());
        let other = difference(trained(&engine, &others.generate(&prompt, 16), &none), drawn);
        assert!(same < 1e-6 && other > 10.0 * same, "{same} {other}");

        let source = engine.source(&[picture(32, 32)], || ()).block_on().unwrap().remove(0).0;
        let semantic = source.semantic.as_ref().unwrap().dims()[0];
        for branch in [EditBranch::None, EditBranch::Image, EditBranch::Full] {
            let plan = ours.edit(branch, &prompt, semantic, 16).unwrap();
            let same = difference(trained(&engine, &plan, &source), decoded(&plan, &source));
            assert!(same < 1e-6, "{branch:?} {same}");
        }
    }
}
