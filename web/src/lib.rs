//! The engine in the browser: a worker that draws, edits and describes on WebGPU or on the processor, and the messages
//! that a page drives it with.

pub mod protocol;
