// SPDX-License-Identifier: Apache-2.0
// What the stand-in promises of warps, votes, atomics and bits. On a device the same expectations test the promise.
#include <vector>

#include "common/cuda.h"
#include "device.h"

namespace fasthash {
namespace {

constexpr unsigned kAll = 0xffffffffu;

struct Shuffled {
  int broadcast, segment, up, down, up_segment, down_segment, butterfly, butterfly_segment;
  double wide;
};

__global__ void shuffle_kernel(Shuffled* out) {
  const int lane = static_cast<int>(threadIdx.x % 32), value = 100 + lane;
  Shuffled s;
  s.broadcast = __shfl_sync(kAll, value, 3);
  s.segment = __shfl_sync(kAll, value, 9, 8);
  s.up = __shfl_up_sync(kAll, value, 2);
  s.down = __shfl_down_sync(kAll, value, 2);
  s.up_segment = __shfl_up_sync(kAll, value, 1, 4);
  s.down_segment = __shfl_down_sync(kAll, value, 1, 4);
  s.butterfly = __shfl_xor_sync(kAll, value, 5);
  s.butterfly_segment = __shfl_xor_sync(kAll, value, 4, 4);
  s.wide = __shfl_sync(kAll, 1e300 + value, 31 - lane);
  out[threadIdx.x] = s;
}

void expect_shuffled(const Shuffled& s, int lane) {
  CHECK_EQ(s.broadcast, 103);
  CHECK_EQ(s.segment, 100 + lane / 8 * 8 + 1);
  CHECK_EQ(s.up, lane < 2 ? 100 + lane : 98 + lane);
  CHECK_EQ(s.down, lane > 29 ? 100 + lane : 102 + lane);
  CHECK_EQ(s.up_segment, lane % 4 == 0 ? 100 + lane : 99 + lane);
  CHECK_EQ(s.down_segment, lane % 4 == 3 ? 100 + lane : 101 + lane);
  CHECK_EQ(s.butterfly, 100 + (lane ^ 5));
  CHECK_EQ(s.butterfly_segment, (lane & 4) != 0 ? 96 + lane : 100 + lane);  // a later segment is out of reach
  CHECK_EQ(s.wide, 1e300 + (131 - lane));
}

TEST(shuffles) {
  in_every_order([] {
    DeviceBuffer<Shuffled> out(64);
    CHECK_EQ(launch(shuffle_kernel, 1, 64, 0, nullptr, out.data()), cudaSuccess);
    const auto results = out.host();
    for (int i = 0; i < 64; ++i) expect_shuffled(results[i], i % 32);
  });
}

// 48 threads: the second warp has sixteen lanes, and the others of a full mask have exited before they began.
__global__ void vote_kernel(unsigned* out) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  unsigned* mine = out + 8 * threadIdx.x;
  mine[0] = __ballot_sync(kAll, lane % 3 == 0);
  mine[1] = static_cast<unsigned>(__any_sync(kAll, lane == 5));
  mine[2] = static_cast<unsigned>(__all_sync(kAll, lane != 20));
  mine[3] = __match_any_sync(kAll, lane / 12);
  mine[4] = static_cast<unsigned>(__syncthreads_count(lane < 3));
  mine[5] = static_cast<unsigned>(__syncthreads_or(threadIdx.x == 40) * 2 + __syncthreads_or(0));
  mine[6] = static_cast<unsigned>(__syncthreads_and(1) * 2 + __syncthreads_and(threadIdx.x != 40));
  mine[7] = 0;
  if (lane < 12) mine[7] = __reduce_add_sync(0xfffu, 1u << lane) + __reduce_max_sync(0xfffu, threadIdx.x);
}

TEST(votes_and_counts) {
  in_every_order([] {
    DeviceBuffer<unsigned> out(8 * 48);
    CHECK_EQ(launch(vote_kernel, 1, 48, 0, nullptr, out.data()), cudaSuccess);
    const auto results = out.host();
    for (unsigned i = 0; i < 48; ++i) {
      const unsigned lane = i % 32, present = i < 32 ? kAll : 0xffffu;
      const unsigned twelve[] = {0xfffu, 0xfff000u, 0xff000000u};
      CHECK_EQ(results[8 * i], 0x49249249u & present);
      CHECK_EQ(results[8 * i + 1], 1u);
      CHECK_EQ(results[8 * i + 2], i < 32 ? 0u : 1u);
      CHECK_EQ(results[8 * i + 3], twelve[lane / 12] & present);
      CHECK_EQ(results[8 * i + 4], 6u);
      CHECK_EQ(results[8 * i + 5], 2u);
      CHECK_EQ(results[8 * i + 6], 2u);
      CHECK_EQ(results[8 * i + 7], lane < 12 ? 0xfffu + (i < 32 ? 11u : 43u) : 0u);
    }
  });
}

// Warps that split in two groups, each with a mask of its own, and lanes that leave early.
__global__ void group_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  const unsigned mask = lane < 8 ? 0xffu : 0xffffff00u;
  int sum = lane;
  if (lane < 8) {
    for (int lanes = 4; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(mask, sum, lanes);
  } else {
    sum = __shfl_sync(mask, sum, 9);
  }
  out[lane] = sum;
  if (lane % 2 == 1) return;
  __syncwarp();
  out[lane] += static_cast<int>(__ballot_sync(kAll, 1) == 0x55555555u);
}

TEST(lanes_in_groups_and_lanes_that_left) {
  in_every_order([] {
    DeviceBuffer<int> out(32);
    CHECK_EQ(launch(group_kernel, 1, 32, 0, nullptr, out.data()), cudaSuccess);
    const auto results = out.host();
    for (int lane = 0; lane < 32; ++lane) CHECK_EQ(results[lane], (lane < 8 ? 28 : 9) + (lane % 2 == 0));
  });
}

struct Counters {
  int sum, least, greatest, swapped;
  unsigned bits, wrapped;
  unsigned long long wide;
  float real;
  double real_wide;
};

__device__ void add_by_compare_and_swap(int* address, int value) {
  int seen = *address, expected;
  do {
    expected = seen;
    seen = atomicCAS(address, expected, expected + value);
  } while (seen != expected);
}

__global__ void atomic_kernel(Counters* c) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  atomicAdd(&c->sum, i);
  atomicMin(&c->least, -i);
  atomicMax(&c->greatest, i);
  add_by_compare_and_swap(&c->swapped, 2);
  atomicOr(&c->bits, 1u << i % 32);
  atomicInc(&c->wrapped, 9u);
  atomicAdd(&c->wide, 1ull << 32);
  atomicAdd(&c->real, 0.5f);
  atomicAdd(&c->real_wide, 0.25);
}

