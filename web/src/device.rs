//! Which device computes, and why.

use crate::host::{self, Host};
use crate::protocol::{Adapter, Backend, Failure};
use burn::tensor::{Device, Tensor};

/// Side of the square matrices whose product is timed on a software adapter and on the processor.
const SIDE: usize = 256;

/// A choice of device.
#[derive(Clone, Debug)]
pub struct Choice {
    /// WebGPU or the processor.
    pub backend: Backend,
    /// Why, in a sentence.
    pub reason: String,
    /// The adapter that was found.
    pub adapter: Option<Adapter>,
}

impl Choice {
    /// WebGPU where it is wanted or the faster of the two, else the processor.
    ///
    /// # Errors
    /// `unsupported` where WebGPU is demanded and there is none.
    pub fn new(wanted: Backend, adapter: Option<Adapter>) -> Result<Self, Failure> {
        let (backend, reason) = choose(wanted, adapter.as_ref())?;
        Ok(Self { backend, reason, adapter })
    }
}

/// The WebGPU adapter, where there is one; a software one is timed against the processor.
pub async fn adapter(host: &Host) -> Result<Option<Adapter>, Failure> {
    let mut adapter: Option<Adapter> = match cfg!(feature = "webgpu") {
        true => host::read(host.adapter(SIDE as u32)).await?,
        false => None,
    };
    if let Some(adapter) = &mut adapter {
        adapter.cpu_ms = adapter.gpu_ms.map(|_| processor_ms(host));
    }
    Ok(adapter)
}

fn choose(wanted: Backend, adapter: Option<&Adapter>) -> Result<(Backend, String), Failure> {
    let none = if cfg!(feature = "webgpu") {
        "This browser offers no WebGPU adapter"
    } else {
        "This engine was built without WebGPU"
    };
    let cpu = |reason: String| Ok((Backend::Cpu, reason));
    let gpu = |reason: String| Ok((Backend::WebGpu, reason));
    match (wanted, adapter) {
        (Backend::Cpu, _) => cpu("The processor was asked for.".into()),
        (Backend::WebGpu, None) => {
            let hint = "Use a browser with WebGPU, or ask for the backend 'auto' or 'cpu'.";
            Err(Failure::new("unsupported", format!("{none}."), hint))
        }
        (Backend::WebGpu, Some(_)) => gpu("WebGPU was asked for.".into()),
        (Backend::Auto, None) => cpu(format!("{none}, so the processor computes.")),
        (Backend::Auto, Some(Adapter { gpu_ms: Some(gpu_ms), cpu_ms: Some(cpu_ms), .. })) => {
            let times =
                format!("a short product took {gpu_ms:.0} ms on it and {cpu_ms:.0} ms on the processor");
            if gpu_ms < cpu_ms {
                gpu(format!("The WebGPU adapter is a software one, but the faster: {times}."))
            } else {
                cpu(format!("The WebGPU adapter is a software one and the slower: {times}."))
            }
        }
        (Backend::Auto, Some(_)) => gpu("This browser offers a GPU.".into()),
    }
}

/// Milliseconds of a product of two matrices of [`SIDE`] on the processor, the second time.
fn processor_ms(host: &Host) -> f64 {
    let matrix = Tensor::<2>::ones([SIDE, SIDE], &Device::flex());
    let mut start = 0.0;
    for _ in 0..2 {
        start = host.now();
        drop(matrix.clone().matmul(matrix.clone()).into_data());
    }
    host.now() - start
}

/// The device of WebGPU; may be opened once a worker. Its loss is told to the page.
#[cfg(feature = "webgpu")]
pub async fn open_gpu() -> Result<Device, Failure> {
    let opened = Device::wgpu_options().init_with_setup_async().await;
    let (device, setup) = opened.map_err(|e| {
        let hint = "Reload the page, or ask for the backend 'cpu'.";
        Failure::new("device", format!("WebGPU cannot be opened: {e}"), hint)
    })?;
    setup.device.set_device_lost_callback(|_, reason| {
        host::post(0, crate::protocol::Event::DeviceLost { reason });
    });
    Ok(device)
}

#[cfg(not(feature = "webgpu"))]
pub async fn open_gpu() -> Result<Device, Failure> {
    let hint = "Ask for the backend 'auto' or 'cpu'.";
    Err(Failure::new("unsupported", "This engine was built without WebGPU.", hint))
}
