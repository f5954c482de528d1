//! Gradients of fused operations and shaders: records one on burn's tape and calls its backward pass.

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{
        base::Checkpointer, retro_forward::RetroForward, state::BackwardStates, strategy::CheckpointStrategy,
    },
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Backend, tensor::FloatTensor};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

/// A function of `N` tensors of one device, with its gradients.
trait Differentiable<B: Backend, const N: usize>: Clone + Debug + Send + Sync + 'static {
    fn run(&self, inputs: [FloatTensor<B>; N]) -> FloatTensor<B>;

    /// Whether gradient checkpointing runs the operation again instead of keeping its result.
    fn cheap(&self) -> bool;

    /// The gradients of the inputs, given the gradient of the result. Only those `wanted` are used.
    fn differentiate(
        &self,
        inputs: [FloatTensor<B>; N],
        grad: FloatTensor<B>,
        wanted: [bool; N],
    ) -> [Option<FloatTensor<B>>; N];
}

fn record<B: Backend, C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<B>>; N],
    op: impl Differentiable<B, N>,
) -> FloatTensor<Autodiff<B>> {
    let guards = inputs.each_ref().map(|input| input.node());
    let prep = Recorded(PhantomData).prepare::<C>(guards);
    let prep = if op.cheap() {
        let nodes = inputs.each_ref().map(|input| input.node().id());
        prep.memory_bound().retro_forward(Again(op.clone(), nodes, PhantomData)).parents(&inputs)
    } else {
        prep.compute_bound()
    };
    match prep.stateful() {
        OpsKind::Tracked(mut prep) => {
            let nodes = inputs.each_ref().map(|input| prep.checkpoint(input));
            let output = op.run(inputs.map(|input| input.into_primitive()));
            prep.finish((op, nodes), output)
        }
        OpsKind::UnTracked(prep) => prep.finish(op.run(inputs.map(|input| input.into_primitive()))),
    }
}

/// Runs an operation again on its inputs, which the backward pass has at hand.
#[derive(Debug)]
struct Again<K, B, const N: usize>(K, [NodeId; N], PhantomData<B>);

impl<B: Backend, K: Differentiable<B, N>, const N: usize> RetroForward for Again<K, B, N> {
    fn forward(&self, states: &mut BackwardStates, output: NodeId) {
        let inputs = self.1.map(|node| states.get_state::<FloatTensor<B>>(&node));
        states.save(output, self.0.run(inputs));
    }
}

/// The backward step of any operation.
#[derive(Debug)]
struct Recorded<K>(PhantomData<K>);

impl<B: Backend, K: Differentiable<B, N>, const N: usize> Backward<B, N> for Recorded<K> {
    type State = (K, [NodeId; N]);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (op, nodes) = ops.state;
        let inputs = nodes.map(|node| checkpointer.retrieve_node_output(node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let results = op.differentiate(inputs, grad, wanted);
        for (parent, result) in ops.parents.into_iter().zip(results) {
            if let (Some(parent), Some(result)) = (parent, result) {
                grads.register::<B>(parent.id, result);
            }
        }
    }
}

/// Gradients for the operations of one device.
macro_rules! differentiable {
    ($backend:ty, $ops:path, $op:ident, $run:path, $differentiate:path) => {
        impl<const N: usize> Differentiable<$backend, N> for Arc<dyn $op<N>> {
            fn run(&self, inputs: [FloatTensor<$backend>; N]) -> FloatTensor<$backend> {
                $run(inputs, &**self)
            }

            fn cheap(&self) -> bool {
                (**self).cheap()
            }

            fn differentiate(
                &self,
                inputs: [FloatTensor<$backend>; N],
                grad: FloatTensor<$backend>,
                wanted: [bool; N],
            ) -> [Option<FloatTensor<$backend>>; N] {
                $differentiate(inputs, grad, wanted, &**self)
            }
        }

        impl<C: CheckpointStrategy> $ops for Autodiff<$backend, C> {
            fn run1(a: FloatTensor<Self>, op: Arc<dyn $op<1>>) -> FloatTensor<Self> {
                record::<$backend, C, 1>([a], op)
            }

            fn run2(a: FloatTensor<Self>, b: FloatTensor<Self>, op: Arc<dyn $op<2>>) -> FloatTensor<Self> {
                record::<$backend, C, 2>([a, b], op)
            }

            fn run3(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                c: FloatTensor<Self>,
                op: Arc<dyn $op<3>>,
            ) -> FloatTensor<Self> {
                record::<$backend, C, 3>([a, b, c], op)
            }
        }
    };
}

#[cfg(feature = "cpu")]
mod cpu {
    use super::*;
    use crate::ops::fused::{self, FusedOp, FusedOps};
    use burn::backend::Flex;

    differentiable!(Flex, FusedOps, FusedOp, fused::run, fused::differentiate);
}

#[cfg(feature = "wgpu")]
mod gpu {
    use super::*;
    use crate::ops::gpu::shader_op::{self, ShaderOp, ShaderOps};
    use burn_cubecl::Cube;

    differentiable!(Cube, ShaderOps, ShaderOp, shader_op::run, shader_op::differentiate);
}
