// Tiled matrix product for graphics cards. A workgroup computes a square of 128 x 128 sums from tiles in workgroup
// memory, and an invocation keeps 8 x 8 of them in registers. Either operand may be stored transposed. The right one,
// [inner, columns] or [columns, inner], may be a weight as it is stored: `weight_at` unpacks it. If the product
// is small and the inner dimension long, chunks of the inner dimension are summed separately. The results of the chunks
// lie one after another.
//
// `const LEFT_TRANSPOSED: u32` and `const RIGHT_TRANSPOSED: u32`, 1 or 0, come before this text.

struct Info {
    // rows and columns of the result. One that is the last dimension of an operand is a multiple of 4
    rows: u32,
    columns: u32,
    // inner dimension; a multiple of 4 if it is the last dimension of an operand
    inner: u32,
    // length of a chunk of the inner dimension, a multiple of 8
    chunk: u32,
    // number of tiles of 128 rows in the result
    row_tiles: u32,
    // quad of the right operand's storage where it begins
    first: u32,
}

// [rows, inner], or [inner, rows]
@group(0) @binding(0) var<storage, read_write> left: array<vec4<f32>>;
// [chunks, rows, columns]
@group(0) @binding(1) var<storage, read_write> product: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> info: Info;

// Eight steps of the inner dimension, 32 quads of rows or columns each.
var<workgroup> left_tile: array<vec4<f32>, 256>;
var<workgroup> right_tile: array<vec4<f32>, 256>;

const OUTSIDE: u32 = 0xffffffffu;

/// The place of the quad of a tile that invocation `lane` fetches. If the operand is stored as [inner, sides], lanes
/// lie along the sides. If it is stored as [sides, inner], a quad is four steps of the inner dimension for one side.
/// Beyond the edges the place is `OUTSIDE`, which reads as zeros.
fn quad_of_tile(inner_first: bool, first: u32, sides: u32, inner: u32, end: u32, lane: u32) -> u32 {
    var at = vec2<u32>(inner + 4u * (lane / 128u), first + lane % 128u);
    if (inner_first) {
        at = vec2<u32>(inner + lane / 32u, first + 4u * (lane % 32u));
    }
    if (at.x >= end || at.y >= sides) {
        return OUTSIDE;
    }
    return select(at.y * info.inner + at.x, at.x * sides + at.y, inner_first) / 4u;
}

fn fetch_left(first: u32, inner: u32, end: u32, lane: u32) -> vec4<f32> {
    let at = quad_of_tile(LEFT_TRANSPOSED == 1u, first, info.rows, inner, end, lane);
    if (at == OUTSIDE) {
        return vec4<f32>();
    }
    return left[at];
}

fn fetch_right(first: u32, inner: u32, end: u32, lane: u32) -> vec4<f32> {
    let at = quad_of_tile(RIGHT_TRANSPOSED == 0u, first, info.columns, inner, end, lane);
    if (at == OUTSIDE) {
        return vec4<f32>();
    }
    return weight_at(info.first + at);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let chunk = workgroup.y / info.row_tiles;
    let row = 128u * (workgroup.y % info.row_tiles);
    let column = 128u * workgroup.x;
    let start = chunk * info.chunk;
    let end = min(start + info.chunk, info.inner);
    let y = lane / 16u;
    let x = lane % 16u;
    // repeat 8
    var near# = vec4<f32>();
    var far# = vec4<f32>();
    // end
    // The next tiles are loaded while these are multiplied.
    var next_left = fetch_left(row, start, end, lane);
    var next_right = fetch_right(column, start, end, lane);
    for (var inner = start; inner < end; inner += 8u) {
        workgroupBarrier();
        if (LEFT_TRANSPOSED == 1u) {
            left_tile[lane] = next_left;
        } else {
            let at = 4u * (lane / 128u) * 32u + (lane % 128u) / 4u;
            let part = lane % 4u;
            left_tile[at][part] = next_left.x;
            left_tile[at + 32u][part] = next_left.y;
            left_tile[at + 64u][part] = next_left.z;
            left_tile[at + 96u][part] = next_left.w;
        }
        if (RIGHT_TRANSPOSED == 0u) {
            right_tile[lane] = next_right;
        } else {
            let at = 4u * (lane / 128u) * 32u + (lane % 128u) / 4u;
            let part = lane % 4u;
            right_tile[at][part] = next_right.x;
            right_tile[at + 32u][part] = next_right.y;
            right_tile[at + 64u][part] = next_right.z;
            right_tile[at + 96u][part] = next_right.w;
        }
        workgroupBarrier();
        next_left = fetch_left(row, inner + 8u, end, lane);
        next_right = fetch_right(column, inner + 8u, end, lane);
        // repeat 8
        {
            let upper = left_tile[#u * 32u + 2u * y];
            let lower = left_tile[#u * 32u + 2u * y + 1u];
            let near = right_tile[#u * 32u + x];
            let far = right_tile[#u * 32u + 16u + x];
            near0 += upper.x * near;
            near1 += upper.y * near;
            near2 += upper.z * near;
            near3 += upper.w * near;
            near4 += lower.x * near;
            near5 += lower.y * near;
            near6 += lower.z * near;
            near7 += lower.w * near;
            far0 += upper.x * far;
            far1 += upper.y * far;
            far2 += upper.z * far;
            far3 += upper.w * far;
            far4 += lower.x * far;
            far5 += lower.y * far;
            far6 += lower.z * far;
            far7 += lower.w * far;
        }
        // end
    }
    let columns = vec2<u32>(column + 4u * x, column + 64u + 4u * x);
    // repeat 8
    {
        let at = row + 8u * y + #u;
        if (at < info.rows) {
            let first = (chunk * info.rows + at) * info.columns;
            if (columns.x < info.columns) {
                product[(first + columns.x) / 4u] = near#;
            }
            if (columns.y < info.columns) {
                product[(first + columns.y) / 4u] = far#;
            }
        }
    }
    // end
}
