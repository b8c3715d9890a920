// SPDX-License-Identifier: Apache-2.0
// Kernels with a fault planted in them: each must be caught, by results that differ between orders of the fibres, by a
// KernelFault, or by a sanitizer. The kernels beside them without the fault must pass.
#include <set>
#include <vector>

#include "../device.h"
#include "check.h"
#include "child.h"

namespace fasthash {
namespace {

constexpr unsigned kAll = 0xffffffffu;

// The number of different results of kernel(out, size) over the orders of the fibres.
std::size_t different_results(void (*kernel)(float*), dim3 grid, dim3 block) {
  std::set<std::vector<unsigned>> results;
  in_every_order([&] {
    const std::size_t size = std::size_t(grid.x) * block.x;
    DeviceBuffer<float> out(size);
    require(cudaMemset(out.data(), 0, size * sizeof(float)));
    CHECK_EQ(launch(kernel, grid, block, 1024 * sizeof(float), nullptr, out.data()), cudaSuccess);
    std::vector<unsigned> bits(size);
    for (std::size_t i = 0; i < size; ++i) bits[i] = __float_as_uint(out.data()[i]);
    results.insert(bits);
  });
  return results.size();
}

#define CHECK_CAUGHT_BY_ORDER(kernel, grid, block) CHECK(different_results(kernel, grid, block) > 1)
#define CHECK_SAME_IN_EVERY_ORDER(kernel, grid, block) CHECK_EQ(different_results(kernel, grid, block), 1u)

template <bool barrier>
__global__ void mirror_kernel(float* out) {
  FH_SHARED(float[128], values);
  values[threadIdx.x] = float(threadIdx.x);
  if (barrier) __syncthreads();
  out[threadIdx.x] = values[127 - threadIdx.x];
}

TEST(missing_syncthreads_is_caught) {
  CHECK_SAME_IN_EVERY_ORDER(mirror_kernel<true>, 1, 128);
  CHECK_CAUGHT_BY_ORDER(mirror_kernel<false>, 1, 128);
}

// The result of the whole block is read before the next round has left the buffer alone.
template <bool barrier>
__global__ void reused_buffer_kernel(float* out) {
  FH_DYNAMIC_SHARED(float, values);
  for (int round = 0; round < 3; ++round) {
    values[threadIdx.x] = float(threadIdx.x) + 1000.0f * float(round);
    __syncthreads();
    out[threadIdx.x] += values[(threadIdx.x + 40) % blockDim.x];
    if (barrier) __syncthreads();
  }
}

TEST(missing_syncthreads_before_reuse_is_caught) {
  CHECK_SAME_IN_EVERY_ORDER(reused_buffer_kernel<true>, 1, 128);
  CHECK_CAUGHT_BY_ORDER(reused_buffer_kernel<false>, 1, 128);
}

template <bool barrier>
__global__ void warp_sum_kernel(float* out) {
  FH_SHARED(float[32], values);
  const int lane = int(threadIdx.x);
  values[lane] = float(lane);
  if (barrier) __syncwarp();
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    if (lane < lanes) values[lane] += values[lane + lanes];
    if (barrier) __syncwarp();
  }
  out[lane] = values[0];
}

TEST(missing_syncwarp_is_caught) {
  CHECK_SAME_IN_EVERY_ORDER(warp_sum_kernel<true>, 1, 32);
  CHECK_CAUGHT_BY_ORDER(warp_sum_kernel<false>, 1, 32);
}

template <bool initialised>
__global__ void count_kernel(float* out) {
  FH_SHARED(unsigned[8], counts);
  if (initialised && threadIdx.x < 8) counts[threadIdx.x] = 0;
  __syncthreads();
  atomicAdd(&counts[threadIdx.x % 8], 1u);
  __syncthreads();
  out[blockIdx.x * blockDim.x + threadIdx.x] = float(counts[threadIdx.x % 8]);
}

TEST(missing_initialisation_of_shared_memory_is_caught) {
  CHECK_SAME_IN_EVERY_ORDER(count_kernel<true>, 2, 64);
  CHECK_CAUGHT_BY_ORDER(count_kernel<false>, 1, 64);
}

__global__ void dynamic_garbage_kernel(float* out) {
  FH_DYNAMIC_SHARED(float, values);
  out[threadIdx.x] = values[threadIdx.x];
}

TEST(missing_initialisation_of_dynamic_shared_memory_is_caught) {
  CHECK_CAUGHT_BY_ORDER(dynamic_garbage_kernel, 1, 32);
}

__global__ void order_of_additions_kernel(float* out) { atomicAdd(out, 1.0f / float(1 + threadIdx.x)); }

TEST(floats_added_in_no_fixed_order_are_caught) { CHECK_CAUGHT_BY_ORDER(order_of_additions_kernel, 1, 128); }

__global__ void order_of_blocks_kernel(float* out) {
  if (threadIdx.x == 0) out[0] = out[0] * 2.0f + float(blockIdx.x);
}

TEST(blocks_that_wait_for_earlier_ones_are_caught) { CHECK_CAUGHT_BY_ORDER(order_of_blocks_kernel, 5, 32); }

__global__ void value_of_absent_lane_kernel(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_down_sync(0xffffu, float(threadIdx.x), 8);
}

TEST(shuffle_from_a_lane_outside_the_mask_is_caught) { CHECK_CAUGHT_BY_ORDER(value_of_absent_lane_kernel, 1, 32); }

__global__ void active_mask_kernel(float* out) {
  const unsigned mask = __activemask();  // says nothing of who will come
  out[threadIdx.x] = float(__popc(mask));
  if (threadIdx.x == 0) out[0] = __shfl_sync(mask, 1.0f, 0);
}

TEST(active_mask_is_the_caller_alone) { CHECK_SAME_IN_EVERY_ORDER(active_mask_kernel, 1, 32); }

// Faults that are reported.

__global__ void barrier_in_a_branch_kernel() {
  if (threadIdx.x < 16) __syncthreads();
}

__global__ void two_barriers_kernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void warp_and_block_barrier_kernel() {
  if (threadIdx.x != 7) {
    __syncthreads();
  } else {
    __syncwarp();
  }
}

__global__ void different_masks_kernel() { __syncwarp(threadIdx.x == 0 ? 0x3u : threadIdx.x == 1 ? 0x7u : 0x4u); }

__global__ void different_operations_kernel() {
  if (threadIdx.x == 3) {
    (void)__ballot_sync(kAll, 1);
  } else {
    (void)__any_sync(kAll, 1);
  }
}

__global__ void mask_without_caller_kernel() {
  if (threadIdx.x < 8) (void)__shfl_sync(0xfu, 1, 0);
}

__global__ void lanes_that_never_come_kernel() {
  if (threadIdx.x < 31) __syncwarp();
  if (threadIdx.x == 31) __syncthreads();
}

__global__ void spinning_kernel(int* flag) {
  while (atomicAdd(flag, 0) == 0) __nanosleep(100);
}

__global__ void trap_kernel() {
  if (threadIdx.x == 1) __trap();
}

__global__ void some_static_shared_kernel() {
  FH_SHARED(double, value);
  value = 0;
}

__global__ void too_much_static_shared_kernel() {
  FH_SHARED(double[6145], values);
  values[0] = 0;
}

template <class... Params, class... Args>
std::string fault_of(void (*kernel)(Params...), unsigned threads, Args... args) {
  std::string message;
  in_every_order([&] {
    message = check::thrown_by([&] { (void)launch(kernel, dim3(2), dim3(threads), 0, nullptr, args...); });
    CHECK(message.find("_kernel") != std::string::npos && message.find("planted_test.cpp:") != std::string::npos);
    CHECK(message.find("block (") != std::string::npos && message.find("thread (") != std::string::npos);
  });
  return message;
}

#define CHECK_MESSAGE(message, part) CHECK_THROWS(throw std::runtime_error(message), part)

TEST(barrier_that_some_threads_pass_by_is_reported) {
  CHECK_MESSAGE(fault_of(barrier_in_a_branch_kernel, 32), "which every thread of the block must reach");
  CHECK_MESSAGE(fault_of(two_barriers_kernel, 64), "all threads of a block must meet at the same barrier");
}

TEST(barriers_that_wait_for_each_other_are_reported) {
  const std::string message = fault_of(warp_and_block_barrier_kernel, 64);
  CHECK_MESSAGE(message, "kernel fasthash::(anonymous namespace)::warp_and_block_barrier_kernel()");
  CHECK_MESSAGE(message, "deadlock, no thread can go on: thread (0, 0, 0) and 62 more at __syncthreads in ");
  CHECK_MESSAGE(message, "; thread (7, 0, 0) at __syncwarp with mask 0xffffffff in warp_and_block_barrier_kernel");
  CHECK_MESSAGE(fault_of(lanes_that_never_come_kernel, 32), "");
}

TEST(masks_that_do_not_match_are_reported) {
  CHECK_MESSAGE(fault_of(different_masks_kernel, 3), "");
  CHECK_MESSAGE(fault_of(different_operations_kernel, 32), "must call the same operation with the same mask");
  CHECK_MESSAGE(fault_of(mask_without_caller_kernel, 32), "__shfl_sync with mask 0x0000000f");
}

TEST(endless_spinning_is_reported) {
  DeviceBuffer<int> flag(std::vector<int>{0});
  CHECK_MESSAGE(fault_of(spinning_kernel, 2, flag.data()), "and 1 more at __nanosleep");
}

TEST(traps_are_reported) { CHECK_MESSAGE(fault_of(trap_kernel, 2), "thread (1, 0, 0): __trap()"); }

TEST(too_much_static_shared_memory_is_reported) {
  CHECK_MESSAGE(fault_of(too_much_static_shared_kernel, 1), "static and dynamic shared memory exceed 48 KB");
}

// A device refuses such a launch: the limit is one of both together.
TEST(too_much_static_and_dynamic_shared_memory_is_reported) {
  const auto launched = [](std::size_t dynamic_bytes) {
    const dim3 one(1);
    return cudaLaunchKernel(some_static_shared_kernel, one, one, nullptr, dynamic_bytes, nullptr);
  };
  CHECK_EQ(launched(48 * 1024 - 8), cudaSuccess);
  CHECK_THROWS(launched(48 * 1024), "static and dynamic shared memory exceed 48 KB");
}

TEST(exceptions_of_device_code_reach_the_launch) {
  CHECK_THROWS(cuda_on_cpu::lane_index(), "outside of a kernel");
  CHECK_SAME_IN_EVERY_ORDER(mirror_kernel<true>, 1, 128);  // a fault leaves nothing behind
}

#if defined(__SANITIZE_ADDRESS__)
// Faults that a sanitizer stops. `last` is the index that a kernel touches, of a kind that only the memory tells.

__attribute__((noipa)) float element(const float* values, int index) { return values[index]; }

__global__ void static_shared_kernel(float* out, int last) {
  FH_SHARED(float[33], values);
  values[threadIdx.x] = 1.0f;
  __syncthreads();
  if (threadIdx.x == 0) out[0] = element(values, last);
}

__global__ void plain_shared_kernel(float* out, int last) {
  __shared__ float values[33];
  values[threadIdx.x] = 1.0f;
  __syncthreads();
  if (threadIdx.x == 0) out[0] = element(values, last);
}

__global__ void dynamic_shared_kernel(float* out, int last) {
  FH_DYNAMIC_SHARED(float, values);
  values[threadIdx.x] = 1.0f;
  __syncthreads();
  if (threadIdx.x == 0) out[0] = element(values, last);
}

__global__ void global_kernel(float* out, int last) {
  if (int(threadIdx.x) == last % 32) out[last] = 1.0f;
}

__global__ void local_kernel(float* out, int last) {
  float values[33];
  for (float& value : values) value = out[0];
  __syncwarp();
  out[threadIdx.x] = values[last];
}

__global__ void misaligned_kernel(float* out, int last) {
  *reinterpret_cast<float4*>(out + last) = make_float4(0, 0, 0, 0);
}

Child run_with(void (*kernel)(float*, int), int last) {
  return run_in_child([=] {
    DeviceBuffer<float> out(33);
    require(launch(kernel, 1, 32, 33 * sizeof(float), nullptr, out.data(), last));
  });
}

void expect_stopped(void (*kernel)(float*, int), int inside, int outside, const char* report) {
  const Child passed = run_with(kernel, inside);
  CHECK_EQ(passed.status, 0);
  const Child stopped = run_with(kernel, outside);
  CHECK(stopped.status != 0);
  CHECK_MESSAGE(stopped.output, report);
}

TEST(index_outside_of_static_shared_memory_is_stopped) {
  expect_stopped(static_shared_kernel, 32, 33, "heap-buffer-overflow");
  expect_stopped(static_shared_kernel, 0, -1, "heap-buffer-overflow");
  expect_stopped(plain_shared_kernel, 32, 33, "global-buffer-overflow");
}

TEST(index_outside_of_dynamic_shared_memory_is_stopped) {
  expect_stopped(dynamic_shared_kernel, 32, 33, "heap-buffer-overflow");
  expect_stopped(dynamic_shared_kernel, 0, -1, "heap-buffer-overflow");
}

TEST(index_outside_of_global_memory_is_stopped) { expect_stopped(global_kernel, 32, 33, "heap-buffer-overflow"); }
TEST(index_outside_of_a_local_array_is_stopped) { expect_stopped(local_kernel, 32, 33, "out of bounds"); }
TEST(misaligned_vector_access_is_stopped) { expect_stopped(misaligned_kernel, 4, 2, "misaligned address"); }
#endif

}  // namespace
}  // namespace fasthash
