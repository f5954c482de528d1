//! Activations and the rotary embedding.

use super::launch::{Buffer, Launch};
use super::rows::like;
use super::shader_op::{Inputs, ShaderOp};
use burn::tensor::Tensor;
use unigen_shaders as shaders;

/// See [`crate::ops::gelu_tanh`]; the number of values is a multiple of 4.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    [x.into_dispatch()].apply(GeluTanh)
}

/// See [`crate::ops::gelu_tanh`]; the number of values is a multiple of 4.
#[derive(Debug)]
struct GeluTanh;

impl ShaderOp<1> for GeluTanh {
    fn forward(&self, [x]: &[Buffer; 1]) -> Buffer {
        let (y, quads) = (like(x), x.shape().iter().product::<usize>() / 4);
        Launch::new(&shaders::GELU_TANH).buffers([x, &y]).numbers([quads]).list(quads);
        y
    }

    fn cheap(&self) -> bool {
        true
    }

    fn backward(&self, [x]: &[Buffer; 1], grad: &Buffer, _: [bool; 1]) -> [Option<Buffer>; 1] {
        let (dx, quads) = (like(x), x.shape().iter().product::<usize>() / 4);
        Launch::new(&shaders::GELU_TANH_BACKWARD).buffers([x, grad, &dx]).numbers([quads]).list(quads);
        [Some(dx)]
    }
}

/// See [`crate::ops::swiglu`]; the number of values is a multiple of 4.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    [gate.into_dispatch(), up.into_dispatch()].apply(SwiGlu)
}

/// See [`crate::ops::swiglu`]; inputs `gate`, `up`. The number of values is a multiple of 4.
#[derive(Debug)]
struct SwiGlu;

impl ShaderOp<2> for SwiGlu {
    fn forward(&self, [gate, up]: &[Buffer; 2]) -> Buffer {
        let (y, quads) = (like(gate), gate.shape().iter().product::<usize>() / 4);
        Launch::new(&shaders::SWIGLU).buffers([gate, up, &y]).numbers([quads]).list(quads);
        y
    }

    fn cheap(&self) -> bool {
        true
    }

    fn backward(&self, [gate, up]: &[Buffer; 2], grad: &Buffer, _: [bool; 2]) -> [Option<Buffer>; 2] {
        let (dgate, dup, quads) = (like(gate), like(up), gate.shape().iter().product::<usize>() / 4);
        Launch::new(&shaders::SWIGLU_BACKWARD)
            .buffers([gate, up, grad, &dgate, &dup])
            .numbers([quads])
            .list(quads);
        [Some(dgate), Some(dup)]
    }
}

/// See [`crate::ops::rope`]; the width of a head is a multiple of 8.
pub fn rope(x: Tensor<3>, cos: Tensor<2>, sin: Tensor<2>) -> Tensor<3> {
    [x.into_dispatch(), cos.into_dispatch(), sin.into_dispatch()].apply(Rope)
}

/// See [`crate::ops::rope`]; inputs `x`, `cos`, `sin`, of which the tables get no gradient. The width of a head is a
/// multiple of 8.
#[derive(Debug)]
struct Rope;

impl Rope {
    /// Turned by the angles, or back again.
    fn turn(x: &Buffer, cos: &Buffer, sin: &Buffer, direction: f32) -> Buffer {
        let (y, heads) = (like(x), x.shape()[1]);
        let quads = x.shape()[2] / 8;
        let invocations = x.shape()[0] * heads * quads;
        Launch::new(&shaders::ROPE)
            .buffers([x, cos, sin, &y])
            .numbers([invocations, heads, quads])
            .scales([direction])
            .list(invocations);
        y
    }
}

impl ShaderOp<3> for Rope {
    fn forward(&self, [x, cos, sin]: &[Buffer; 3]) -> Buffer {
        Self::turn(x, cos, sin, 1.0)
    }

    fn backward(&self, [_, cos, sin]: &[Buffer; 3], grad: &Buffer, _: [bool; 3]) -> [Option<Buffer>; 3] {
        [Some(Self::turn(grad, cos, sin, -1.0)), None, None]
    }
}
