/* C ABI of Adire's CUDA kernels: everything the Rust side calls.
 *
 * The same sources are built twice: by nvcc into libadire_cuda.a, and by g++ with -DADIRE_EMULATE into a library with the
 * same functions that runs every kernel on the CPU (emulate.h). Nothing of this header depends on CUDA's headers.
 *
 * Results: every `int` is a cudaError_t, 0 for success. adire_error_text() names it; adire_message() says more where
 * arguments were wrong (ADIRE_INVALID_VALUE). A launch reports only its own failure; a failure inside of a kernel is
 * reported by a later call, as always in CUDA.
 *
 * Streams: compute functions take the stream first, return before the work is done, allocate nothing and do not
 * synchronise: all of them may be captured into a graph. Pointers into device memory are marked [device].
 *
 * Views: activations are NHWC. `data` points to the first channel of the first pixel inside of the border; pixels beside
 * the image (the border) lie at negative coordinates and at height, width. All strides are in numbers, not bytes. Tokens
 * are pixels: of one row or one column, as the caller likes; only the order of pixels counts.
 *
 * Numbers: sums are f32 whatever is stored. f16 stores round to nearest even and do not saturate. Vectors (biases, gains,
 * offsets) are f32. Nothing here depends on the order in which blocks run: equal inputs on an equal device generation and
 * table give equal bits.
 */
#ifndef ADIRE_H
#define ADIRE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- constants --------------------------------------------------------------------------------------------------------- */

/* Version of this header; adire_abi_version() gives the library's. */
#define ADIRE_ABI_VERSION 1

/* cudaErrorInvalidValue. */
#define ADIRE_INVALID_VALUE 1

/* adire_view.dtype, adire_matrix.dtype */
#define ADIRE_F32 0
#define ADIRE_F16 1

/* Activations. GELU is the exact one (erf); QUICK_GELU is x·sigmoid(1.702 x). */
#define ADIRE_IDENTITY 0
#define ADIRE_SILU 1
#define ADIRE_GELU 2
#define ADIRE_QUICK_GELU 3

/* Sampling of a 3×3 convolution, as adire_kernels::Sampling; height and width of y follow from those of x:
 * SAME h, w; HALF ⌈h/2⌉, ⌈w/2⌉ (padding 1); HALF_BOTTOM_RIGHT ⌊h/2⌋, ⌊w/2⌋ (padding right and bottom only);
 * DOUBLE 2h, 2w (3×3 over the image enlarged by repeating pixels). */
#define ADIRE_SAME 0
#define ADIRE_HALF 1
#define ADIRE_HALF_BOTTOM_RIGHT 2
#define ADIRE_DOUBLE 3

/* Algorithms of products. AUTO asks the table of the device's generation; PLAIN works for every shape, type and stride;
 * other numbers name tensor-core kernels (adire_algorithm_name). A number that cannot compute the given product is an
 * error (ADIRE_INVALID_VALUE), never another algorithm in silence. */
#define ADIRE_AUTO 0
#define ADIRE_PLAIN 1

/* ---- operands ---------------------------------------------------------------------------------------------------------- */

/* Some neighbouring channels of a buffer of images. */
typedef struct adire_view {
  void *data;           /* [device] first channel of the first pixel inside of the border */
  int64_t image_stride; /* numbers from one image to the next */
  int64_t row_stride;   /* numbers from one row of pixels to the next */
  int64_t pixel_stride; /* numbers from one pixel to the next, at least `channels` */
  int32_t images;
  int32_t height;
  int32_t width;
  int32_t channels;
  int32_t border; /* pixels of zeros around each image that belong to the buffer: 0 or 1 */
  int32_t dtype;  /* ADIRE_F32 or ADIRE_F16 */
} adire_view;

/* Weights of a product, row-major, without gaps: [outputs, inputs], or of a convolution [outputs, 3, 3, inputs]. */
typedef struct adire_matrix {
  const void *data; /* [device] */
  int32_t outputs;  /* rows; of gated weights both halves: values, then gates */
  int32_t inputs;   /* channels of what it is multiplied with */
  int32_t dtype;    /* ADIRE_F32 or ADIRE_F16 */
  int32_t gated;    /* 1: result is value · gelu(gate) of the halves, of outputs/2 channels */
} adire_matrix;

