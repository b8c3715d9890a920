// SPDX-License-Identifier: Apache-2.0
#include "order.h"

#include <chrono>
#include <set>

#include "../device.h"
#include "check.h"

namespace fasthash::cuda_on_cpu {
namespace {

TEST(fibre_order_is_read_from_text) {
  CHECK_EQ(parse_fibre_order("ascending").kind, FibreOrder::ascending);
  CHECK_EQ(parse_fibre_order("descending").kind, FibreOrder::descending);
  CHECK_EQ(parse_fibre_order("random:42").kind, FibreOrder::random);
  CHECK_EQ(parse_fibre_order("random:42").seed, 42u);
  for (const char* text : {"", "up", "random", "random:", "random:x", "random:-1"}) {
    CHECK_THROWS(parse_fibre_order(text), "FASTHASH_FIBRE_ORDER must be ascending, descending or random:SEED, got");
  }
}

TEST(every_order_gives_each_block_one_turn) {
  for (const char* text : {"ascending", "descending", "random:1", "random:2"}) {
    for (const std::uint64_t blocks : {1u, 2u, 6u, 97u, 1024u}) {
      std::set<std::uint64_t> seen;
      for (std::uint64_t turn = 0; turn < blocks; ++turn) seen.insert(block_at(parse_fibre_order(text), turn, blocks));
      CHECK_EQ(seen.size(), blocks);
      CHECK_EQ(*seen.rbegin(), blocks - 1);
    }
  }
}

TEST(a_seed_gives_the_same_turns_again) {
  std::vector<int> first, second, other;
  const FibreOrder order{FibreOrder::random, 7};
  Turns(order, 0).arrange(first, 32);
  Turns(order, 0).arrange(second, 32);
  Turns(order, 1).arrange(other, 32);
  CHECK_EQ(first, second);
  CHECK(first != other);
  std::set<int> lanes(first.begin(), first.end());
  CHECK_EQ(lanes.size(), 32u);
}

TEST(garbage_differs_between_orders) {
  std::set<int> bytes;
  for (const char* text : {"ascending", "descending", "random:1"}) bytes.insert(garbage_byte(parse_fibre_order(text)));
  CHECK_EQ(bytes.size(), 3u);
}

__global__ void sum_kernel(float* out) {
  FH_SHARED(float[256], values);
  values[threadIdx.x] = 1.0f;
  __syncthreads();
  for (unsigned step = 128; step > 0; step /= 2) {
    if (threadIdx.x < step) values[threadIdx.x] += values[threadIdx.x + step];
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = values[0];
}

// A slow scheduler makes people leave tests out. The bound is far above the few hundredths of a second that it takes.
TEST(blocks_of_256_threads_are_quick) {
  DeviceBuffer<float> out(64);
  const auto start = std::chrono::steady_clock::now();
  CHECK_EQ(launch(sum_kernel, 64, 256, 0, nullptr, out.data()), cudaSuccess);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("64 blocks of 256 threads: %.3f s\n", seconds);
  CHECK(seconds < 5.0);
  CHECK_EQ(out.host(), std::vector<float>(64, 256.0f));
}

}  // namespace
}  // namespace fasthash::cuda_on_cpu
