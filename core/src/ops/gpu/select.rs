//! Chosen rows, and entries of tables.

use super::launch::{Buffer, Launch, dense, tensor, zeros};
use super::rows::{like, rows_and_width};
use super::shader_op::{Inputs, ShaderOp};
use super::stored::{Matrix, entries};
use burn::tensor::{DType, Int, Tensor};
use unigen_shaders as shaders;

/// See [`crate::ops::embed`]; the width is a multiple of 4.
pub fn embed(table: Tensor<2>, ids: Tensor<1, Int>) -> Tensor<2> {
    [table.into_dispatch()].apply(Embed { ids: dense(ids) })
}

/// See [`crate::ops::embed`]; input: the table. Its width is a multiple of 4.
#[derive(Debug)]
struct Embed {
    ids: Buffer,
}

impl ShaderOp<1> for Embed {
    fn forward(&self, [table]: &[Buffer; 1]) -> Buffer {
        entries(&Matrix::floats(table), &self.ids)
    }

    fn backward(&self, [table]: &[Buffer; 1], grad: &Buffer, _: [bool; 1]) -> [Option<Buffer>; 1] {
        let (dtable, [entries, width]) = (like(table), rows_and_width(table));
        Launch::new(&shaders::EMBED_BACKWARD)
            .buffers([&self.ids, grad, &dtable])
            .numbers([entries, self.ids.shape()[0], width / 4])
            .list(entries * width / 4);
        [Some(dtable)]
    }
}

/// See [`crate::ops::select_rows`]; the width is a multiple of 4.
pub fn select_rows(x: Tensor<2>, rows: Tensor<1, Int>) -> Tensor<2> {
    [x.into_dispatch()].apply(SelectRows { rows: dense(rows) })
}

/// See [`crate::ops::select_rows`]; input `x`. Its width is a multiple of 4.
#[derive(Debug)]
struct SelectRows {
    rows: Buffer,
}

impl ShaderOp<1> for SelectRows {
    fn forward(&self, [x]: &[Buffer; 1]) -> Buffer {
        select(x, &self.rows)
    }

    fn backward(&self, [x]: &[Buffer; 1], grad: &Buffer, _: [bool; 1]) -> [Option<Buffer>; 1] {
        let (dx, [rows, width]) = (like(x), rows_and_width(x));
        let (inverse, chosen) = (zeros(x, &[rows]), self.rows.shape()[0]);
        Launch::new(&shaders::INVERT).buffers([&self.rows, &inverse]).numbers([chosen]).list(chosen);
        Launch::new(&shaders::SELECT_BACKWARD)
            .buffers([&inverse, grad, &dx])
            .numbers([rows, width / 4])
            .list(rows * width / 4);
        [Some(dx)]
    }
}

/// `x[rows]`, `[rows, width]`.
fn select(x: &Buffer, rows: &Buffer) -> Buffer {
    let (chosen, width) = (rows.shape()[0], x.shape()[1]);
    let y = tensor(x, &[chosen, width], DType::F32);
    Launch::new(&shaders::SELECT_ROWS)
        .buffers([x, rows, &y])
        .numbers([chosen, width / 4])
        .list(chosen * width / 4);
    y
}
