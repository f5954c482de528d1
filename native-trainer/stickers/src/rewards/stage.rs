//! Trains the nano rewards.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unigen_core::config::{DecoderConfig, ModelConfig};
use unigen_core::image_tokenizer::pixels_from_images;
use unigen_core::ops;
use unigen_core::text::train_bpe;
use unigen_rewards::Reward;
use unigen_runs::{Compute, sheet};
use unigen_training::data::{MAX_SIDE, Pictures};
use unigen_training::train::{Evaluation, Loss, Stage, Training};

use super::agreement::{Agreement, HeldOut};
use super::networks::{NanoConfig, NanoRewards};
use super::pairs::{Pair, pair_at};
use super::reward::{NanoReward, Nets, Words};
use super::scorer::{MATCH, PREFERENCE, TowerConfig};
use crate::judge::DetectorConfig;
use crate::pictures::ScenePictures;
use crate::world::{Domain, Renderer, Scene, Scope, Split};

/// Number of held-out pairs in validation, and of pairs on the sheet.
const PAIRS: u64 = 256;
const SHOWN: usize = 12;
/// Number of texts that the vocabulary is learned from.
const TEXTS: u64 = 20_000;
/// Names of validation's scores, by reward in the order of [`super::Role::ALL`].
const NAMES: [[&str; 3]; 4] = [
    ["contrastive text", "contrastive picture", "contrastive quality"],
    ["preference text", "preference picture", "preference quality"],
    ["matcher text", "matcher picture", "matcher quality"],
    ["verifier text", "verifier picture", "verifier quality"],
];

/// Settings of the stage `rewards`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The seed of the initial weights.
    pub seed: u64,
    /// What the pictures and texts show. The verifier tells apart as many things.
    pub world: Scope,
    pub model: NanoConfig,
    /// A detector of the same sizes, from which the image tower and the verifier start. Without it they start from
    /// random weights. It must not be the detector that judges evaluations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<PathBuf>,
    /// Weights of the losses: contrastive, matcher, preference, verifier.
    pub weights: [f64; 4],
    pub training: Training,
}

impl Default for Settings {
    fn default() -> Self {
        #[allow(clippy::expect_used, reason = "a preset of this program")]
        let nano = ModelConfig::preset("nano").expect("the preset nano");
        Self {
            seed: 31,
            world: Scope::default(),
            model: NanoConfig {
                size: nano.image_size as u32,
                tower: TowerConfig::default(),
                decoder: DecoderConfig {
                    hidden_size: 128,
                    intermediate_size: 384,
                    num_hidden_layers: 3,
                    num_attention_heads: 4,
                    num_key_value_heads: 4,
                    head_dim: None,
                    vocab_size: 768,
                    ..nano.decoder
                },
                verifier: DetectorConfig::default(),
            },
            teacher: None,
            weights: [0.5, 1.0, 1.0, 0.5],
            training: Training {
                steps: 8000,
                batch: 32,
                learning_rate: 1.5e-3,
                warmup_steps: 200,
                final_rate: 0.03,
                weight_decay: 0.03,
                betas: [0.9, 0.98],
                clip_norm: 3.0,
                ema_decay: 0.998,
                seed: 31,
                evaluate_every: 1000,
                ..Training::default()
            },
        }
    }
}

/// The stage `rewards`.
pub struct RewardsStage {
    settings: Settings,
    renderer: Renderer,
    words: Vec<u8>,
    text: Words,
    held_out: HeldOut,
    domain: Domain,
    device: Device,
}

