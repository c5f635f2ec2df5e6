#include "product_mma.h"

int run_256x128(void *stream, const Product &p, const Algorithm &algorithm, const Layout &layout) {
  return run_tile<Tile<256, 128, 32, 64, 64, 3>>(stream, p, algorithm, layout);
}
