// SPDX-License-Identifier: Apache-2.0
#include <vector>

#include "common/cuda.h"
#include "device.h"

namespace fasthash {
namespace {

__global__ void nothing_kernel() {}

// Arguments of several sizes arrive as they are; `count` floats of dynamic shared memory hold what they are given.
__global__ void reverse_kernel(const float* __restrict__ in, float* out, double scale, long long offset, int count) {
  FH_DYNAMIC_SHARED(float, rows);
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) rows[i] = in[i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
    out[i] = static_cast<float>(scale * rows[count - 1 - i]) + static_cast<float>(offset);
  }
}

void test_reverse(int count) {
  std::vector<float> values(count);
  for (int i = 0; i < count; ++i) values[i] = float(i);
  in_every_order([&] {
    DeviceBuffer<float> in(values), out(values.size());
    const auto bytes = values.size() * sizeof(float);
    CHECK_EQ(launch(reverse_kernel, 1, 128, bytes, nullptr, in.data(), out.data(), 2, 1, count), cudaSuccess);
    const auto results = out.host();
    for (int i = 0; i < count; ++i) CHECK_EQ(results[i], float(2 * (count - 1 - i) + 1));
  });
}

TEST(launch_passes_arguments_and_shared_memory) { test_reverse(1000); }
TEST(launch_asks_for_more_than_48_kb) { test_reverse(90 * 256); }

TEST(launch_of_no_blocks_succeeds) {
  CHECK_EQ(launch(nothing_kernel, 0, 32, 0, nullptr), cudaSuccess);
  CHECK_EQ(launch(nothing_kernel, dim3(4, 0), 0, 0, nullptr), cudaSuccess);
  CHECK_EQ(launch(nothing_kernel, dim3(4, 4, 0), 2048, 0, nullptr), cudaSuccess);
}

TEST(launch_returns_errors_and_leaves_none_behind) {
  CHECK_EQ(launch(nothing_kernel, 1, 0, 0, nullptr), cudaErrorInvalidValue);
  CHECK_EQ(launch(nothing_kernel, 1, 1025, 0, nullptr), cudaErrorInvalidValue);
  CHECK_EQ(launch(nothing_kernel, 1, dim3(1, 1, 65), 0, nullptr), cudaErrorInvalidValue);
  CHECK_EQ(launch(nothing_kernel, dim3(1, 65536), 1, 0, nullptr), cudaErrorInvalidValue);
  CHECK_EQ(launch(nothing_kernel, 1, 1, 1 << 20, nullptr), cudaErrorInvalidValue);
  CHECK_EQ(cudaPeekAtLastError(), cudaSuccess);
  CHECK_EQ(launch(nothing_kernel, 1, 1024, 0, nullptr), cudaSuccess);
}

TEST(launch_of_no_kernel_is_an_error) {
  void (*none)() = nullptr;
  CHECK_EQ(launch(none, 1, 1, 0, nullptr), cudaErrorInvalidDeviceFunction);
}

TEST(memory_calls_copy_and_fill) {
  DeviceBuffer<unsigned char> bytes(100);
  require(cudaMemsetAsync(bytes.data(), 7, 100, nullptr));
  CHECK_EQ(bytes.host()[99], 7);
  DeviceBuffer<int> empty(0);
  CHECK_EQ(empty.host().size(), 0u);
}

TEST(device_attributes) {
  int device = -1, value = 0;
  CHECK_EQ(cudaGetDevice(&device), cudaSuccess);
  CHECK_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrWarpSize, device), cudaSuccess);
  CHECK_EQ(value, 32);
  CHECK_EQ(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, device), cudaSuccess);
  CHECK(value > 0);
}

}  // namespace
}  // namespace fasthash
