//! What `tests/web/kernels.test.js` calls.

use burn::tensor::Device;
use wasm_bindgen::prelude::*;

unsafe extern "C" {
    /// Runs what registers itself before `main` (cubecl's kernels do).
    fn __wasm_call_ctors();
}

/// Runs once, when the module is loaded.
#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
    // SAFETY: the linker's own function; this is the only call. See `unigen-web`.
    unsafe { __wasm_call_ctors() };
}

/// All [`Comparison`](crate::Comparison)s on the browser's WebGPU device, which may be opened once a page.
#[wasm_bindgen]
pub async fn compare() -> Result<JsValue, JsError> {
    let device = Device::wgpu_options().init_async().await?;
    Ok(serde_wasm_bindgen::to_value(&crate::compare(&device).await)?)
}
