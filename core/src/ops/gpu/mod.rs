//! Operations of the GPU device: the shaders of `unigen-shaders`, launched through burn's wgpu runtime. Those of the
//! decoder have gradients; for the others, tensors of a device with gradients take the portable operations.

mod attention;
mod conv;
mod count;
mod device;
mod launch;
mod linear;
mod norm;
mod pointwise;
mod products;
mod rows;
mod sample;
mod select;
pub mod shader_op;
mod stored;

pub use attention::attention;
pub use conv::{conv2d, takes_conv2d};
pub use count::{Launches, take_launches};
pub use device::{largest_binding, on_gpu, plain_on_gpu, runs_on};
pub use linear::{linear, stored_linear};
pub use norm::{layer_norm, rms_norm};
pub use pointwise::{gelu_tanh, rope, swiglu};
pub use sample::{sample_draw, sample_keep};
pub use select::{embed, select_rows};
pub use stored::{embed_stored, takes_stored};
