//! Gradients of fused kernels: records a [`Kernel`] on burn's tape and calls its backward pass.

use super::extension::{CpuTensor, Kernel, KernelOps, differentiate, run};
use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::{Autodiff, Flex, tensor::FloatTensor};
use std::sync::Arc;

impl<C: CheckpointStrategy> KernelOps for Autodiff<Flex, C> {
    fn run1(a: FloatTensor<Self>, kernel: Arc<dyn Kernel<1>>) -> FloatTensor<Self> {
        record::<C, 1>([a], kernel)
    }

    fn run2(a: FloatTensor<Self>, b: FloatTensor<Self>, kernel: Arc<dyn Kernel<2>>) -> FloatTensor<Self> {
        record::<C, 2>([a, b], kernel)
    }

    fn run3(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        kernel: Arc<dyn Kernel<3>>,
    ) -> FloatTensor<Self> {
        record::<C, 3>([a, b, c], kernel)
    }
}

fn record<C: CheckpointStrategy, const N: usize>(
    inputs: [FloatTensor<Autodiff<Flex>>; N],
    kernel: Arc<dyn Kernel<N>>,
) -> FloatTensor<Autodiff<Flex>> {
    let guards = inputs.each_ref().map(|input| input.node());
    match Recorded.prepare::<C>(guards).compute_bound().stateful() {
        OpsKind::Tracked(mut prep) => {
            let nodes = inputs.each_ref().map(|input| prep.checkpoint(input));
            let output = run(inputs.map(|input| input.into_primitive()), &*kernel);
            prep.finish((kernel, nodes), output)
        }
        OpsKind::UnTracked(prep) => prep.finish(run(inputs.map(|input| input.into_primitive()), &*kernel)),
    }
}

/// The backward step of any kernel.
#[derive(Debug)]
struct Recorded;

impl<const N: usize> Backward<Flex, N> for Recorded {
    type State = (Arc<dyn Kernel<N>>, [NodeId; N]);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node);
        let (kernel, nodes) = ops.state;
        let inputs: [CpuTensor; N] = nodes.map(|node| checkpointer.retrieve_node_output(node));
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let results = differentiate(inputs, grad, wanted, &*kernel);
        for (parent, result) in ops.parents.into_iter().zip(results) {
            if let (Some(parent), Some(result)) = (parent, result) {
                grads.register::<Flex>(parent.id, result);
            }
        }
    }
}
