//! Where to compute.

use anyhow::{Result, ensure};
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

    /// `count` devices to train on together: GPUs of this machine, or the processor so many times.
    ///
    /// # Errors
    /// Where the machine has fewer GPUs.
    pub fn devices(self, count: usize) -> Result<Vec<Device>> {
        ensure!(count > 0, "0 devices cannot train; ask for 1 at least");
        let first = self.device();
        if count == 1 || first == Device::flex() {
            return Ok(vec![first; count]);
        }
        let found = Device::enumerate_physical();
        ensure!(found.len() >= count, "there are {} GPUs, not {count}", found.len());
        Ok(found.iter().take(count).filter_map(|gpu| gpu.devices.first().cloned()).collect())
    }
}
