//! From tensors on a device to numbers here.

use crate::error::{Error, ErrorKind, Result};
use burn::tensor::{Int, Tensor};
use std::fmt::Display;

/// `[images, codes]` → one vector per image.
pub(super) async fn read_codes<T>(codes: Tensor<2, Int>, convert: impl Fn(i32) -> T) -> Result<Vec<Vec<T>>> {
    let length = codes.dims()[1].max(1);
    let data = codes.into_data_async().await.map_err(|e| unreadable("image codes", e))?;
    let values = data.convert::<i32>().try_to_vec::<i32>().map_err(|e| unreadable("image codes", e))?;
    Ok(values.chunks(length).map(|image| image.iter().map(|&code| convert(code)).collect()).collect())
}

/// `[rows, classes]` → all values, row after row.
pub(super) async fn read_logits(logits: Tensor<2>) -> Result<Vec<f32>> {
    let data = logits.into_data_async().await.map_err(|e| unreadable("logits", e))?;
    data.try_to_vec().map_err(|e| unreadable("logits", e))
}

fn unreadable(place: &str, error: impl Display) -> Error {
    Error::new(ErrorKind::Device, place, format!("cannot be read from the device: {error}"))
        .fix("start again; on a GPU, update its driver or use the CPU")
}
