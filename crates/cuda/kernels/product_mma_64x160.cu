#include "product_mma.h"

int run_64x160(void *stream, const Product &p, const Algorithm &algorithm, const Layout &layout) {
  return run_tile<Tile<64, 160, 32, 32, 80, 4>>(stream, p, algorithm, layout);
}
