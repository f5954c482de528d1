//! The device and precision to compute with, and reading results from the device.

use anyhow::{Context, Result, anyhow, ensure};
use burn::tensor::{DType, Device, DeviceKind, DeviceType, Tensor, TensorData};
use clap::ValueEnum;
use unigen_core::precision::MatmulPrecision;

/// A device, and the precision of the models on it.
#[derive(Clone, Debug)]
pub struct Compute {
    pub device: Device,
    /// See [`WithPrecision`](unigen_core::precision::WithPrecision).
    pub precision: MatmulPrecision,
}

impl Compute {
    /// The same on the device without autodiff.
    pub fn without_autodiff(&self) -> Self {
        Self { device: self.device.clone().without_autodiff(), ..*self }
    }
}

/// In `f32`.
impl From<Device> for Compute {
    fn from(device: Device) -> Self {
        Self { device, precision: MatmulPrecision::F32 }
    }
}

/// A kind of device, as the command line names it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DeviceChoice {
    /// The processor
    Cpu,
    /// A GPU through Vulkan, Metal or DX12
    Wgpu,
    /// A hardware GPU if there is one, otherwise the processor
    Auto,
}

impl DeviceChoice {
    /// Opens the device. A discrete GPU is preferred over an integrated one, and both over a software driver, which
    /// `Auto` does not take.
    ///
    /// # Errors
    /// If a GPU is asked for and no driver offers one.
    pub fn open(self) -> Result<Device> {
        if let DeviceChoice::Cpu = self {
            return Ok(Device::flex());
        }
        let found = Device::enumerate(DeviceType::Wgpu);
        let kinds = [DeviceKind::DiscreteGpu(0), DeviceKind::IntegratedGpu(0), DeviceKind::VirtualGpu(0)];
        let known = kinds.map(Device::wgpu).into_iter().find(|gpu| found.contains(gpu));
        let software = Device::wgpu(DeviceKind::Cpu);
        let gpu = known.or_else(|| found.iter().find(|adapter| **adapter != software).cloned());
        match self {
            DeviceChoice::Auto => Ok(gpu.unwrap_or_else(Device::flex)),
            _ => gpu.or_else(|| found.first().cloned()).context(
                "no GPU was found through Vulkan, Metal, DX12 or OpenGL: install the driver of your GPU, or a software \
                 driver (on Debian and Ubuntu mesa-vulkan-drivers), or use --device cpu",
            ),
        }
    }

    /// Opens `count` devices to train on together: GPUs of this machine, or the processor `count` times.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open); if the machine has fewer GPUs.
    pub fn devices(self, count: usize) -> Result<Vec<Device>> {
        ensure!(count > 0, "--devices is 0; choose 1 at least");
        let first = self.open()?;
        if count == 1 || first == Device::flex() {
            return Ok(vec![first; count]);
        }
        let found = Device::enumerate_physical();
        ensure!(found.len() >= count, "this machine has {} GPUs, not {count}; lower --devices", found.len());
        Ok(found.iter().take(count).filter_map(|gpu| gpu.devices.first().cloned()).collect())
    }
}

/// The values of `tensor`, row-major. Waits for the device.
///
/// # Errors
/// If the device fails.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    values(tensor.try_into_data().map_err(|error| anyhow!("cannot read a tensor: {error}"))?)
}

/// The values of data that was read from a device, as `f32`.
///
/// # Errors
/// If they are not numbers.
pub fn values(data: TensorData) -> Result<Vec<f32>> {
    data.convert_dtype(DType::F32).try_into_vec().map_err(|error| anyhow!("cannot read a tensor: {error}"))
}
