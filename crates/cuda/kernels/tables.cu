/* The algorithms of products, and which one computes which shape.
 *
 * A choice depends on the device's generation and on the shape, and on nothing that is measured at start: equal shapes give
 * equal bits on every device of a generation, for any number of images. tables/sm_*.inc hold measured choices; what they lack
 * is chosen by a model of waves of blocks over a usual device of that generation. The model has not been compared with a device yet.
 */
#include "product_mma.h"

namespace {

constexpr int MMA_FIRST = 2;

/* Number 2 is the first. Numbers go into recipes by adire_tables_hash: append only. */
const Algorithm ALGORITHMS[] = {
    {"mma 128x128x32", 128, 128, 32, 4, 128, 1, run_128x128}, {"mma 128x64x32", 128, 64, 32, 4, 128, 1, run_128x64},
    {"mma 64x64x32", 64, 64, 32, 5, 128, 1, run_64x64},       {"mma 128x160x32", 128, 160, 32, 4, 256, 1, run_128x160},
    {"mma 64x160x32", 64, 160, 32, 4, 128, 1, run_64x160},    {"mma 256x128x32", 256, 128, 32, 3, 256, 1, run_256x128},
    {"mma 128x128x32 split 3", 128, 128, 32, 4, 128, 3, run_128x128},
    {"mma 64x64x32 split 3", 64, 64, 32, 5, 128, 3, run_64x64},
    {"mma 64x64x32 split 8", 64, 64, 32, 5, 128, 8, run_64x64},
    {"mma 128x64x32 split 3", 128, 64, 32, 4, 128, 3, run_128x64},
};
constexpr int COUNT = sizeof ALGORITHMS / sizeof *ALGORITHMS;

/* A measured choice. */
struct Choice { int64_t pixels; int32_t outputs, k, gated, algorithm; };
/* A generation: a usual device's multiprocessors and shared memory of each, for the model. */
struct Generation {
  int number, multiprocessors, shared_kib;
  /* Memory bytes that go by in the time of a thousand multiply-adds of the whole device. */
  double bytes_per_kilo_mac;
  const Choice *choices;
  size_t count;
};

const Choice NONE = {0, 0, 0, 0, 0};
const Choice SM_75[] = {
#include "tables/sm_75.inc"
    NONE};
const Choice SM_80[] = {
#include "tables/sm_80.inc"
    NONE};
const Choice SM_86[] = {
#include "tables/sm_86.inc"
    NONE};
const Choice SM_89[] = {
#include "tables/sm_89.inc"
    NONE};
const Choice SM_90[] = {
#include "tables/sm_90.inc"
    NONE};

#define ADIRE_TABLE(name) name, sizeof name / sizeof *name
/* T4, A100, RTX 3090, RTX 4090, H100. */
const Generation GENERATIONS[] = {{75, 40, 64, 10.0, ADIRE_TABLE(SM_75)},
                                  {80, 108, 164, 13.0, ADIRE_TABLE(SM_80)},
                                  {86, 82, 100, 26.0, ADIRE_TABLE(SM_86)},
                                  {89, 128, 100, 12.0, ADIRE_TABLE(SM_89)},
                                  {90, 132, 228, 8.0, ADIRE_TABLE(SM_90)}};

/* The generation's own entry, or the nearest older one. */
const Generation *generation_entry(int number) {
  const Generation *found = nullptr;
  for (const Generation &generation : GENERATIONS)
    if (generation.number <= number) found = &generation;
  return found;
}

int64_t depth_of(const Product &p) { return int64_t(p.taps) * p.inputs; }
int64_t columns_of(const Product &p) { return p.gated ? 2 * int64_t(p.outputs) : p.outputs; }

bool takes(const Algorithm &a, const Product &p, int generation) {
  if (a.bm == 256 && generation < 80) return false; /* see run_tile */
  if (p.gated && (a.splits > 1 || (a.bm == 128 && a.bn == 160))) return false; /* warps of 128x160 have 40 columns */
  if (a.splits == 1) return true;
  return ceil_div(p.inputs, a.bk) * p.taps >= 4 * a.splits && p.pixels * ceil_div(p.outputs, 8) < 0x7fffffff;
}

/* Time by the model for so many pixels, in multiply-adds of one multiprocessor at full speed. */
double cost(const Algorithm &a, const Product &p, int64_t pixels, const Generation &g) {
  double tiles = double(ceil_div(pixels, a.bm)) * double(ceil_div(columns_of(p), a.bn)) * a.splits;
  double stages = g.number >= 80 ? a.stages : 2, shared = stages * (a.bm + a.bn) * a.bk * 2.0 / 1024.0 + 1.0;
  /* Blocks that a multiprocessor holds: by shared memory, registers (about 200 a thread) and need. */
  double blocks = double(g.shared_kib) / shared, by_registers = 65536.0 / (200.0 * a.threads);
  blocks = blocks < by_registers ? blocks : by_registers;
  blocks = blocks < 1.0 ? 1.0 : blocks > 4.0 ? 4.0 : double(int(blocks));
  double waves = tiles / (g.multiprocessors * blocks);
  waves = waves <= 1.0 ? 1.0 : waves + 0.5 * (double(int64_t(waves + 0.999)) - waves);
  /* One block alone does not keep the tensor cores busy; small tiles wait for shared memory. */
  double shape = double(a.bm) * a.bn / (a.bm + a.bn), efficiency = shape / (shape + 12.0);
  double held = tiles / g.multiprocessors < blocks ? ceil_div(int64_t(tiles), g.multiprocessors) : blocks;
  double warps = held * a.threads / 32.0, busy = warps / (warps + 3.0);
  double steps = double(ceil_div(p.inputs, a.bk)) * p.taps / a.splits * a.bk;
  double macs = waves * held * a.bm * a.bn * (steps + 128.0) / (efficiency * busy);
  if (a.splits > 1) macs += 1.0e6 + double(pixels) * p.outputs * 4.0 * (a.splits + 1) * 1000.0 / g.bytes_per_kilo_mac / g.multiprocessors;
  return macs;
}

/* ---- split k ----------------------------------------------------------------------------------------------------------- */

constexpr int THREADS = 256;

__global__ void __launch_bounds__(THREADS) join_parts(Product p, Layout l, int splits) {
  int items = (p.outputs + 7) / 8;
  unsigned i = blockIdx.x * THREADS + threadIdx.x;
  int64_t pixel = i / unsigned(items);
  if (pixel >= p.pixels) return;
  int column = int(i - unsigned(pixel) * items) * 8;
  float values[8] = {};
  for (int split = 0; split < splits; split++) {
    const float *from = l.parts + (int64_t(split) * p.pixels + pixel) * p.outputs + column;
    for (int k = 0; k < 8; k++)
      if (column + k < p.outputs) values[k] += from[k];
  }
  const float *bias = p.bias ? p.bias + (p.bias_stride ? place_of(p.y, pixel).image * p.bias_stride : 0) : nullptr;
  finish(p, l, pixel_offset(p.y, pixel), p.residual.data ? pixel_offset(p.residual, pixel) : 0, bias, column, values);
}

#ifndef ADIRE_SOURCES_HASH
uint64_t hash(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x100000001B3ull;
  return hash ^ hash >> 29;
}
#endif

}  // namespace

