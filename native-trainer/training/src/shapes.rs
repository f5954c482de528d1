//! A second world for tests, which is as small as possible: a coloured box on one side of a grey picture.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Tensor};
use image::{Rgb, RgbImage};
use rand::{Rng, RngExt};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use unigen_core::config::{GenerationConfig, ModelConfig, TokenizerConfig};
use unigen_core::engine::{Engine, GenerateRequest, ModelFolder};
use unigen_core::image_tokenizer::{ImageTokenizer, pixels_from_images};
use unigen_core::model::UniGen;
use unigen_core::text::train_bpe;
use unigen_core::vision::Tower;
use unigen_core::weights::{BlockFormat, Checkpoint, FileTensor, Precision, write_file};
use unigen_rewards::{Item, OpenReward, Reward, RewardSettings, Score, open};
use unigen_runs::{Compute, floats};

use crate::data::{Annotation, Captioned, Edit, Edits, Pictures, Prompt, Prompts, Region, rng_at};
use crate::train::Evaluation;
use crate::validation::Validation;
use crate::world::{Perception, World, WorldSettings};
use pollster::FutureExt;

const COLORS: [(&str, [u8; 3]); 3] =
    [("red", [220, 30, 30]), ("green", [30, 190, 60]), ("blue", [40, 60, 230])];
const SIDES: [&str; 2] = ["left", "right"];
/// The difference between the seeds of validation and those of training.
const HELD_OUT: u64 = 1 << 40;

/// The world of boxes.
pub struct Shapes;

/// A picture: the colour of the box and its side.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shape {
    color: usize,
    side: usize,
}

impl Shape {
    fn at(seed: u64, index: u64) -> Self {
        let mut rng = rng_at(seed, index);
        Self { color: rng.random_range(0..COLORS.len()), side: rng.random_range(0..SIDES.len()) }
    }

    fn bbox(self, [width, height]: [u32; 2]) -> [f32; 4] {
        let half = width as f32 / 2.0;
        let left = self.side as f32 * half;
        [left, 0.0, left + half, height as f32]
    }

    fn draw(self, shape: [u32; 2]) -> RgbImage {
        let [left, _, right, _] = self.bbox(shape);
        RgbImage::from_fn(shape[0], shape[1], |x, _| {
            let inside = (left..right).contains(&(x as f32 + 0.5));
            Rgb(if inside { COLORS[self.color].1 } else { [128; 3] })
        })
    }

    fn text(self) -> String {
        format!("a {} box on the {}", COLORS[self.color].0, SIDES[self.side])
    }
}

impl Annotation for Shape {
    fn caption(&self, _: u64) -> String {
        self.text()
    }

    fn conversation(&self, _: u64, _: &mut dyn Rng) -> Vec<[String; 2]> {
        vec![["what color is the box?".into(), COLORS[self.color].0.into()]]
    }

    fn regions(&self, size: [u32; 2]) -> Option<Vec<Region>> {
        Some(vec![Region { bbox: self.bbox(size), labels: [0, self.color] }])
    }

    fn record(&self) -> Value {
        json!([self.color, self.side])
    }
}

/// A stream of pictures, edits or prompts.
struct Stream(u64);

impl Pictures for Stream {
    fn name(&self) -> String {
        format!("boxes {}", self.0)
    }

    fn count(&self) -> Option<u64> {
        None
    }

    fn captioned(&self, index: u64, shape: [u32; 2]) -> Result<Captioned> {
        let box_ = Shape::at(self.0, index);
        Ok(Captioned { picture: box_.draw(shape), annotation: Arc::new(box_) })
    }

    fn texts(&self, count: u64) -> Result<Vec<String>> {
        Ok((0..count.min(50)).map(|index| Shape::at(self.0, index).text()).collect())
    }

    fn annotation(&self, record: Value) -> Result<Arc<dyn Annotation>> {
        let [color, side] = serde_json::from_value(record)?;
        Ok(Arc::new(Shape { color, side }))
    }
}

impl Edits for Stream {
    fn name(&self) -> String {
        format!("box edits {}", self.0)
    }

    fn count(&self) -> Option<u64> {
        None
    }

    fn read(&self, index: u64, size: u32) -> Result<Edit> {
        let before = Shape::at(self.0, index);
        let after = Shape { color: (before.color + 1) % COLORS.len(), ..before };
        let [before, picture] = [before, after].map(|shape| shape.draw([size; 2]));
        let instruction = format!("make it {}", COLORS[after.color].0);
        Ok(Edit { before, instruction, after: picture, description: after.text() })
    }
}

