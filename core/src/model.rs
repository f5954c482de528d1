//! The unified model (UniGen, arXiv 2505.14682; UniGen-1.5, arXiv 2511.14760, section 3): one decoder for text and image
//! codes, and a projector for the features of images.

use crate::config::ModelConfig;
use crate::decoder::{Decoder, init_std};
use crate::error::{Error, ErrorKind, Result};
use crate::nn::{Linear, normal};
use crate::precision::MatmulPrecision;
use crate::vision::Projector;
use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};

/// Image codes by their bits, for small models (token factorisation, MAGVIT-v2, arXiv 2310.05737, section 3.2).
///
/// A linear map of the signs goes in, and each group of bits is predicted by its own classes. Rotary positions tell a
/// code only how far away the others are along the sequence; a small model also needs to be told its row and column.
#[derive(Module, Debug)]
pub struct CodeBits {
    embed: Linear,
    /// `[width]`
    mask: Param<Tensor<1>>,
    /// `[grid, width]`
    rows: Param<Tensor<2>>,
    /// `[grid, width]`
    columns: Param<Tensor<2>>,
    head: Linear,
}

/// Decoder, projector of image features, and the way of image codes in and out.
#[derive(Module, Debug)]
pub struct UniGen {
    /// The language model.
    pub llm: Decoder,
    /// From the understanding encoder's features to the decoder's width.
    pub mm_projector: Option<Projector>,
    code_bits: Option<CodeBits>,
    #[module(skip)]
    config: ModelConfig,
}

impl UniGen {
    /// A model with random weights; `config` must be [valid](crate::config::Config::validate).
    pub fn new(config: &ModelConfig, device: &Device) -> Self {
        let width = config.decoder.hidden_size;
        // A code's row has entries of about 1, a quarter of their variance each from its row and column.
        let (bit, place) = ((config.code_bits().max(1) as f64).sqrt().recip(), 0.5);
        Self {
            llm: Decoder::new(&config.decoder, device),
            mm_projector: config.vision.as_ref().map(|v| Projector::new(v.hidden_size, width, device)),
            code_bits: config.bit_groups().then(|| CodeBits {
                embed: Linear::new(config.code_bits(), width, true, bit, device),
                mask: normal([width], place, device),
                rows: normal([config.grid(), width], place, device),
                columns: normal([config.grid(), width], place, device),
                head: Linear::new(width, config.code_classes(), true, init_std(width), device),
            }),
            config: config.clone(),
        }
    }

    /// The model frozen, with adapters of rank `rank` on all linear maps of the decoder's layers
    /// ([`Adapter`](crate::nn::Adapter)), which are trained in its place. Frozen weights may be in half precision or in blocks
    /// (QLoRA, Dettmers et al., arXiv 2305.14314): `train` moves a model that was loaded without gradients to where there are some.
    pub fn adapted(self, rank: usize, alpha: f64) -> Self {
        let frozen = self.no_grad();
        Self { llm: frozen.llm.map_linears(|linear| linear.adapted(rank, alpha)), ..frozen }
    }

    /// The model without its adapters, as it was before [`adapted`](Self::adapted). The weights are shared with this
    /// one, not copied.
    pub fn without_adapters(self) -> Self {
        Self { llm: self.llm.map_linears(|linear| Linear { adapter: None, ..linear }), ..self }
    }

    /// The model with its adapters, if it has any, added to the weights.
    pub fn merged(self) -> Self {
        Self { llm: self.llm.map_linears(Linear::merged), ..self }
    }

    /// The precision of its matrix products.
    pub fn precision(&self) -> MatmulPrecision {
        self.llm.precision()
    }

    /// Sizes.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Embeds the codes of whole images, one image after another, `None` where masked → `[codes, width]`.
    ///
    /// # Errors
    /// `Config` for a code that is not in the codebook, and for a part of an image where codes go in as bits.
    pub fn embed_codes(&self, codes: &[Option<u32>], device: &Device) -> Result<Tensor<2>> {
        self.check_codes(codes)?;
        let codes: Vec<i32> = codes.iter().map(|code| code.map_or(-1, |code| code as i32)).collect();
        Ok(self.embed_code_tensor(Tensor::from_ints(codes.as_slice(), device)))
    }

    /// Checks that [`embed_codes`](Self::embed_codes) can embed the codes.
    pub(crate) fn check_codes(&self, codes: &[Option<u32>]) -> Result<()> {
        let wrong = |what: String| {
            Err(Error::new(ErrorKind::Config, "image codes", what)
                .fix("take the codes of whole images from the model's own image tokenizer"))
        };
        let (size, image) = (self.config.codebook_size(), self.config.image_codes());
        if let Some(code) = codes.iter().flatten().find(|&&code| code as usize >= size) {
            return wrong(format!("{code} is past the {size} codes of this model"));
        }
        if self.code_bits.is_some() && !codes.len().is_multiple_of(image) {
            return wrong(format!("are {}, but an image of this model has {image} codes", codes.len()));
        }
        Ok(())
    }

    /// [`Self::embed_codes`] of codes that are on the device, `[codes]`, negative where masked. They must be codes of whole
    /// images.
    pub(crate) fn embed_code_tensor(&self, codes: Tensor<1, Int>) -> Tensor<2> {
        let masked = codes.clone().lower_elem(0);
        let Some(bits) = &self.code_bits else {
            let ids = codes + self.config.text_vocab as i32;
            return self.llm.embed(ids.mask_fill(masked, self.config.mask_token_id() as i32));
        };
        // Most significant bit first; nothing at all where masked.
        let width = self.config.code_bits();
        let powers: Vec<i32> = (0..width).rev().map(|bit| 1 << bit).collect();
        let powers = Tensor::<1, Int>::from_ints(powers.as_slice(), &codes.device()).unsqueeze_dim::<2>(0);
        let shape = [codes.dims()[0], width];
        let ones =
            codes.unsqueeze_dim::<2>(1).expand(shape).bitwise_and(powers.expand(shape)).greater_elem(0);
        let masked = masked.float().unsqueeze_dim::<2>(1);
        let signs = (ones.float() * 2.0 - 1.0) * (1.0 - masked.clone());
        let codes = bits.embed.forward(signs) + masked * bits.mask.val().unsqueeze::<2>();
        let [rows, width] = codes.dims();
        let places: Tensor<3> = bits.rows.val().unsqueeze_dim::<3>(1) + bits.columns.val().unsqueeze_dim(0);
        let places = places.reshape([1, self.config.image_codes(), width]);
        (codes.reshape([-1, self.config.image_codes() as i32, width as i32]) + places).reshape([rows, width])
    }

    /// Logits over the code classes, group after group: `[rows, width]` → `[rows, classes]`.
    pub fn code_logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        match &self.code_bits {
            Some(bits) => bits.head.forward(hidden),
            None => {
                let first = self.config.text_vocab;
                self.llm.logits(hidden, first..first + self.config.codebook_size())
            }
        }
    }
}
