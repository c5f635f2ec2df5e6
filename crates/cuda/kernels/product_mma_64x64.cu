#include "product_mma.h"

int run_64x64(void *stream, const Product &p, const Algorithm &algorithm, const Layout &layout) {
  return run_tile<Tile<64, 64, 32, 32, 32, 5>>(stream, p, algorithm, layout);
}