bool fits_mma(const Product &p) {
  return p.x.dtype == ADIRE_F16 && p.weight_dtype == ADIRE_F16 && p.inputs % 8 == 0 && by_eight(p.x) &&
         reinterpret_cast<uintptr_t>(p.weight) % 16 == 0 && (!p.gated || p.outputs % 8 == 0);
}

uint64_t mma_workspace(const Product &p, int algorithm) {
  const Algorithm &a = ALGORITHMS[algorithm - MMA_FIRST];
  return a.splits == 1 ? 0 : align256(uint64_t(a.splits) * p.pixels * p.outputs * sizeof(float));
}

int mma_product(void *stream, const Product &p, int algorithm, const adire_workspace &workspace) {
  const Algorithm &a = ALGORITHMS[algorithm - MMA_FIRST];
  if (!takes(a, p, generation_of_device())) return invalid("algorithm %d (%s) does not take this product", algorithm, a.name);
  Layout l = {};
  l.column_tiles = int32_t(ceil_div(columns_of(p), a.bn));
  l.steps_per_tap = int32_t(ceil_div(p.inputs, a.bk));
  l.steps_per_split = int32_t(ceil_div(int64_t(p.taps) * l.steps_per_tap, a.splits));
  l.wide_y = by_eight(p.y), l.wide_residual = p.residual.data && by_eight(p.residual);
  if (a.splits == 1) return a.go(stream, p, a, l);
  l.parts = static_cast<float *>(workspace.data);
  ADIRE_TRY(a.go(stream, p, a, l));
  int64_t items = p.pixels * ceil_div(p.outputs, 8);
  return launch(stream, dim3(unsigned(ceil_div(items, THREADS))), dim3(THREADS), 0, join_parts, p, l, a.splits);
}

