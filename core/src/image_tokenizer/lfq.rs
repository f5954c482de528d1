//! Lookup-free quantisation (MAGVIT-v2, arXiv 2310.05737, section 3.1): each latent channel becomes one bit, its sign, so
//! the codebook is the corners of a cube and needs no lookup.
//!
//! A code packs these bits, channel 0 most significant: `Σ 2^(z-1-c) [z_c > 0]`.

use crate::error::{Error, ErrorKind, Result};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::sigmoid};

/// The codes of one image, row-major.
pub type Codes = Vec<u32>;

/// The nearest corner of the cube: +1 where `z > 0`, else −1. `[..]` → same, without gradient.
pub fn quantise<const D: usize>(z: Tensor<D>) -> Tensor<D> {
    z.greater_elem(0.0).float() * 2.0 - 1.0
}

/// [`quantise`] with the gradient of the identity (Bengio et al., arXiv 1308.3432). `[..]` → same
pub fn straight_through<const D: usize>(z: Tensor<D>) -> Tensor<D> {
    (quantise(z.clone()) - z.clone()).detach() + z
}

/// Latent or ±1 bits `[batch, height, width, z]` → codes `[batch, height · width]`.
pub fn codes(z: Tensor<4>) -> Tensor<2, Int> {
    let [batch, height, width, bits] = z.dims();
    let powers: Vec<i32> = (0..bits).rev().map(|bit| 1 << bit).collect();
    let powers = Tensor::<1, Int>::from_data(TensorData::from(&powers[..]), &z.device());
    (z.greater_elem(0.0).int() * powers.unsqueeze()).sum_dim(3).reshape([batch, height * width])
}

/// Codes `[batch, codes]` → bits as ±1 `[batch, codes, z]`.
pub fn bits(codes: Tensor<2, Int>, z: usize) -> Tensor<3> {
    CodeGroups::new(vec![1; z]).split(codes).float() * 2.0 - 1.0
}

/// Codes `[batch, codes]` that were read back from a device as plain numbers, one [`Codes`] per image.
///
/// # Errors
/// `Device` where the data are not integers.
pub fn codes_from_data(data: TensorData) -> Result<Vec<Codes>> {
    let length = data.shape().last().copied().unwrap_or(0).max(1);
    let codes = data
        .convert::<i64>()
        .try_into_vec::<i64>()
        .map_err(|e| Error::new(ErrorKind::Device, "image codes", format!("cannot be read: {e}")))?;
    Ok(codes.chunks(length).map(|image| image.iter().map(|&code| code as u32).collect()).collect())
}

/// Puts the codes of one image, each below `2^31`, on a device: `[1, codes]`.
pub fn codes_to_device(codes: &[u32], device: &Device) -> Tensor<2, Int> {
    let codes: Vec<i32> = codes.iter().map(|&code| code as i32).collect();
    Tensor::<1, Int>::from_data(TensorData::from(&codes[..]), device).unsqueeze()
}

/// How the bits of a code are cut into groups. A model predicts each group as one class among `2^bits` (token
/// factorisation, MAGVIT-v2, section 3.2). The first group holds the most significant bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeGroups(Vec<usize>);

impl CodeGroups {
    /// Groups of these numbers of bits, at most 31 together.
    pub fn new(bits: Vec<usize>) -> Self {
        Self(bits)
    }

    /// The bits of each group.
    pub fn bits(&self) -> &[usize] {
        &self.0
    }

    /// The classes of each group.
    pub fn classes(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().map(|bits| 1 << bits)
    }

    /// Of each group its number of bits, and how many bits come after it.
    fn fields(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut shift = self.0.iter().sum::<usize>();
        self.0.iter().map(move |&bits| {
            shift -= bits;
            (bits, shift)
        })
    }

    /// A code's class in each group.
    pub fn split_code(&self, code: u32) -> Vec<u32> {
        self.fields().map(|(bits, shift)| code >> shift & ((1 << bits) - 1)).collect()
    }

    /// Codes `[batch, codes]` → classes `[batch, codes, groups]`.
    pub fn split(&self, codes: Tensor<2, Int>) -> Tensor<3, Int> {
        let class = |(bits, shift)| {
            codes
                .clone()
                .bitwise_right_shift_scalar(shift as i32)
                .bitwise_and_scalar(((1u32 << bits) - 1) as i32)
        };
        Tensor::stack(self.fields().map(class).collect(), 2)
    }
}

/// The two halves of LFQ's entropy penalty (MAGVIT-v2, section 3.1), in nats, each a sum over the bits. Both are scalars
/// `[1]`.
#[derive(Clone, Debug)]
pub struct Entropy {
    /// `E[H(q(z))]`: low where the encoder is sure of every bit.
    pub per_sample: Tensor<1>,
    /// `H(E[q(z)])`: high where every bit is as often 1 as 0.
    pub batch: Tensor<1>,
}

impl Entropy {
    /// `E[H(q(z))] − H(E[q(z)])` to be minimised.
    pub fn penalty(self) -> Tensor<1> {
        self.per_sample - self.batch
    }
}

/// Entropies of the soft assignment `q(z)` of latents `z` `[batch, height, width, bits]` to the corners of the
/// cube at temperature `tau`: a softmax of `−|z − corner|² / tau`. It factorises over the bits, with
/// `p(bit = 1) = sigmoid(4 z / tau)`; the batch entropy is that of the independent bits.
pub fn entropy(z: Tensor<4>, tau: f64) -> Entropy {
    let bits = z.dims()[3];
    let logits = z.reshape([-1, bits as i32]) * (4.0 / tau);
    // Even in the logit and stable for large ones: ln(1 + e^-|l|) + |l| σ(-|l|).
    let size = logits.clone().abs();
    let certain = size.clone().neg();
    let per_sample = (certain.clone().exp().log1p() + size * sigmoid(certain)).mean_dim(0).sum();
    let p = sigmoid(logits).mean_dim(0).clamp(1e-6, 1.0 - 1e-6);
    let q = p.clone().neg() + 1.0;
    let batch = (p.clone() * p.log() + q.clone() * q.log()).sum().neg();
    Entropy { per_sample, batch }
}

/// `mean (z − sg[quantise(z)])²`: keeps latents near their corner (VQ-VAE, arXiv 1711.00937, equation 3). Scalar.
pub fn commitment<const D: usize>(z: Tensor<D>) -> Tensor<1> {
    (z.clone() - quantise(z).detach()).square().mean()
}
