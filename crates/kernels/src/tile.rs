//! The product at the bottom of all others: a few rows by one panel, summed in registers.

use half::bf16;

use crate::isa::Isa;
use crate::panels::{Data, Panels};
use crate::simd::{Dot, Element, Simd, kernel};

/// C\[MR × NV vectors\] (+)= Σ over taps of A\[MR × depth\] · B\[depth × NV vectors\].
///
/// `a` is the first row at tap offset 0, `a_stride` the way to the next; B follows itself from tap to tap.
#[inline(always)]
unsafe fn tile_body<S: Simd, const MR: usize, const NV: usize>(
    a: *const f32,
    a_stride: usize,
    taps: &[isize],
    depth: usize,
    b: *const f32,
    c: *mut f32,
    c_stride: usize,
    first: bool,
) {
    // SAFETY: the caller's pointers are valid for these rows, taps and depths.
    unsafe {
        let mut acc = [[S::zero(); NV]; MR];
        let mut b = b;
        for &tap in taps {
            let at = a.offset(tap);
            for k in 0..depth {
                let mut columns = [S::zero(); NV];
                for j in 0..NV {
                    columns[j] = S::load(b.add(S::LANES * j));
                }
                for i in 0..MR {
                    let x = S::splat(*at.add(i * a_stride + k));
                    for j in 0..NV {
                        acc[i][j] = S::fma(x, columns[j], acc[i][j]);
                    }
                }
                b = b.add(S::LANES * NV);
            }
        }
        for i in 0..MR {
            for j in 0..NV {
                let to = c.add(i * c_stride + S::LANES * j);
                S::store(to, if first { acc[i][j] } else { S::add(S::load(to), acc[i][j]) });
            }
        }
    }
}

/// The same for pairs of bf16: `depth` is even, and B lies in pairs.
#[inline(always)]
unsafe fn pairs_body<S: Simd, D: Dot<S>, const MR: usize, const NV: usize>(
    a: *const bf16,
    a_stride: usize,
    taps: &[isize],
    depth: usize,
    b: *const bf16,
    c: *mut f32,
    c_stride: usize,
    first: bool,
) {
    // SAFETY: as above.
    unsafe {
        let mut acc = [[S::zero(); NV]; MR];
        let mut b = b;
        for &tap in taps {
            let at = a.offset(tap);
            for k in 0..depth / 2 {
                let mut columns = [S::splat_pair(b); NV];
                for j in 0..NV {
                    columns[j] = S::load_pairs(b.add(2 * S::LANES * j));
                }
                for i in 0..MR {
                    let x = S::splat_pair(at.add(i * a_stride + 2 * k));
                    for j in 0..NV {
                        acc[i][j] = D::dot(acc[i][j], x, columns[j]);
                    }
                }
                b = b.add(2 * S::LANES * NV);
            }
        }
        for i in 0..MR {
            for j in 0..NV {
                let to = c.add(i * c_stride + S::LANES * j);
                S::store(to, if first { acc[i][j] } else { S::add(S::load(to), acc[i][j]) });
            }
        }
    }
}

kernel! {
    unsafe fn tile[const MR: usize, const NV: usize](a: *const f32, a_stride: usize, taps: &[isize], depth: usize,
        b: *const f32, c: *mut f32, c_stride: usize, first: bool) => tile_body
}
kernel! {
    unsafe fn pairs[const MR: usize, const NV: usize](a: *const bf16, a_stride: usize, taps: &[isize], depth: usize,
        b: *const bf16, c: *mut f32, c_stride: usize, first: bool) => Dot pairs_body
}

/// A type that products are of.
pub(crate) trait Operand: Element {
    /// The weights, if they are of this type.
    fn weights_of(panels: &Panels) -> &[Self];

    /// One tile.
    ///
    /// # Safety
    /// As [`multiply`].
    unsafe fn tile<const MR: usize, const NV: usize>(
        isa: Isa,
        a: (*const Self, usize),
        taps: &[isize],
        depth: usize,
        b: *const Self,
        c: (*mut f32, usize),
        first: bool,
    );

