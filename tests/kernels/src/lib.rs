//! Every shader against its portable twin, on any wgpu device: natively in `tests/native.rs`, in Chromium from
//! `tests/web/kernels.test.js`. The twins run on the CPU device, so that hardly anything but the shaders is compiled for the
//! adapter.

mod cases;
mod gradients;

#[cfg(target_family = "wasm")]
mod browser;

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData, kind::Basic};
use serde::Serialize;

/// A tensor that shaders computed, beside the one of their portable twin.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The shaders that computed it.
    pub kernels: Vec<&'static str>,
    /// Which values of which shapes were compared.
    pub case: String,
    /// The largest `|got - want| / (1 + |want|)`; of whole numbers, how many differ.
    pub difference: f32,
    /// What `difference` may be at most.
    pub bound: f32,
}

impl Comparison {
    /// Whether the difference is within its bound; one that is no number is not.
    pub fn ok(&self) -> bool {
        self.difference <= self.bound
    }
}

/// All cases on `device`, a wgpu device. Waits for values as a browser must: without blocking.
pub async fn compare(device: &Device) -> Vec<Comparison> {
    // So that a difference can be reproduced.
    Device::flex().seed(0);
    let mut checks = Checks { device: device.clone(), done: Vec::new() };
    cases::run(&mut checks).await;
    gradients::run(&mut checks).await;
    checks.done
}

/// The comparisons so far, and the device they are made on.
struct Checks {
    device: Device,
    done: Vec<Comparison>,
}

impl Checks {
    /// The same values on the GPU.
    fn there<const D: usize>(&self, x: &Tensor<D>) -> Tensor<D> {
        Tensor::from_data(x.to_data(), &self.device)
    }

    /// Compares real numbers.
    async fn close<const D: usize>(
        &mut self,
        kernels: &[&'static str],
        case: impl Into<String>,
        got: Tensor<D>,
        want: Tensor<D>,
        bound: f32,
    ) {
        let case = case.into();
        assert_eq!(got.dims(), want.dims(), "{kernels:?}: {case}");
        let (got, want) = (floats(got).await, floats(want).await);
        let differences = got.iter().zip(&want).map(|(got, want)| (got - want).abs() / (1.0 + want.abs()));
        // By the total order, in which NaN is the largest.
        let difference = differences.max_by(f32::total_cmp).expect("values to compare");
        self.done.push(Comparison { kernels: kernels.to_vec(), case, difference, bound });
    }

    /// Compares whole numbers.
    fn equal(&mut self, kernels: &[&'static str], case: impl Into<String>, got: &[i64], want: &[i64]) {
        let case = case.into();
        assert_eq!(got.len(), want.len(), "{kernels:?}: {case}");
        let difference = got.iter().zip(want).filter(|(got, want)| got != want).count() as f32;
        self.done.push(Comparison { kernels: kernels.to_vec(), case, difference, bound: 0.0 });
    }
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

async fn data<const D: usize, K: Basic>(x: Tensor<D, K>) -> TensorData {
    x.into_data_async().await.expect("values of the device")
}

async fn floats<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    data(x).await.try_to_vec().expect("f32 values")
}

async fn ints<const D: usize>(x: Tensor<D, Int>) -> Vec<i64> {
    data(x).await.convert::<i64>().try_to_vec().expect("integers")
}