TEST(atomics) {
  in_every_order([] {
    DeviceBuffer<Counters> counters(std::vector<Counters>{Counters{}});
    CHECK_EQ(launch(atomic_kernel, 5, 96, 0, nullptr, counters.data()), cudaSuccess);
    const Counters c = counters.host()[0];
    CHECK_EQ(c.sum, 480 * 479 / 2);
    CHECK_EQ(c.least, -479);
    CHECK_EQ(c.greatest, 479);
    CHECK_EQ(c.swapped, 960);
    CHECK_EQ(c.bits, kAll);
    CHECK_EQ(c.wrapped, 0u);
    CHECK_EQ(c.wide, 480ull << 32);
    CHECK_EQ(c.real, 240.0f);
    CHECK_EQ(c.real_wide, 120.0);
  });
}

__global__ void bits_kernel(unsigned long long* out) {
  int i = 0;
  out[i++] = __popc(0xf0f0u);
  out[i++] = __popcll(~0ull);
  out[i++] = __ffs(0) * 100 + __ffs(8);
  out[i++] = __clz(0) * 100 + __clz(1);
  out[i++] = __clzll(1);
  out[i++] = __brev(1u);
  out[i++] = __byte_perm(0x33221100u, 0x77665544u, 0x7250u);
  out[i++] = __funnelshift_l(0x80000000u, 1u, 4);
  out[i++] = __funnelshift_r(0x80000000u, 1u, 4);
  out[i++] = __umulhi(0x80000000u, 6u);
  out[i++] = __float_as_uint(1.0f);
  out[i++] = static_cast<unsigned>(__float2int_rn(2.5f) * 100 + __float2int_rn(3.5f));
  out[i++] = static_cast<unsigned long long>(max(3, 4) * 100 + min(3, 4));
}

TEST(bits_and_casts) {
  DeviceBuffer<unsigned long long> out(13);
  CHECK_EQ(launch(bits_kernel, 1, 1, 0, nullptr, out.data()), cudaSuccess);
  const std::vector<unsigned long long> expected = {8,     64,          4,  3231,        63,  0x80000000u, 0x77225500u,
                                                    0x18u, 0x18000000u, 3u, 0x3f800000u, 204, 403};
  CHECK_EQ(out.host(), expected);
}

__global__ void place_kernel(int* out) {
  const dim3 b = blockIdx, t = threadIdx;
  const int block = static_cast<int>((b.z * gridDim.y + b.y) * gridDim.x + b.x);
  const int thread = static_cast<int>((t.z * blockDim.y + t.y) * blockDim.x + t.x);
  const int threads = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
  out[block * threads + thread] = 1000 * block + thread;
}

TEST(places_in_three_dimensions) {
  in_every_order([] {
    const dim3 grid(2, 3, 2), block(3, 5, 4);
    DeviceBuffer<int> out(12 * 60);
    CHECK_EQ(launch(place_kernel, grid, block, 0, nullptr, out.data()), cudaSuccess);
    const auto results = out.host();
    for (int i = 0; i < 12 * 60; ++i) CHECK_EQ(results[i], 1000 * (i / 60) + i % 60);
  });
}

}  // namespace
}  // namespace fasthash
