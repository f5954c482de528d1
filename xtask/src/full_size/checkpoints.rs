//! Checkpoints of full size in their published layouts, with random weights: names and shapes of their tensors.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// A checkpoint to be written.
pub struct Checkpoint {
    config: Value,
    file: &'static str,
    bf16: bool,
    tensors: Vec<Tensor>,
}

/// Name, shape and values of a tensor.
struct Tensor {
    name: String,
    shape: Vec<usize>,
    values: Values,
}

#[derive(Clone, Copy)]
enum Values {
    /// Uniform, of this deviation.
    Random(f32),
    /// All the same.
    Same(f32),
}

/// Collects tensors; `bias` of a layer beside its `weight`.
#[derive(Default)]
struct Tensors(Vec<Tensor>);

impl Tensors {
    fn random(&mut self, name: impl Into<String>, shape: &[usize], deviation: f32) {
        self.0.push(Tensor { name: name.into(), shape: shape.to_vec(), values: Values::Random(deviation) });
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize, bias: bool) {
        self.random(format!("{name}.weight"), &[outputs, inputs], (inputs as f32).sqrt().recip());
        if bias {
            self.random(format!("{name}.bias"), &[outputs], 0.02);
        }
    }

    fn norm(&mut self, name: &str, width: usize, bias: bool) {
        let name = name.to_owned();
        self.0.push(Tensor { name: format!("{name}.weight"), shape: vec![width], values: Values::Same(1.0) });
        if bias {
            self.random(format!("{name}.bias"), &[width], 0.02);
        }
    }

    fn convolution(&mut self, name: &str, outputs: usize, inputs: usize, kernel: usize) {
        let fan_in = (inputs * kernel * kernel) as f32;
        self.random(format!("{name}.weight"), &[outputs, inputs, kernel, kernel], fan_in.sqrt().recip());
        self.random(format!("{name}.bias"), &[outputs], 0.02);
    }
}

/// UniGen on Qwen2.5-1.5B: its own layout, in bf16.
pub fn qwen2_5_1_5b() -> Checkpoint {
    let (width, inner, layers, heads, kv_heads, head) = (1536, 8960, 28, 12, 2, 128);
    let vocabulary = 151_665 + 9 + 8192 + 1;
    let mut t = Tensors::default();
    t.random("llm.model.embed_tokens.weight", &[vocabulary, width], 0.02);
    for layer in 0..layers {
        let name = |part: &str| format!("llm.model.layers.{layer}.{part}");
        t.norm(&name("input_layernorm"), width, false);
        t.linear(&name("self_attn.q_proj"), heads * head, width, true);
        t.linear(&name("self_attn.k_proj"), kv_heads * head, width, true);
        t.linear(&name("self_attn.v_proj"), kv_heads * head, width, true);
        t.linear(&name("self_attn.o_proj"), width, heads * head, false);
        t.norm(&name("post_attention_layernorm"), width, false);
        t.linear(&name("mlp.gate_proj"), inner, width, false);
        t.linear(&name("mlp.up_proj"), inner, width, false);
        t.linear(&name("mlp.down_proj"), width, inner, false);
    }
    t.norm("llm.model.norm", width, false);
    t.linear("mm_projector.0", width, 1152, true);
    t.linear("mm_projector.2", width, width, true);
    let config = json!({
        "model_type": "qwen2", "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": vocabulary, "rms_norm_eps": 1e-6,
        "rope_theta": 1e6, "tie_word_embeddings": true, "hidden_act": "silu",
    });
    Checkpoint { config, file: "model.safetensors", bf16: true, tensors: t.0 }
}

