//! `kernels/adire.h`, as Rust sees it. Names of functions are those of the header.

use std::ffi::{c_char, c_void};

pub(super) const VERSION: i32 = 1;
/// cudaErrorInvalidValue
pub(super) const INVALID_VALUE: i32 = 1;
/// cudaErrorMemoryAllocation
pub(super) const OUT_OF_MEMORY: i32 = 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) data: *mut c_void,
    pub(super) image_stride: i64,
    pub(super) row_stride: i64,
    pub(super) pixel_stride: i64,
    pub(super) images: i32,
    pub(super) height: i32,
    pub(super) width: i32,
    pub(super) channels: i32,
    pub(super) border: i32,
    pub(super) dtype: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    pub(super) data: *const c_void,
    pub(super) outputs: i32,
    pub(super) inputs: i32,
    pub(super) dtype: i32,
    pub(super) gated: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Workspace {
    pub(super) data: *mut c_void,
    pub(super) bytes: u64,
}

#[repr(C)]
pub(super) struct Properties {
    pub(super) name: [u8; 256],
    pub(super) major: i32,
    pub(super) minor: i32,
    pub(super) multiprocessors: i32,
    pub(super) shared_bytes: i32,
    pub(super) memory_bytes: u64,
    pub(super) l2_bytes: u64,
    pub(super) integrated: i32,
    pub(super) driver_version: i32,
    pub(super) runtime_version: i32,
    pub(super) emulated: i32,
}

#[repr(C)]
pub(super) struct GroupNorm {
    pub(super) x: View,
    pub(super) y: View,
    pub(super) weight: *const f32,
    pub(super) bias: *const f32,
    pub(super) epsilon: f32,
    pub(super) groups: i32,
    pub(super) activation: i32,
    pub(super) workspace: Workspace,
}

#[repr(C)]
pub(super) struct LayerNorm {
    pub(super) x: View,
    pub(super) y: View,
    pub(super) weight: *const f32,
    pub(super) bias: *const f32,
    pub(super) epsilon: f32,
}

#[repr(C)]
pub(super) struct Linear {
    pub(super) x: View,
    pub(super) y: View,
    pub(super) weight: Matrix,
    pub(super) bias: *const f32,
    pub(super) residual: View,
    pub(super) activation: i32,
    pub(super) algorithm: i32,
    pub(super) workspace: Workspace,
}

#[repr(C)]
pub(super) struct Conv {
    pub(super) x: View,
    pub(super) y: View,
    pub(super) weight: Matrix,
    pub(super) offset: *const f32,
    pub(super) offset_stride: i64,
    pub(super) residual: View,
    pub(super) sampling: i32,
    pub(super) algorithm: i32,
    pub(super) workspace: Workspace,
}

#[repr(C)]
pub(super) struct Attention {
    pub(super) q: View,
    pub(super) k: View,
    pub(super) v: View,
    pub(super) y: View,
    pub(super) heads: i32,
    pub(super) causal: i32,
    pub(super) algorithm: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub(super) up: *const f32,
    pub(super) down: *const f32,
    pub(super) dense: *const f32,
    pub(super) strength: f32,
    pub(super) rank: i32,
    pub(super) first: i32,
    pub(super) rows: i32,
}

#[repr(C)]
pub(super) struct Merge {
    pub(super) pristine: *const c_void,
    pub(super) effective: *mut c_void,
    pub(super) rows: i32,
    pub(super) columns: i32,
    pub(super) dtype: i32,
    pub(super) changes: i32,
    pub(super) change: [Change; crate::MAX_CHANGES],
}

unsafe extern "C" {
    pub(super) fn adire_abi_version() -> i32;
    pub(super) fn adire_error_text(result: i32) -> *const c_char;
    pub(super) fn adire_message() -> *const c_char;
    pub(super) fn adire_device_count(count: *mut i32, reason: *mut *const c_char) -> i32;
    pub(super) fn adire_device_properties(device: i32, properties: *mut Properties) -> i32;
    pub(super) fn adire_set_device(device: i32) -> i32;
    pub(super) fn adire_memory_info(free: *mut u64, total: *mut u64) -> i32;
    pub(super) fn adire_alloc(bytes: u64, data: *mut *mut c_void) -> i32;
    pub(super) fn adire_free(data: *mut c_void) -> i32;
    pub(super) fn adire_stream_create(stream: *mut *mut c_void) -> i32;
    pub(super) fn adire_stream_destroy(stream: *mut c_void) -> i32;
    pub(super) fn adire_stream_synchronize(stream: *mut c_void) -> i32;
    pub(super) fn adire_copy(stream: *mut c_void, to: *mut c_void, from: *const c_void, bytes: u64) -> i32;
    pub(super) fn adire_copy_wait(
        stream: *mut c_void,
        to: *mut c_void,
        from: *const c_void,
        bytes: u64,
    ) -> i32;
    pub(super) fn adire_graph_begin(stream: *mut c_void) -> i32;
    pub(super) fn adire_graph_end(stream: *mut c_void, graph: *mut *mut c_void, nodes: *mut u64) -> i32;
    pub(super) fn adire_graph_launch(stream: *mut c_void, graph: *mut c_void) -> i32;
    pub(super) fn adire_graph_destroy(graph: *mut c_void) -> i32;
    pub(super) fn adire_group_norm(stream: *mut c_void, args: *const GroupNorm) -> i32;
    pub(super) fn adire_group_norm_workspace(args: *const GroupNorm) -> u64;
    pub(super) fn adire_layer_norm(stream: *mut c_void, args: *const LayerNorm) -> i32;
    pub(super) fn adire_linear(stream: *mut c_void, args: *const Linear) -> i32;
    pub(super) fn adire_linear_workspace(args: *const Linear) -> u64;
    pub(super) fn adire_conv(stream: *mut c_void, args: *const Conv) -> i32;
    pub(super) fn adire_conv_workspace(args: *const Conv) -> u64;
    pub(super) fn adire_tables_hash() -> u64;
    pub(super) fn adire_attention(stream: *mut c_void, args: *const Attention) -> i32;
    pub(super) fn adire_resize(stream: *mut c_void, x: *const View, y: *const View) -> i32;
    pub(super) fn adire_repeat(stream: *mut c_void, x: *const View) -> i32;
    pub(super) fn adire_from_planes(stream: *mut c_void, planes: *const f32, y: *const View) -> i32;
    pub(super) fn adire_to_planes(stream: *mut c_void, x: *const View, planes: *mut f32) -> i32;
    pub(super) fn adire_select_row(
        stream: *mut c_void,
        table: *const f32,
        stride: i64,
        rows: i32,
        index: *const i32,
        to: *mut f32,
        n: i32,
    ) -> i32;
    pub(super) fn adire_merge(stream: *mut c_void, args: *const Merge) -> i32;
}
