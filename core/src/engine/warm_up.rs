//! Makes a device ready before the weights are there.

use crate::config::{Config, ModelConfig};
use crate::error::Result;
use crate::image_tokenizer::ImageTokenizer;
use crate::image_tokenizer::lfq::codes_to_device;
use crate::model::UniGen;
use crate::ops;
use crate::precision::MatmulPrecision;
use crate::sampling::{Flow, MaskedDecoding, Order, Prefix, Seeds, StepReport, text_guidance};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use half::f16;

/// Draws with random weights and forgets them, so that `device` compiles what a model of these sizes draws with. A page
/// does this while it downloads the weights.
///
/// # Errors
/// `Config` for sizes that no model can have; `Device`.
pub async fn warm_up(config: &ModelConfig, device: &Device) -> Result<()> {
    config.validate()?;
    let (model, size) = (UniGen::new(config, device), config.image_size);
    let image_tokenizer = ImageTokenizer::new(&config.image_tokenizer, device)?;
    let prefix = |ids: &[i32]| Prefix::causal(model.llm.embed(Tensor::<1, Int>::from_ints(ids, device)));
    let branches = text_guidance(2.0, vec![prefix(&[0, 1])], vec![prefix(&[0])]);
    let delimiters = [config.special_tokens.soi, config.special_tokens.eoi];
    let targets = vec![vec![None; config.image_codes()]];
    let decoding = MaskedDecoding::new(2, Order::Confidence { temperature: 1.0 });
    let on_step = async |_: StepReport<'_>| Flow::Continue;
    let codes = decoding.decode(&model, &branches, targets, delimiters, &Seeds(vec![0]), on_step).await?;
    for codes in codes {
        let pixels = image_tokenizer.decode(codes_to_device(&codes, device), size, size)?;
        image_tokenizer.to_image(pixels).await?;
    }
    halves(device);
    Ok(())
}

/// Multiplies by weights in `f16`, and looks rows up in them, where `device` keeps them so. Files have such weights, a new model has none.
fn halves(device: &Device) {
    const SIDE: usize = 4;
    if !ops::multiplies_halves([SIDE; 2], device) {
        return;
    }
    let zeros = TensorData::zeros::<f16, _>([SIDE, SIDE]);
    let weight = Tensor::<2>::from_data(zeros, (device, DType::F16));
    ops::embed(weight.clone(), Tensor::<1, Int>::from_ints([0], device));
    for bias in [None, Some(Tensor::zeros([SIDE], device))] {
        ops::linear(Tensor::<2>::zeros([1, SIDE], device), weight.clone(), bias, MatmulPrecision::F32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::FutureExt;

    #[test]
    fn any_preset_that_fits_can_be_drawn_with() {
        let mut config = ModelConfig::preset("nano").unwrap();
        config.decoder.num_hidden_layers = 1;
        warm_up(&config, &Device::flex()).block_on().unwrap();
        config.image_size = 0;
        assert!(warm_up(&config, &Device::flex()).block_on().is_err());
    }
}
