//! The way from the kernels of a device to burn, which is the same for all devices.

/// In a module with a `Kernel` trait and a function `run`, which runs one on tensors of `$backend`: a backend extension for
/// kernels of one, two and three inputs, and [`apply`](Inputs::apply), which calls it.
macro_rules! kernel_ops {
    ($backend:ident) => {
        /// Kernels by their number of inputs.
        #[backend_extension($backend, Autodiff: cfg(feature = "train"))]
        pub trait KernelOps: Backend {
            /// Runs a kernel of one input.
            fn run1(a: FloatTensor<Self>, kernel: Arc<dyn Kernel<1>>) -> FloatTensor<Self>;
            /// Runs a kernel of two inputs.
            fn run2(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                kernel: Arc<dyn Kernel<2>>,
            ) -> FloatTensor<Self>;
            /// Runs a kernel of three inputs.
            fn run3(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                c: FloatTensor<Self>,
                kernel: Arc<dyn Kernel<3>>,
            ) -> FloatTensor<Self>;
        }

        impl KernelOps for $backend {
            fn run1(a: FloatTensor<Self>, kernel: Arc<dyn Kernel<1>>) -> FloatTensor<Self> {
                run([a], &*kernel)
            }

            fn run2(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                kernel: Arc<dyn Kernel<2>>,
            ) -> FloatTensor<Self> {
                run([a, b], &*kernel)
            }

            fn run3(
                a: FloatTensor<Self>,
                b: FloatTensor<Self>,
                c: FloatTensor<Self>,
                kernel: Arc<dyn Kernel<3>>,
            ) -> FloatTensor<Self> {
                run([a, b, c], &*kernel)
            }
        }

        /// Something that [`Dispatch`] runs: a kernel with its inputs.
        pub trait Inputs<const N: usize> {
            /// The result, as a tensor of `D` dimensions.
            fn apply<const D: usize>(self, kernel: impl Kernel<N>) -> Tensor<D>;
        }

        impl Inputs<1> for [DispatchTensor; 1] {
            fn apply<const D: usize>(self, kernel: impl Kernel<1>) -> Tensor<D> {
                let [a] = self;
                Tensor::from_dispatch(<Dispatch as KernelOps>::run1(a, Arc::new(kernel)))
            }
        }

        impl Inputs<2> for [DispatchTensor; 2] {
            fn apply<const D: usize>(self, kernel: impl Kernel<2>) -> Tensor<D> {
                let [a, b] = self;
                Tensor::from_dispatch(<Dispatch as KernelOps>::run2(a, b, Arc::new(kernel)))
            }
        }

        impl Inputs<3> for [DispatchTensor; 3] {
            fn apply<const D: usize>(self, kernel: impl Kernel<3>) -> Tensor<D> {
                let [a, b, c] = self;
                Tensor::from_dispatch(<Dispatch as KernelOps>::run3(a, b, c, Arc::new(kernel)))
            }
        }
    };
}

pub(crate) use kernel_ops;
