//! An image in horizontal bands, so that no tensor is larger than what a device binds at once. A picture of 512 x 512 pixels
//! has 128 MiB in 128 channels of `f32`, which is all that a plain WebGPU device binds.

use crate::ops::conv::largest_tensor;
use burn::tensor::Tensor;

/// Rows that a cut leaves in a band, if it can, so that halvings find whole rows.
const STEP: usize = 32;

/// An image `[batch, height, width, channels]` in bands of rows from top to bottom. As long as it is small enough it is one.
#[derive(Clone)]
pub struct Bands {
    bands: Vec<Tensor<4>>,
    /// The most values in a tensor.
    limit: usize,
}

impl From<Tensor<4>> for Bands {
    /// One band, which is cut where tensors would be larger than what its device takes.
    fn from(image: Tensor<4>) -> Self {
        let limit = largest_tensor(&image);
        Self::within(image, limit)
    }
}

impl Bands {
    /// One band, which is cut where tensors would have more than `limit` values.
    pub fn within(image: Tensor<4>, limit: usize) -> Self {
        Self { bands: vec![image], limit }
    }

    /// The whole image.
    pub fn join(self) -> Tensor<4> {
        match <[_; 1]>::try_from(self.bands) {
            Ok([whole]) => whole,
            Err(bands) => Tensor::cat(bands, 1),
        }
    }

    /// Each band by itself.
    pub fn map(self, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self { bands: self.bands.into_iter().map(f).collect(), limit: self.limit }
    }

    /// A 3 x 3 convolution `f` that keeps the size, or makes it `scale` times as large, with at most `channels` in and out.
    pub fn convolve(self, scale: usize, channels: usize, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        self.cut(scale, channels).with_neighbours([1, 1], |rows| rows * scale, f)
    }

    /// A 3 x 3 convolution `f` of stride 2 that pads the right and the bottom.
    pub fn halve(self, f: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        if self.bands.iter().any(|band| band.dims()[1] % 2 == 1) {
            let limit = self.limit;
            return Self { bands: vec![f(self.join())], limit };
        }
        self.with_neighbours([0, 2], |rows| rows / 2, f)
    }

    /// `f` of all bands together.
    pub fn together(self, f: impl FnOnce(Vec<Tensor<4>>) -> Vec<Tensor<4>>) -> Self {
        Self { bands: f(self.bands), limit: self.limit }
    }

    /// The sum with an image of the same size, which is cut no finer.
    pub fn add(self, coarser: Self) -> Self {
        let mut rest = coarser.bands.into_iter();
        let (mut band, mut used) = (rest.next(), 0);
        let sums = self.bands.into_iter().map(|own| {
            let rows = own.dims()[1];
            if band.as_ref().is_some_and(|band| used == band.dims()[1]) {
                (band, used) = (rest.next(), 0);
            }
            let part = band
                .clone()
                .map(|band| if band.dims()[1] == rows { band } else { band.narrow(1, used, rows) });
            used += rows;
            part.map_or(own.clone(), |part| own + part)
        });
        Self { bands: sums.collect(), limit: self.limit }
    }

    /// Cuts bands so that one with a row and a column more on each side has no more values than the limit when it is `scale`
    /// times as large and has so many `channels`.
    fn cut(self, scale: usize, channels: usize) -> Self {
        let Self { bands, limit } = self;
        let bands = bands.into_iter().flat_map(|band| {
            let [batch, height, width, _] = band.dims();
            let row = batch * (scale * width + 2) * scale * channels;
            let most = (limit / row.max(1)).saturating_sub(2);
            if height <= most {
                return vec![band];
            }
            // Two rows at least: a device that cannot bind these has no use for the model.
            let step = if most >= STEP { most / STEP * STEP } else { (most / 2 * 2).max(2) };
            (0..height).step_by(step).map(|at| band.clone().narrow(1, at, step.min(height - at))).collect()
        });
        Self { bands: bands.collect(), limit }
    }

    /// `f` of each band with rows of its neighbours above and below; what `f` makes of those, so many rows as `made` says of
    /// theirs, is cut off again.
    fn with_neighbours(
        self,
        [above, below]: [usize; 2],
        made: impl Fn(usize) -> usize,
        f: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> Self {
        let last = self.bands.len() - 1;
        if last == 0 {
            return self.map(f);
        }
        let bands = self.bands.iter().enumerate().map(|(i, band)| {
            let rows = |band: &Tensor<4>| band.dims()[1];
            let (mut parts, mut before) = (vec![band.clone()], 0);
            if i > 0 && above > 0 {
                let neighbour = &self.bands[i - 1];
                before = above.min(rows(neighbour));
                parts.insert(0, neighbour.clone().narrow(1, rows(neighbour) - before, before));
            }
            if i < last && below > 0 {
                let neighbour = &self.bands[i + 1];
                parts.push(neighbour.clone().narrow(1, 0, below.min(rows(neighbour))));
            }
            f(Tensor::cat(parts, 1)).narrow(1, made(before), made(rows(band)))
        });
        Self { bands: bands.collect(), limit: self.limit }
    }
}
