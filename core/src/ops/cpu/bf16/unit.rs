//! What multiplies `bf16`: the tile unit, or vectors.

use super::pack::TILE;
use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::OnceLock;

/// Whether the processor multiplies `bf16`.
pub fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

/// Whether processor and kernel offer AMX with `bf16`, asked for once.
pub fn has_tile_unit() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        let leaf = __cpuid_count(7, 0);
        let (amx_bf16, amx_tile) = (leaf.edx >> 22 & 1, leaf.edx >> 24 & 1);
        amx_bf16 == 1 && amx_tile == 1 && allow_tiles()
    })
}

/// Asks Linux for the tile state (arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA); holds for the process.
fn allow_tiles() -> bool {
    let result: i64;
    // SAFETY: a system call that changes nothing but this process's permission.
    unsafe {
        asm!("syscall", inlateout("rax") 158_i64 => result, in("rdi") 0x1023_i64, in("rsi") 18_i64,
            out("rcx") _, out("r11") _, options(nostack));
    }
    result == 0
}

#[repr(C, align(64))]
struct TileConfig {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: TileConfig = TileConfig {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// What sums up products.
#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    /// AMX, all eight tiles configured as 16 x 64 bytes.
    Tiles,
    /// AVX-512 BF16.
    Vectors,
}

/// Runs `body` with the unit there is, made ready.
pub fn with_unit<R>(body: impl FnOnce(Unit) -> R) -> R {
    if !has_tile_unit() {
        return body(Unit::Vectors);
    }
    /// Gives the tiles back, also when `body` panics.
    struct Configured;

    impl Drop for Configured {
        fn drop(&mut self) {
            // SAFETY: the tile unit is there.
            unsafe { asm!("tilerelease", options(nostack)) };
        }
    }

    // SAFETY: the tile unit is there and the configuration is valid.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIG, options(nostack)) };
    let _configured = Configured;
    body(Unit::Tiles)
}

/// `rows` x 32 sums of `steps` times 32 inner values by dot products, and up to 7 rows more: `at` says where the rows of the left and the pairs
/// of the right operand begin at a step, `strides` how many bytes they lie apart, `half` how many bytes the right
/// operand's second 16 columns lie after the first.
///
/// # Safety
/// AVX-512 with BF16 is there, every load is inside its buffer, and `c` has 32 rows of 32 items, `c_stride` apart.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn multiply_vectors(
    rows: usize,
    steps: usize,
    at: impl Fn(usize) -> [*const u8; 2],
    [a_stride, b_stride]: [usize; 2],
    half: usize,
    (c, c_stride): (*mut f32, usize),
    accumulate: bool,
) {
    /// Rows whose sums are in registers at once.
    const ROWS: usize = 8;
    // SAFETY: as demanded of the caller; 512 bits of plain data for the transmutes.
    unsafe {
        for first in (0..rows).step_by(ROWS) {
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            if accumulate {
                for (r, [left, right]) in sums.iter_mut().enumerate() {
                    let from = c.add((first + r) * c_stride);
                    (*left, *right) = (_mm512_loadu_ps(from), _mm512_loadu_ps(from.add(16)));
                }
            }
            for step in 0..steps {
                let [a, b] = at(step);
                let a = a.add(first * a_stride);
                for pair in 0..16 {
                    let from = b.add(pair * b_stride);
                    let columns = [from, from.add(half)].map(|from| {
                        std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast()))
                    });
                    for (r, [left, right]) in sums.iter_mut().enumerate() {
                        let values = a.add(r * a_stride + pair * 4).cast::<i32>().read_unaligned();
                        let values = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(values));
                        *left = _mm512_dpbf16_ps(*left, values, columns[0]);
                        *right = _mm512_dpbf16_ps(*right, values, columns[1]);
                    }
                }
            }
            for (r, [left, right]) in sums.iter().enumerate() {
                let to = c.add((first + r) * c_stride);
                _mm512_storeu_ps(to, *left);
                _mm512_storeu_ps(to.add(16), *right);
            }
        }
    }
}

/// 32 x 32 sums from `steps` pairs of packed tiles, of which the first `rows` rows are wanted; `c` rows are `stride` items apart.
///
/// # Safety
/// `unit` is ready; `a` and `b` hold `steps` x 2 tiles; `c` has 32 rows of 32 items.
pub unsafe fn multiply(
    unit: Unit,
    [a, b]: [*const u16; 2],
    rows: usize,
    steps: usize,
    c: *mut f32,
    stride: usize,
    accumulate: bool,
) {
    if unit == Unit::Vectors {
        let at = |step: usize| [a, b].map(|tiles| tiles.wrapping_add(step * 2 * TILE).cast());
        // SAFETY: as demanded of the caller.
        return unsafe { multiply_vectors(rows, steps, at, [64; 2], 2 * TILE, (c, stride), accumulate) };
    }
    // SAFETY: as demanded of the caller; the instructions touch nothing but tiles, the operands and `c`.
    unsafe {
        let bytes = stride * 4;
        let (c1, c2) = (c.add(16), c.add(16 * stride));
        let c3 = c2.add(16);
        if accumulate {
            asm!("tileloadd tmm0, [{c0} + {s}]", "tileloadd tmm1, [{c1} + {s}]",
                "tileloadd tmm2, [{c2} + {s}]", "tileloadd tmm3, [{c3} + {s}]",
                c0 = in(reg) c, c1 = in(reg) c1, c2 = in(reg) c2, c3 = in(reg) c3, s = in(reg) bytes,
                options(nostack, readonly));
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
        }
        asm!(
            "2:",
            "tileloadd tmm4, [{a} + {s}]",
            "tileloadd tmm6, [{b} + {s}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {s} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a} + {s} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 2048",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            a = inout(reg) a => _, b = inout(reg) b => _, n = inout(reg) steps => _, s = in(reg) 64_usize,
            options(nostack, readonly));
        asm!("tilestored [{c0} + {s}], tmm0", "tilestored [{c1} + {s}], tmm1",
            "tilestored [{c2} + {s}], tmm2", "tilestored [{c3} + {s}], tmm3",
            c0 = in(reg) c, c1 = in(reg) c1, c2 = in(reg) c2, c3 = in(reg) c3, s = in(reg) bytes,
            options(nostack));
    }
}
