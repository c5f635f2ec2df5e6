/* Checks of arguments, on the host. */
#include <cstdarg>
#include <cstdio>

#include "common.h"

namespace {
thread_local char message[512] = "";
}

int invalid(const char *format, ...) {
  va_list args;
  va_start(args, format);
  std::vsnprintf(message, sizeof message, format, args);
  va_end(args);
  return ADIRE_INVALID_VALUE;
}

int check_view(const adire_view &v, const char *name) {
  if (v.images < 1 || v.height < 1 || v.width < 1 || v.channels < 1)
    return invalid("%s is empty: %d images of %d × %d pixels of %d channels", name, v.images, v.height, v.width, v.channels);
  if (int64_t(v.images) * (v.height + 2) * (v.width + 2) > 0x7fff0000) return invalid("%s has too many pixels", name);
  if (v.dtype != ADIRE_F32 && v.dtype != ADIRE_F16) return invalid("%s has an unknown dtype, %d", name, v.dtype);
  if (v.border != 0 && v.border != 1) return invalid("%s has a border of %d; 0 or 1", name, v.border);
  if (v.pixel_stride < v.channels) return invalid("pixels of %s overlap", name);
  if (!v.data) return invalid("%s has no data", name);
  return 0;
}

int check_same_size(const adire_view &x, const adire_view &y) {
  if (x.images != y.images || x.height != y.height || x.width != y.width || x.channels != y.channels)
    return invalid("views differ in size: %d × %d × %d × %d and %d × %d × %d × %d", x.images, x.height, x.width, x.channels,
                   y.images, y.height, y.width, y.channels);
  return 0;
}

int check_workspace(const adire_workspace &workspace, uint64_t bytes) {
  if (workspace.bytes < bytes || (bytes && !workspace.data))
    return invalid("a workspace of %llu bytes; %llu are needed", (unsigned long long)workspace.bytes,
                   (unsigned long long)bytes);
  if (reinterpret_cast<uintptr_t>(workspace.data) % 256) return invalid("the workspace is not aligned to 256 bytes");
  return 0;
}

extern "C" {
int adire_abi_version(void) { return ADIRE_ABI_VERSION; }
const char *adire_message(void) { return message; }
}
