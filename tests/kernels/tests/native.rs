//! On whatever adapter there is: a software one will do.

use burn::tensor::{Device, DeviceKind};
use std::collections::BTreeSet;
use unigen_kernel_tests::compare;

#[test]
fn every_kernel_is_its_twin() {
    let done = pollster::block_on(compare(&Device::wgpu(DeviceKind::DefaultDevice)));
    let failed: Vec<_> = done.iter().filter(|comparison| !comparison.ok()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    let compared: BTreeSet<_> = done.iter().flat_map(|comparison| &comparison.kernels).copied().collect();
    let kernels: BTreeSet<_> = unigen_shaders::all().map(|shader| shader.name).collect();
    assert_eq!(compared, kernels);
}
