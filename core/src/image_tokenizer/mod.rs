//! The image tokenizer of MAGVIT-v2 (arXiv 2310.05737) for still images, as in Show-o and UniGen: a
//! convolutional encoder, lookup-free quantisation of its latent to bits, a convolutional decoder.
//!
//! Images are `[batch, height, width, channels]` throughout, and the module tree names its parameters as
//! showlab/magvitv2 does.

pub mod blocks;
pub mod decoder;
pub mod encoder;
pub mod lfq;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use lfq::{CodeGroups, Codes};

use crate::error::{Error, ErrorKind, Result};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// Sizes of the tokenizer, in the names of its published config; absent ones are those of showlab/magvitv2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenizerConfig {
    /// Channels that the multipliers multiply.
    pub ch: usize,
    /// Channels of each level, finest first, in units of `ch`.
    pub encoder_ch_mult: Vec<usize>,
    /// Residual blocks of each level.
    pub encoder_num_res_blocks: Vec<usize>,
    /// Channels of each level, finest first, in units of `ch`.
    pub decoder_ch_mult: Vec<usize>,
    /// Residual blocks of each level.
    pub decoder_num_res_blocks: Vec<usize>,
    /// Bits of a code.
    pub z_channels: usize,
    /// Channels of the pixels read.
    pub in_ch: usize,
    /// Channels of the pixels written.
    pub out_ch: usize,
    /// Groups of every group norm.
    pub norm_groups: usize,
    /// Whether the encoder sees each cell of the grid alone, as a picture of `f` x `f` pixels. A code then tells of
    /// nothing but its own pixels, so that the same pixels have the same code in every picture, which a small model
    /// learns from far fewer pictures; what cells have in common is left to the decoder. Published: no.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub encode_cells: bool,
    /// Bits of each group of a code; empty for a single group.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub code_groups: Vec<usize>,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self {
            ch: 128,
            encoder_ch_mult: vec![1, 2, 2, 4, 4],
            encoder_num_res_blocks: vec![4, 3, 4, 3, 4],
            decoder_ch_mult: vec![1, 1, 2, 2, 4],
            decoder_num_res_blocks: vec![4, 4, 3, 4, 3],
            z_channels: 13,
            in_ch: 3,
            out_ch: 3,
            norm_groups: 32,
            encode_cells: false,
            code_groups: vec![],
        }
    }
}

impl TokenizerConfig {
    /// Fails, naming the key, where no network has these sizes.
    pub fn validate(&self) -> Result<()> {
        let check = |good: bool, key: &str, what: String| {
            let error = || Error::new(ErrorKind::Config, key, what);
            if good { Ok(()) } else { Err(error().fix("choose sizes as a published MAGVITv2 has them")) }
        };
        for (key, size) in [("ch", self.ch), ("norm_groups", self.norm_groups)] {
            check((1..=1 << 16).contains(&size), key, format!("is {size}, not 1 to 65536"))?;
        }
        for (key, channels) in [("in_ch", self.in_ch), ("out_ch", self.out_ch)] {
            check(channels == 3, key, format!("is {channels}, but images are red, green and blue: 3"))?;
        }
        let z = self.z_channels;
        check((1..=lfq::MAX_BITS).contains(&z), "z_channels", format!("is {z}, not 1 to {}", lfq::MAX_BITS))?;
        let levels = self.encoder_ch_mult.len();
        for (key, list) in [
            ("encoder_ch_mult", &self.encoder_ch_mult),
            ("encoder_num_res_blocks", &self.encoder_num_res_blocks),
            ("decoder_ch_mult", &self.decoder_ch_mult),
            ("decoder_num_res_blocks", &self.decoder_num_res_blocks),
        ] {
            let same = list.len() == levels && (1..=16).contains(&levels);
            check(same, key, format!("has {} levels, encoder_ch_mult has {levels} (1 to 16)", list.len()))?;
            check(
                list.iter().all(|n| (1..=1 << 10).contains(n)),
                key,
                format!("is {list:?}, not all 1 to 1024"),
            )?;
        }
        let groups = self.norm_groups;
        for mult in self.encoder_ch_mult.iter().chain(&self.decoder_ch_mult).chain([&1]) {
            let channels = self.ch * mult;
            check(channels <= 1 << 16, "ch", format!("makes {channels} channels, more than 65536"))?;
            let what = format!("is {groups}, which does not divide {channels} channels");
            check(channels.is_multiple_of(groups), "norm_groups", what)?;
        }
        let cut = self.code_groups();
        let sound =
            cut.bits().iter().all(|&bits| (1..=z).contains(&bits)) && cut.bits().iter().sum::<usize>() == z;
        check(sound, "code_groups", format!("is {:?}, which does not cut {z} bits", cut.bits()))
    }

    /// How a code is cut into classes.
    pub fn code_groups(&self) -> CodeGroups {
        let whole = || vec![self.z_channels];
        CodeGroups::new(if self.code_groups.is_empty() { whole() } else { self.code_groups.clone() })
    }

    /// Pixels a token, along each side.
    pub fn downsampling(&self) -> usize {
        1 << self.encoder_ch_mult.len().saturating_sub(1)
    }

    /// The rows and columns of tokens of an image of `height` × `width` pixels; fails where they are not whole.
    pub fn grid(&self, height: usize, width: usize) -> Result<[usize; 2]> {
        let f = self.downsampling();
        if height == 0 || width == 0 || !height.is_multiple_of(f) || !width.is_multiple_of(f) {
            return Err(Error::new(
                ErrorKind::Image,
                "image",
                format!("is {height} pixels high and {width} wide"),
            )
            .fix(format!("make both sides multiples of {f}")));
        }
        Ok([height / f, width / f])
    }
}

