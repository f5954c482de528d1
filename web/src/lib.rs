//! The engine in the browser: a worker that draws, edits and describes on WebGPU or on the processor, and the messages
//! that a page drives it with. What a browser alone can do (the network, storage, WebGPU's adapter) the worker gets from
//! its [`Host`](host::Host), `npm/src/host.js`.

mod device;
mod host;
mod picture;
pub mod protocol;
mod worker;

pub use worker::Worker;
