/* Fibers, and the functions of device.cu without a device. See emulate.h. */
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "common.h"

namespace emulate {

thread_local Now now;

namespace {

constexpr size_t STACK = 128 << 10;
constexpr unsigned MAX_THREADS = 1024;

thread_local int order = 0, generation = 80;
std::atomic<uint64_t> launches{0};

struct Copy {
  void *to;
  const void *from;
  int bytes;
};

/* How often everybody has arrived, and how many have now. */
struct Barrier {
  unsigned arrived = 0, alive = 0, turn = 0;
};

struct Fiber {
  ucontext_t start;
  jmp_buf at;
  bool begun, done;
  Barrier *waits; /* NULL: it can run */
  unsigned turn;
  unsigned parity; /* of its warp's exchanges */
  std::vector<std::vector<Copy>> groups;
  std::vector<Copy> open;
};

struct Machine {
  unsigned char *stacks;
  std::unique_ptr<Fiber[]> fibers{new Fiber[MAX_THREADS]};
  Barrier block, warps[MAX_THREADS / 32];
  unsigned char lanes[MAX_THREADS / 32][2][32 * ADIRE_LANE_BYTES];
  std::vector<unsigned char> dynamic;
  const std::function<void()> *body;
  jmp_buf scheduler;
  ucontext_t home;
  unsigned current;

