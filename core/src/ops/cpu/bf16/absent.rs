//! Stands in where processors do not multiply `bf16`; nothing here is reached.

use crate::ops::cpu::matrix::Mat;
use crate::ops::cpu::place::Pixels;
use crate::ops::cpu::stored::Matrix;
use crate::ops::cpu::threads::Shared;
use std::convert::Infallible;
use std::mem::MaybeUninit;
use std::ops::Range;

pub fn available() -> bool {
    false
}

pub fn has_tile_unit() -> bool {
    false
}

/// # Safety
/// Never called.
pub unsafe fn matmul(_: Mat, _: Mat, _: Shared<MaybeUninit<f32>>, _: usize, _: bool, _: bool) {
    unreachable!("guarded by available()")
}

/// # Safety
/// Never called.
pub unsafe fn matmul_stored(_: Mat, _: &Matrix, _: Shared<f32>) {
    unreachable!("guarded by available()")
}

/// Never made, as there are no `bf16` products.
pub struct Rows(Infallible);

impl Rows {
    pub fn fill<'a>(
        _: usize,
        _: usize,
        _: usize,
        _: usize,
        _: impl Fn(usize) -> Option<Pixels<'a>> + Sync + Send,
    ) -> Self {
        unreachable!("guarded by available()")
    }

    pub fn correlate(
        &self,
        _: usize,
        _: &[usize],
        _: &[f32],
        _: usize,
        _: &(impl Fn(usize, Range<usize>, &[f32]) + Sync),
    ) {
        match self.0 {}
    }

    pub fn outer(&self, _: usize, _: &[usize], _: usize, _: &Self, _: usize) -> Vec<f32> {
        match self.0 {}
    }
}
