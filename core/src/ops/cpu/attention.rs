//! Grouped-query attention over segments: blocks of query rows against the span of keys that they see, so that
//! causal rows cost half; the backward pass computes the scores again instead of keeping them.

use super::matmul::matmul_serial;
use super::matrix::{Mat, MatMut};
use super::threads::{self, Shared};
use super::vector::{dot, softmax, vectorised};
use crate::ops::attention_layout::AttentionLayout;
use crate::ops::fused::{FusedOp, View};
use crate::precision::MatmulPrecision;
use std::{ops::Range, sync::Arc};

/// Query rows worked on at a time.
const BLOCK: usize = 64;

/// See [`crate::ops::attention`]. Inputs: `q`, `k`, `v`.
#[derive(Clone, Debug)]
pub struct Attention {
    pub layout: Arc<AttentionLayout>,
    pub precision: MatmulPrecision,
}

/// `[queries, heads, width]` and `[keys, kv_heads, width]`.
#[derive(Clone, Copy)]
struct Sizes {
    heads: usize,
    kv_heads: usize,
    width: usize,
}

impl Sizes {
    fn scale(&self) -> f32 {
        (self.width as f32).sqrt().recip()
    }

    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}

impl Attention {
    /// The sizes. They fit the layout, which the tasks below rely on.
    fn sizes(&self, q: View, k: View) -> Sizes {
        let (&[queries, heads, width], &[keys, kv_heads, _]) = (q.shape, k.shape) else {
            panic!("attention wants [tokens, heads, head_dim], got {:?} and {:?}", q.shape, k.shape)
        };
        self.layout.check(queries, keys);
        Sizes { heads, kv_heads, width }
    }

    /// Calls `body(queries, keys)` with the blocks of a segment and the span of keys that each sees.
    fn blocks(&self, segment: usize, mut body: impl FnMut(Range<usize>, Range<usize>)) {
        let (queries, keys) = &self.layout.segments[segment];
        for start in queries.clone().step_by(BLOCK) {
            let rows = start..queries.end.min(start + BLOCK);
            let seen =
                rows.clone().map(|row| self.layout.visible_in(row, keys)).filter(|seen| !seen.is_empty());
            let span = seen.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
            if let Some(span) = span {
                body(rows, span);
            }
        }
    }

    /// `a b` in `buffer`.
    fn product<'a>(&self, a: Mat, b: Mat, buffer: &'a mut Vec<f32>) -> &'a mut [f32] {
        buffer.resize((a.rows * b.cols).max(buffer.len()), 0.0);
        let c = &mut buffer[..a.rows * b.cols];
        matmul_serial(a, b, MatMut { data: c, row_stride: b.cols }, false, self.precision);
        c
    }

    /// Attention weights of a block: softmax of the scaled scores over the visible keys, zero elsewhere.
    fn weights<'a>(
        &self,
        q: Mat,
        k: Mat,
        rows: &Range<usize>,
        span: &Range<usize>,
        scale: f32,
        buffer: &'a mut Vec<f32>,
    ) -> &'a mut [f32] {
        let columns = span.len();
        let weights = self.product(q, k.t(), buffer);
        for (row, weights) in rows.clone().zip(weights.chunks_exact_mut(columns)) {
            let seen = self.layout.visible_in(row, span);
            weights[..seen.start - span.start].fill(0.0);
            weights[seen.end - span.start..].fill(0.0);
            let seen = &mut weights[seen.start - span.start..seen.end - span.start];
            if !seen.is_empty() {
                vectorised(
                    #[inline(always)]
                    || softmax(seen, scale),
                );
            }
        }
        weights
    }
}

impl FusedOp<3> for Attention {
    fn forward(&self, [q, k, v]: [View; 3]) -> (Vec<f32>, Vec<usize>) {
        let sizes = self.sizes(q, k);
        let Sizes { heads, kv_heads, width } = sizes;
        let mut out = vec![0.0; q.data.len()];
        let shared = Shared::new(&mut out);
        threads::for_each(self.layout.segments.len() * heads, |task| {
            let (segment, head) = (task / heads, task % heads);
            let kv_head = head / sizes.group();
            let (mut buffer, mut context) = (Vec::new(), Vec::new());
            self.blocks(segment, |rows, span| {
                let q = head_of(q.data, &rows, head, heads, width);
                let [k, v] = [k, v].map(|x| head_of(x.data, &span, kv_head, kv_heads, width));
                let weights = self.weights(q, k, &rows, &span, sizes.scale(), &mut buffer);
                let context = self.product(Mat::new(weights, rows.len(), span.len()), v, &mut context);
                // SAFETY: no other task has this head of these rows.
                unsafe { scatter(&shared, context, &rows, head, heads, width) };
            });
        });
        (out, q.shape.to_vec())
    }

