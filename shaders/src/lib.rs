//! The compute shaders of UniGen as WGSL text: a file for each, and fragments that several of them share.
//!
//! They need neither subgroups nor `shader-f16`, use at most 256 invocations per workgroup, and pass both naga and
//! Tint. Every storage buffer is declared `read_write`, since tensors share buffers and one buffer may not be bound in
//! two ways. Numbers (sizes, scales) come last, in a uniform buffer.

/// A compute shader: the text of its fragments in order, and the size of its workgroups. The entry point is `main`.
#[derive(Debug, PartialEq, Eq)]
pub struct Shader {
    /// The name, the same as that of its portable twin.
    pub name: &'static str,
    /// Invocations of a workgroup in x, y and z.
    pub workgroup: [u32; 3],
    fragments: &'static [&'static str],
    constants: &'static [&'static str],
}

impl Shader {
    /// The whole text, with a value for each of the [`constants`](Self::constants).
    pub fn source(&self, values: &[u32]) -> String {
        let values: Vec<_> = self.constants.iter().copied().zip(values.iter().copied()).collect();
        let mut source: String =
            values.iter().map(|(name, value)| format!("const {name}: u32 = {value}u;\n")).collect();
        for fragment in self.fragments {
            unroll(fragment, &values, &mut source);
        }
        source
    }

    /// The names of the constants that the text leaves open.
    pub fn constants(&self) -> &[&'static str] {
        self.constants
    }
}

/// Appends `text`, with the lines from `// repeat N` to `// end` written N times and each `#` in them replaced by the count from 0.
/// Variables `name#` are in registers for sure; an array may be left in memory by a compiler. N is a number or a constant.
fn unroll(text: &str, constants: &[(&str, u32)], source: &mut String) {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some(times) = line.trim().strip_prefix("// repeat ") else {
            source.push_str(line);
            source.push('\n');
            continue;
        };
        let constant = constants.iter().find(|(name, _)| *name == times).map(|(_, value)| *value);
        let body: Vec<&str> = lines.by_ref().take_while(|line| line.trim() != "// end").collect();
        for i in 0..constant.or_else(|| times.parse().ok()).unwrap_or(0) {
            for line in &body {
                source.push_str(&line.replace('#', &i.to_string()));
                source.push('\n');
            }
        }
    }
}

macro_rules! shader {
    ($name:expr, $workgroup:expr, $file:literal, [$($shared:literal),*] $(, $constant:literal)*) => {
        Shader {
            name: $name,
            workgroup: $workgroup,
            fragments: &[
                $(include_str!(concat!("../shared/", $shared, ".wgsl")),)*
                include_str!(concat!("../", $file, ".wgsl")),
            ],
            constants: &[$($constant),*],
        }
    };
}

/// Number of workgroups of a long list in one row of the dispatch. The rest of the list is in further rows.
pub const WORKGROUPS_IN_A_ROW: u32 = 32768;

/// Number of rows (or pixels) for which an invocation of [`LINEAR`] or [`CONV2D`] computes four outputs. Lanes lie
/// along the outputs.
pub const TILE_ROWS: usize = 8;

/// How the values of a weight are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// 4 bytes a value.
    F32,
    /// 2 bytes a value.
    F16,
    /// 2 bytes a value, the upper half of an `f32`.
    Bf16,
    /// GGML's blocks of 32 values in 34 bytes.
    Q8_0,
    /// GGML's blocks of 32 values in 18 bytes.
    Q4_0,
}

/// A shader for each [`Storage`] of its weight, with further fragments.
macro_rules! by_storage {
    ($name:literal, $workgroup:expr, $file:literal, [$($shared:literal),*] $(, $constant:literal)*) => {
        [
            shader!($name, $workgroup, $file, ["weight_f32" $(, $shared)*] $(, $constant)*),
            shader!(concat!($name, "_f16"), $workgroup, $file, ["weight_f16" $(, $shared)*] $(, $constant)*),
            shader!(concat!($name, "_bf16"), $workgroup, $file, ["weight_bf16" $(, $shared)*] $(, $constant)*),
            shader!(concat!($name, "_q8_0"), $workgroup, $file, ["blocks", "weight_q8_0" $(, $shared)*] $(, $constant)*),
            shader!(concat!($name, "_q4_0"), $workgroup, $file, ["blocks", "weight_q4_0" $(, $shared)*] $(, $constant)*),
        ]
    };
}

/// Naive `x wᵀ`, by [`Storage`].
pub static LINEAR: [Shader; 5] = by_storage!("linear", [32, 1, 1], "linear", ["no_bias"]);
/// Naive `x wᵀ + b`, by [`Storage`].
pub static LINEAR_BIAS: [Shader; 5] = by_storage!("linear_bias", [32, 1, 1], "linear", ["bias"]);
/// Tiled matrix products, for graphics cards and for gradients, by [`Storage`] of the right operand.
pub static MATMUL: [Shader; 5] =
    by_storage!("matmul", [256, 1, 1], "matmul", [], "LEFT_TRANSPOSED", "RIGHT_TRANSPOSED");
