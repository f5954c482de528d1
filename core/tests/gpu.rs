//! A whole model on the GPU, on whatever adapter there is: a software one will do. The kernels one by one are in
//! `tests/kernels`.

#![cfg(all(feature = "cpu", feature = "wgpu"))]

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, DeviceKind, Int, Tensor};
use std::collections::{BTreeSet, HashMap};
use unigen_core::config::{DecoderKind, ModelConfig, TokenizerConfig};
use unigen_core::image_tokenizer::ImageTokenizer;
use unigen_core::image_tokenizer::lfq::codes_to_device;
use unigen_core::model::UniGen;
use unigen_core::nn::{Embedding, WeightParam};
use unigen_core::ops::{self, conv::largest_tensor};
use unigen_core::precision::MatmulPrecision;
use unigen_core::sequence::AttentionLayout;
use unigen_core::weights::{
    BlockFormat, Checkpoint, FileTensor, ParameterPath, Precision, keys, load, save, write_file,
};

fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().expect("f32 values")
}

#[test]
fn weights_in_halves_stay_so_and_give_the_same() {
    let (device, folder) = (Device::wgpu(DeviceKind::DefaultDevice), tempfile::tempdir().unwrap());
    let path = folder.path().join("model.safetensors");
    let mut config = ModelConfig::preset("nano").unwrap();
    config.decoder.num_hidden_layers = 1;
    save(&UniGen::new(&config, &Device::flex()), &path, Precision::F16, keys::same, HashMap::new()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let open = |device: &Device| load(UniGen::new(&config, device), &checkpoint, keys::same).unwrap();
    let (here, there) = (open(&Device::flex()), open(&device));
    let wanted: BTreeSet<String> = STORED.map(String::from).into();
    let [halves, others] = Kinds::of(&there);
    assert_eq!(Kinds::of(&here)[0], wanted);
    assert_eq!(halves, wanted);
    assert!(others.contains("llm.norm.weight"), "norms are f32: {others:?}");
    same_logits([&there, &here], [&device, &Device::flex()]);
}

/// Layers of every architecture give on the GPU what they give on the CPU.
#[test]
fn every_architecture_computes_the_same() {
    let (device, folder) = (Device::wgpu(DeviceKind::DefaultDevice), tempfile::tempdir().unwrap());
    let path = folder.path().join("model.safetensors");
    let mut config = ModelConfig::preset("nano").unwrap();
    config.decoder.num_hidden_layers = 2;
    for kind in [DecoderKind::Qwen2, DecoderKind::Llama, DecoderKind::Phi] {
        let phi = kind == DecoderKind::Phi;
        (config.decoder.kind, config.decoder.tie_word_embeddings) = (kind, !phi);
        config.decoder.partial_rotary_factor = if phi { 0.5 } else { 1.0 };
        let model = UniGen::new(&config, &Device::flex());
        save(&model, &path, Precision::F32, keys::same, HashMap::new()).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let there = load(UniGen::new(&config, &device), &checkpoint, keys::same).unwrap();
        same_logits([&there, &model], [&device, &Device::flex()]);
    }
}

/// Pictures that are not square come out of the image tokenizer as on the CPU, and go into it.
#[test]
fn pictures_of_any_shape_are_the_same() {
    let (device, folder) = (Device::wgpu(DeviceKind::DefaultDevice), tempfile::tempdir().unwrap());
    let path = folder.path().join("image_tokenizer.safetensors");
    let config = TokenizerConfig { ch: 8, norm_groups: 4, ..TokenizerConfig::default() };
    let here = ImageTokenizer::new(&config, &Device::flex()).unwrap();
    save(&here, &path, Precision::F32, keys::same, HashMap::new()).unwrap();
    let checkpoint = Checkpoint::open(&path).unwrap();
    let there = load(ImageTokenizer::new(&config, &device).unwrap(), &checkpoint, keys::same).unwrap();
    let codes: Vec<u32> = (0..15).map(|i| i * 541 % 8192).collect();
    let decode = |tokenizer: &ImageTokenizer, device: &Device| {
        tokenizer.decode(codes_to_device(&codes, device), 48, 80).unwrap()
    };
    let (got, want) = (decode(&there, &device), decode(&here, &Device::flex()));
    // What binds at once is what WebGPU promises, 128 MiB, or more.
    assert!(largest_tensor(&got) >= 32 << 20 && largest_tensor(&want) == usize::MAX);
    let latent = |tokenizer: &ImageTokenizer, pixels: Tensor<4>| floats(tokenizer.latent(pixels).unwrap());
    for (got, want) in
        [(floats(got.clone()), floats(want.clone())), (latent(&there, got), latent(&here, want))]
    {
        let largest = want.iter().fold(1.0_f32, |max, value| max.max(value.abs()));
        assert!(got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-3 * largest));
        assert_eq!(got.len(), want.len());
    }
}

/// A token table.
#[derive(Module, Debug)]
struct Table {
    embed_tokens: Embedding,
}

/// Shapes of all parameters.
struct Shapes(Vec<Vec<usize>>);

impl ModuleVisitor for Shapes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.lazy_shape().as_slice().to_vec());
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.0.push(param.lazy_shape().as_slice().to_vec());
    }
}

