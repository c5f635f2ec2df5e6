#include "product_mma.h"

int run_128x160(void *stream, const Product &p, const Algorithm &algorithm, const Layout &layout) {
  return run_tile<Tile<128, 160, 32, 64, 40, 4>>(stream, p, algorithm, layout);
}
