//! Group normalisation of channels-last images, with or without the swish that follows it in residual blocks.

use super::memory::{assume_init, uninit, written};
use super::sums::add_rows;
use super::threads::{self, Shared, rows_per_task};
use super::vector::{self, sigmoid, vectorised};
use crate::ops::fused::{FusedOp, View};
use std::ops::Range;

/// See [`crate::ops::conv::group_norm`]. Inputs: `x`, `weight`, `bias`.
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm {
    pub groups: usize,
    pub eps: f64,
    /// Whether `swish` is applied to the result.
    pub swish: bool,
}

/// Mean and `1 / standard deviation` of each channel's group, `[batch, channels]`.
struct Statistics {
    mean: Vec<f32>,
    scale: Vec<f32>,
}

/// Parts of the images that tasks take: an image and some of its pixels, as ranges of items.
fn bands(x: &View) -> Vec<(usize, Range<usize>)> {
    let (batch, channels) = (x.shape[0], x.width());
    let pixels = x.rows() / batch.max(1);
    let per_task = rows_per_task(x.rows(), channels).min(pixels).max(1);
    let cut = |image: usize| {
        (0..pixels).step_by(per_task).map(move |first| {
            let (start, end) = (image * pixels + first, image * pixels + pixels.min(first + per_task));
            (image, start * channels..end * channels)
        })
    };
    (0..batch).flat_map(cut).collect()
}

impl GroupNorm {
    /// Sums of `body(image, items, sums)` over each image: `[batch, size]`.
    fn sums_by_image(
        x: &View,
        size: usize,
        body: impl Fn(usize, Range<usize>, &mut [f32]) + Sync + Send,
    ) -> Vec<f32> {
        let bands = bands(x);
        let mut partial = vec![0.0; bands.len() * size];
        threads::for_each_chunk(&mut partial, size, |band, sums| {
            let (image, items) = bands[band].clone();
            body(image, items, sums);
        });
        let per_image = bands.len() / x.shape[0].max(1);
        let mut sums = vec![0.0; x.shape[0] * size];
        vectorised(
            #[inline(always)]
            || {
                for (band, part) in partial.chunks_exact(size).enumerate() {
                    vector::add(&mut sums[band / per_image * size..][..size], part);
                }
            },
        );
        sums
    }

    fn statistics(&self, x: &View) -> Statistics {
        let (batch, channels) = (x.shape[0], x.width());
        let pixels = x.rows() / batch.max(1);
        // Around the first pixel, so that the squares do not drown the variance.
        let sums = Self::sums_by_image(x, 2 * channels, |image, items, sums| {
            let pivot = &x.data[image * pixels * channels..][..channels];
            let (first, second) = sums.split_at_mut(channels);
            vectorised(
                #[inline(always)]
                || {
                    for row in x.data[items].chunks_exact(channels) {
                        let sums = first.iter_mut().zip(&mut *second);
                        for ((x, pivot), (first, second)) in row.iter().zip(pivot).zip(sums) {
                            let centred = x - pivot;
                            *first += centred;
                            *second += centred * centred;
                        }
                    }
                },
            );
        });
        let (mut mean, mut scale) = (vec![0.0; batch * channels], vec![0.0; batch * channels]);
        let (n, width) = (pixels as f64, channels / self.groups);
        for image in 0..batch {
            let pivot = &x.data[image * pixels * channels..][..channels];
            let (first, second) = sums[image * 2 * channels..(image + 1) * 2 * channels].split_at(channels);
            for group in (0..channels).step_by(width).map(|start| start..start + width) {
                let of = |c: usize| f64::from(pivot[c]) + f64::from(first[c]) / n;
                let mu = group.clone().map(of).sum::<f64>() / width as f64;
                let squares: f64 = group
                    .clone()
                    .map(|c| {
                        let within = f64::from(second[c]) - f64::from(first[c]).powi(2) / n;
                        within + n * (of(c) - mu).powi(2)
                    })
                    .sum();
                let variance = (squares / (n * width as f64)).max(0.0);
                mean[image * channels..][group.clone()].fill(mu as f32);
                scale[image * channels..][group].fill((variance + self.eps).sqrt().recip() as f32);
            }
        }
        Statistics { mean, scale }
    }
}

impl FusedOp<3> for GroupNorm {
    fn forward(&self, [x, weight, bias]: [View; 3]) -> (Vec<f32>, Vec<usize>) {
        let channels = x.width();
        let Statistics { mean, scale } = self.statistics(&x);
        let mut y = uninit(x.data.len());
        let (out, bands) = (Shared::new(&mut y), bands(&x));
        threads::for_each(bands.len(), |band| {
            let (image, items) = bands[band].clone();
            let (mean, scale) =
                (&mean[image * channels..][..channels], &scale[image * channels..][..channels]);
            let slope: Vec<f32> = scale.iter().zip(weight.data).map(|(s, w)| s * w).collect();
            let shift: Vec<f32> = (0..channels).map(|c| bias.data[c] - mean[c] * slope[c]).collect();
            // SAFETY: bands do not overlap.
            let y = unsafe { out.slice(items.start, items.len()) };
            vectorised(
                #[inline(always)]
                || {
                    let rows = x.data[items].chunks_exact(channels);
                    for (x, y) in rows.zip(y.chunks_exact_mut(channels)) {
                        let affine = x.iter().zip(slope.iter().zip(&shift));
                        let y = written(y, affine.map(|(x, (slope, shift))| x * slope + shift));
                        if self.swish {
                            for z in y {
                                *z *= sigmoid(*z);
                            }
                        }
                    }
                },
            );
        });
        // SAFETY: the bands cover all of it.
        (unsafe { assume_init(y) }, x.shape.to_vec())
    }

