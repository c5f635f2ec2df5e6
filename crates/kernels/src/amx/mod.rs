//! Products of bf16 by AMX: tiles of 16 × 16 sums in registers of their own.
//!
//! Rust's intrinsics for it are unstable, so that this is `asm!`, which needs no feature. A tile cannot live from one statement to
//! the next: a block holds the whole loop over taps and depth. Panels are read as they are for AVX-512: a tile of weights
//! is 16 rows of pairs at the panel's distance, each one line of the cache.
//!
//! Where there is no AMX, tests run these very instructions through an interpreter (`emulator`).

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod emulator;

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};

use half::bf16;

/// Depth of a tile.
pub(crate) const DEPTH: usize = 32;
/// Rows of a tile.
const ROWS: usize = 16;

/// Whether the processor has AMX for bf16, and the kernel lets this process use it.
pub(crate) fn available() -> bool {
    let saves_states = __cpuid(1).ecx & 1 << 27 != 0;
    if __cpuid(0).eax < 7 || !saves_states {
        return false;
    }
    let features = __cpuid_count(7, 0).edx;
    let (products, tiles) = (features & 1 << 22 != 0, features & 1 << 24 != 0);
    if !products || !tiles {
        return false;
    }
    let enabled: u32;
    // SAFETY: the processor saves states, so that it has this instruction.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") enabled, out("edx") _, options(nomem, nostack, preserves_flags));
    }
    let both = 3 << 17;
    enabled & both == both && request()
}

/// Asks the kernel for the tiles' 8 kB in each thread's state; it grants them to the whole process.
#[cfg(target_os = "linux")]
fn request() -> bool {
    const ARCH_PRCTL: isize = 158;
    const REQUEST_PERMISSION: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let result: isize;
    // SAFETY: a system call with two numbers, which touches no memory of ours.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => result, in("rdi") REQUEST_PERMISSION, in("rsi") TILE_DATA,
            out("rcx") _, out("r11") _, options(nostack));
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn request() -> bool {
    false
}

/// The shapes of the eight tiles.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// Tiles 0 to 3 are sums, 4 and 5 activations (of `upper` and `lower` rows), 6 and 7 weights.
    fn new(upper: usize, lower: usize) -> Self {
        let mut shapes = Self { palette: 1, start_row: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
        let rows = [upper, upper, lower, lower, upper, lower, ROWS, ROWS];
        for (tile, rows) in rows.into_iter().enumerate() {
            shapes.bytes[tile] = 64;
            // A tile without rows has no shape; nothing uses it.
            shapes.rows[tile] = rows.max(1) as u8;
        }
        shapes
    }
}

/// Everything that a block of tiles needs.
#[derive(Clone, Copy)]
struct Block<'a> {
    a: *const bf16,
    /// Bytes from a row of activations to the next.
    a_bytes: usize,
    taps: &'a [isize],
    /// Tiles of depth of each tap.
    depth: usize,
    b: *const bf16,
    /// Bytes from a pair of the weights' rows to the next.
    b_bytes: usize,
    c: *mut f32,
    /// Bytes from a row of sums to the next.
    c_bytes: usize,
    first: bool,
}

/// A block of tiles: two or one down, two or one across. `$load` and `$store` move the sums, `$step` loads and multiplies.
macro_rules! block {
    ($name:ident, zero: [$($zero:literal),*], load: [$($load:literal),*], step: [$($step:literal),*], store: [$($store:literal),*]) => {
        /// # Safety
        /// The tiles have their shapes, and all pointers are valid for them.
        unsafe fn $name(block: Block<'_>) {
            // SAFETY: the caller's. `p1` is 16 rows below `p0` or `c`.
            unsafe {
                asm!(
                    "test {k}, {k}", "jz 3f",
                    $($zero,)* "jmp 2f",
                    "3:", "mov {p1}, {ldc}", "shl {p1}, 4", "add {p1}, {c}", $($load,)*
                    "2:",
                    "mov {p0}, [{taps}]", "add {p0}, {p0}", "add {p0}, {a}",
                    "mov {p1}, {lda}", "shl {p1}, 4", "add {p1}, {p0}", "mov {k}, {depth}",
                    "4:",
                    $($step,)*
                    "add {p0}, 64", "add {p1}, 64", "shl {ldb}, 4", "add {b}, {ldb}", "shr {ldb}, 4", "dec {k}", "jnz 4b",
                    "add {taps}, 8", "cmp {taps}, {end}", "jb 2b",
                    "mov {p1}, {ldc}", "shl {p1}, 4", "add {p1}, {c}", $($store,)*
                    k = inout(reg) usize::from(block.first) => _,
                    a = in(reg) block.a, lda = in(reg) block.a_bytes,
                    b = inout(reg) block.b => _, ldb = inout(reg) block.b_bytes => _,
                    c = in(reg) block.c, ldc = in(reg) block.c_bytes,
                    taps = inout(reg) block.taps.as_ptr() => _, end = in(reg) block.taps.as_ptr().add(block.taps.len()),
                    depth = in(reg) block.depth, p0 = out(reg) _, p1 = out(reg) _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack)
                );
            }
        }
    };
}

