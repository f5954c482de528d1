//! How the work of matrix products is shared among workgroups.

use unigen_shaders::{Shader, TILE_ROWS};

/// A dispatch has at most 65535 workgroups in a direction.
pub fn fits(rows: usize) -> bool {
    rows.div_ceil(TILE_ROWS) <= 65535
}

/// Workgroups for a product with `rows` rows and `outputs` columns.
pub fn products(shader: &Shader, rows: usize, outputs: usize) -> [usize; 2] {
    [outputs.div_ceil(4 * shader.workgroup[0] as usize), rows.div_ceil(TILE_ROWS)]
}
