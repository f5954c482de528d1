//! Products with weights that stay as they are stored, on the CPU device, against their portable twin on the widened values:
//! forward, and backward for what they multiply.

#![cfg(all(feature = "cpu", feature = "train"))]

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use half::{bf16, f16};
use proptest::prelude::*;
use unigen_core::nn::{Linear, WeightParam};
use unigen_core::ops::{self, Weight, portable};
use unigen_core::precision::MatmulPrecision::{self, Bf16, F32};
use unigen_core::quantized::{BlockFormat, QuantizedMatrix};

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// A matrix in every way of storing it that its inputs allow.
fn stored([outputs, inputs]: [usize; 2]) -> Vec<Weight> {
    let values = random([outputs, inputs]).into_data();
    let mut all: Vec<Weight> = vec![
        Tensor::from_data(values.clone().convert::<f16>(), (&Device::flex(), DType::F16)).into(),
        Tensor::from_data(values.convert::<bf16>(), (&Device::flex(), DType::BF16)).into(),
    ];
    for format in BlockFormat::ALL {
        let Some(row) = format.row_bytes(inputs) else { continue };
        // Any bytes are blocks, if their scales are small enough.
        let noise = Tensor::<1>::random([outputs * row], Distribution::Uniform(0.0, 256.0), &Device::flex());
        let noise: Vec<f32> = noise.into_data().try_to_vec().expect("f32 values");
        let mut bytes: Vec<u8> = noise.into_iter().map(|x| x as u8).collect();
        let (scales, scale): (&[usize], f32) = match format {
            BlockFormat::Q4_0 => (&[0], 0.2),
            BlockFormat::Q4_1 => (&[0, 2], 0.1),
            BlockFormat::Q8_0 => (&[0], 0.015),
            BlockFormat::Q4K => (&[0, 2], 0.004),
            BlockFormat::Q6K => (&[208], 0.001),
        };
        for (i, block) in bytes.chunks_exact_mut(format.block_bytes()).enumerate() {
            for &at in scales {
                let scale = scale * (0.5 + (i % 7) as f32 / 7.0);
                block[at..at + 2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
            }
        }
        let bytes = Tensor::from_data(TensorData::new(bytes, [outputs, row]), (&Device::flex(), DType::U8));
        all.push(Weight::blocks(bytes, format));
    }
    all
}

fn close<const D: usize>(name: &str, got: Tensor<D>, want: Tensor<D>, tolerance: f32) {
    assert_eq!(got.dims(), want.dims(), "{name}");
    let [got, want] = [got, want].map(|x| x.into_data().try_to_vec::<f32>().expect("f32 values"));
    let size = (want.iter().map(|x| x * x).sum::<f32>() / want.len() as f32).sqrt();
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!(
            (got - want).abs() <= tolerance * (want.abs() + 4.0 * size),
            "{name}[{i}]: {got}, want {want}"
        );
    }
}

/// Compares `linear` and its gradients by `weight` with its twin by the widened weight.
fn compare(weight: &Weight, rows: usize, precision: MatmulPrecision, tolerance: f32) {
    let ([outputs, inputs], device) = (weight.dims(), Device::flex().autodiff());
    let name = format!("{rows} x {inputs} -> {outputs} in {}", weight.storage());
    let leaf = |x: &Tensor<1>| Tensor::from_inner(x.clone()).require_grad();
    let (x, b) = (random([rows * inputs]), random([outputs]));
    let widened = Tensor::<2>::from_data(weight.clone().values().into_data(), &device);
    let [got, want] = [true, false].map(|as_stored| {
        let (x, b) = (leaf(&x), leaf(&b));
        let rows = x.clone().reshape([rows, inputs]);
        let y = match as_stored {
            true => ops::linear(rows, weight.clone(), Some(b.clone()), precision),
            false => portable::linear(rows, widened.clone(), Some(b.clone())),
        };
        let weights = Tensor::<2>::from_data(
            TensorData::new((0..y.shape().num_elements()).map(|i| (i % 5) as f32 - 2.0).collect(), y.dims()),
            &device,
        );
        let gradients = (y.clone() * weights).sum().backward();
        (y.inner(), x.grad(&gradients).expect("a gradient"), b.grad(&gradients).expect("a gradient"))
    });
    close(&name, got.0, want.0, tolerance);
    close(&format!("{name}, gradient of x"), got.1, want.1, tolerance);
    close(&format!("{name}, gradient of the bias"), got.2, want.2, tolerance);
}