block!(two_by_two,
    zero: ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3"],
    load: ["tileloadd tmm0, [{c}+{ldc}]", "tileloadd tmm1, [{c}+{ldc}+64]",
        "tileloadd tmm2, [{p1}+{ldc}]", "tileloadd tmm3, [{p1}+{ldc}+64]"],
    step: ["tileloadd tmm4, [{p0}+{lda}]", "tileloadd tmm6, [{b}+{ldb}]", "tileloadd tmm7, [{b}+{ldb}+64]",
        "tdpbf16ps tmm0, tmm4, tmm6", "tileloadd tmm5, [{p1}+{lda}]", "tdpbf16ps tmm1, tmm4, tmm7",
        "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7"],
    store: ["tilestored [{c}+{ldc}], tmm0", "tilestored [{c}+{ldc}+64], tmm1",
        "tilestored [{p1}+{ldc}], tmm2", "tilestored [{p1}+{ldc}+64], tmm3"]);
block!(two_by_one,
    zero: ["tilezero tmm0", "tilezero tmm2"],
    load: ["tileloadd tmm0, [{c}+{ldc}]", "tileloadd tmm2, [{p1}+{ldc}]"],
    step: ["tileloadd tmm6, [{b}+{ldb}]", "tileloadd tmm4, [{p0}+{lda}]", "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm5, [{p1}+{lda}]", "tdpbf16ps tmm2, tmm5, tmm6"],
    store: ["tilestored [{c}+{ldc}], tmm0", "tilestored [{p1}+{ldc}], tmm2"]);
block!(one_by_two,
    zero: ["tilezero tmm0", "tilezero tmm1"],
    load: ["tileloadd tmm0, [{c}+{ldc}]", "tileloadd tmm1, [{c}+{ldc}+64]"],
    step: ["tileloadd tmm4, [{p0}+{lda}]", "tileloadd tmm6, [{b}+{ldb}]", "tdpbf16ps tmm0, tmm4, tmm6",
        "tileloadd tmm7, [{b}+{ldb}+64]", "tdpbf16ps tmm1, tmm4, tmm7"],
    store: ["tilestored [{c}+{ldc}], tmm0", "tilestored [{c}+{ldc}+64], tmm1"]);
block!(one_by_one,
    zero: ["tilezero tmm0"],
    load: ["tileloadd tmm0, [{c}+{ldc}]"],
    step: ["tileloadd tmm4, [{p0}+{lda}]", "tileloadd tmm6, [{b}+{ldb}]", "tdpbf16ps tmm0, tmm4, tmm6"],
    store: ["tilestored [{c}+{ldc}], tmm0"]);

/// C\[rows × width\] (+)= Σ over taps of A · B, with `width` a multiple of 16 and `depth` of 32.
///
/// # Safety
/// AMX is available. `a` is valid for `depth` numbers at each row and tap, `b` for all of its `taps · depth · width` in pairs of
/// rows, `c` for its rows.
pub(crate) unsafe fn multiply(
    rows: usize,
    width: usize,
    (a, a_stride): (*const bf16, usize),
    taps: &[isize],
    depth: usize,
    b: *const bf16,
    (c, c_stride): (*mut f32, usize),
    first: bool,
) {
    debug_assert!(depth.is_multiple_of(DEPTH) && width.is_multiple_of(16) && depth > 0 && !taps.is_empty());
    let mut shaped = (0, 0);
    let mut row = 0;
    while row < rows {
        let upper = (rows - row).min(ROWS);
        let lower = (rows - row - upper).min(ROWS);
        if shaped != (upper, lower) {
            shaped = (upper, lower);
            let shapes = Shapes::new(upper, lower);
            // SAFETY: AMX is available, and the shapes are some.
            unsafe {
                asm!("ldtilecfg [{}]", in(reg) &raw const shapes, options(nostack, readonly, preserves_flags),
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
                    out("tmm6") _, out("tmm7") _);
            }
        }
        let mut column = 0;
        while column < width {
            // SAFETY: these rows and columns of the caller's matrices.
            unsafe {
                let block = Block {
                    a: a.add(row * a_stride),
                    a_bytes: 2 * a_stride,
                    taps,
                    depth: depth / DEPTH,
                    b: b.add(2 * column),
                    b_bytes: 4 * width,
                    c: c.add(row * c_stride + column),
                    c_bytes: 4 * c_stride,
                    first,
                };
                match (lower > 0, width - column >= 32) {
                    (true, true) => two_by_two(block),
                    (true, false) => two_by_one(block),
                    (false, true) => one_by_two(block),
                    (false, false) => one_by_one(block),
                }
            }
            column += 32;
        }
        row += upper + lower;
    }
    // SAFETY: AMX is available. A thread without tiles is cheaper to switch.
    unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
}
