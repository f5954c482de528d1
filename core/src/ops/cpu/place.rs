//! Which pixel of an image is in which cell of a grid.

use std::ops::Range;

/// Where cell `[i, j]` of a plane lies in an image: pixel `stride [i, j] + start`, if there is one.
#[derive(Clone, Copy)]
pub struct Place {
    pub stride: usize,
    pub start: [isize; 2],
    /// Rows and columns of the image.
    pub size: [usize; 2],
}

impl Place {
    /// The pixel of `cell` along `axis`.
    pub fn pixel(&self, axis: usize, cell: usize) -> Option<usize> {
        let at = (self.stride * cell) as isize + self.start[axis];
        (0..self.size[axis] as isize).contains(&at).then_some(at as usize)
    }

    /// Which of `grid` cells along `axis` have a pixel.
    pub fn cells(&self, axis: usize, grid: usize) -> Range<usize> {
        let first = (0..grid).find(|&cell| self.pixel(axis, cell).is_some()).unwrap_or(grid);
        first..(first..grid).find(|&cell| self.pixel(axis, cell).is_none()).unwrap_or(grid)
    }

    /// A place for each remainder of rows and columns by the stride, row-major: together they have every pixel.
    pub fn phases(self) -> Vec<Self> {
        let ([row, column], stride) = (self.start, self.stride as isize);
        let phase = |p: isize| Self { start: [row + p / stride, column + p % stride], ..self };
        (0..stride * stride).map(phase).collect()
    }
}

/// Pixels for some cells of a grid row: the first, and every `step`th after it.
pub struct Pixels<'a> {
    pub cells: Range<usize>,
    pub pixels: &'a [f32],
    pub step: usize,
}