    /// With weights `P`, scores `S` and `dP = g vᵀ`: `dS = P (dP - Σ P dP)`, `dq = s dS k`, `dk = s dSᵀ q`,
    /// `dv = Pᵀ g`.
    fn backward(&self, [q, k, v]: [View; 3], grad: &[f32], _: [bool; 3]) -> [Option<Vec<f32>>; 3] {
        let sizes = self.sizes(q, k);
        let Sizes { heads, kv_heads, width } = sizes;
        let mut spans: Vec<_> = self.layout.segments.iter().map(|(_, keys)| keys).collect();
        spans.sort_by_key(|keys| keys.start);
        let disjoint = spans.windows(2).all(|pair| pair[0].end <= pair[1].start || pair[1].is_empty());
        assert!(disjoint, "attention segments that share keys have no gradient");

        let mut grads = [q, k, v].map(|x| vec![0.0; x.data.len()]);
        let [dq_out, dk_out, dv_out] = grads.each_mut().map(|grad| Shared::new(grad));
        threads::for_each(self.layout.segments.len() * kv_heads, |task| {
            let (segment, kv_head) = (task / kv_heads, task % kv_heads);
            let keys = &self.layout.segments[segment].1;
            let [mut dk, mut dv] = [(); 2].map(|()| vec![0.0; keys.len() * width]);
            let [mut weights, mut dweights, mut dq] = [(); 3].map(|()| Vec::new());
            for head in kv_head * sizes.group()..(kv_head + 1) * sizes.group() {
                self.blocks(segment, |rows, span| {
                    let [q, g] = [q.data, grad].map(|x| head_of(x, &rows, head, heads, width));
                    let [k, v] = [k, v].map(|x| head_of(x.data, &span, kv_head, kv_heads, width));
                    let place = (span.start - keys.start) * width..(span.end - keys.start) * width;
                    let weights = self.weights(q, k, &rows, &span, sizes.scale(), &mut weights);
                    let p = Mat::new(weights, rows.len(), span.len());
                    let dv = MatMut { data: &mut dv[place.clone()], row_stride: width };
                    matmul_serial(p.t(), g, dv, true, self.precision);
                    let dscores = self.product(g, v.t(), &mut dweights);
                    vectorised(
                        #[inline(always)]
                        || score_grads(weights, dscores, span.len(), sizes.scale()),
                    );
                    let ds = Mat::new(dscores, rows.len(), span.len());
                    let dk = MatMut { data: &mut dk[place], row_stride: width };
                    matmul_serial(ds.t(), q, dk, true, self.precision);
                    let dq = self.product(ds, k, &mut dq);
                    // SAFETY: no other task has this head of these rows.
                    unsafe { scatter(&dq_out, dq, &rows, head, heads, width) };
                });
            }
            // SAFETY: segments have disjoint keys, and no other task has this head of them.
            unsafe {
                scatter(&dk_out, &dk, keys, kv_head, kv_heads, width);
                scatter(&dv_out, &dv, keys, kv_head, kv_heads, width);
            }
        });
        grads.map(Some)
    }
}

/// Replaces the gradients of weights by those of unscaled scores.
#[inline(always)]
fn score_grads(weights: &[f32], grads: &mut [f32], columns: usize, scale: f32) {
    for (p, dp) in weights.chunks_exact(columns).zip(grads.chunks_exact_mut(columns)) {
        let mean = dot(p, dp);
        for (p, dp) in p.iter().zip(dp) {
            *dp = p * (*dp - mean) * scale;
        }
    }
}

/// The rows `[rows, width]` of one head in `[tokens, heads, width]`.
fn head_of<'a>(x: &'a [f32], rows: &Range<usize>, head: usize, heads: usize, width: usize) -> Mat<'a> {
    Mat::strided(&x[(rows.start * heads + head) * width..], rows.len(), width, heads * width)
}

/// Writes the rows `[rows, width]` of one head into `[tokens, heads, width]`.
///
/// # Safety
/// `rows` and `head` lie in the output, and no other task touches them meanwhile.
unsafe fn scatter(
    out: &Shared<f32>,
    values: &[f32],
    rows: &Range<usize>,
    head: usize,
    heads: usize,
    width: usize,
) {
    for (row, values) in rows.clone().zip(values.chunks_exact(width)) {
        // SAFETY: as this function demands.
        unsafe { out.slice((row * heads + head) * width, width) }.copy_from_slice(values);
    }
}
