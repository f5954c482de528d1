//! How a device's operations reach burn, the same way for every device.

/// Defines the backend extension `$ops` that runs an `$op` of one, two or three inputs on `$backend`, and
/// [`apply`](Inputs::apply), which calls it. The module that uses the macro has a function `run(inputs, op)`.
macro_rules! backend_ops {
    ($backend:ident, $op:ident, $ops:ident) => {
        /// Operations by their number of inputs.
        #[backend_extension($backend, Autodiff: cfg(feature = "train"))]
        pub trait $ops: Backend {
            /// Runs one of one input.
            fn run1(a: FloatTensor<Self>, op: Arc<dyn $op<1>>) -> FloatTensor<Self>;
            /// Runs one of two inputs.
            fn run2(a: FloatTensor<Self>, b: FloatTensor<Self>, op: Arc<dyn $op<2>>) -> FloatTensor<Self>;
            /// Runs one of three inputs.
            fn run3(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                c: FloatTensor<Self>,
                op: Arc<dyn $op<3>>,
            ) -> FloatTensor<Self>;
        }

        impl $ops for $backend {
            fn run1(a: FloatTensor<Self>, op: Arc<dyn $op<1>>) -> FloatTensor<Self> {
                run([a], &*op)
            }

            fn run2(a: FloatTensor<Self>, b: FloatTensor<Self>, op: Arc<dyn $op<2>>) -> FloatTensor<Self> {
                run([a, b], &*op)
            }

            fn run3(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                c: FloatTensor<Self>,
                op: Arc<dyn $op<3>>,
            ) -> FloatTensor<Self> {
                run([a, b, c], &*op)
            }
        }

        /// Something that [`Dispatch`] runs: an operation with its inputs.
        pub trait Inputs<const N: usize> {
            /// The result, as a tensor of `D` dimensions.
            fn apply<const D: usize>(self, op: impl $op<N>) -> Tensor<D>;
        }

        impl Inputs<1> for [DispatchTensor; 1] {
            fn apply<const D: usize>(self, op: impl $op<1>) -> Tensor<D> {
                let [a] = self;
                Tensor::from_dispatch(<Dispatch as $ops>::run1(a, Arc::new(op)))
            }
        }

        impl Inputs<2> for [DispatchTensor; 2] {
            fn apply<const D: usize>(self, op: impl $op<2>) -> Tensor<D> {
                let [a, b] = self;
                Tensor::from_dispatch(<Dispatch as $ops>::run2(a, b, Arc::new(op)))
            }
        }

        impl Inputs<3> for [DispatchTensor; 3] {
            fn apply<const D: usize>(self, op: impl $op<3>) -> Tensor<D> {
                let [a, b, c] = self;
                Tensor::from_dispatch(<Dispatch as $ops>::run3(a, b, c, Arc::new(op)))
            }
        }
    };
}

pub(crate) use backend_ops;
