//! A whole model on the GPU, on whatever adapter there is: a software one will do. The kernels one by one are in
//! `tests/kernels`.

#![cfg(all(feature = "cpu", feature = "wgpu"))]

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, DeviceKind, Int, Tensor};
use std::collections::HashMap;
use unigen_core::config::ModelConfig;
use unigen_core::model::UniGen;
use unigen_core::ops;
use unigen_core::sequence::{AttentionLayout, Segment};
use unigen_core::weights::{Checkpoint, Precision, keys, load, save};

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
    let mut kinds = Kinds::default();
    there.visit(&mut kinds);
    // A card multiplies `f32`.
    assert_eq!(kinds.halves > 8, ops::multiplies_halves(4, &device), "{kinds:?}");
    assert!(kinds.others > 3, "{kinds:?}");
    let rows = 7;
    let hidden = |model: &UniGen, device: &Device| {
        let ids: Vec<i32> = (0..rows as i32).map(|i| 31 * i % 97).collect();
        let layout = AttentionLayout {
            visible: (0..rows).map(|i| [0, i as u32 + 1]).collect(),
            segments: vec![Segment { queries: 0..rows, keys: 0..rows }],
        };
        let positions = model.llm.positions(&(0..rows).collect::<Vec<_>>(), device);
        let x = model.llm.embed(Tensor::<1, Int>::from_ints(ids.as_slice(), device));
        model.llm.logits(model.llm.forward(x, &positions, &layout), 5..70)
    };
    let (got, want) = (hidden(&there, &device), hidden(&here, &Device::flex()));
    assert_eq!(got.dims(), want.dims());
    for (i, (got, want)) in floats(got).into_iter().zip(floats(want)).enumerate() {
        assert!((got - want).abs() <= 1e-4 * (1.0 + want.abs()), "logits[{i}]: {got}, want {want}");
    }
}

/// How many weights are in `f16`, and how many are not.
#[derive(Debug, Default)]
struct Kinds {
    halves: usize,
    others: usize,
}

impl ModuleVisitor for Kinds {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match param.val().dtype() {
            DType::F16 => self.halves += 1,
            _ => self.others += 1,
        }
    }
}
