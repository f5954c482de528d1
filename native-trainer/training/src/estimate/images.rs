//! The image tokenizer with its adversary and the understanding encoder in training.

use unigen_core::config::{DecoderConfig, TokenizerConfig, VisionConfig};

use super::{Estimate, Trained};

/// A network on one image: parameters, values that its backward pass reads, operations of the forward pass.
#[derive(Default)]
struct Network {
    parameters: f64,
    kept: f64,
    flops: f64,
}

impl Network {
    /// A convolution with bias from `[pixels, inputs]`, whose result has `result` pixels.
    fn conv(&mut self, [inputs, outputs]: [usize; 2], kernel: usize, [pixels, result]: [f64; 2]) {
        let weights = (inputs * outputs * kernel * kernel) as f64;
        self.parameters += weights + outputs as f64;
        self.kept += pixels * inputs as f64;
        self.flops += 2.0 * weights * result;
    }

    /// A norm, which reads its input again.
    fn norm(&mut self, channels: usize, pixels: f64) {
        self.parameters += 2.0 * channels as f64;
        self.kept += pixels * channels as f64;
    }

    /// Norm and convolution twice, around a shortcut.
    fn block(&mut self, [inputs, outputs]: [usize; 2], pixels: f64) {
        self.norm(inputs, pixels);
        self.conv([inputs, outputs], 3, [pixels; 2]);
        self.norm(outputs, pixels);
        self.conv([outputs, outputs], 3, [pixels; 2]);
        if inputs != outputs {
            self.conv([inputs, outputs], 1, [pixels; 2]);
            // The shortcut reads the block's input, which is counted already.
            self.kept -= pixels * inputs as f64;
        }
    }

    /// Block, attention over all pixels, block.
    fn middle(&mut self, channels: usize, pixels: f64) {
        self.block([channels; 2], pixels);
        self.norm(channels, pixels);
        (0..4).for_each(|_| self.conv([channels; 2], 1, [pixels; 2]));
        // Queries, keys, values; the scores, their softmax and its parts.
        self.kept += pixels * channels as f64 + 3.0 * pixels * pixels;
        self.flops += 4.0 * channels as f64 * pixels * pixels;
        self.block([channels; 2], pixels);
    }

    fn encoder(t: &TokenizerConfig, side: f64) -> Self {
        let pixels = |level: usize| (side / (1_u64 << level) as f64).powi(2);
        let last = t.encoder_ch_mult.len() - 1;
        let (mut net, mut channels) = (Self::default(), t.ch);
        net.conv([t.in_ch, channels], 3, [pixels(0); 2]);
        for (level, (mult, blocks)) in t.encoder_ch_mult.iter().zip(&t.encoder_num_res_blocks).enumerate() {
            for _ in 0..*blocks {
                net.block([channels, t.ch * mult], pixels(level));
                channels = t.ch * mult;
            }
            if level < last {
                net.conv([channels; 2], 3, [pixels(level), pixels(level + 1)]);
            }
        }
        net.middle(channels, pixels(last));
        net.norm(channels, pixels(last));
        net.conv([channels, t.z_channels], 3, [pixels(last); 2]);
        net.conv([t.z_channels; 2], 1, [pixels(last); 2]);
        net
    }

    fn decoder(t: &TokenizerConfig, side: f64) -> Self {
        let pixels = |level: usize| (side / (1_u64 << level) as f64).powi(2);
        let last = t.decoder_ch_mult.len() - 1;
        let (mut net, mut channels) = (Self::default(), t.ch * t.decoder_ch_mult[last]);
        net.conv([t.z_channels; 2], 1, [pixels(last); 2]);
        net.conv([t.z_channels, channels], 3, [pixels(last); 2]);
        net.middle(channels, pixels(last));
        let levels = t.decoder_ch_mult.iter().zip(&t.decoder_num_res_blocks).enumerate().rev();
        for (level, (mult, blocks)) in levels {
            for _ in 0..*blocks {
                net.block([channels, t.ch * mult], pixels(level));
                channels = t.ch * mult;
            }
            if level > 0 {
                net.conv([channels; 2], 3, [pixels(level), pixels(level - 1)]);
            }
        }
        net.norm(channels, pixels(0));
        net.conv([channels, t.out_ch], 3, [pixels(0); 2]);
        net
    }

