//! The engine in the browser: a worker that draws, edits and describes on WebGPU or on the processor, and the messages
//! that a page drives it with. What a browser alone can do (the network, storage, WebGPU's adapter) the worker gets from
//! its host, `npm/src/host.js`.

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
