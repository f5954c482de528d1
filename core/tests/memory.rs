//! No weight of a linear layer is widened as a whole, neither when a model is opened nor while it draws: the allocator counts.

use burn::tensor::Device;
use pollster::FutureExt;
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use unigen_core::config::{Config, DecoderConfig, GenerationConfig, ModelConfig, TokenizerConfig};
use unigen_core::engine::{Engine, GenerateRequest, ModelFolder};
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::model::UniGen;
use unigen_core::quantized::BlockFormat;
use unigen_core::sampling::Flow;
use unigen_core::text::train_bpe;
use unigen_core::weights::{Checkpoint, FileTensor, Precision, write_file};

/// The system's allocator, which notes the largest piece and the most that was held at once.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Relaxed);
        MOST.fetch_max(HELD.fetch_add(layout.size(), Relaxed) + layout.size(), Relaxed);
        // SAFETY: as demanded of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as demanded of the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Values of the largest weights, `[INNER, WIDTH]`.
const WIDTH: usize = 512;
const INNER: usize = 4096;

/// A small picture, drawn by two wide layers.
fn config() -> ModelConfig {
    let nano = ModelConfig::preset("nano").expect("a preset");
    ModelConfig {
        decoder: DecoderConfig {
            hidden_size: WIDTH,
            intermediate_size: INNER,
            num_hidden_layers: 2,
            vocab_size: 300,
            ..nano.decoder
        },
        vision: None,
        image_tokenizer: TokenizerConfig {
            ch: 4,
            encoder_ch_mult: vec![1, 2],
            encoder_num_res_blocks: vec![1, 1],
            decoder_ch_mult: vec![1, 2],
            decoder_num_res_blocks: vec![1, 1],
            z_channels: 6,
            norm_groups: 2,
            ..nano.image_tokenizer
        },
        text_vocab: 300,
        image_size: 8,
        code_groups: vec![3, 3],
        ..nano
    }
}

/// Opens the model and draws; the largest allocation meanwhile, and the most that was held beyond what was held before.
fn draw(folder: &Path) -> [usize; 2] {
    let before = HELD.load(Relaxed);
    MOST.store(before, Relaxed);
    LARGEST.store(0, Relaxed);
    let engine = Engine::open(folder, &Device::flex()).expect("a model");
    let request = GenerateRequest { prompt: "a photo of a red apple".into(), seed: 1 };
    let settings = GenerationConfig { steps: 3, ..GenerationConfig::default() };
    engine.generate(&request, &settings, async |_| Flow::Continue).block_on().expect("a picture");
    [LARGEST.load(Relaxed), MOST.load(Relaxed) - before]
}

#[test]
fn no_weight_is_widened_as_a_whole() {
    let (folder, device, config) = (tempfile::tempdir().unwrap(), Device::flex(), config());
    config.validate().unwrap();
    let model_folder = ModelFolder::create(folder.path()).unwrap();
    let weights = folder.path().join(ModelFolder::MODEL);
    let bpe = train_bpe(["a photo of a red apple".to_owned()], 300).unwrap();
    let model = UniGen::new(&config, &device);
    let image_tokenizer = ImageTokenizer::new(&config.image_tokenizer, &device).unwrap();
    let generation = GenerationConfig::default();
    let write = |precision| {
        model_folder.write(&bpe, &model, &image_tokenizer, None, &generation, precision).unwrap();
        draw(folder.path())
    };
    // A weight in f32 is read into memory, which is seen.
    let [largest, held] = write(Precision::F32);
    let matrix = WIDTH * INNER;
    assert!(largest >= 4 * matrix && held >= 6 * 4 * matrix, "{largest} {held}");

    let blocks = |format| {
        write(Precision::Bf16);
        let halves = Checkpoint::open(&weights).unwrap();
        let tensors = halves.names().map(|name| {
            let stored = halves.stored(name).unwrap();
            let blocks = name.ends_with("_proj.weight").then(|| FileTensor::quantized(name, &stored, format));
            blocks.flatten().unwrap_or_else(|| FileTensor::kept(name, &stored))
        });
        let tensors = tensors.collect();
        write_file(&weights, tensors, Default::default()).unwrap();
        draw(folder.path())
    };
    for (name, [largest, held]) in [
        ("f16", write(Precision::F16)),
        ("bf16", write(Precision::Bf16)),
        ("q8_0", blocks(BlockFormat::Q8_0)),
        ("q4_0", blocks(BlockFormat::Q4_0)),
    ] {
        assert!(
            largest < 2 * matrix,
            "{name}: one allocation of {largest} bytes, a matrix in halves has {}",
            2 * matrix
        );
        assert!(held < 4 * matrix, "{name}: {held} bytes are held, a matrix has {}", 4 * matrix);
    }
}