    fn cheap(&self) -> bool {
        true
    }

    /// With `x̂ = s (x - mean)`, `z = w x̂ + b` and `d` the gradient of `z`:
    /// `dx = s (w d - mean(w d) - x̂ mean(w d x̂))`, means over the group; `dw = Σ d x̂`, `db = Σ d`.
    fn backward(&self, [x, weight, bias]: [View; 3], grad: &[f32], _: [bool; 3]) -> [Option<Vec<f32>>; 3] {
        let (batch, channels) = (x.shape[0], x.width());
        let items_per_group = (x.rows() / batch.max(1) * (channels / self.groups)) as f32;
        let Statistics { mean, scale } = self.statistics(&x);
        let of = |image: usize| image * channels..(image + 1) * channels;
        let mut dx = uninit(x.data.len());
        let out = Shared::new(&mut dx);
        let sums = Self::sums_by_image(&x, 2 * channels, |image, items, sums| {
            let (mean, scale) = (&mean[of(image)], &scale[of(image)]);
            let (dbias, dweight) = sums.split_at_mut(channels);
            // SAFETY: bands do not overlap.
            let d = unsafe { out.slice(items.start, items.len()) };
            vectorised(
                #[inline(always)]
                || {
                    let rows =
                        x.data[items.clone()].chunks_exact(channels).zip(grad[items].chunks_exact(channels));
                    for ((x, grad), d) in rows.zip(d.chunks_exact_mut(channels)) {
                        let normal =
                            x.iter().zip(mean).zip(scale).map(|((x, mean), scale)| (x - mean) * scale);
                        let affine = weight.data.iter().zip(bias.data);
                        let inputs = grad.iter().zip(normal.clone()).zip(affine);
                        let d = written(
                            d,
                            inputs.map(|((grad, normal), (w, b))| {
                                if !self.swish {
                                    return *grad;
                                }
                                let z = normal * w + b;
                                let s = sigmoid(z);
                                grad * (s * (1.0 + z * (1.0 - s)))
                            }),
                        );
                        let sums = dbias.iter_mut().zip(&mut *dweight);
                        for ((d, normal), (dbias, dweight)) in d.iter().zip(normal).zip(sums) {
                            *dbias += d;
                            *dweight += d * normal;
                        }
                    }
                },
            );
        });
        // dx = slope d + lean x + shift
        let mut by_item = vec![[0.0_f32; 3]; batch * channels];
        let width = channels / self.groups;
        for image in 0..batch {
            let (dbias, dweight) = sums[image * 2 * channels..(image + 1) * 2 * channels].split_at(channels);
            for group in (0..channels).step_by(width).map(|start| start..start + width) {
                let average = |sums: &[f32]| {
                    group.clone().map(|c| weight.data[c] * sums[c]).sum::<f32>() / items_per_group
                };
                let (first, second) = (average(dbias), average(dweight));
                for c in group.clone() {
                    let (mean, scale) = (mean[image * channels + c], scale[image * channels + c]);
                    let lean = -scale * scale * second;
                    by_item[image * channels + c] =
                        [scale * weight.data[c], lean, -scale * first - mean * lean];
                }
            }
        }
        // SAFETY: the bands cover all of it.
        let mut dx = unsafe { assume_init(dx) };
        let (out, bands) = (Shared::new(&mut dx), bands(&x));
        threads::for_each(bands.len(), |band| {
            let (image, items) = bands[band].clone();
            let [slope, lean, shift] =
                [0, 1, 2].map(|i| by_item[of(image)].iter().map(|c| c[i]).collect::<Vec<_>>());
            // SAFETY: bands do not overlap.
            let dx = unsafe { out.slice(items.start, items.len()) };
            vectorised(
                #[inline(always)]
                || {
                    let rows = x.data[items].chunks_exact(channels);
                    for (x, dx) in rows.zip(dx.chunks_exact_mut(channels)) {
                        let factors = slope.iter().zip(&lean).zip(&shift);
                        for ((dx, x), ((slope, lean), shift)) in dx.iter_mut().zip(x).zip(factors) {
                            *dx = *dx * slope + x * lean + shift;
                        }
                    }
                },
            );
        });
        let mut dbias = add_rows(&sums, 2 * channels);
        let dweight = dbias.split_off(channels);
        [Some(dx), Some(dweight), Some(dbias)]
    }
}
