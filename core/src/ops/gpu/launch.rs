//! Runs a shader on tensors of burn's wgpu device.

use super::count;
use burn::backend::{BackendTensor, DispatchTensor, DispatchTensorKind};
use burn::tensor::{DType, Tensor, kind::Basic};
use burn_cubecl::{kernel::into_contiguous, ops::numeric::zeros_client, tensor::CubeTensor};
use cubecl::ir::{ElemType, Scope, UIntKind, metadata::Info};
use cubecl::prelude::{
    AddressType, CubeCount, CubeDim, CubeKernel, ExecutionMode, KernelDefinition, KernelId, KernelMetadata,
    KernelSettings, PrecompiledSource,
};
use cubecl::server::{KernelArguments, MetadataBindingInfo};
use unigen_shaders::{Shader, WORKGROUPS_IN_A_ROW};

/// A tensor in the form that shaders take: its values in order, without gaps.
///
/// # Panics
/// If the tensor is not on the wgpu device or has gradients.
pub fn dense<const D: usize, K: Basic>(tensor: Tensor<D, K>) -> Buffer {
    match tensor.into_dispatch().kind {
        DispatchTensorKind::Cube(BackendTensor::Float(tensor) | BackendTensor::Int(tensor)) => tensor.into(),
        other => panic!("a shader was given {other:?}"),
    }
}

/// A new tensor on the device of `beside`; the values are whatever the memory held.
pub fn tensor(beside: &Buffer, shape: &[usize], dtype: DType) -> Buffer {
    let CubeTensor { client, device, .. } = &beside.0;
    let handle = client.empty(shape.iter().product::<usize>() * dtype.size());
    Buffer(CubeTensor::new_contiguous(client.clone(), device.clone(), shape.into(), handle, dtype))
}

/// A new tensor of whole numbers, all 0.
pub fn zeros(beside: &Buffer, shape: &[usize]) -> Buffer {
    let CubeTensor { client, device, .. } = &beside.0;
    Buffer(zeros_client(client.clone(), device.clone(), shape.into(), DType::U32))
}

/// A tensor without gaps on the wgpu device.
#[derive(Clone, Debug)]
pub struct Buffer(CubeTensor);

impl Buffer {
    /// The sides of the tensor.
    pub fn shape(&self) -> &[usize] {
        self.0.meta.shape()
    }

    /// The most bytes that its device binds at once.
    pub fn largest_binding(&self) -> usize {
        usize::try_from(self.0.client.properties().memory.max_page_size).unwrap_or(usize::MAX)
    }
}

impl Buffer {
    fn bytes(&self) -> usize {
        self.shape().iter().product::<usize>() * self.0.dtype.size()
    }
}

impl From<CubeTensor> for Buffer {
    fn from(tensor: CubeTensor) -> Self {
        Self(into_contiguous(tensor))
    }
}

impl From<Buffer> for CubeTensor {
    fn from(Buffer(tensor): Buffer) -> Self {
        tensor
    }
}

impl<const D: usize, K: Basic> From<Buffer> for Tensor<D, K> {
    fn from(Buffer(tensor): Buffer) -> Self {
        let tensor = match tensor.dtype.is_float() {
            true => BackendTensor::Float(tensor),
            false => BackendTensor::Int(tensor),
        };
        let kind = DispatchTensorKind::Cube(tensor);
        Tensor::from_dispatch(DispatchTensor { kind, autodiff: Default::default() })
    }
}

/// A launch in the making.
pub struct Launch<'a> {
    shader: CompiledShader,
    buffers: Vec<&'a Buffer>,
    numbers: Vec<u32>,
}

impl<'a> Launch<'a> {
    /// A launch of `shader`.
    pub fn new(shader: &'static Shader) -> Self {
        Self {
            shader: CompiledShader { shader, constants: Vec::new() },
            buffers: Vec::new(),
            numbers: Vec::new(),
        }
    }

    /// Values for the shader's constants. The shader is compiled once for each set of values.
    pub fn constants<const N: usize>(mut self, values: [usize; N]) -> Self {
        self.shader.constants.extend(values.map(|value| value as u32));
        self
    }

    /// The bindings in order.
    pub fn buffers(mut self, buffers: impl IntoIterator<Item = &'a Buffer>) -> Self {
        self.buffers.extend(buffers);
        self
    }

    /// The next whole numbers of the uniform buffer.
    pub fn numbers<const N: usize>(mut self, values: [usize; N]) -> Self {
        self.numbers.extend(values.map(|value| value as u32));
        self
    }

    /// The next real numbers of the uniform buffer.
    pub fn scales<const N: usize>(mut self, values: [f32; N]) -> Self {
        self.numbers.extend(values.map(f32::to_bits));
        self
    }

    /// Starts one invocation for each item of a list.
    pub fn list(self, items: usize) {
        let size = self.shader.shader.workgroup[0] as usize;
        self.workgroups_list(items.div_ceil(size));
    }

    /// Starts one workgroup for each item of a list.
    pub fn workgroups_list(self, items: usize) {
        let row = WORKGROUPS_IN_A_ROW as usize;
        self.workgroups([items.min(row), items.div_ceil(row)]);
    }

    /// Starts this many workgroups in x and y.
    pub fn workgroups(self, [x, y]: [usize; 2]) {
        let Self { shader, buffers, numbers } = self;
        count::note(buffers.iter().map(|buffer| buffer.bytes()));
        let Some(client) = buffers.first().map(|buffer| &buffer.0.client) else { return };
        // A uniform buffer is a whole number of vectors of four words.
        let words = numbers.len().next_multiple_of(4);
        let word = |i: usize| u64::from(numbers.get(i).copied().unwrap_or(0));
        let packed = (0..words).step_by(2).map(|i| word(i) | word(i + 1) << 32).collect();
        let arguments = KernelArguments::new()
            .with_buffers(buffers.iter().map(|buffer| buffer.0.handle.clone().binding()).collect())
            .with_info(MetadataBindingInfo::custom(packed));
        client.launch(Box::new(shader), CubeCount::Static(x as u32, y as u32, 1), arguments);
    }
}

/// A shader in the form that burn's runtime launches.
struct CompiledShader {
    shader: &'static Shader,
    constants: Vec<u32>,
}

impl CompiledShader {
    fn dim(&self) -> CubeDim {
        let [x, y, z] = self.shader.workgroup;
        CubeDim::new_3d(x, y, z)
    }
}

impl KernelMetadata for CompiledShader {
    fn name(&self) -> &'static str {
        self.shader.name
    }

    fn id(&self) -> KernelId {
        // Unchecked: the shaders bound their loops and indices themselves.
        let id = KernelId::new::<Self>().cube_dim(self.dim().into()).mode(ExecutionMode::Unchecked);
        id.info((self.shader.name, self.constants.clone()))
    }

    fn address_type(&self) -> ElemType {
        UIntKind::U32.into()
    }
}

impl CubeKernel for CompiledShader {
    /// An empty body: [`source`](CubeKernel::source) stands in for what would be compiled from it.
    fn define(&self) -> KernelDefinition {
        let settings = KernelSettings::new(self.dim().into(), ExecutionMode::Unchecked, AddressType::U32);
        KernelDefinition { body: Scope::root(settings.clone()), settings, info: Info::default() }
    }

    fn source(&self) -> Option<PrecompiledSource> {
        let source = self.shader.source(&self.constants);
        Some(PrecompiledSource { source, entrypoint_name: "main".to_owned(), lang: "wgsl" })
    }
}
