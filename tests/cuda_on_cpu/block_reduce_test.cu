// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <type_traits>
#include <vector>

#include "common/warp.cuh"
#include "device.h"

namespace fasthash {
namespace {

template <class T>
struct Results {
  T sum, least, greatest, before, total, lanes_before;
};

// Uses one scratch twice in a row, so that a barrier left out between two uses shows.
template <class T>
__global__ void reduce_kernel(const T* __restrict__ values, Results<T>* results) {
  FH_SHARED(T[kMaxWarps], scratch);
  const int threads = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
  const int i = static_cast<int>(blockIdx.x) * threads + thread_rank();
  const T value = values[i];
  const T sum = block_reduce_sum(value, scratch);
  const T least = block_reduce(value, Min{}, value, scratch);
  const Scan<T> scan = block_exclusive_scan(value, scratch);
  const T greatest = block_reduce(value, Max{}, value, scratch);
  results[i] = {sum, least, greatest, scan.before, scan.total, warp_inclusive_scan(value)};
}

template <class T>
std::vector<T> sample_values(std::size_t count) {
  std::vector<T> values(count);
  unsigned state = 12345;
  for (T& value : values) {
    state = state * 1664525u + 1013904223u;
    value = std::is_integral_v<T> ? T(int(state >> 16) - 30000) : T(state >> 8) / T(1 << 20) - T(8);
  }
  return values;
}

// Adds in long double and allows each of the threads - 1 additions half a unit in the last place of the largest sum.
template <class T>
void expect_block(const T* values, const Results<T>* results, int threads, double unit) {
  long double sum = 0, magnitude = 0;
  for (int i = 0; i < threads; ++i) magnitude += std::fabs((long double)(values[i]));
  const double bound = double(magnitude) * unit * threads;
  const T least = *std::min_element(values, values + threads), greatest = *std::max_element(values, values + threads);
  for (int i = 0; i < threads; ++i) {
    CHECK_NEAR(double(results[i].before), double(sum), bound);
    sum += values[i];
    CHECK_EQ(results[i].least, least);
    CHECK_EQ(results[i].greatest, greatest);
  }
  for (int i = 0; i < threads; ++i) {
    CHECK_NEAR(double(results[i].sum), double(sum), bound);
    CHECK_NEAR(double(results[i].total), double(sum), bound);
    CHECK_EQ(results[i].sum, results[0].sum);
  }
}

template <class T>
void test_shape(dim3 block, double unit) {
  const int blocks = 3, threads = int(block.x * block.y * block.z);
  const std::vector<T> values = sample_values<T>(std::size_t(blocks * threads));
  std::vector<Results<T>> first;
  in_every_order([&] {
    DeviceBuffer<T> input(values);
    DeviceBuffer<Results<T>> output(values.size());
    CHECK_EQ(launch(reduce_kernel<T>, blocks, block, 0, nullptr, input.data(), output.data()), cudaSuccess);
    const std::vector<Results<T>> results = output.host();
    for (int b = 0; b < blocks; ++b) expect_block(&values[b * threads], &results[b * threads], threads, unit);
    if (first.empty()) first = results;
    CHECK(same_bits(results, first));
  });
}

template <class T>
void test_shapes(double unit) {
  for (const dim3 block : {dim3(32), dim3(64), dim3(256), dim3(1024), dim3(8, 8, 2), dim3(16, 6)}) {
    test_shape<T>(block, unit);
  }
}

TEST(block_reductions_of_int) { test_shapes<int>(0); }
TEST(block_reductions_of_long_long) { test_shapes<long long>(0); }
TEST(block_reductions_of_float) { test_shapes<float>(0x1p-24); }
TEST(block_reductions_of_double) { test_shapes<double>(0x1p-53); }

}  // namespace
}  // namespace fasthash
