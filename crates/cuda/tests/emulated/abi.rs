//! `kernels/adire.h`, and images to try it with.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr::{null, null_mut},
};

use half::f16;

use super::symbol;

pub(crate) const F32: i32 = 0;
pub(crate) const F16: i32 = 1;
pub(crate) const PLAIN: i32 = 1;
pub(crate) const MAX_CHANGES: usize = 32;

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct View {
    pub(crate) data: *mut c_void,
    pub(crate) image_stride: i64,
    pub(crate) row_stride: i64,
    pub(crate) pixel_stride: i64,
    pub(crate) images: i32,
    pub(crate) height: i32,
    pub(crate) width: i32,
    pub(crate) channels: i32,
    pub(crate) border: i32,
    pub(crate) dtype: i32,
}

impl View {
    pub(crate) const NONE: Self = Self {
        data: null_mut(),
        image_stride: 0,
        row_stride: 0,
        pixel_stride: 0,
        images: 0,
        height: 0,
        width: 0,
        channels: 0,
        border: 0,
        dtype: 0,
    };
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Matrix {
    pub(crate) data: *const c_void,
    pub(crate) outputs: i32,
    pub(crate) inputs: i32,
    pub(crate) dtype: i32,
    pub(crate) gated: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Workspace {
    pub(crate) data: *mut c_void,
    pub(crate) bytes: u64,
}

impl Workspace {
    pub(crate) const NONE: Self = Self { data: null_mut(), bytes: 0 };
}

#[repr(C)]
pub(crate) struct GroupNorm {
    pub(crate) x: View,
    pub(crate) y: View,
    pub(crate) weight: *const f32,
    pub(crate) bias: *const f32,
    pub(crate) epsilon: f32,
    pub(crate) groups: i32,
    pub(crate) activation: i32,
    pub(crate) workspace: Workspace,
}

#[repr(C)]
pub(crate) struct LayerNorm {
    pub(crate) x: View,
    pub(crate) y: View,
    pub(crate) weight: *const f32,
    pub(crate) bias: *const f32,
    pub(crate) epsilon: f32,
}

#[repr(C)]
pub(crate) struct Linear {
    pub(crate) x: View,
    pub(crate) y: View,
    pub(crate) weight: Matrix,
    pub(crate) bias: *const f32,
    pub(crate) residual: View,
    pub(crate) activation: i32,
    pub(crate) algorithm: i32,
    pub(crate) workspace: Workspace,
}

#[repr(C)]
pub(crate) struct Conv {
    pub(crate) x: View,
    pub(crate) y: View,
    pub(crate) weight: Matrix,
    pub(crate) offset: *const f32,
    pub(crate) offset_stride: i64,
    pub(crate) residual: View,
    pub(crate) sampling: i32,
    pub(crate) algorithm: i32,
    pub(crate) workspace: Workspace,
}

#[repr(C)]
pub(crate) struct Attention {
    pub(crate) q: View,
    pub(crate) k: View,
    pub(crate) v: View,
    pub(crate) y: View,
    pub(crate) heads: i32,
    pub(crate) causal: i32,
    pub(crate) algorithm: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Change {
    pub(crate) up: *const f32,
    pub(crate) down: *const f32,
    pub(crate) dense: *const f32,
    pub(crate) strength: f32,
    pub(crate) rank: i32,
    pub(crate) first: i32,
    pub(crate) rows: i32,
}

impl Change {
    pub(crate) const NONE: Self =
        Self { up: null(), down: null(), dense: null(), strength: 0.0, rank: 0, first: 0, rows: 0 };
}

#[repr(C)]
pub(crate) struct Merge {
    pub(crate) pristine: *const c_void,
    pub(crate) effective: *mut c_void,
    pub(crate) rows: i32,
    pub(crate) columns: i32,
    pub(crate) dtype: i32,
    pub(crate) changes: i32,
    pub(crate) change: [Change; MAX_CHANGES],
}

/// Calls `int name(stream, …)`, in one of the orders of the emulator.
macro_rules! call {
    ($name:ident, $($value:expr => $kind:ty),*) => {
        $crate::emulated::abi::result(stringify!($name), {
            let found = $crate::emulated::symbol(stringify!($name));
            // SAFETY: the types are those of adire.h; views lie within their buffers.
            unsafe {
                let function: unsafe extern "C" fn(*mut c_void, $($kind),*) -> c_int = std::mem::transmute(found);
                function(std::ptr::null_mut(), $($value),*)
            }
        })
    };
}
pub(crate) use call;

/// A function of the library, by its type.
macro_rules! function {
    ($name:ident($($kind:ty),*)) => {{
        let found = $crate::emulated::symbol(stringify!($name));
        // SAFETY: the type is that of adire.h.
        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($kind),*) -> c_int>(found) }
    }};
}
pub(crate) use function;

/// Calls `uint64_t name(const T *)`.
pub(crate) fn bytes<T>(name: &str, args: &T) -> u64 {
    // SAFETY: the type is that of adire.h.
    unsafe {
        let function: unsafe extern "C" fn(*const T) -> u64 = std::mem::transmute(symbol(name));
        function(args)
    }
}

/// Calls `int32_t name(const T *)`.
pub(crate) fn number<T>(name: &str, args: &T) -> i32 {
    // SAFETY: as above.
    unsafe {
        let function: unsafe extern "C" fn(*const T) -> i32 = std::mem::transmute(symbol(name));
        function(args)
    }
}

/// Calls `int32_t name(void)`.
pub(crate) fn count(name: &str) -> i32 {
    // SAFETY: as above.
    unsafe {
        let function: unsafe extern "C" fn() -> i32 = std::mem::transmute(symbol(name));
        function()
    }
}

/// Calls `void name(int32_t)`.
pub(crate) fn set(name: &str, value: i32) {
    // SAFETY: as above.
    unsafe {
        let function: unsafe extern "C" fn(i32) = std::mem::transmute(symbol(name));
        function(value);
    }
}

/// A text of the library.
pub(crate) fn text(name: &str) -> String {
    // SAFETY: texts live as long as this thread calls nothing else.
    unsafe {
        let function: unsafe extern "C" fn() -> *const c_char = std::mem::transmute(symbol(name));
        CStr::from_ptr(function()).to_string_lossy().into_owned()
    }
}

/// The name of an algorithm.
pub(crate) fn algorithm_name(algorithm: i32) -> String {
    // SAFETY: texts are constants.
    unsafe {
        let found = symbol("adire_algorithm_name");
        let function: unsafe extern "C" fn(i32) -> *const c_char = std::mem::transmute(found);
        CStr::from_ptr(function(algorithm)).to_string_lossy().into_owned()
    }
}

/// `Err` with the library's text.
pub(crate) fn result(name: &str, code: c_int) -> Result<(), String> {
    if code == 0 { Ok(()) } else { Err(format!("{name}: {}", text("adire_message"))) }
}

/// Pseudo-random numbers: splitmix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn int(&mut self, low: usize, high: usize) -> usize {
        low + (self.bits() >> 33) as usize % (high - low + 1)
    }

    pub(crate) fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.int(0, values.len() - 1)]
    }

    pub(crate) fn bool(&mut self) -> bool {
        self.bits() >> 63 == 1
    }

    /// −1 … 1.
    pub(crate) fn signed(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn vector(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.signed()).collect()
    }
}