impl RewardsStage {
    /// All losses of a batch, in the order of [`Settings::weights`].
    fn losses(&self, model: &NanoRewards, pairs: &[Pair]) -> Result<[Tensor<1>; 4]> {
        let (device, n) = (&self.device, pairs.len());
        let texts = pairs.iter().map(|pair| &pair.right).chain(pairs.iter().map(|pair| &pair.wrong));
        let texts = texts.map(|text| self.text.encode(text)).collect::<Result<Vec<_>>>()?;
        let pictures: Vec<RgbImage> = pairs
            .iter()
            .map(|pair| &pair.picture)
            .chain(pairs.iter().map(|pair| &pair.worse))
            .cloned()
            .collect();
        let pixels = pixels_from_images(&pictures, device)?;
        let tokens = model.scorer.look(&pixels);

        // Match each picture with all texts, and each right text with all pictures (CLIP, figure 3).
        let images = model.scorer.image_embeds(tokens.clone().narrow(0, 0, n));
        let scale = model.scorer.logit_scale.val().clamp(0.0, 100_f32.ln()).exp().unsqueeze::<2>();
        let logits = images.matmul(model.scorer.text_embeds(&texts, device).transpose()) * scale;
        let own: Vec<u32> = (0..n as u32).collect();
        let by_text = logits.clone().narrow(1, 0, n).transpose();
        let contrastive =
            (ops::cross_entropy(logits, own.clone())? + ops::cross_entropy(by_text, own)?) / 2.0;

        // Read the picture with the right text, the picture with the wrong text, and the worse picture with the right
        // text.
        let reads: Vec<(usize, usize)> = (0..n)
            .map(|i| (i, i))
            .chain((0..n).map(|i| (i, n + i)))
            .chain((0..n).map(|i| (n + i, i)))
            .collect();
        let read = model.scorer.read(tokens, &texts, &reads, device);
        let column = |which: usize| read.clone().narrow(1, which, 1).reshape([3 * n]);

        // A damaged picture of the right scene gets no label, neither yes nor no.
        let answers = (0..3 * n).filter_map(|row| match row / n {
            0 => Some((row, 1.0)),
            1 => Some((row, -1.0)),
            _ => pairs[row % n].false_scene.is_some().then_some((row, -1.0)),
        });
        let (rows, signs): (Vec<i32>, Vec<f32>) = answers.map(|(row, sign)| (row as i32, sign)).unzip();
        let signs = Tensor::<1>::from_data(TensorData::new(signs, [rows.len()]), device);
        let verdicts = column(MATCH).select(0, Tensor::<1, Int>::from_ints(rows.as_slice(), device));
        let matcher = activation::log_sigmoid(verdicts * signs).mean().neg();

        // -log σ(better - worse) (Ouyang et al. 2022, arXiv 2203.02155, equation 1). A wrong text counts as worse, too.
        let scores = column(PREFERENCE);
        let better = scores.clone().narrow(0, 0, n);
        let above = |other: usize| {
            activation::log_sigmoid(better.clone() - scores.clone().narrow(0, other * n, n)).mean()
        };
        let preference = (above(1) * 0.5 + above(2)).neg() / 1.5;

        let scenes: Vec<&Scene> = pairs.iter().map(|pair| &pair.scene).collect();
        let verifier = model.verifier.loss(&pixels.narrow(0, 0, n), &scenes)?;
        Ok([contrastive, matcher, preference, verifier])
    }

    fn nets(&self, model: &NanoRewards) -> Result<Arc<Nets>> {
        Ok(Arc::new(Nets {
            config: self.settings.model.clone(),
            model: model.clone(),
            words: Words::new(self.words.clone())?,
            device: self.device.clone().without_autodiff(),
        }))
    }
}

impl Stage for RewardsStage {
    type Settings = Settings;
    type Model = NanoRewards;
    const NAME: &'static str = "rewards";

    fn training(settings: &Settings) -> &Training {
        &settings.training
    }

    fn open(settings: &Settings, Compute { device, .. }: &Compute) -> Result<(Self, NanoRewards)> {
        let size = settings.model.size;
        ensure!(size <= MAX_SIDE, "model.size is {size}; choose at most {MAX_SIDE} pixels");
        ensure!(
            settings.training.batch > 1,
            "training.batch is {}; choose at least 2, since each picture is compared with the others",
            settings.training.batch
        );
        settings.world.check()?;
        // Rewards read descriptions in English; prompts in other languages come with one.
        ensure!(
            !settings.world.chinese,
            "world.chinese is for models; the rewards read descriptions in English"
        );
        let domain = Domain { scope: settings.world, split: Split::Train };
        let texts = ScenePictures::new(domain, 0).texts(TEXTS)?;
        let words = train_bpe(texts, settings.model.decoder.vocab_size)?;
        device.seed(settings.seed);
        let mut settings = settings.clone();
        settings.model.verifier.things = settings.world.things;
        let mut model = NanoRewards::new(&settings.model, device)?;
        if let Some(teacher) = &settings.teacher {
            model.start_from(teacher, &settings.model, device)?;
        }
        let stage = Self {
            renderer: Renderer::new(),
            text: Words::new(words.clone())?,
            words,
            held_out: HeldOut::new(settings.world, PAIRS, size),
            domain,
            device: device.clone(),
            settings,
        };
        Ok((stage, model))
    }

    fn loss(&self, model: &NanoRewards, step: u64) -> Result<Loss> {
        let Settings { model: NanoConfig { size, .. }, weights, training, .. } = &self.settings;
        let batch = training.batch as u64;
        let pairs: Vec<Pair> = (step * batch..(step + 1) * batch)
            .into_par_iter()
            .map(|index| pair_at(&self.renderer, self.domain, training.seed, index, *size))
            .collect();
        let losses = self.losses(model, &pairs)?.map(Some);
        let names = ["contrastive", "matcher", "preference", "verifier"];
        Ok(Loss::weighted(names, losses, *weights, &self.device))
    }

    fn evaluate(&self, model: &NanoRewards) -> Result<Evaluation> {
        let rewards = NanoReward::all(&self.nets(model)?);
        let mut scalars = Vec::new();
        for (reward, names) in rewards.iter().zip(NAMES) {
            let Agreement { text, picture, quality, .. } = self.held_out.agreement(reward);
            scalars.extend(names.into_iter().zip([text, picture, quality]));
        }
        Ok(Evaluation { scalars, sheets: vec![("pairs", self.held_out.sheet(&rewards, SHOWN))] })
    }

    fn export(&self, model: &NanoRewards, folder: &Path) -> Result<()> {
        self.nets(model)?.save(folder)
    }
}