    /// The patch discriminator, whose first convolution has `width` channels.
    fn discriminator(width: usize, side: f64) -> Self {
        let pixels = |level: usize| (side / (1_u64 << level) as f64).powi(2);
        let mut net = Self::default();
        net.conv([3, width], 4, [pixels(0), pixels(1)]);
        for level in 1..3 {
            let channels = width << (level - 1);
            net.conv([channels, 2 * channels], 4, [pixels(level), pixels(level + 1)]);
            net.norm(2 * channels, pixels(level + 1));
        }
        net.kept += pixels(1) * width as f64;
        net.conv([4 * width, 1], 3, [pixels(3); 2]);
        net
    }
}

/// What training an image tokenizer on batches of pictures needs. The adversary, if there is one, sees a picture three
/// times.
pub fn pair(
    config: &TokenizerConfig,
    side: u32,
    discriminator: (usize, bool),
    [batch, accumulate]: [u64; 2],
) -> Estimate {
    let side = f64::from(side);
    let (width, adversarial) = discriminator;
    let nets = [Network::encoder(config, side), Network::decoder(config, side)];
    let judge = Network::discriminator(width, side);
    let seen = if adversarial { 3.0 } else { 0.0 };
    // Pixels, their reconstruction, its errors and their gradients.
    let pixels = 8.0 * 3.0 * side * side;
    let sum = |part: fn(&Network) -> f64| nets.iter().map(part).sum::<f64>();
    let batch = batch as f64;
    let run = Trained {
        trained: sum(|net| net.parameters) + judge.parameters,
        frozen: 0.0,
        kept: batch * (sum(|net| net.kept) + seen * judge.kept + pixels),
        accumulate,
    };
    Estimate::of(run, false, 3.0 * batch * (sum(|net| net.flops) + seen * judge.flops))
}

/// What training an understanding encoder against a text tower needs. Texts have `text_tokens` tokens.
pub fn siglip(
    vision: &VisionConfig,
    text: &DecoderConfig,
    side: u32,
    text_tokens: f64,
    [batch, accumulate]: [u64; 2],
) -> Estimate {
    let [width, hidden, layers] =
        [vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers].map(|size| size as f64);
    let patches = vision.tokens(side as usize).min(vision.max_tokens()) as f64;
    let patch = (vision.num_channels * vision.patch_size.pow(2)) as f64;
    let layer = 4.0 * (width + 1.0) * width + 2.0 * width * hidden + width + hidden + 4.0 * width;
    // The pooling head is another layer.
    let tower = (layers + 1.0) * layer + (patch + 1.0) * width + vision.position_grid().pow(2) as f64 * width;
    // Norm input and result, queries, keys, values and their mixture, norm input and result, and the hidden layer
    // before and after its activation.
    let of_patch = layers * (8.0 * width + 2.0 * hidden) + patch + 4.0 * width;
    let [d, i, n] =
        [text.hidden_size, text.intermediate_size, text.num_hidden_layers].map(|size| size as f64);
    let reader = n * d * (4.0 * d + 3.0 * i) + text.vocab_size as f64 * d + d * width;
    let of_token = n * (10.0 * d + 3.0 * i) + 2.0 * d;
    let batch = batch as f64;
    let run = Trained {
        trained: tower + reader,
        frozen: 0.0,
        kept: batch * (patches * of_patch + text_tokens * of_token),
        accumulate,
    };
    Estimate::of(run, false, 6.0 * batch * (patches * tower + text_tokens * n * d * (4.0 * d + 3.0 * i)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::tensor::Device;
    use unigen_core::config::ModelConfig;
    use unigen_core::image_tokenizer::ImageTokenizer;

    #[test]
    fn parameters_are_those_of_the_networks() {
        let config = ModelConfig::preset("nano").unwrap().image_tokenizer;
        let model = ImageTokenizer::new(&config, &Device::flex()).unwrap();
        let found = Network::encoder(&config, 96.0).parameters + Network::decoder(&config, 96.0).parameters;
        assert_eq!(found, model.num_params() as f64);
        let judge = crate::stages::discriminator_parameters(32);
        assert_eq!(Network::discriminator(32, 96.0).parameters, judge as f64);
    }

    #[test]
    fn a_larger_batch_keeps_more() {
        let config = ModelConfig::preset("nano").unwrap().image_tokenizer;
        let of = |batch: u64, adversarial: bool| pair(&config, 96, (32, adversarial), [batch, 1]).bytes();
        let (one, two) = (of(1, true), of(2, true));
        assert!(two > one && of(1, false) < one);
        assert!(((of(3, true) - two) - (two - one)).abs() < 1.0, "in proportion");
    }
}
