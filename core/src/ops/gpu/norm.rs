//! Normalisation of rows.

use super::launch::{Buffer, Launch};
use super::rows::{like, rows_and_width, sum_rows};
use super::shader_op::{Inputs, ShaderOp};
use burn::tensor::Tensor;
use unigen_shaders as shaders;

/// See [`crate::ops::rms_norm`]; the width is a multiple of 4.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    [x.into_dispatch(), weight.into_dispatch()].apply(RmsNorm { eps: eps as f32 })
}

/// See [`crate::ops::rms_norm`]; inputs `x`, `weight`. The width is a multiple of 4.
#[derive(Debug)]
struct RmsNorm {
    eps: f32,
}

impl ShaderOp<2> for RmsNorm {
    fn forward(&self, [x, weight]: &[Buffer; 2]) -> Buffer {
        let (y, [rows, width]) = (like(x), rows_and_width(x));
        Launch::new(&shaders::RMS_NORM)
            .buffers([x, weight, &y])
            .numbers([rows, width / 4])
            .scales([self.eps])
            .list(rows);
        y
    }

    fn cheap(&self) -> bool {
        true
    }

    fn backward(&self, [x, weight]: &[Buffer; 2], grad: &Buffer, _: [bool; 2]) -> [Option<Buffer>; 2] {
        let (dx, terms, [rows, width]) = (like(x), like(x), rows_and_width(x));
        Launch::new(&shaders::RMS_NORM_BACKWARD)
            .buffers([x, weight, grad, &dx, &terms])
            .numbers([rows, width / 4])
            .scales([self.eps])
            .list(rows);
        [Some(dx), Some(sum_rows(&terms))]
    }
}

/// See [`crate::ops::layer_norm`]; the width is a multiple of 4.
pub fn layer_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<D> {
    let inputs = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
    inputs.apply(LayerNorm { eps: eps as f32 })
}

/// See [`crate::ops::layer_norm`]; inputs `x`, `weight`, `bias`. The width is a multiple of 4.
#[derive(Debug)]
struct LayerNorm {
    eps: f32,
}

impl ShaderOp<3> for LayerNorm {
    fn forward(&self, [x, weight, bias]: &[Buffer; 3]) -> Buffer {
        let (y, [rows, width]) = (like(x), rows_and_width(x));
        Launch::new(&shaders::LAYER_NORM)
            .buffers([x, weight, bias, &y])
            .numbers([rows, width / 4])
            .scales([self.eps])
            .list(rows);
        y
    }

    fn cheap(&self) -> bool {
        true
    }

    fn backward(&self, [x, weight, _]: &[Buffer; 3], grad: &Buffer, _: [bool; 3]) -> [Option<Buffer>; 3] {
        let (dx, terms, [rows, width]) = (like(x), like(x), rows_and_width(x));
        Launch::new(&shaders::LAYER_NORM_BACKWARD)
            .buffers([x, weight, grad, &dx, &terms])
            .numbers([rows, width / 4])
            .scales([self.eps])
            .list(rows);
        [Some(dx), Some(sum_rows(&terms)), Some(sum_rows(grad))]
    }
}