/* Measured, or the cheapest by the model for so many pixels; of those with `splits` parts unless that is 0. */
int best_algorithm(const Product &p, int64_t pixels, int splits, const Generation &generation) {
  for (size_t i = 0; i + 1 < generation.count; i++) {
    const Choice &choice = generation.choices[i];
    bool same = choice.pixels == pixels && choice.outputs == p.outputs && choice.k == depth_of(p) && choice.gated == p.gated;
    if (same && (!splits || splits == ALGORITHMS[choice.algorithm - MMA_FIRST].splits)) return choice.algorithm;
  }
  int best = ADIRE_PLAIN;
  double least = 0.0;
  for (int i = 0; i < COUNT; i++) {
    const Algorithm &a = ALGORITHMS[i];
    if ((splits && a.splits != splits) || !takes(a, p, generation.number)) continue;
    double time = cost(a, p, pixels, generation);
    if (best == ADIRE_PLAIN || time < least) best = i + MMA_FIRST, least = time;
  }
  return best;
}

/* The tile is that of the shape. The order in which a sum is added up, which is all that its bits depend on, is that of a guided
 * image: an image has the same bits in every batch. */
int table_algorithm(const Product &p) {
  if (!fits_mma(p)) return ADIRE_PLAIN;
  const Generation *generation = generation_entry(generation_of_device());
  if (!generation) return ADIRE_PLAIN;
  int64_t of_image = int64_t(p.y.height) * p.y.width;
  int guided = best_algorithm(p, 2 * of_image, 0, *generation);
  if (guided == ADIRE_PLAIN) return guided;
  int best = best_algorithm(p, p.pixels, ALGORITHMS[guided - MMA_FIRST].splits, *generation);
  return best == ADIRE_PLAIN ? guided : best;
}

extern "C" {

int32_t adire_algorithm_count(void) { return MMA_FIRST - 1 + COUNT; }

const char *adire_algorithm_name(int32_t algorithm) {
  if (algorithm == ADIRE_PLAIN) return "plain";
  return algorithm >= MMA_FIRST && algorithm < MMA_FIRST + COUNT ? ALGORITHMS[algorithm - MMA_FIRST].name : "";
}

uint64_t adire_tables_hash(void) {
  /* ADIRE_SOURCES_HASH: of all kernels' sources, given by the build. */
#ifdef ADIRE_SOURCES_HASH
  return ADIRE_SOURCES_HASH;
#else
  uint64_t value = 0xCBF29CE484222325ull;
  for (const Generation &generation : GENERATIONS)
    for (size_t i = 0; i + 1 < generation.count; i++) {
      const Choice &c = generation.choices[i];
      value = hash(hash(hash(hash(hash(value, c.pixels), c.outputs), c.k), c.gated), c.algorithm);
    }
  return value;
#endif
}
}