    /// All of [`multiply`] at once, where there are instructions for that; whether there are.
    ///
    /// # Safety
    /// As [`multiply`].
    #[inline(always)]
    unsafe fn whole(
        _isa: Isa,
        _rows: usize,
        _width: usize,
        _a: (*const Self, usize),
        _taps: &[isize],
        _depth: usize,
        _b: *const Self,
        _c: (*mut f32, usize),
        _first: bool,
    ) -> bool {
        false
    }
}

impl Operand for f32 {
    fn weights_of(panels: &Panels) -> &[Self] {
        match &panels.data {
            Data::F32(data) => data,
            Data::Bf16(_) => panic!("an image of f32 is multiplied with weights of f32; these are of bf16"),
        }
    }

    #[inline(always)]
    unsafe fn tile<const MR: usize, const NV: usize>(
        isa: Isa,
        a: (*const Self, usize),
        taps: &[isize],
        depth: usize,
        b: *const Self,
        c: (*mut f32, usize),
        first: bool,
    ) {
        // SAFETY: the caller's.
        unsafe { tile::<MR, NV>(isa, a.0, a.1, taps, depth, b, c.0, c.1, first) }
    }
}

impl Operand for bf16 {
    fn weights_of(panels: &Panels) -> &[Self] {
        match &panels.data {
            Data::Bf16(data) => data,
            Data::F32(_) => panic!("an image of bf16 is multiplied with weights of bf16; these are of f32"),
        }
    }

    #[inline(always)]
    unsafe fn tile<const MR: usize, const NV: usize>(
        isa: Isa,
        a: (*const Self, usize),
        taps: &[isize],
        depth: usize,
        b: *const Self,
        c: (*mut f32, usize),
        first: bool,
    ) {
        // SAFETY: the caller's.
        unsafe { pairs::<MR, NV>(isa, a.0, a.1, taps, depth, b, c.0, c.1, first) }
    }

    #[cfg(target_arch = "x86_64")]
    unsafe fn whole(
        isa: Isa,
        rows: usize,
        width: usize,
        a: (*const Self, usize),
        taps: &[isize],
        depth: usize,
        b: *const Self,
        c: (*mut f32, usize),
        first: bool,
    ) -> bool {
        let fits = isa == Isa::Amx && depth.is_multiple_of(crate::amx::DEPTH);
        if fits {
            // SAFETY: the caller's; AMX is there.
            unsafe { crate::amx::multiply(rows, width, a, taps, depth, b, c, first) };
        }
        fits
    }
}

/// Rows that a tile of `width` columns may have: as many as fit into the registers.
fn most_rows(isa: Isa, vectors: usize) -> usize {
    match isa {
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx if vectors < 4 => 8,
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx | Isa::Avx2 => 6,
        Isa::Portable => 4,
    }
}

/// C\[rows × width\] (+)= Σ over taps of A · B, with `width` a multiple of the lanes and at most 4 vectors.
///
/// # Safety
/// `a` is valid for `depth` numbers at each row and tap, `b` for all of its `taps · depth · width`, `c` for its rows.
pub(crate) unsafe fn multiply<T: Operand>(
    isa: Isa,
    rows: usize,
    width: usize,
    (a, a_stride): (*const T, usize),
    taps: &[isize],
    depth: usize,
    b: *const T,
    (c, c_stride): (*mut f32, usize),
    first: bool,
) {
    // SAFETY: the caller's.
    if unsafe { T::whole(isa, rows, width, (a, a_stride), taps, depth, b, (c, c_stride), first) } {
        return;
    }
    let vectors = width / isa.lanes();
    let most = most_rows(isa, vectors);
    let mut row = 0;
    while row < rows {
        let left = (rows - row).min(most);
        // SAFETY: within the caller's rows.
        let (a, c) = unsafe { (a.add(row * a_stride), c.add(row * c_stride)) };
        macro_rules! choose {
            ($($height:literal: $($count:literal)*;)*) => {
                match (left, vectors) {
                    $($(
                        // SAFETY: the caller's.
                        ($height.., $count) => unsafe {
                            T::tile::<$height, $count>(isa, (a, a_stride), taps, depth, b, (c, c_stride), first);
                            row += $height;
                        },
                    )*)*
                    _ => unreachable!("a tile of {left} × {vectors} vectors"),
                }
            };
        }
        choose!(8: 1 2 3; 6: 1 2 3 4; 4: 1 2 3 4; 3: 1 2 3 4; 2: 1 2 3 4; 1: 1 2 3 4;);
    }
}
