//! Rotary position embedding (Su et al., arXiv 2104.09864) in the rotate-half form, over whole heads or their first values.

use crate::ops;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// Cosines and sines of every row's angles, `[rows, rotated / 2]` each.
#[derive(Debug, Clone)]
pub struct Positions {
    cos: Tensor<2>,
    sin: Tensor<2>,
}

impl Positions {
    /// Angle of pair `i` of the `rotated` values of a head at position `p`: `p * theta^(-2 i / rotated)`.
    pub fn new(positions: &[usize], rotated: usize, theta: f64, device: &Device) -> Self {
        let half = rotated / 2;
        let frequencies: Vec<f32> =
            (0..half).map(|i| (1.0 / theta.powf(2.0 * i as f64 / rotated as f64)) as f32).collect();
        let first = positions.iter().min().copied().unwrap_or(0);
        let last = positions.iter().max().copied().unwrap_or(0);
        let table = |f: fn(f32) -> f32| {
            let row = |p: usize| frequencies.iter().map(move |w| f(p as f32 * w));
            let rows: Vec<f32> = (first..=last).flat_map(row).collect();
            let row = |&p: &usize| &rows[(p - first) * half..][..half];
            let values: Vec<f32> = positions.iter().flat_map(row).copied().collect();
            Tensor::from_data(TensorData::new(values, [positions.len(), half]), device)
        };
        Self { cos: table(f32::cos), sin: table(f32::sin) }
    }

    /// The angles of some rows.
    pub fn pick(&self, rows: Tensor<1, Int>) -> Self {
        Self { cos: self.cos.clone().select(0, rows.clone()), sin: self.sin.clone().select(0, rows) }
    }
}

/// Turns each head of `x` `[rows, heads, head_dim]` by its row's angles. Values past the rotated ones stay.
pub(super) fn rope(x: Tensor<3>, positions: &Positions) -> Tensor<3> {
    let (head, rotated) = (x.dims()[2], 2 * positions.cos.dims()[1]);
    let turn = |x| ops::rope(x, positions.cos.clone(), positions.sin.clone());
    if rotated == head {
        return turn(x);
    }
    let rest = x.clone().narrow(2, rotated, head - rotated);
    Tensor::cat(vec![turn(x.narrow(2, 0, rotated)), rest], 2)
}

/// `[rows, heads * head_dim]` → `[rows, heads, head_dim]`
pub(super) fn split_heads(x: Tensor<2>, heads: usize) -> Tensor<3> {
    let [rows, width] = x.dims();
    x.reshape([rows, heads, width / heads])
}
