//! Gradients of kernels: records one on burn's tape and calls its backward pass.

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

/// A function of `N` tensors of a device that knows its gradients.
trait Differentiable<B: Backend, const N: usize>: Clone + Debug + Send + Sync + 'static {
    fn run(&self, inputs: [FloatTensor<B>; N]) -> FloatTensor<B>;

    /// Whether gradient checkpointing runs it again rather than keep its result.
    fn cheap(&self) -> bool;

    /// The gradients of the inputs, given that of the result; only the `wanted` ones are looked at.
    fn differentiate(
        &self,
        inputs: [FloatTensor<B>; N],
        grad: FloatTensor<B>,
        wanted: [bool; N],
    ) -> [Option<FloatTensor<B>>; N];
}

fn record<B: Backend, C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<B>>; N],
    kernel: impl Differentiable<B, N>,
) -> FloatTensor<Autodiff<B>> {
    let guards = inputs.each_ref().map(|input| input.node());
    let prep = Recorded(PhantomData).prepare::<C>(guards);
    let prep = if kernel.cheap() {
        let nodes = inputs.each_ref().map(|input| input.node().id());
        prep.memory_bound().retro_forward(Again(kernel.clone(), nodes, PhantomData)).parents(&inputs)
    } else {
        prep.compute_bound()
    };
    match prep.stateful() {
        OpsKind::Tracked(mut prep) => {
            let nodes = inputs.each_ref().map(|input| prep.checkpoint(input));
            let output = kernel.run(inputs.map(|input| input.into_primitive()));
            prep.finish((kernel, nodes), output)
        }
        OpsKind::UnTracked(prep) => prep.finish(kernel.run(inputs.map(|input| input.into_primitive()))),
    }
}

/// What runs a kernel again on its inputs, which the backward pass has at hand.
#[derive(Debug)]
struct Again<K, B, const N: usize>(K, [NodeId; N], PhantomData<B>);

impl<B: Backend, K: Differentiable<B, N>, const N: usize> RetroForward for Again<K, B, N> {
    fn forward(&self, states: &mut BackwardStates, output: NodeId) {
        let inputs = self.1.map(|node| states.get_state::<FloatTensor<B>>(&node));
        states.save(output, self.0.run(inputs));
    }
}

/// The backward step of any kernel.
#[derive(Debug)]
struct Recorded<K>(PhantomData<K>);

impl<B: Backend, K: Differentiable<B, N>, const N: usize> Backward<B, N> for Recorded<K> {
    type State = (K, [NodeId; N]);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (kernel, nodes) = ops.state;
        let inputs = nodes.map(|node| checkpointer.retrieve_node_output(node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let results = kernel.differentiate(inputs, grad, wanted);
        for (parent, result) in ops.parents.into_iter().zip(results) {
            if let (Some(parent), Some(result)) = (parent, result) {
                grads.register::<B>(parent.id, result);
            }
        }
    }
}

/// Gradients for the kernels of one device.
macro_rules! differentiable {
    ($backend:ty, $ops:path, $kernel:ident, $run:path, $differentiate:path) => {
        impl<const N: usize> Differentiable<$backend, N> for Arc<dyn $kernel<N>> {
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
            fn run1(a: FloatTensor<Self>, kernel: Arc<dyn $kernel<1>>) -> FloatTensor<Self> {
                record::<$backend, C, 1>([a], kernel)
            }

            fn run2(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                kernel: Arc<dyn $kernel<2>>,
            ) -> FloatTensor<Self> {
                record::<$backend, C, 2>([a, b], kernel)
            }

            fn run3(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                c: FloatTensor<Self>,
                kernel: Arc<dyn $kernel<3>>,
            ) -> FloatTensor<Self> {
                record::<$backend, C, 3>([a, b, c], kernel)
            }
        }
    };
}

#[cfg(feature = "cpu")]
mod cpu {
    use super::*;
    use crate::ops::extension::{self, Kernel, KernelOps};
    use burn::backend::Flex;

    differentiable!(Flex, KernelOps, Kernel, extension::run, extension::differentiate);
}

#[cfg(feature = "wgpu")]
mod gpu {
    use super::*;
    use crate::ops::gpu::extension::{self, Kernel, KernelOps};
    use burn_cubecl::Cube;

    differentiable!(Cube, KernelOps, Kernel, extension::run, extension::differentiate);
}