/// Images to codes and back.
#[derive(Module, Debug)]
pub struct ImageTokenizer {
    pub encoder: Encoder,
    pub decoder: Decoder,
    #[module(skip)]
    downsampling: usize,
    #[module(skip)]
    z_channels: usize,
    #[module(skip)]
    encode_cells: bool,
}

impl ImageTokenizer {
    /// Random weights; fails where `config` is not [valid](TokenizerConfig::validate).
    pub fn new(config: &TokenizerConfig, device: &Device) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            encoder: Encoder::new(config, device),
            decoder: Decoder::new(config, device),
            downsampling: config.downsampling(),
            z_channels: config.z_channels,
            encode_cells: config.encode_cells,
        })
    }

    /// Pixels a token, `f`, along each side.
    pub fn downsampling(&self) -> usize {
        self.downsampling
    }

    /// Whether the encoder sees each cell of `f` × `f` pixels alone.
    pub fn encodes_cells(&self) -> bool {
        self.encode_cells
    }

    /// Pixels `[b, h, w, 3]` in [-1, 1], sides multiples of `f` → latent `[b, h/f, w/f, z]`, before the sign.
    pub fn latent(&self, pixels: Tensor<4>) -> Tensor<4> {
        if !self.encode_cells {
            return self.encoder.forward(pixels);
        }
        let ([batch, height, width, channels], f) = (pixels.dims(), self.downsampling);
        let [rows, columns] = [height / f, width / f];
        let cells = pixels.reshape([batch, rows, f, columns, f, channels]).swap_dims(2, 3);
        let latent = self.encoder.forward(cells.reshape([batch * rows * columns, f, f, channels]));
        latent.reshape([batch, rows, columns, self.z_channels])
    }

    /// Pixels `[b, h, w, 3]` in [-1, 1] → codes `[b, h/f · w/f]`, row-major.
    pub fn encode(&self, pixels: Tensor<4>) -> Tensor<2, Int> {
        lfq::codes(self.latent(pixels))
    }

    /// Codes `[b, height/f · width/f]` → pixels `[b, height, width, 3]`, about [-1, 1], not clamped.
    /// Panics where there are not as many codes; [`TokenizerConfig::grid`] checks sizes.
    pub fn decode(&self, codes: Tensor<2, Int>, height: usize, width: usize) -> Tensor<4> {
        let ([batch, _], z, f) = (codes.dims(), self.z_channels, self.downsampling);
        self.decode_bits(lfq::bits(codes, z).reshape([batch, height / f, width / f, z]))
    }

    /// Bits as ±1 `[b, h/f, w/f, z]` → pixels `[b, h, w, 3]`, differentiable, not clamped.
    pub fn decode_bits(&self, bits: Tensor<4>) -> Tensor<4> {
        self.decoder.forward(bits)
    }

    /// Reads pixels `[b, h, w, 3]` in [-1, 1] back from their device, see [`images_from_data`].
    pub async fn to_image(&self, pixels: Tensor<4>) -> Result<Vec<RgbImage>> {
        let data = pixels.into_data_async().await;
        images_from_data(data.map_err(|e| Error::new(ErrorKind::Device, "decoded pixels", format!("{e:?}")))?)
    }
}

/// 8-bit images of one size as pixels `[b, h, w, 3]` in [-1, 1]: `x / 127.5 - 1`. Fails where sizes differ.
pub fn pixels_from_images(images: &[RgbImage], device: &Device) -> Result<Tensor<4>> {
    let (width, height) = images.first().map_or((0, 0), RgbImage::dimensions);
    if let Some(other) = images.iter().find(|image| image.dimensions() != (width, height)) {
        let what = format!("{}x{} pixels beside {width}x{height}", other.width(), other.height());
        return Err(Error::new(ErrorKind::Image, "images of a batch", what).fix("give images of one size"));
    }
    let pixels: Vec<f32> =
        images.iter().flat_map(|image| image.as_raw()).map(|&byte| f32::from(byte) / 127.5 - 1.0).collect();
    Ok(Tensor::from_data(TensorData::new(pixels, [images.len(), height as usize, width as usize, 3]), device))
}

/// Pixels `[b, h, w, 3]` in [-1, 1], clamped, as 8-bit images: `⌊255 (x + 1) / 2⌋`, the published rounding.
/// Fails where the data have other dimensions.
pub fn images_from_data(data: TensorData) -> Result<Vec<RgbImage>> {
    let wrong = |what: String| Error::new(ErrorKind::Image, "decoded pixels", what);
    let &[_, height, width, 3] = &data.shape()[..] else {
        return Err(wrong(format!("have shape {:?}, not [batch, height, width, 3]", data.shape())));
    };
    let pixels = data.convert::<f32>().try_into_vec::<f32>().map_err(|e| wrong(format!("{e:?}")))?;
    let bytes: Vec<u8> = pixels.iter().map(|x| ((x + 1.0) / 2.0 * 255.0) as u8).collect();
    bytes
        .chunks((height * width * 3).max(1))
        .map(|image| {
            RgbImage::from_raw(width as u32, height as u32, image.to_vec())
                .ok_or_else(|| wrong(format!("have no image of {height} x {width}")))
        })
        .collect()
}

#[cfg(test)]
mod tests;