/// Show-o at 512 pixels, in f32.
pub fn show_o_512() -> Checkpoint {
    let (width, inner, layers, head, vocabulary) = (2048, 8192, 24, 64, 58_498);
    let mut t = Tensors::default();
    t.random("showo.model.embed_tokens.weight", &[vocabulary, width], 0.02);
    for layer in 0..layers {
        let name = |part: &str| format!("showo.model.layers.{layer}.{part}");
        t.norm(&name("input_layernorm"), width, true);
        for part in ["q_proj", "k_proj", "v_proj", "dense"] {
            t.linear(&name(&format!("self_attn.{part}")), width, width, true);
        }
        for part in ["q_layernorm", "k_layernorm"] {
            t.norm(&name(&format!("self_attn.{part}")), head, true);
        }
        t.linear(&name("mlp.fc1"), inner, width, true);
        t.linear(&name("mlp.fc2"), width, inner, true);
    }
    t.norm("showo.model.final_layernorm", width, true);
    t.linear("showo.lm_head", vocabulary, width, true);
    let config = json!({
        "_class_name": "Showo", "w_clip_vit": false, "vocab_size": vocabulary, "llm_vocab_size": 50_295,
        "llm_model_path": "microsoft/phi-1_5", "codebook_size": 8192, "num_vq_tokens": 1024,
    });
    Checkpoint { config, file: "pytorch_model.safetensors", bf16: false, tensors: t.0 }
}

/// The vision tower of SigLIP2 so400m patch16 NaFlex, in f32.
pub fn siglip2_so400m() -> Checkpoint {
    let (width, inner, layers, patches, patch) = (1152, 4304, 27, 256, 16);
    let mut t = Tensors::default();
    t.linear("vision_model.embeddings.patch_embedding", width, 3 * patch * patch, true);
    t.random("vision_model.embeddings.position_embedding.weight", &[patches, width], 0.02);
    for layer in 0..layers {
        let name = |part: &str| format!("vision_model.encoder.layers.{layer}.{part}");
        t.norm(&name("layer_norm1"), width, true);
        t.norm(&name("layer_norm2"), width, true);
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            t.linear(&name(&format!("self_attn.{part}")), width, width, true);
        }
        t.linear(&name("mlp.fc1"), inner, width, true);
        t.linear(&name("mlp.fc2"), width, inner, true);
    }
    t.norm("vision_model.post_layernorm", width, true);
    let tower = json!({
        "model_type": "siglip2_vision_model", "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers,
        "num_attention_heads": 16, "num_channels": 3, "num_patches": patches, "patch_size": patch, "layer_norm_eps": 1e-6,
        "hidden_act": "gelu_pytorch_tanh",
    });
    let config = json!({ "model_type": "siglip2", "vision_config": tower });
    Checkpoint { config, file: "model.safetensors", bf16: false, tensors: t.0 }
}

/// showlab/magvitv2, in f32.
pub fn magvitv2() -> Checkpoint {
    const CHANNELS: usize = 128;
    const BITS: usize = 13;
    let (down, down_blocks) = ([1, 2, 2, 4, 4], [4, 3, 4, 3, 4]);
    let (up, up_blocks) = ([1, 1, 2, 2, 4], [4, 4, 3, 4, 3]);
    let mut t = Tensors::default();
    let mut channels = CHANNELS;
    t.convolution("encoder.conv_in", CHANNELS, 3, 3);
    for (level, (width, blocks)) in down.into_iter().zip(down_blocks).enumerate() {
        for block in 0..blocks {
            residual(&mut t, &format!("encoder.down.{level}.block.{block}"), channels, CHANNELS * width);
            channels = CHANNELS * width;
        }
        if level + 1 < down.len() {
            t.convolution(&format!("encoder.down.{level}.downsample.conv"), channels, channels, 3);
        }
    }
    middle(&mut t, "encoder.mid", channels);
    t.norm("encoder.norm_out", channels, true);
    t.convolution("encoder.conv_out", BITS, channels, 3);
    t.convolution("encoder.quant_conv", BITS, BITS, 1);
    channels = CHANNELS * up[up.len() - 1];
    t.convolution("decoder.post_quant_conv", BITS, BITS, 1);
    t.convolution("decoder.conv_in", channels, BITS, 3);
    middle(&mut t, "decoder.mid", channels);
    for (level, (width, blocks)) in up.into_iter().zip(up_blocks).enumerate().rev() {
        for block in 0..blocks {
            residual(&mut t, &format!("decoder.up.{level}.block.{block}"), channels, CHANNELS * width);
            channels = CHANNELS * width;
        }
        if level > 0 {
            t.convolution(&format!("decoder.up.{level}.upsample.conv"), channels, channels, 3);
        }
    }
    t.norm("decoder.norm_out", channels, true);
    t.convolution("decoder.conv_out", 3, channels, 3);
    let config = json!({ "_class_name": "MAGVITv2" });
    Checkpoint { config, file: "pytorch_model.safetensors", bf16: false, tensors: t.0 }
}