/// Entries of a table, by [`Storage`].
pub static EMBED: [Shader; 5] = by_storage!("embed", [64, 1, 1], "embed", ["list"]);
/// Number of rows, and of columns, of the result that a workgroup of [`MATMUL`] computes.
pub const MATMUL_TILE: usize = 128;
/// Two-dimensional cross-correlation of channels-last images.
pub static CONV2D: Shader = shader!("conv2d", [32, 1, 1], "conv2d", []);
/// Attention of query rows, each to a range of keys.
pub static ATTENTION: Shader = shader!("attention", [32, 1, 1], "attention", ["attention"], "QUADS");
/// Gradient of attention's queries, and the statistics of each row that the gradients of keys and values need.
pub static ATTENTION_BACKWARD_QUERIES: Shader =
    shader!("attention_backward_queries", [32, 1, 1], "attention_backward_queries", ["attention"], "QUADS");
/// Gradient of attention's keys.
pub static ATTENTION_BACKWARD_KEYS: Shader =
    shader!("attention_backward_keys", [32, 1, 1], "attention_backward_keys", ["attention"], "QUADS");
/// Gradient of attention's values.
pub static ATTENTION_BACKWARD_VALUES: Shader =
    shader!("attention_backward_values", [32, 1, 1], "attention_backward_values", ["attention"], "QUADS");
/// Root-mean-square normalisation.
pub static RMS_NORM: Shader = shader!("rms_norm", [64, 1, 1], "rms_norm", ["list"]);
/// Gradient of [`RMS_NORM`].
pub static RMS_NORM_BACKWARD: Shader =
    shader!("rms_norm_backward", [64, 1, 1], "rms_norm_backward", ["list"]);
/// Layer normalisation.
pub static LAYER_NORM: Shader = shader!("layer_norm", [64, 1, 1], "layer_norm", ["list", "moments"]);
/// Gradient of [`LAYER_NORM`].
pub static LAYER_NORM_BACKWARD: Shader =
    shader!("layer_norm_backward", [64, 1, 1], "layer_norm_backward", ["list", "moments"]);
/// GELU with tanh.
pub static GELU_TANH: Shader = shader!("gelu_tanh", [64, 1, 1], "gelu_tanh", ["list", "gelu"]);
/// Gradient of [`GELU_TANH`].
pub static GELU_TANH_BACKWARD: Shader =
    shader!("gelu_tanh_backward", [64, 1, 1], "gelu_tanh_backward", ["list", "gelu"]);
/// Rotary position embedding, and its gradient.
pub static ROPE: Shader = shader!("rope", [64, 1, 1], "rope", ["list"]);
/// `silu(gate) * up`.
pub static SWIGLU: Shader = shader!("swiglu", [64, 1, 1], "swiglu", ["list"]);
/// Gradients of [`SWIGLU`].
pub static SWIGLU_BACKWARD: Shader = shader!("swiglu_backward", [64, 1, 1], "swiglu_backward", ["list"]);
/// Adds a bias to every row.
pub static ADD_BIAS: Shader = shader!("add_bias", [64, 1, 1], "add_bias", ["list"]);
/// Sums over chunks of rows.
pub static SUM_ROWS: Shader = shader!("sum_rows", [64, 1, 1], "sum_rows", []);
/// Copies chosen rows.
pub static SELECT_ROWS: Shader = shader!("select_rows", [64, 1, 1], "select_rows", ["list"]);
/// Inverts a choice of distinct rows.
pub static INVERT: Shader = shader!("invert", [64, 1, 1], "invert", ["list"]);
/// Gradient of a choice of rows in which each row is chosen at most once.
pub static SELECT_BACKWARD: Shader = shader!("select_backward", [64, 1, 1], "select_backward", ["list"]);
/// Gradient of a table whose entries may be chosen any number of times.
pub static EMBED_BACKWARD: Shader = shader!("embed_backward", [64, 1, 1], "embed_backward", ["list"]);
/// Guidance, softmax, draws and confidences of a decoding step.
pub static SAMPLE_DRAW: Shader = shader!("sample_draw", [64, 1, 1], "sample_draw", ["list", "philox"]);
/// Re-masking at the end of a decoding step.
pub static SAMPLE_KEEP: Shader = shader!("sample_keep", [64, 1, 1], "sample_keep", ["list"]);

/// All shaders.
pub fn all() -> impl Iterator<Item = &'static Shader> {
    let others = [
        &CONV2D,
        &ATTENTION,
        &ATTENTION_BACKWARD_QUERIES,
        &ATTENTION_BACKWARD_KEYS,
        &ATTENTION_BACKWARD_VALUES,
        &RMS_NORM,
        &RMS_NORM_BACKWARD,
        &LAYER_NORM,
        &LAYER_NORM_BACKWARD,
        &GELU_TANH,
        &GELU_TANH_BACKWARD,
        &ROPE,
        &SWIGLU,
        &SWIGLU_BACKWARD,
        &ADD_BIAS,
        &SUM_ROWS,
        &SELECT_ROWS,
        &INVERT,
        &SELECT_BACKWARD,
        &EMBED_BACKWARD,
        &SAMPLE_DRAW,
        &SAMPLE_KEEP,
    ];
    LINEAR.iter().chain(&LINEAR_BIAS).chain(&MATMUL).chain(&EMBED).chain(others)
}
