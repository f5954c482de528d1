//! The weight of a linear layer or a token table as a parameter: in values, or in blocks as a file has them.

use crate::ops::{self, Weight};
use crate::quantized::BlockFormat;
use burn::module::{
    Content, Devices, Flag, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor, Param,
    ParamId,
};
use burn::tensor::{DType, Device, FloatDType, Int, Tensor, TensorData};

/// A matrix `[outputs, inputs]` as it is stored. Values can be trained; blocks are frozen, and so are parts.
#[derive(Clone, Debug)]
pub enum WeightParam {
    /// `f32`, `f16` or `bf16`.
    Values(Param<Tensor<2>>),
    /// Quantised along the rows.
    Blocks {
        /// `[outputs, bytes of a row]`, `U8`
        bytes: Param<Tensor<2, Int>>,
        /// How the blocks are packed.
        format: BlockFormat,
    },
    /// Some outputs after others, where the device binds no larger tensor.
    Parts(Vec<WeightParam>),
}

impl WeightParam {
    /// A parameter drawn from a normal distribution with standard deviation `std`, in parts of at most so many `rows`.
    pub fn in_parts([outputs, inputs]: [usize; 2], std: f64, device: &Device, rows: usize) -> Self {
        let part = |start: usize| super::normal([rows.min(outputs - start), inputs], std, device).into();
        Self::Parts((0..outputs).step_by(rows.max(1)).map(part).collect())
    }

    /// The matrix, to multiply by.
    pub fn val(&self) -> Weight {
        match self {
            Self::Values(values) => values.val().into(),
            Self::Blocks { bytes, format } => Weight::blocks(bytes.val(), *format),
            Self::Parts(parts) => Weight::parts(parts.iter().map(Self::val).collect()),
        }
    }

    /// The values in `f32`: a whole copy of whatever is stored otherwise.
    pub fn values(&self) -> Tensor<2> {
        self.val().values()
    }

    /// `[outputs, inputs]`
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Values(values) => values.lazy_shape().dims(),
            Self::Blocks { bytes, format } => {
                let [outputs, row] = bytes.lazy_shape().dims();
                [outputs, row / format.block_bytes() * format.block_values()]
            }
            Self::Parts(parts) => {
                let inputs = parts.first().map_or(0, |part| part.dims()[1]);
                [parts.iter().map(|part| part.dims()[0]).sum(), inputs]
            }
        }
    }

    /// Where it is.
    pub fn device(&self) -> Device {
        match self {
            Self::Values(values) => values.lazy_device(),
            Self::Blocks { bytes, .. } => bytes.lazy_device(),
            Self::Parts(parts) => parts[0].device(),
        }
    }

    /// The same weight with its values changed. What is not in `f32`, blocks among it, becomes `f16`: one that was rounded to
    /// blocks again would lose most of a small change.
    pub fn map_values(self, change: impl FnOnce(Tensor<2>) -> Tensor<2>) -> Self {
        match self {
            Self::Values(values) => Self::Values(values.map(|values| match values.dtype() {
                DType::F32 => change(values),
                _ => change(Weight::from(values).values()).cast(FloatDType::F16),
            })),
            frozen => {
                let values = change(frozen.values()).cast(FloatDType::F16);
                Self::Values(Param::from_tensor(values).no_grad())
            }
        }
    }

    /// A place for the blocks of `format`, where the device multiplies them and rows are whole blocks.
    fn place(values: &Param<Tensor<2>>, format: BlockFormat) -> Option<Self> {
        let ([outputs, inputs], device) = (values.lazy_shape().dims(), values.lazy_device());
        if !ops::multiplies_blocks(format, [outputs, inputs], &device) {
            return None;
        }
        let shape = [outputs, format.row_bytes(inputs)?];
        let zeros = move |device: &Device, _| {
            Tensor::from_data(TensorData::zeros::<u8, _>(shape), (device, DType::U8))
        };
        let bytes = Param::uninitialized(values.id, zeros, device, false, shape.into());
        Some(Self::Blocks { bytes, format })
    }
}

impl From<Param<Tensor<2>>> for WeightParam {
    fn from(values: Param<Tensor<2>>) -> Self {
        Self::Values(values)
    }
}

/// A parameter drawn from a normal distribution with standard deviation `std`.
pub(super) fn normal(shape: [usize; 2], std: f64, device: &Device) -> WeightParam {
    match ops::rows_at_once(shape, device) {
        Some(rows) => WeightParam::in_parts(shape, std, device, rows),
        None => super::normal(shape, std, device).into(),
    }
}

/// Identity of the flag by which a weight without values asks a mapper for the format that it has for it, and identities of
/// the answers, one a format. Mappers that have none return the flag as it is.
const ASKED: u64 = u64::MAX - 2;
const ANSWERS: u64 = u64::MAX - 64;