/// Adapters beside weights that stay as they are stored learn what they learn beside the widened ones.
#[test]
fn adapters_have_the_gradients_of_the_widened_base() {
    let ([outputs, inputs], device) = ([96, 64], Device::flex().autodiff());
    let data = random([outputs, inputs]).into_data();
    let halves = [DType::F16, DType::BF16].map(|dtype| {
        let values = Tensor::<2>::from_data(data.clone().convert_dtype(dtype), (&Device::flex(), dtype));
        WeightParam::Values(Param::from_tensor(values).no_grad())
    });
    let values: Vec<f32> = data.try_to_vec().expect("f32 values");
    let blocks = [BlockFormat::Q8_0, BlockFormat::Q4_0].map(|format| {
        let matrix = QuantizedMatrix::quantize(format, inputs, &values).expect("whole blocks");
        let bytes = TensorData::new(matrix.bytes().to_vec(), [outputs, matrix.row_bytes()]);
        let bytes = Tensor::from_data(bytes, (&Device::flex(), DType::U8));
        WeightParam::Blocks { bytes: Param::initialized(ParamId::new(), bytes), format }
    });
    for weight in halves.into_iter().chain(blocks) {
        let name = format!("adapters beside {}", weight.val().storage());
        let widened = Tensor::<2>::from_data(weight.values().into_data(), &device);
        let mut layer = Linear::new(inputs, outputs, true, 0.1, &device).adapted(4, 8.0);
        if let Some(adapter) = &mut layer.adapter {
            adapter.up = Param::from_tensor(Tensor::from_inner(random([outputs, 4])).require_grad());
        }
        let x = Tensor::<2>::from_inner(random([7, inputs])).require_grad();
        let [got, want] = [weight, Param::from_tensor(widened).no_grad().into()].map(|weight| {
            let layer = Linear { weight, ..layer.clone() };
            let y = layer.forward(x.clone());
            let gradients = (y.clone() * y.clone()).sum().backward();
            let adapter = layer.adapter.expect("an adapter");
            let of = |param: &Param<Tensor<2>>| param.val().grad(&gradients).expect("a gradient");
            [y.inner(), x.grad(&gradients).expect("a gradient"), of(&adapter.down), of(&adapter.up)]
        });
        for ((got, want), part) in got.into_iter().zip(want).zip(["result", "x", "down", "up"]) {
            close(&format!("{name}, {part}"), got, want, 1e-4);
        }
    }
}

#[test]
fn linear_is_its_twin() {
    for (rows, shape) in [
        (1, [3, 32]),
        (4, [130, 256]),
        (5, [33, 64]),
        (70, [129, 512]),
        (37, [96, 2304]),
        (3, [7, 5]),
        (40, [9, 33]),
    ] {
        for weight in stored(shape) {
            compare(&weight, rows, F32, 1e-4);
            if ops::multiplies_bf16() {
                compare(&weight, rows, Bf16, 2e-2);
            }
            if shape[0] > 8 {
                compare(&weight.rows(3..shape[0] - 2), rows, F32, 1e-4);
            }
        }
    }
}

#[test]
fn entries_of_a_table_are_its_rows() {
    for table in stored([9, 256]) {
        let ids = Tensor::from_ints([4, 0, 8, 4], &Device::flex());
        let want = ops::embed(table.clone().values(), ids.clone()).into_data();
        ops::embed(table, ids).into_data().assert_eq(&want, true);
    }
}

#[test]
fn bf16_products_of_bf16_weights_are_those_of_the_widened_weights() {
    if !ops::multiplies_bf16() {
        return;
    }
    // Rounding to bf16 what is in bf16 changes nothing, so the sums are the same, bit for bit.
    let [x, weight] = [random([45, 1100]), random([70, 1100])];
    let halves = weight.into_data().convert::<bf16>();
    let stored = Tensor::<2>::from_data(halves.clone(), (&Device::flex(), DType::BF16));
    let widened = Tensor::<2>::from_data(halves.convert::<f32>(), &Device::flex());
    let got = ops::linear(x.clone(), stored, None, Bf16).into_data();
    got.assert_eq(&ops::linear(x, widened, None, Bf16).into_data(), true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The same rows give the same results, whatever else is computed beside them.
    #[test]
    fn rows_do_not_see_each_other(rows in 9_usize..70, outputs in 1_usize..90, blocks in 1_usize..5) {
        for weight in stored([outputs, 32 * blocks]) {
            let x = random([rows, 32 * blocks]);
            let all = ops::linear(x.clone(), weight.clone(), None, F32);
            let some = ops::linear(x.slice([0..rows - 2]), weight, None, F32);
            close("rows", some, all.slice([0..rows - 2]), 1e-6);
        }
    }
}
