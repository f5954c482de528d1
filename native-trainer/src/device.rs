//! Where to compute.

use burn::tensor::{Device, DeviceKind};
use clap::ValueEnum;

/// A device as the command line names it.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum DeviceChoice {
    /// The processor
    Cpu,
    /// A GPU through Vulkan, Metal or DX12
    Wgpu,
    /// A real GPU where there is one, else the processor
    Auto,
}

impl DeviceChoice {
    /// The device; a GPU is asked for without looking whether there is one.
    pub fn device(self) -> Device {
        match self {
            DeviceChoice::Cpu => Device::flex(),
            DeviceChoice::Wgpu => Device::wgpu(DeviceKind::DefaultDevice),
            DeviceChoice::Auto => match Device::enumerate_physical().first() {
                Some(_) => Device::wgpu(DeviceKind::DefaultDevice),
                None => Device::flex(),
            },
        }
    }
}