impl Prompts for Stream {
    fn get(&self, index: u64) -> Result<Prompt> {
        let text = Shape::at(self.0, index).text();
        Ok(Prompt { description: text.clone(), text })
    }
}

/// A reward: how near the mean colour of a picture is to the colour that its description names.
struct NearColor;

impl Reward for NearColor {
    fn name(&self) -> &str {
        "color"
    }

    fn score(&self, items: &[Item]) -> Vec<Score> {
        items.iter().map(|item| Ok(near(&item.image, &item.description))).collect()
    }
}

fn near(image: &RgbImage, description: &str) -> f32 {
    let wanted = COLORS.iter().find(|(name, _)| description.contains(name)).map_or([128; 3], |(_, rgb)| *rgb);
    let far = image.pixels().flat_map(|pixel| (0..3).map(|c| pixel.0[c].abs_diff(wanted[c])));
    1.0 - far.map(f32::from).sum::<f32>() / (255 * 3 * image.width() * image.height()) as f32
}

impl OpenReward for Shapes {
    fn kinds(&self) -> &[&str] {
        &["color"]
    }

    fn open(&mut self, _: &str, _: &Path, _: &Compute) -> Result<Box<dyn Reward>> {
        Ok(Box::new(NearColor))
    }
}

/// Validation, which scores by [`near`] if a judge is asked for.
struct BoxValidation {
    judged: bool,
}

impl Validation for BoxValidation {
    fn judged(&self) -> bool {
        self.judged
    }

    fn drawing(&self, engine: &Engine) -> Result<Evaluation> {
        let texts = (0..4).map(|index| Shape::at(HELD_OUT, index).text());
        let requests: Vec<_> =
            texts.zip(0..).map(|(prompt, seed)| GenerateRequest { prompt, seed }).collect();
        let draw =
            engine.generate_batch(&requests, engine.generation(), async |_| unigen_runs::Interrupt::flow());
        let drawn = draw.block_on()?;
        let scores =
            drawn.iter().zip(&requests).map(|(image, request)| f64::from(near(image, &request.prompt)));
        let scalars = if self.judged { vec![("color", scores.sum::<f64>() / 4.0)] } else { vec![] };
        let cells: Vec<_> = drawn.into_iter().zip(requests.into_iter().map(|r| r.prompt)).collect();
        Ok(Evaluation { scalars, sheets: vec![("samples", unigen_runs::sheet(&cells, 2, 1))] })
    }

    fn editing(&self, engine: &Engine) -> Result<Evaluation> {
        let edit = Stream(HELD_OUT).read(0, engine.config().image_size as u32)?;
        let cells = [(edit.before, edit.instruction), (edit.after, edit.description)];
        Ok(Evaluation { scalars: vec![], sheets: vec![("edits", unigen_runs::sheet(&cells, 2, 1))] })
    }

    fn reconstruction(
        &self,
        tokenizer: &ImageTokenizer,
        bits: usize,
        size: u32,
        device: &Device,
    ) -> Result<Evaluation> {
        let picture = Shape::at(HELD_OUT, 0).draw([size; 2]);
        let real = pixels_from_images(&[picture], device)?;
        let codes = tokenizer.encode(real.clone())?;
        let again = tokenizer.decode(codes, size as usize, size as usize)?;
        let error = floats((real - again).abs().mean())?[0];
        Ok(Evaluation { scalars: vec![("l1", error.into()), ("bits", bits as f64)], sheets: vec![] })
    }

    fn score(&self, found: &Evaluation) -> Option<f64> {
        found.scalars.iter().find(|(name, _)| *name == "color").map(|(_, score)| *score)
    }
}

/// The pictures themselves at half the resolution.
struct Pixels;

impl Perception for Pixels {
    fn features(&self, pixels: &Tensor<4>) -> Vec<Tensor<4>> {
        let [batch, height, width, channels] = pixels.dims();
        let halves = pixels.clone().reshape([batch, height / 2, 2, width / 2, 2 * channels]);
        vec![halves.mean_dim(2).reshape([batch, height / 2, width / 2, 2 * channels])]
    }
}

impl World for Shapes {
    fn open(settings: &WorldSettings) -> Result<Self> {
        ensure!(settings.is_empty(), "the world of boxes has no settings");
        Ok(Self)
    }

    fn labels(&self) -> [usize; 2] {
        [1, COLORS.len()]
    }

