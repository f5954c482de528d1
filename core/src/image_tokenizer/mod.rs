//! The image tokenizer of MAGVIT-v2 (arXiv 2310.05737, section 3) for still images, as in Show-o and UniGen: a convolutional
//! encoder, lookup-free quantisation of its latent to bits, a convolutional decoder.
//!
//! Images are `[batch, height, width, channels]` throughout, and the module tree names its parameters as
//! showlab/magvitv2 does.

mod bands;
pub mod blocks;
pub mod decoder;
pub mod encoder;
pub mod lfq;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use lfq::{CodeGroups, Codes};

use crate::config::{Config, TokenizerConfig};
use crate::error::{Error, ErrorKind, Result};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use image::RgbImage;

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
    /// An image tokenizer with random weights.
    ///
    /// # Errors
    /// `Config` where `config` is not [valid](Config::validate).
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

    /// Pixels per code along each side, `f`.
    pub fn downsampling(&self) -> usize {
        self.downsampling
    }

    /// Whether the encoder sees each cell of `f` × `f` pixels alone.
    pub fn encodes_cells(&self) -> bool {
        self.encode_cells
    }

    /// Pixels `[b, h, w, 3]` in [-1, 1] → latent `[b, h/f, w/f, z]`, before the sign.
    ///
    /// # Errors
    /// `Image` where the sides are no multiples of `f`, or the pixels have not three channels.
    pub fn latent(&self, pixels: Tensor<4>) -> Result<Tensor<4>> {
        let ([batch, height, width, channels], f) = (pixels.dims(), self.downsampling);
        let [rows, columns] = [height / f, width / f];
        if [rows * f, columns * f] != [height, width] || rows * columns == 0 || channels != 3 {
            let what = format!("have {height} x {width} pixels of {channels} channels");
            return Err(Error::new(ErrorKind::Image, "images", what)
                .fix(format!("give sides that are multiples of {f}, and red, green and blue")));
        }
        if !self.encode_cells {
            return Ok(self.encoder.forward(pixels));
        }
        let cells = pixels.reshape([batch, rows, f, columns, f, channels]).swap_dims(2, 3);
        let latent = self.encoder.forward(cells.reshape([batch * rows * columns, f, f, channels]));
        Ok(latent.reshape([batch, rows, columns, self.z_channels]))
    }

    /// Pixels `[b, h, w, 3]` in [-1, 1] → codes `[b, h/f · w/f]`, row-major.
    ///
    /// # Errors
    /// Those of [`latent`](Self::latent).
    pub fn encode(&self, pixels: Tensor<4>) -> Result<Tensor<2, Int>> {
        Ok(lfq::codes(self.latent(pixels)?))
    }

    /// Codes `[b, height/f · width/f]` → pixels `[b, height, width, 3]`, about [-1, 1], not clamped.
    ///
    /// # Errors
    /// `Image` where the codes are not as many as the image has.
    pub fn decode(&self, codes: Tensor<2, Int>, height: usize, width: usize) -> Result<Tensor<4>> {
        let ([batch, found], z, f) = (codes.dims(), self.z_channels, self.downsampling);
        let [rows, columns] = [height / f, width / f];
        if found == 0 || [rows * f, columns * f] != [height, width] || found != rows * columns {
            let what = format!("are {found}, which do not make an image of {height} x {width} pixels");
            return Err(Error::new(ErrorKind::Image, "image codes", what)
                .fix(format!("give sides that are multiples of {f}, and one code per {f} x {f} pixels")));
        }
        Ok(self.decode_bits(lfq::bits(codes, z).reshape([batch, rows, columns, z])))
    }

    /// Bits as ±1 `[b, h/f, w/f, z]` → pixels `[b, h, w, 3]`, differentiable, not clamped.
    pub fn decode_bits(&self, bits: Tensor<4>) -> Tensor<4> {
        self.decoder.forward(bits)
    }

    /// Reads pixels `[b, h, w, 3]` in [-1, 1] back from their device, as [`images_from_data`] converts them.
    ///
    /// # Errors
    /// `Device` where they cannot be read; `Image` for another shape.
    pub async fn to_image(&self, pixels: Tensor<4>) -> Result<Vec<RgbImage>> {
        let data = pixels.into_data_async().await;
        images_from_data(data.map_err(|e| {
            Error::new(ErrorKind::Device, "decoded pixels", format!("cannot be read from the device: {e}"))
        })?)
    }
}

/// 8-bit images of one size as pixels `[b, h, w, 3]` in [-1, 1]: `x / 127.5 - 1`.
///
/// # Errors
/// `Image` where the sizes differ.
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
///
/// # Errors
/// `Image` for data of another shape.
pub fn images_from_data(data: TensorData) -> Result<Vec<RgbImage>> {
    let wrong = |what: String| Error::new(ErrorKind::Image, "decoded pixels", what);
    let &[_, height, width, 3] = &data.shape()[..] else {
        return Err(wrong(format!("have shape {:?}, not [batch, height, width, 3]", data.shape())));
    };
    let pixels =
        data.convert::<f32>().try_into_vec::<f32>().map_err(|e| wrong(format!("cannot be read: {e}")))?;
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
