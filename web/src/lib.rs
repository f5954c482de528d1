//! The engine in the browser: a worker that draws, edits and describes on WebGPU or on the processor, and the messages
//! that a page drives it with. What a browser alone can do (the network, storage, WebGPU's adapter) the worker gets from
//! its host, `npm/src/host.js`.

pub mod previews;
pub mod protocol;

#[cfg(target_family = "wasm")]
mod device;
#[cfg(target_family = "wasm")]
mod host;
#[cfg(target_family = "wasm")]
mod picture;
#[cfg(target_family = "wasm")]
mod worker;

#[cfg(target_family = "wasm")]
pub use worker::Worker;

#[cfg(target_family = "wasm")]
unsafe extern "C" {
    /// Runs what registers itself before `main` (cubecl's kernels do).
    fn __wasm_call_ctors();
}

/// Runs once, when the module is loaded.
#[cfg(target_family = "wasm")]
#[wasm_bindgen::prelude::wasm_bindgen(start)]
fn start() {
    // SAFETY: the linker's own function; this is the only call. A module without one runs it at every call from
    // JavaScript, which takes ten times as long as all else.
    unsafe { __wasm_call_ctors() };
}
