//! The image tokenizer: showlab/magvitv2.

use anyhow::{Context, Result, ensure};
use unigen_core::config::TokenizerConfig;
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::weights::{keys, load};

use super::language_model::int_tensor;
use crate::Kind;
use crate::compare::{Comparer, bounds};
use crate::folder::{Config, Folder};

/// Latent and codes of pictures, those codes decoded, and random codes decoded.
pub struct MagVitV2;

impl Kind for MagVitV2 {
    fn name(&self) -> &'static str {
        "MAGVITv2"
    }

    fn recognises(&self, config: &Config) -> bool {
        config.model_type().is_none() && config.has("z_channels")
    }

    fn compare(&self, folder: &Folder, comparer: &mut Comparer) -> Result<()> {
        let (io, device) = (&folder.io, &folder.device);
        let config: TokenizerConfig =
            serde_json::from_value(folder.config.0.clone()).context("config.json: not a MAGVITv2")?;
        let tokenizer = load(ImageTokenizer::new(&config, device)?, &folder.model, keys::same)?;
        let [batch, channels, height, width] = io.shape::<4>("pixel_values")?;
        ensure!(channels == 3, "io.safetensors: pixel_values: {channels} channels, wanted 3");
        let grid = config.grid(height, width).context("io.safetensors: pixel_values")?;
        let (plane, bits) = (grid[0] * grid[1], config.z_channels);
        let codes = 0..1_i64 << bits;
        let wanted = io.ints("indices", &[batch, plane], codes.clone())?;
        let reference = io.values("latent", &[batch, bits, grid[0], grid[1]])?;
        let [pictures, tokens] = io.shape::<2>("random_indices")?;
        let random = io.ints("random_indices", &[pictures, tokens], codes)?;
        let side = tokens.isqrt();
        ensure!(
            side * side == tokens,
            "io.safetensors: random_indices: {tokens} codes make no square picture"
        );

        let pixels = io.input::<4>("pixel_values", device)?.permute([0, 2, 3, 1]);
        let latent = tokenizer.latent(pixels.clone())?.permute([0, 3, 1, 2]);
        comparer.tensor("latent", latent, bounds::FEATURES)?;
        let found: Vec<i64> = tokenizer.encode(pixels)?.into_data().iter::<i64>().collect();
        let near_zero = |i: usize| {
            (0..bits).any(|c| reference[(i / plane * bits + c) * plane + i % plane].abs() < bounds::SIGN)
        };
        let pairs = found.iter().zip(&wanted).enumerate();
        let differ = pairs.filter(|&(i, (found, wanted))| found != wanted && !near_zero(i)).count();
        comparer.difference("indices", differ as f64, bounds::IDS);
        let scale = tokenizer.downsampling();
        let decode = |codes: &[i64], batch: usize, [rows, columns]: [usize; 2]| {
            let codes = int_tensor(codes, device).reshape([batch, rows * columns]);
            anyhow::Ok(tokenizer.decode(codes, rows * scale, columns * scale)?.permute([0, 3, 1, 2]))
        };
        comparer.tensor("reconstruction", decode(&wanted, batch, grid)?, bounds::PIXELS)?;
        comparer.tensor("random_decoded", decode(&random, pictures, [side, side])?, bounds::PIXELS)
    }
}