/// The format in which `mapper` has the weight whose place in the module it stands at.
fn ask(mapper: &mut impl ModuleMapper) -> Option<BlockFormat> {
    let answer = mapper.map_flag(Param::initialized(ParamId::from(ASKED), Flag::new(false))).id;
    let formats = BlockFormat::ALL.into_iter().zip(ANSWERS..);
    formats.into_iter().find_map(|(format, id)| (answer == ParamId::from(id)).then_some(format))
}

/// What a mapper that has a weight in `format` gives back for the flag by which it is asked; other flags stay.
pub(crate) fn answer(flag: Param<Flag>, format: impl FnOnce() -> Option<BlockFormat>) -> Param<Flag> {
    if flag.id != ParamId::from(ASKED) {
        return flag;
    }
    let id =
        format().and_then(|format| BlockFormat::ALL.into_iter().zip(ANSWERS..).find(|(f, _)| *f == format));
    match id {
        Some((_, id)) => Param::initialized(ParamId::from(id), flag.val()),
        None => flag,
    }
}

/// Runs `$body` on each parameter that there is, and puts the result in its place.
macro_rules! each {
    ($weight:expr, $param:ident => $body:expr) => {
        match $weight {
            Self::Values($param) => Self::Values($body),
            Self::Blocks { bytes: $param, format } => Self::Blocks { bytes: $body, format },
            Self::Parts(parts) => Self::Parts(parts.into_iter().map(|$param| $body).collect()),
        }
    };
}

/// Values appear to mappers and visitors as a parameter of floats; blocks as one of whole numbers, in a module that is named
/// after their format, as they are named in a file; each part in a module that is named after its first output.
impl Module for WeightParam {
    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        match self {
            Self::Values(values) => {
                let asked = if values.is_initialized() { None } else { ask(mapper) };
                match asked.and_then(|format| Self::place(&values, format)) {
                    Some(blocks) => Module::map(blocks, mapper),
                    None => Self::Values(Module::map(values, mapper)),
                }
            }
            Self::Blocks { bytes, format } => {
                let (name, container) = (&format.suffix()[1..], BLOCKS);
                mapper.enter_module(name, container);
                let bytes = Module::map(bytes, mapper);
                mapper.exit_module(name, container);
                Self::Blocks { bytes, format }
            }
            Self::Parts(parts) => {
                let mut first = 0;
                let parts = parts.into_iter().map(|part| {
                    let (name, outputs) = (first.to_string(), part.dims()[0]);
                    first += outputs;
                    mapper.enter_module(&name, PARTS);
                    let part = Module::map(part, mapper);
                    mapper.exit_module(&name, PARTS);
                    part
                });
                Self::Parts(parts.collect())
            }
        }
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        match self {
            Self::Values(values) => values.visit(visitor),
            Self::Blocks { bytes, format } => {
                let (name, container) = (&format.suffix()[1..], BLOCKS);
                visitor.enter_module(name, container);
                bytes.visit(visitor);
                visitor.exit_module(name, container);
            }
            Self::Parts(parts) => {
                let mut first = 0;
                for part in parts {
                    let name = first.to_string();
                    first += part.dims()[0];
                    visitor.enter_module(&name, PARTS);
                    part.visit(visitor);
                    visitor.exit_module(&name, PARTS);
                }
            }
        }
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        match self {
            Self::Values(values) => values.collect_devices(devices),
            Self::Blocks { bytes, .. } => bytes.collect_devices(devices),
            Self::Parts(parts) => parts.iter().fold(devices, |devices, part| part.collect_devices(devices)),
        }
    }

    fn fork(self, device: &Device) -> Self {
        each!(self, param => param.fork(device))
    }

    fn to_device(self, device: &Device) -> Self {
        each!(self, param => param.to_device(device))
    }

    fn train(self) -> Self {
        each!(self, param => param.train())
    }

    fn valid(&self) -> Self {
        each!(self.clone(), param => param.valid())
    }

    fn materialize(self) -> Self {
        each!(self, param => param.materialize())
    }
}

/// What mappers and visitors are told that blocks and parts are.
pub(crate) const BLOCKS: &str = "Blocks";
pub(crate) const PARTS: &str = "Parts";

/// The format of the first weight of `module` that is in blocks, if one is.
pub fn blocks_in<M: Module>(module: &M) -> Option<BlockFormat> {
    let mut found = FindBlocks(None);
    module.visit(&mut found);
    found.0
}

struct FindBlocks(Option<BlockFormat>);

impl ModuleVisitor for FindBlocks {
    fn enter_module(&mut self, name: &str, container: &str) {
        if self.0.is_none() && container == BLOCKS {
            self.0 = BlockFormat::ALL.into_iter().find(|format| format.suffix()[1..] == *name);
        }
    }
}

impl ModuleDisplayDefault for WeightParam {
    fn content(&self, content: Content) -> Option<Content> {
        match self {
            Self::Values(values) => values.content(content),
            Self::Blocks { format, .. } => content.add_formatted(&format.name()).optional(),
            Self::Parts(parts) => content.add_formatted(&format!("{} parts", parts.len())).optional(),
        }
    }
}

impl ModuleDisplay for WeightParam {}
