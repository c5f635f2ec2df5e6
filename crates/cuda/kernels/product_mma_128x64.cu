#include "product_mma.h"

int run_128x64(void *stream, const Product &p, const Algorithm &algorithm, const Layout &layout) {
  return run_tile<Tile<128, 64, 32, 64, 32, 4>>(stream, p, algorithm, layout);
}
