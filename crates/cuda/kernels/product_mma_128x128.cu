#include "product_mma.h"

int run_128x128(void *stream, const Product &p, const Algorithm &algorithm, const Layout &layout) {
  return run_tile<Tile<128, 128, 32, 64, 64, 4>>(stream, p, algorithm, layout);
}