fn residual(t: &mut Tensors, name: &str, inputs: usize, outputs: usize) {
    t.norm(&format!("{name}.norm1"), inputs, true);
    t.convolution(&format!("{name}.conv1"), outputs, inputs, 3);
    t.norm(&format!("{name}.norm2"), outputs, true);
    t.convolution(&format!("{name}.conv2"), outputs, outputs, 3);
    if inputs != outputs {
        t.convolution(&format!("{name}.nin_shortcut"), outputs, inputs, 1);
    }
}

fn middle(t: &mut Tensors, name: &str, channels: usize) {
    residual(t, &format!("{name}.block_1"), channels, channels);
    t.norm(&format!("{name}.attn_1.norm"), channels, true);
    for part in ["q", "k", "v", "proj_out"] {
        t.convolution(&format!("{name}.attn_1.{part}"), channels, channels, 1);
    }
    residual(t, &format!("{name}.block_2"), channels, channels);
}

impl Checkpoint {
    /// Writes `config.json` and the weights into the folder `to`, tensor after tensor.
    ///
    /// # Errors
    /// If the disk is full or the folder cannot be written.
    pub fn write(&self, to: &Path) -> Result<()> {
        fs::create_dir_all(to)?;
        fs::write(to.join("config.json"), self.config.to_string())?;
        let path = to.join(self.file);
        self.weights(&path).with_context(|| format!("cannot write {}", path.display()))
    }

    fn weights(&self, path: &Path) -> Result<()> {
        let (width, dtype) = if self.bf16 { (2, "BF16") } else { (4, "F32") };
        let (mut header, mut end) = (Map::new(), 0);
        for Tensor { name, shape, .. } in &self.tensors {
            let start = end;
            end += shape.iter().product::<usize>() * width;
            let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
            header.insert(name.clone(), entry);
        }
        let mut header = Value::Object(header).to_string();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut out = BufWriter::with_capacity(1 << 20, fs::File::create(path)?);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        let mut random = Random(1);
        for Tensor { shape, values, .. } in &self.tensors {
            for _ in 0..shape.iter().product::<usize>() {
                let value = match *values {
                    // A uniform number of deviation 1 lies within the root of 3.
                    Values::Random(deviation) => deviation * 3_f32.sqrt() * random.next(),
                    Values::Same(value) => value,
                };
                // The upper half of an f32 is a bf16.
                out.write_all(&value.to_le_bytes()[4 - width..])?;
            }
        }
        Ok(out.flush()?)
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
struct Random(u64);

impl Random {
    /// From -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parameters as the papers and cards count them.
    #[test]
    fn sizes_are_those_of_the_published_models() {
        let count = |checkpoint: Checkpoint| -> usize {
            checkpoint.tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum()
        };
        assert_eq!(count(qwen2_5_1_5b()), 1_555_896_320 + 4_131_840);
        assert_eq!(count(magvitv2()), 55_439_171 + 39_947_833);
        assert_eq!(count(show_o_512()) / 1_000_000, 1448);
        assert_eq!(count(siglip2_so400m()) / 1_000_000, 412);
    }
}