/* Memory of the device that one call may overwrite. What the `_workspace` functions ask for; one block, as large as the
 * largest need, serves all calls of one stream. */
typedef struct adire_workspace {
  void *data;     /* [device], aligned to 256 bytes; NULL if `bytes` is 0 */
  uint64_t bytes;
} adire_workspace;

/* ---- device ------------------------------------------------------------------------------------------------------------ */

typedef struct adire_properties {
  char name[256];
  int32_t major; /* compute capability */
  int32_t minor;
  int32_t multiprocessors;
  int32_t shared_bytes;   /* most shared memory of a block, with opt-in */
  uint64_t memory_bytes;  /* whole memory of the device */
  uint64_t l2_bytes;
  int32_t integrated;
  int32_t driver_version; /* 13000 for 13.0 */
  int32_t runtime_version;
  int32_t emulated; /* 1: this is the CPU emulator, good for tests only */
} adire_properties;

int adire_abi_version(void);
/* Text for a result; never NULL. */
const char *adire_error_text(int result);
/* What was wrong with the last call of this thread that returned ADIRE_INVALID_VALUE; "" if there was none. */
const char *adire_message(void);

/* Number of usable devices. With none, `*count` is 0, the result is 0, and `*reason` says why: no driver, a driver that
 * is too old, no device, or devices of a generation before Turing. `*reason` is "" otherwise. It lives forever. */
int adire_device_count(int32_t *count, const char **reason);
int adire_device_properties(int32_t device, adire_properties *properties);
/* Makes `device` the one of this thread. Every thread that calls the functions below has to. */
int adire_set_device(int32_t device);
/* Bytes free and in all, of this thread's device. */
int adire_memory_info(uint64_t *free_bytes, uint64_t *total_bytes);
/* Waits for everything on this thread's device; reports failures inside of kernels. */
int adire_device_synchronize(void);

/* Device memory, aligned to 256 bytes, not cleared. `bytes` may be 0: then the pointer is NULL. Freeing NULL does nothing. */
int adire_alloc(uint64_t bytes, void **data);
int adire_free(void *data);
/* Pinned memory of the host, for copies that do not stop the host. */
int adire_alloc_host(uint64_t bytes, void **data);
int adire_free_host(void *data);

/* A stream that does not synchronise with the default one. */
int adire_stream_create(void **stream);
int adire_stream_destroy(void *stream);
int adire_stream_synchronize(void *stream);
/* Copies in stream order, between host and device in any direction. From pageable host memory it may wait. */
int adire_copy(void *stream, void *to, const void *from, uint64_t bytes);
/* As adire_copy, then waits for the stream. */
int adire_copy_wait(void *stream, void *to, const void *from, uint64_t bytes);
/* Sets every byte, in stream order. */
int adire_fill(void *stream, void *data, uint8_t value, uint64_t bytes);

int adire_event_create(void **event);
int adire_event_destroy(void *event);
int adire_event_record(void *stream, void *event);
/* Later work of the stream waits for the event. */
int adire_event_wait(void *stream, void *event);
int adire_event_synchronize(void *event);
/* Milliseconds between two recorded events that are both done. */
int adire_event_elapsed(void *from, void *to, float *milliseconds);

/* Records what is put onto the stream until adire_graph_end, instead of running it. */
int adire_graph_begin(void *stream);
/* The recorded work, ready to be launched again and again; `*nodes` is the number of its nodes (may be NULL). After a
 * failure nothing is recorded any more and *graph is NULL. */
int adire_graph_end(void *stream, void **graph, uint64_t *nodes);
int adire_graph_launch(void *stream, void *graph);
int adire_graph_destroy(void *graph);

/* ---- norms ------------------------------------------------------------------------------------------------------------- */

typedef struct adire_group_norm_args {
  adire_view x;
  adire_view y;        /* size and channels of x; its border becomes zero */
  const float *weight; /* [device] one number per channel */
  const float *bias;   /* [device] one number per channel */
  float epsilon;       /* under the root */
  int32_t groups;      /* divides the channels */
  int32_t activation;
  adire_workspace workspace;
} adire_group_norm_args;