/// A table of more bytes than a device binds lies in parts, and gives what it gives whole: its entries, and products with
/// some of its rows.
#[test]
fn tables_in_parts_are_the_same() {
    const SHAPE: [usize; 2] = [100, 64];
    const ROWS: usize = 32;
    let (gpu, cpu, folder) =
        (Device::wgpu(DeviceKind::DefaultDevice), Device::flex(), tempfile::tempdir().unwrap());
    let path = folder.path().join("table.safetensors");
    let made = Table { embed_tokens: Embedding::new(SHAPE[0], SHAPE[1], 1.0, &cpu) };
    let write = |precision| save(&made, &path, precision, keys::same, HashMap::new()).unwrap();
    let quantize = |format| {
        write(Precision::F32);
        let name = "embed_tokens.weight";
        let stored = Checkpoint::open(&path).unwrap().stored(name).unwrap();
        let blocks = FileTensor::quantized(name, &stored, format).unwrap();
        write_file(&folder.path().join("blocks.safetensors"), vec![blocks], HashMap::new()).unwrap();
        std::fs::rename(folder.path().join("blocks.safetensors"), &path).unwrap();
    };
    let stored: [&dyn Fn(); 5] = [
        &|| write(Precision::F32),
        &|| write(Precision::F16),
        &|| write(Precision::Bf16),
        &|| quantize(BlockFormat::Q8_0),
        &|| quantize(BlockFormat::Q4_0),
    ];
    for store in stored {
        store();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let found = |embed_tokens: Embedding, device: &Device| {
            let table = load(Table { embed_tokens }, &checkpoint, keys::same).unwrap().embed_tokens;
            let ids = Tensor::<1, Int>::from_ints([0, 31, 32, 63, 64, 99, 5, 64], device);
            let entries = table.forward(ids);
            let bias = Tensor::<1>::from_floats(std::array::from_fn::<f32, 70, _>(|i| i as f32), device);
            let rows = table.weight.val().rows(20..90);
            let products = ops::linear(entries.clone(), rows, Some(bias), MatmulPrecision::F32);
            (table, floats(entries), floats(products))
        };
        let (_, entries, products) = found(Embedding::new(SHAPE[0], SHAPE[1], 1.0, &cpu), &cpu);
        for device in [&cpu, &gpu] {
            let parts = Embedding { weight: WeightParam::in_parts(SHAPE, 1.0, device, ROWS) };
            let (table, own_entries, own_products) = found(parts, device);
            let mut shapes = Shapes(vec![]);
            table.visit(&mut shapes);
            assert_eq!(shapes.0.iter().map(|shape| shape[0]).collect::<Vec<_>>(), [32, 32, 32, 4]);
            assert_eq!(own_entries, entries);
            assert_eq!(own_products.len(), products.len());
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-3;
            assert!(own_products.iter().zip(&products).all(near), "{own_products:?} {products:?}");
        }
    }
    // The table of the 7B preset fits into what is bound at once, part by part.
    let shape = [160_000, 3584];
    let rows = ops::rows_at_once(shape, &gpu).unwrap_or(shape[0]);
    assert!(rows * shape[1] <= largest_tensor(&Tensor::<4>::zeros([1; 4], &gpu)));
    assert_eq!(ops::rows_at_once(shape, &cpu), None);
}

/// Compares logits of the first model on the first device with those of the second.
fn same_logits([there, here]: [&UniGen; 2], [device, flex]: [&Device; 2]) {
    let rows = 7;
    let hidden = |model: &UniGen, device: &Device| {
        let ids: Vec<i32> = (0..rows as i32).map(|i| 31 * i % 97).collect();
        let layout = AttentionLayout::causal(&[rows]);
        let positions = model.llm.positions(&(0..rows).collect::<Vec<_>>(), device);
        let x = model.llm.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), device));
        model.llm.logits(model.llm.forward(x, &positions, &layout), 5..70)
    };
    let (got, want) = (hidden(there, device), hidden(here, flex));
    assert_eq!(got.dims(), want.dims());
    for (i, (got, want)) in floats(got).into_iter().zip(floats(want)).enumerate() {
        assert!((got - want).abs() <= 1e-4 * (1.0 + want.abs()), "logits[{i}]: {got}, want {want}");
    }
}

/// The weights of the model's linear layers, and the token table.
const STORED: [&str; 12] = [
    "code_bits.embed.weight",
    "code_bits.head.weight",
    "llm.embed_tokens.weight",
    "llm.layers.0.mlp.down_proj.weight",
    "llm.layers.0.mlp.gate_proj.weight",
    "llm.layers.0.mlp.up_proj.weight",
    "llm.layers.0.self_attn.k_proj.weight",
    "llm.layers.0.self_attn.o_proj.weight",
    "llm.layers.0.self_attn.q_proj.weight",
    "llm.layers.0.self_attn.v_proj.weight",
    "mm_projector.mm_projector.0.weight",
    "mm_projector.mm_projector.2.weight",
];

/// The names of the parameters in `f16`, and of all others.
#[derive(Debug, Default)]
struct Kinds {
    path: ParameterPath,
    names: [BTreeSet<String>; 2],
}

impl Kinds {
    fn of(model: &UniGen) -> [BTreeSet<String>; 2] {
        let mut kinds = Self::default();
        model.visit(&mut kinds);
        kinds.names
    }
}

impl ModuleVisitor for Kinds {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, container: &str) {
        self.path.leave(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let kind = usize::from(param.val().dtype() != DType::F16);
        self.names[kind].insert(self.path.joined());
    }
}