/// The finaliser of splitmix64.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What stands where nothing may be read: NaN in both types, and where nothing may be written.
const POISON: u8 = 0xff;

/// Numbers of either type, 256 bytes aligned.
pub(crate) struct Numbers {
    memory: Vec<[u64; 32]>,
    start: usize,
    pub(crate) len: usize,
    pub(crate) dtype: i32,
}

impl Numbers {
    /// NaN everywhere.
    pub(crate) fn poison(len: usize, dtype: i32) -> Self {
        let bytes = len * if dtype == F16 { 2 } else { 4 };
        let memory = vec![[u64::MAX; 32]; bytes / 256 + 2];
        let start = memory.as_ptr().addr().next_multiple_of(256) - memory.as_ptr().addr();
        Self { memory, start, len, dtype }
    }

    pub(crate) fn of(values: &[f32], dtype: i32) -> Self {
        let mut numbers = Self::poison(values.len(), dtype);
        for (i, value) in values.iter().enumerate() {
            numbers.set(i, *value);
        }
        numbers
    }

    pub(crate) fn size(&self) -> usize {
        if self.dtype == F16 { 2 } else { 4 }
    }

    fn at(&self, i: usize) -> *mut u8 {
        assert!(i < self.len);
        self.memory.as_ptr().cast::<u8>().wrapping_add(self.start + i * self.size()).cast_mut()
    }

    pub(crate) fn pointer<T>(&self) -> *mut T {
        self.memory.as_ptr().cast::<u8>().wrapping_add(self.start).cast_mut().cast()
    }

    pub(crate) fn get(&self, i: usize) -> f32 {
        // SAFETY: `at` checks the bounds.
        unsafe {
            match self.dtype {
                F16 => self.at(i).cast::<f16>().read().to_f32(),
                _ => self.at(i).cast::<f32>().read(),
            }
        }
    }

    pub(crate) fn set(&mut self, i: usize, value: f32) {
        // SAFETY: as above.
        unsafe {
            match self.dtype {
                F16 => self.at(i).cast::<f16>().write(f16::from_f32(value)),
                _ => self.at(i).cast::<f32>().write(value),
            }
        }
    }

    /// Whether nobody has written there.
    pub(crate) fn is_poison(&self, i: usize) -> bool {
        // SAFETY: as above.
        (0..self.size()).all(|byte| unsafe { self.at(i).add(byte).read() } == POISON)
    }

    pub(crate) fn words(&self) -> Vec<u32> {
        // SAFETY: whole words of this memory.
        (0..self.len * self.size() / 4).map(|i| unsafe { self.pointer::<u32>().add(i).read() }).collect()
    }
}

/// A buffer of images, some of whose channels are looked at.
pub(crate) struct Image {
    pub(crate) numbers: Numbers,
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Of the view.
    pub(crate) channels: usize,
    before: usize,
    stride: usize,
    pub(crate) border: usize,
}

