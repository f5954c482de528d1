//! Which tensors shaders compute with.

use super::launch::dense;
use burn::backend::{CubeDevice, DispatchDevice};
use burn::tensor::{DType, Device, Tensor};
use cubecl::ir::DeviceIdentity;

/// Whether shaders run on `device`: a wgpu device without gradients.
pub fn runs_on(device: &Device) -> bool {
    #[allow(irrefutable_let_patterns, reason = "the only device of some builds")]
    return matches!(device.as_dispatch(), DispatchDevice::Cube(CubeDevice::Wgpu(_)));
}

/// Whether shaders take `x`: it lies where they run, in `f32`, and is not empty.
pub fn on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    runs_on(&x.device().without_autodiff())
        && x.dtype() == DType::F32
        && x.dims().iter().all(|&side| side > 0)
}

/// Whether shaders without a backward pass take `x`.
pub fn plain_on_gpu<const D: usize>(x: &Tensor<D>) -> bool {
    runs_on(&x.device()) && on_gpu(x)
}

/// The most bytes that the device of `x` binds at once.
pub fn largest_binding<const D: usize>(x: &Tensor<D>) -> usize {
    // Not all of `x`, which may have gaps that are closed by copying it.
    dense(x.clone().slice([0..1])).largest_binding()
}

/// Whether `device` is a graphics card that a native driver runs.
pub fn is_card(device: &Device) -> bool {
    device.as_dispatch().identity().is_some_and(|identity| has_native_driver(&identity))
}

/// Whether a native driver runs the adapter: it knows the maker, or where in the machine the card is. WebGPU hides both from
/// pages for every adapter, and a software adapter is no card at all.
fn has_native_driver(identity: &DeviceIdentity) -> bool {
    identity.physical.as_ref().is_some_and(|card| {
        card.vendor.is_some()
            || card.pci_address.is_some()
            || card.luid.is_some()
            || card.registry_entry_id.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cubecl::ir::{AdapterLuid, PciVendor, PhysicalDevice, RegistryEntryId};

    #[test]
    fn only_adapters_of_native_drivers_are_cards() {
        let card = |fill: fn(&mut PhysicalDevice)| {
            let mut physical = PhysicalDevice::default();
            fill(&mut physical);
            Some(physical)
        };
        for (name, physical, wanted) in [
            (
                "discrete, Vulkan",
                card(|card| {
                    card.vendor = Some(PciVendor::Nvidia);
                    card.pci_address = "0000:01:00.0".parse().ok();
                }),
                true,
            ),
            ("discrete, Vulkan without the bus", card(|card| card.vendor = Some(PciVendor::Amd)), true),
            ("integrated, Vulkan", card(|card| card.vendor = Some(PciVendor::Intel)), true),
            ("phone, Vulkan", card(|card| card.vendor = Some(PciVendor::Qualcomm)), true),
            (
                "integrated, Metal, which names no maker",
                card(|card| card.registry_entry_id = Some(RegistryEntryId::new(7))),
                true,
            ),
            ("discrete, DX12", card(|card| card.luid = Some(AdapterLuid::new([1; 8]))), true),
            ("discrete, web with shader-f16", card(|_| {}), false),
            ("discrete, web without shader-f16", card(|_| {}), false),
            ("integrated, web", card(|_| {}), false),
            ("software, web", None, false),
            ("software, Vulkan", None, false),
        ] {
            let identity = DeviceIdentity { name: name.into(), fingerprint: "spirv_0_0".into(), physical };
            assert_eq!(has_native_driver(&identity), wanted, "{name}");
        }
    }
}