impl HeldOut {
    /// Pictures with their scores.
    fn sheet(&self, rewards: &[NanoReward; 4], shown: usize) -> RgbImage {
        let items = &self.items()[..(3 * shown).min(self.items().len())];
        let scores = rewards.each_ref().map(|reward| reward.score(items));
        let told = items.iter().enumerate().map(|(i, item)| {
            let scores = scores.each_ref().map(|scores| match &scores[i] {
                Ok(score) => format!("{score:.2}"),
                Err(_) => "-".into(),
            });
            (item.image.clone(), format!("{} | {}", scores.join(" "), item.description))
        });
        sheet(&told.collect::<Vec<_>>(), 6, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::scene_at;
    use unigen_rewards::Item;
    use unigen_training::optimizer::HostGradients;

    fn tiny() -> Settings {
        let mut settings = Settings::default();
        settings.model.size = 32;
        settings.model.tower = TowerConfig { widths: [8, 8, 16], blocks: [1, 1], groups: 4 };
        settings.model.verifier = DetectorConfig {
            widths: [8, 8, 16],
            blocks: [1, 1],
            head: 8,
            groups: 4,
            ..DetectorConfig::default()
        };
        let decoder = &mut settings.model.decoder;
        (decoder.hidden_size, decoder.intermediate_size, decoder.num_hidden_layers) = (16, 32, 1);
        (decoder.num_attention_heads, decoder.num_key_value_heads, decoder.vocab_size) = (2, 2, 300);
        settings.training.batch = 4;
        settings
    }

    fn items(stage: &RewardsStage, size: u32) -> Vec<Item> {
        let pair = |index| pair_at(&stage.renderer, Split::Train, 3, index, size);
        let item = |pair: Pair| Item { image: pair.picture, description: pair.right, before: None };
        (0..5).map(pair).map(item).collect()
    }

    #[test]
    fn every_parameter_learns() {
        let device = Device::flex().autodiff();
        let (stage, model) = RewardsStage::open(&tiny(), &device.clone().into()).unwrap();
        let Loss { total, parts } = stage.loss(&model, 0).unwrap();
        assert_eq!(parts.len(), 4);
        let gradients = HostGradients::read(&model, total.backward()).unwrap();
        assert!(gradients.norm().is_finite() && gradients.norm() > 0.0);
        let again = stage.loss(&model, 0).unwrap().total;
        assert_eq!(again.into_scalar::<f32>(), stage.loss(&model, 0).unwrap().total.into_scalar::<f32>());
    }

    #[test]
    fn saved_rewards_score_alike_alone_or_together() {
        let device = Device::flex();
        let (stage, model) = RewardsStage::open(&tiny(), &device.clone().into()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        stage.export(&model, folder.path()).unwrap();
        let nets = Arc::new(Nets::open(folder.path(), &device.clone().into()).unwrap());
        let mut items = items(&stage, 48);
        items.push(Item { image: RgbImage::new(0, 0), description: "a dog".into(), before: None });
        items.push(Item { description: "joy".into(), ..items[0].clone() });
        for reward in NanoReward::all(&nets) {
            let together = reward.score(&items);
            assert_eq!(together.len(), items.len());
            for (item, together) in items.iter().zip(&together).take(5) {
                let alone = reward.score(std::slice::from_ref(item)).remove(0).unwrap();
                assert!((alone - together.clone().unwrap()).abs() < 1e-3, "{}", reward.name());
            }
            assert!(together[5].as_ref().unwrap_err().0.contains("no pixels"));
            let unknown = together[6].as_ref();
            assert_eq!(unknown.is_err(), reward.name() == "verifier", "{unknown:?}");
        }
    }

    #[test]
    fn a_teacher_is_taken_over_where_it_fits() {
        let teacher = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/teacher");
        let device = Device::flex();
        let settings = Settings { teacher: Some(teacher), ..tiny() };
        let error = RewardsStage::open(&settings, &device.clone().into()).err().unwrap().to_string();
        assert!(error.contains("has the sizes") && error.contains("model.verifier"), "{error}");
        let settings = Settings { teacher: settings.teacher, ..Settings::default() };
        let (stage, model) = RewardsStage::open(&settings, &device.clone().into()).unwrap();
        let renderer = &stage.renderer;
        let (scene, size) = (scene_at(Split::Train, 5, 0), settings.model.size);
        let pixels = pixels_from_images(&[renderer.render(&scene, size, size)], &device).unwrap();
        let seen = model.verifier.see(&pixels).unwrap().remove(0).objects;
        let sure = seen.iter().filter(|object| object.score > 0.5);
        let mut classes: Vec<_> = sure.map(|object| object.class).collect();
        let mut wanted: Vec<_> = scene.objects.iter().map(|object| object.class).collect();
        classes.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(classes, wanted);
    }

    #[test]
    fn a_folder_without_rewards_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let error = format!("{:#}", Nets::open(folder.path(), &Device::flex().into()).err().unwrap());
        assert!(error.contains("rewards.safetensors"), "{error}");
    }
}