/* y = activation((x − mean) / √(variance + ε) · weight + bias), moments over each group of channels of each image. */
int adire_group_norm(void *stream, const adire_group_norm_args *args);
/* Bytes that it needs; `workspace` and pointers are not looked at. */
uint64_t adire_group_norm_workspace(const adire_group_norm_args *args);

typedef struct adire_layer_norm_args {
  adire_view x;
  adire_view y;
  const float *weight; /* [device] */
  const float *bias;   /* [device] */
  float epsilon;
} adire_layer_norm_args;

/* The same over the channels of each pixel. The border of y is not written. At most 8192 channels. */
int adire_layer_norm(void *stream, const adire_layer_norm_args *args);

/* ---- products ---------------------------------------------------------------------------------------------------------- */

typedef struct adire_linear_args {
  adire_view x;
  adire_view y; /* as many pixels as x, outputs (outputs/2 if gated) channels */
  adire_matrix weight;
  const float *bias;   /* [device] `outputs` numbers, or NULL */
  adire_view residual; /* data NULL for none; shape of y; may be y itself */
  int32_t activation;  /* not with gated weights */
  int32_t algorithm;   /* ADIRE_AUTO, ADIRE_PLAIN, … */
  adire_workspace workspace;
} adire_linear_args;

/* For each pixel: y = activation(x·Wᵀ + bias) + residual, or y = a·gelu(c) + residual with a, c the halves of x·Wᵀ + bias. */
int adire_linear(void *stream, const adire_linear_args *args);
uint64_t adire_linear_workspace(const adire_linear_args *args);
/* The algorithm that AUTO stands for on this thread's device. */
int32_t adire_linear_algorithm(const adire_linear_args *args);

typedef struct adire_conv_args {
  adire_view x; /* has a border of 1, of zeros */
  adire_view y;
  adire_matrix weight;
  const float *offset;   /* [device] rows of `outputs` numbers, or NULL */
  int64_t offset_stride; /* numbers between the rows of one image and the next; 0: one row for all images */
  adire_view residual;   /* data NULL for none; shape of y; may be y itself */
  int32_t sampling;
  int32_t algorithm;
  adire_workspace workspace;
} adire_conv_args;

/* y = conv3x3(x, W) + offset + residual. The border of y is not written. */
int adire_conv(void *stream, const adire_conv_args *args);
uint64_t adire_conv_workspace(const adire_conv_args *args);
int32_t adire_conv_algorithm(const adire_conv_args *args);

/* How many algorithms there are, PLAIN included: numbers 1 … count. */
int32_t adire_algorithm_count(void);
/* Name of an algorithm, such as "mma 128x128x32 4 stages"; "" for another number. */
const char *adire_algorithm_name(int32_t algorithm);
/* Stands for all kernels and tables of this library: goes into recipes. Equal numbers on equal devices give equal bits. */
uint64_t adire_tables_hash(void);

/* ---- attention --------------------------------------------------------------------------------------------------------- */

typedef struct adire_attention_args {
  adire_view q; /* channels heads·d; queries are its pixels */
  adire_view k; /* images of q; keys are its pixels */
  adire_view v; /* as k */
  adire_view y; /* as q */
  int32_t heads;
  int32_t causal;    /* 1: query i sees keys 0 … i */
  int32_t algorithm; /* ADIRE_AUTO or ADIRE_PLAIN, or 2: tensor cores (f16, d a multiple of 8) */
} adire_attention_args;

/* softmax(q·kᵀ/√d)·v for each head; q, k, v of one type. d up to 512. */
int adire_attention(void *stream, const adire_attention_args *args);

/* ---- copies ------------------------------------------------------------------------------------------------------------ */

/* Nearest neighbours, floor(i·in/out) as torch chooses them, or a copy if sizes are equal; converts to the type of y. The
 * border of y becomes zero. */