  Machine() {
    void *memory = mmap(nullptr, STACK * MAX_THREADS, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("no memory for stacks");
    stacks = static_cast<unsigned char *>(memory);
  }
  ~Machine() { munmap(stacks, STACK * MAX_THREADS); }

  [[noreturn]] static void fail(const char *what) {
    std::fprintf(stderr, "emulate: %s\n", what);
    std::abort();
  }

  void arrive(Barrier &barrier) {
    Fiber &fiber = fibers[current];
    if (++barrier.arrived == barrier.alive) {
      barrier.arrived = 0;
      ++barrier.turn;
      return;
    }
    fiber.waits = &barrier;
    fiber.turn = barrier.turn;
    if (!_setjmp(fiber.at)) _longjmp(scheduler, 1);
  }

  void leave(Barrier &barrier) {
    if (--barrier.alive && barrier.arrived == barrier.alive) {
      barrier.arrived = 0;
      ++barrier.turn;
    }
  }

  static void entry();

  bool ready(const Fiber &fiber) const {
    return !fiber.done && (!fiber.waits || fiber.waits->turn != fiber.turn);
  }

  void resume(unsigned index) {
    Fiber &fiber = fibers[index];
    fiber.waits = nullptr;
    current = index;
    now.thread = dim3(index % now.threads.x, index / now.threads.x % now.threads.y,
                      index / (now.threads.x * now.threads.y));
    now.lane = int(index % 32);
    if (_setjmp(scheduler)) return;
    if (fiber.begun) _longjmp(fiber.at, 1);
    fiber.begun = true;
    setcontext(&fiber.start);
    fail("a fiber does not start");
  }

  /* Apart from the loop that calls it: getcontext may return twice, as far as compilers know. */
  __attribute__((noinline)) void prepare(unsigned i) {
    Fiber &fiber = fibers[i];
    getcontext(&fiber.start);
    fiber.start.uc_stack.ss_sp = stacks + i * STACK;
    fiber.start.uc_stack.ss_size = STACK;
    fiber.start.uc_link = nullptr;
    makecontext(&fiber.start, entry, 0);
    fiber.begun = fiber.done = false;
    fiber.waits = nullptr;
    fiber.parity = 0;
    fiber.groups.clear();
    fiber.open.clear();
    if (i % 32 == 0) warps[i / 32] = {0, 32, 0};
  }

  void run_block(unsigned count, unsigned number) {
    unsigned warps_in_all = count / 32;
    block = {0, count, 0};
    for (unsigned i = 0; i < count; i++) prepare(i);
    int way = order;
    for (unsigned left = count; left;) {
      bool moved = false;
      for (unsigned i = 0; i < warps_in_all; i++) {
        /* Mixed: warps start at another one each time, lanes from the middle. */
        unsigned warp = way == 1 ? warps_in_all - 1 - i : way == 2 ? (i * 5 + number) % warps_in_all : i;
        if (way == 2 && warps_in_all % 5 == 0) warp = (i + number) % warps_in_all;
        /* As far as this warp gets alone. */
        for (bool again = true; again;) {
          again = false;
          for (unsigned j = 0; j < 32; j++) {
            unsigned lane = way == 1 ? 31 - j : way == 2 ? (j * 11 + 16) % 32 : j;
            unsigned index = warp * 32 + lane;
            if (!ready(fibers[index])) continue;
            resume(index);
            again = moved = true;
            if (fibers[index].done) --left;
          }
        }
      }
      if (!moved) fail("threads wait for each other forever");
    }
  }
};

Machine &machine() {
  static thread_local Machine machine;
  return machine;
}

void Machine::entry() {
  Machine &self = machine();
  (*self.body)();
  Fiber &fiber = self.fibers[self.current];
  if (!fiber.open.empty() || !fiber.groups.empty()) {
    for (auto &group : fiber.groups)
      if (!group.empty()) fail("a thread ends with copies that it has not waited for");
    if (!fiber.open.empty()) fail("a thread ends with copies that it has not committed");
  }
  fiber.done = true;
  self.leave(self.block);
  self.leave(self.warps[self.current / 32]);
  _longjmp(self.scheduler, 1);
}

}  // namespace

void block_barrier() {
  Machine &self = machine();
  self.arrive(self.block);
}

const unsigned char *exchange(const void *value, size_t bytes) {
  Machine &self = machine();
  unsigned warp = self.current / 32;
  Fiber &fiber = self.fibers[self.current];
  unsigned char *lanes = self.lanes[warp][fiber.parity];
  fiber.parity ^= 1;
  std::memcpy(lanes + self.current % 32 * ADIRE_LANE_BYTES, value, bytes);
  self.arrive(self.warps[warp]);
  return lanes;
}

void async_copy(void *to, const void *from, int bytes) {
  Machine &self = machine();
  if (reinterpret_cast<uintptr_t>(to) % 16 || (bytes && reinterpret_cast<uintptr_t>(from) % 16))
    Machine::fail("cp.async of 16 bytes that are not aligned");
  self.fibers[self.current].open.push_back({to, from, bytes});
}

void async_commit() {
  Machine &self = machine();
  Fiber &fiber = self.fibers[self.current];
  fiber.groups.push_back(std::move(fiber.open));
  fiber.open.clear();
}

void async_wait(int left) {
  Machine &self = machine();
  Fiber &fiber = self.fibers[self.current];
  while (int(fiber.groups.size()) > left) {
    for (const Copy &copy : fiber.groups.front()) {
      std::memset(copy.to, 0, 16);
      if (copy.bytes) std::memcpy(copy.to, copy.from, copy.bytes);
    }
    fiber.groups.erase(fiber.groups.begin());
  }
}

void run(dim3 blocks, dim3 threads, size_t shared, const std::function<void()> &body) {
  Machine &self = machine();
  unsigned count = threads.x * threads.y * threads.z;
  if (count == 0 || count > MAX_THREADS || count % 32) Machine::fail("blocks have 32 to 1024 threads, in whole warps");
  if (blocks.x == 0 || blocks.y == 0 || blocks.z == 0 || blocks.y > 65535 || blocks.z > 65535)
    Machine::fail("a grid that CUDA refuses");
  launches++;
  self.body = &body;
  self.dynamic.resize(shared + 256);
  uintptr_t start = (reinterpret_cast<uintptr_t>(self.dynamic.data()) + 255) / 256 * 256;
  now.dynamic = reinterpret_cast<unsigned char *>(start);
  now.threads = threads;
  now.blocks = blocks;
  unsigned number = 0;
  for (unsigned z = 0; z < blocks.z; z++)
    for (unsigned y = 0; y < blocks.y; y++)
      for (unsigned x = 0; x < blocks.x; x++) {
        std::memset(self.dynamic.data(), 0xff, self.dynamic.size());
        now.block = dim3(x, y, z);
        self.run_block(count, number++);
      }
}

namespace {

struct Stream {
  bool records = false;
  std::vector<std::function<void()>> recorded;
};
struct Graph {
  std::vector<std::function<void()>> work;
};
struct Event {
  std::chrono::steady_clock::time_point at{};
};
Stream default_stream;

Stream *stream_of(void *stream) { return stream ? static_cast<Stream *>(stream) : &default_stream; }

}  // namespace

int submit(void *stream, std::function<void()> work) {
  Stream *to = stream_of(stream);
  if (to->records)
    to->recorded.push_back(std::move(work));
  else
    work();
  return 0;
}

}  // namespace emulate

using emulate::submit;

int generation_of_device() { return emulate::generation; }

extern "C" {

void adire_emulate_order(int32_t order) { emulate::order = order; }
void adire_emulate_generation(int32_t generation) { emulate::generation = generation; }
uint64_t adire_emulate_launches(void) { return emulate::launches; }

const char *adire_error_text(int result) {
  return result == 0 ? "no error" : result == ADIRE_INVALID_VALUE ? "invalid argument" : "unknown error";
}

int adire_device_count(int32_t *count, const char **reason) {
  *count = 1;
  *reason = "";
  return 0;
}

int adire_device_properties(int32_t device, adire_properties *properties) {
  if (device != 0) return invalid("the emulator has one device, number 0");
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulator");
  properties->major = emulate::generation / 10;
  properties->minor = emulate::generation % 10;
  properties->multiprocessors = 4;
  properties->shared_bytes = 100 << 10;
  properties->memory_bytes = uint64_t(8) << 30;
  properties->l2_bytes = 4 << 20;
  properties->driver_version = properties->runtime_version = 13000;
  properties->emulated = 1;
  return 0;
}

int adire_set_device(int32_t device) { return device == 0 ? 0 : invalid("the emulator has one device, number 0"); }

int adire_memory_info(uint64_t *free_bytes, uint64_t *total_bytes) {
  *free_bytes = *total_bytes = uint64_t(8) << 30;
  return 0;
}

int adire_device_synchronize(void) { return 0; }

/* Filled with bytes of NaN: nobody may count on zeros. */
int adire_alloc(uint64_t bytes, void **data) {
  *data = nullptr;
  if (bytes == 0) return 0;
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (!*data) return 2;
  std::memset(*data, 0xff, bytes);
  return 0;
}
int adire_free(void *data) {
  std::free(data);
  return 0;
}
int adire_alloc_host(uint64_t bytes, void **data) { return adire_alloc(bytes, data); }
int adire_free_host(void *data) { return adire_free(data); }

int adire_stream_create(void **stream) {
  *stream = new emulate::Stream;
  return 0;
}
int adire_stream_destroy(void *stream) {
  delete static_cast<emulate::Stream *>(stream);
  return 0;
}
int adire_stream_synchronize(void *stream) {
  return emulate::stream_of(stream)->records ? 900 /* cudaErrorStreamCaptureUnsupported */ : 0;
}
int adire_copy(void *stream, void *to, const void *from, uint64_t bytes) {
  return submit(stream, [=] { std::memmove(to, from, bytes); });
}
int adire_copy_wait(void *stream, void *to, const void *from, uint64_t bytes) {
  int result = adire_copy(stream, to, from, bytes);
  return result ? result : adire_stream_synchronize(stream);
}
int adire_fill(void *stream, void *data, uint8_t value, uint64_t bytes) {
  return submit(stream, [=] { std::memset(data, value, bytes); });
}

int adire_event_create(void **event) {
  *event = new emulate::Event;
  return 0;
}
int adire_event_destroy(void *event) {
  delete static_cast<emulate::Event *>(event);
  return 0;
}
int adire_event_record(void *stream, void *event) {
  return submit(stream, [=] { static_cast<emulate::Event *>(event)->at = std::chrono::steady_clock::now(); });
}
int adire_event_wait(void *, void *) { return 0; }
int adire_event_synchronize(void *) { return 0; }
int adire_event_elapsed(void *from, void *to, float *milliseconds) {
  auto begin = static_cast<emulate::Event *>(from)->at, end = static_cast<emulate::Event *>(to)->at;
  *milliseconds = std::chrono::duration<float, std::milli>(end - begin).count();
  return 0;
}

int adire_graph_begin(void *stream) {
  emulate::Stream *to = emulate::stream_of(stream);
  if (!stream || to->records) return 900;
  to->records = true;
  to->recorded.clear();
  return 0;
}
int adire_graph_end(void *stream, void **graph, uint64_t *nodes) {
  emulate::Stream *to = emulate::stream_of(stream);
  *graph = nullptr;
  if (!to->records) return 900;
  to->records = false;
  if (nodes) *nodes = to->recorded.size();
  *graph = new emulate::Graph{std::move(to->recorded)};
  to->recorded.clear();
  return 0;
}
int adire_graph_launch(void *stream, void *graph) {
  emulate::Graph *work = static_cast<emulate::Graph *>(graph);
  return submit(stream, [=] {
    for (const auto &step : work->work) step();
  });
}
int adire_graph_destroy(void *graph) {
  delete static_cast<emulate::Graph *>(graph);
  return 0;
}
}