    fn pictures(&self, seed: u64) -> Box<dyn Pictures> {
        Box::new(Stream(seed))
    }

    fn held_out_pictures(&self, seed: u64) -> Box<dyn Pictures> {
        Box::new(Stream(seed ^ HELD_OUT))
    }

    fn edits(&self, seed: u64, kinds: &[String]) -> Result<Box<dyn Edits>> {
        ensure!(kinds.is_empty(), "boxes have one kind of edit");
        Ok(Box::new(Stream(seed)))
    }

    fn held_out_edits(&self, seed: u64) -> Box<dyn Edits> {
        Box::new(Stream(seed ^ HELD_OUT))
    }

    fn prompts(&self, seed: u64) -> Box<dyn Prompts> {
        Box::new(Stream(seed))
    }

    fn described_edits(&self, seed: u64, kinds: &[String]) -> Result<Box<dyn Edits>> {
        self.edits(seed, kinds)
    }

    fn validation(&self, judge: Option<&Path>, _: &Compute) -> Result<Box<dyn Validation>> {
        Ok(Box::new(BoxValidation { judged: judge.is_some() }))
    }

    fn perception(&self, _: &Path, _: &Compute) -> Result<Box<dyn Perception>> {
        Ok(Box::new(Pixels))
    }

    fn rewards(&self, settings: &[RewardSettings], compute: &Compute) -> Result<Vec<Box<dyn Reward>>> {
        if settings.is_empty() { Ok(vec![Box::new(NearColor)]) } else { open(settings, compute, &mut Shapes) }
    }
}

/// A model with random weights that draws 32 x 32 pixels in 4 x 4 codes of 2 x 4 bits, and has an understanding
/// encoder.
pub fn model_folder() -> TempDir {
    folder_of(vec![4, 4])
}

/// The same model as published ones are: its codes of 8 bits are tokens of its table.
pub fn token_folder() -> TempDir {
    folder_of(vec![8])
}

/// The model in `folder` with the linear layers of its decoder in blocks of 4 bits.
pub fn quantize(folder: &Path) {
    let path = folder.join(ModelFolder::MODEL);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let tensors = checkpoint.names().map(|name| {
        let stored = checkpoint.stored(name).unwrap();
        let of_layer = name.contains("_proj.");
        let blocks = of_layer.then(|| FileTensor::quantized(name, &stored, BlockFormat::Q4_0)).flatten();
        blocks.unwrap_or_else(|| FileTensor::kept(name, &stored))
    });
    write_file(&path, tensors.collect(), Default::default()).unwrap();
}

fn folder_of(code_groups: Vec<usize>) -> TempDir {
    let (device, folder) = (Device::flex(), tempfile::tempdir().unwrap());
    device.seed(5);
    let mut config = ModelConfig::preset("nano").unwrap();
    config.decoder.hidden_size = 64;
    config.decoder.intermediate_size = 96;
    config.decoder.num_hidden_layers = 2;
    config.image_size = 32;
    if code_groups.len() == 1 {
        // Logits of a table with unit rows grow with the width, and sure ones need wide rows.
        config.decoder.hidden_size = 128;
        config.text_vocab = 300;
        config.decoder.vocab_size = 300 + (1 << code_groups[0]) + 1;
    }
    config.code_groups = code_groups;
    config.image_tokenizer = TokenizerConfig {
        ch: 8,
        encoder_ch_mult: vec![1; 4],
        encoder_num_res_blocks: vec![1; 4],
        decoder_ch_mult: vec![1; 4],
        decoder_num_res_blocks: vec![1; 4],
        norm_groups: 4,
        z_channels: 8,
        ..TokenizerConfig::default()
    };
    let vision = config.vision.as_mut().unwrap();
    (vision.hidden_size, vision.intermediate_size) = (48, 64);
    (vision.num_hidden_layers, vision.num_attention_heads, vision.num_patches) = (2, 3, Some(16));
    let bpe = train_bpe(["a photo of a red apple, make it blue".to_owned()], 300).unwrap();
    let tower = Tower::new(config.vision.as_ref().unwrap(), &device).unwrap();
    let images = ImageTokenizer::new(&config.image_tokenizer, &device).unwrap();
    let model = UniGen::new(&config, &device);
    let generation = GenerationConfig::of(16);
    let folder_of_model = ModelFolder::create(folder.path()).unwrap();
    folder_of_model.write(&bpe, &model, &images, Some(&tower), &generation, Precision::F32).unwrap();
    folder
}