/// Shape of an image.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) images: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) border: usize,
    /// Channels of the buffer before and behind the view.
    pub(crate) gaps: (usize, usize),
    pub(crate) dtype: i32,
}

impl Image {
    /// NaN everywhere.
    pub(crate) fn poison(size: Size) -> Self {
        let Size { images, height, width, channels, border, gaps, dtype } = size;
        let stride = gaps.0 + channels + gaps.1;
        let len = images * (height + 2 * border) * (width + 2 * border) * stride;
        Self {
            numbers: Numbers::poison(len, dtype),
            images,
            height,
            width,
            channels,
            before: gaps.0,
            stride,
            border,
        }
    }

    /// Values by `f`, zeros in the border, NaN in the gaps.
    pub(crate) fn filled(size: Size, mut f: impl FnMut() -> f32) -> Self {
        let mut image = Self::poison(size);
        let border = image.border as isize;
        for i in 0..image.images {
            for row in -border..image.height as isize + border {
                for column in -border..image.width as isize + border {
                    for channel in 0..image.channels {
                        let value = if image.inside(row, column) { f() } else { 0.0 };
                        let at = image.index(i, row, column, channel);
                        image.numbers.set(at, value);
                    }
                }
            }
        }
        image
    }

    pub(crate) fn inside(&self, row: isize, column: isize) -> bool {
        (0..self.height as isize).contains(&row) && (0..self.width as isize).contains(&column)
    }

    pub(crate) fn index(&self, image: usize, row: isize, column: isize, channel: usize) -> usize {
        let line = self.width + 2 * self.border;
        let row = (image * (self.height + 2 * self.border)) + (row + self.border as isize) as usize;
        (row * line + (column + self.border as isize) as usize) * self.stride + self.before + channel
    }

    pub(crate) fn get(&self, image: usize, row: isize, column: isize, channel: usize) -> f64 {
        f64::from(self.numbers.get(self.index(image, row, column, channel)))
    }

    pub(crate) fn pixels(&self) -> usize {
        self.images * self.height * self.width
    }

    /// Of the `pixel`th pixel.
    pub(crate) fn pixel(&self, pixel: usize, channel: usize) -> f64 {
        let (image, at) = (pixel / (self.height * self.width), pixel % (self.height * self.width));
        self.get(image, (at / self.width) as isize, (at % self.width) as isize, channel)
    }

    pub(crate) fn view(&self) -> View {
        let line = (self.width + 2 * self.border) * self.stride;
        let start = self.index(0, 0, 0, 0);
        View {
            data: self.numbers.pointer::<u8>().wrapping_add(start * self.numbers.size()).cast(),
            image_stride: (line * (self.height + 2 * self.border)) as i64,
            row_stride: line as i64,
            pixel_stride: self.stride as i64,
            images: self.images as i32,
            height: self.height as i32,
            width: self.width as i32,
            channels: self.channels as i32,
            border: self.border as i32,
            dtype: self.numbers.dtype,
        }
    }

    /// Compares with `expected(image, row, column, channel)`, which gives the value and the size of what was summed for it.
    /// `error` is relative to that size; numbers of f16 may be rounded, too. Gaps must be untouched; the border zero, or
    /// untouched.
    pub(crate) fn check(
        &self,
        what: &str,
        error: f64,
        zero_border: bool,
        mut expected: impl FnMut(usize, isize, isize, usize) -> (f64, f64),
    ) {
        let border = self.border as isize;
        let rounding = if self.numbers.dtype == F16 { 4.9e-4 } else { 6.0e-8 };
        let mut touched = vec![false; self.numbers.len];
        for image in 0..self.images {
            for row in -border..self.height as isize + border {
                for column in -border..self.width as isize + border {
                    for channel in 0..self.channels {
                        let at = self.index(image, row, column, channel);
                        if self.inside(row, column) {
                            touched[at] = true;
                            let found = f64::from(self.numbers.get(at));
                            let (value, size) = expected(image, row, column, channel);
                            let most = error * size + rounding * value.abs() + 3.0e-8;
                            assert!(
                                (found - value).abs() <= most,
                                "{what}: image {image}, row {row}, column {column}, channel {channel}: {found}, \
                                 expected {value} ± {most}"
                            );
                        } else if zero_border {
                            touched[at] = true;
                            assert_eq!(
                                self.numbers.get(at),
                                0.0,
                                "{what}: border at {row}, {column}, {channel}"
                            );
                        }
                    }
                }
            }
        }
        for (at, touched) in touched.into_iter().enumerate() {
            assert!(touched || self.numbers.is_poison(at), "{what}: a gap was written, at {at}");
        }
    }
}

/// Memory for a call.
pub(crate) struct Scratch(Numbers, u64);

impl Scratch {
    pub(crate) fn new(bytes: u64) -> Self {
        Self(Numbers::poison(bytes as usize / 4 + 1, F32), bytes)
    }

    pub(crate) fn get(&self) -> Workspace {
        if self.1 == 0 { Workspace::NONE } else { Workspace { data: self.0.pointer(), bytes: self.1 } }
    }
}