int adire_resize(void *stream, const adire_view *x, const adire_view *y);
/* Copies the first half of the images to the second. */
int adire_repeat(void *stream, const adire_view *x);
/* From planes [images, channels, height, width] of f32 to y; the border of y becomes zero. */
int adire_from_planes(void *stream, const float *planes /* [device] */, const adire_view *y);
/* To planes [images, channels, height, width] of f32. */
int adire_to_planes(void *stream, const adire_view *x, float *planes /* [device] */);
/* planes = a + guidance·(b − a) with a the first half of the images of x and b the second:
 * [images/2, channels, height, width] of f32. `guidance` is one number in device memory, so that a graph serves them all. */
int adire_guide(void *stream, const adire_view *x, const float *guidance /* [device] */, float *planes /* [device] */);
/* to[0 … n) = table[*index · stride + …]: a row whose number lies in device memory. Out of range is clamped to 0 … rows−1. */
int adire_select_row(void *stream, const float *table /* [device] */, int64_t stride, int32_t rows,
                     const int32_t *index /* [device] */, float *to /* [device] */, int32_t n);
/* [images, height, width, 3] of bytes: (x/2 + 1/2) clamped to 0…1, times 255, to the nearest, even on a tie; NaN becomes 0.
 * The first three channels of x count. *flag |= 1 if any of them is not finite; the caller clears it. */
int adire_to_rgb(void *stream, const adire_view *x, uint8_t *rgb /* [device] */, uint32_t *flag /* [device] */);
/* From bytes [images, height, width, 3] to three channels of −1…1, value/127.5 − 1; the border of y becomes zero. */
int adire_from_rgb(void *stream, const uint8_t *rgb /* [device] */, const adire_view *y);
/* Converts n numbers without gaps, from one type to another. */
int adire_convert(void *stream, const void *from, int32_t from_dtype, void *to, int32_t to_dtype, uint64_t n);

/* ---- weights ----------------------------------------------------------------------------------------------------------- */

/* A change of neighbouring rows of a matrix: strength · up · down, or strength · dense. Factors are f32. For convolutions
 * `down` and `dense` have the order of the matrix, [.., 3, 3, inputs]. */
typedef struct adire_change {
  const float *up;    /* [device] [rows, rank]; NULL for a dense one */
  const float *down;  /* [device] [rank, columns] */
  const float *dense; /* [device] [rows, columns]; NULL for one of low rank */
  float strength;
  int32_t rank;
  int32_t first; /* row of the matrix */
  int32_t rows;
} adire_change;

/* Most changes of one merge. */
#define ADIRE_MAX_CHANGES 32

typedef struct adire_merge_args {
  const void *pristine; /* [device] [rows, columns] */
  void *effective;      /* [device] the same shape; may not be `pristine` */
  int32_t rows;
  int32_t columns; /* inputs, or 9·inputs */
  int32_t dtype;   /* of both */
  int32_t changes;
  adire_change change[ADIRE_MAX_CHANGES];
} adire_merge_args;

/* effective = round(pristine + Σ changes) for every row, in f32, changes in their order; rows without a change are copied.
 * Always from `pristine`: equal changes give equal bits whatever was merged before. */
int adire_merge(void *stream, const adire_merge_args *args);

/* *sum = Σ (a − b)² over n numbers of one type, in f64, always in the same order; b may be NULL for zeros. */
int adire_square_sum(void *stream, const void *a, const void *b, int32_t dtype, uint64_t n, double *sum /* [device] */,
                     adire_workspace workspace);
/* Bytes that adire_square_sum needs. */
#define ADIRE_SQUARE_SUM_WORKSPACE 8192

/* Adds a fingerprint of `bytes` (a multiple of 4) to lanes[0], lanes[1], which the caller clears before the first of a set:
 *   lanes[k] += Σ mix(word[i] + 2^32·k + 0x9E3779B97F4A7C15·(first + i + 1))   modulo 2^64
 * with little-endian 32-bit words, and mix the finaliser of splitmix64:
 *   z ^= z >> 30; z *= 0xBF58476D1CE4E5B9; z ^= z >> 27; z *= 0x94D049BB133111EB; z ^= z >> 31
 * `first` places the block within the whole: sums of blocks give that of the whole, in any order. */
int adire_fingerprint(void *stream, const void *data, uint64_t bytes, uint64_t first, uint64_t *lanes /* [device] */);

#ifdef __cplusplus
}
#endif

#endif
