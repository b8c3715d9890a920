// SPDX-License-Identifier: Apache-2.0
// What a GPU can do at best, for the kernels of Hamming searches: prints a line of JSON for each rate.
//
//   popcount    popcounts a second
//   scan        Hamming comparisons a second out of shared memory: an exclusive or, a popcount and an addition for each
//               32-bit word, and a minimum for each comparison
//   b1 product  products of two rows of 256 bits (the popcount of their AND) a second on the tensor cores of sm_90a
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "common/cuda.h"
#include "common/wgmma.cuh"

namespace {

using namespace fasthash;

constexpr int threads = 256, chains = 8, shared_words = 4096;

__global__ void __launch_bounds__(threads) popcount_kernel(uint32_t* out, int rounds) {
  uint32_t values[chains];
  for (int i = 0; i < chains; ++i) values[i] = threadIdx.x * 2654435761u + i;
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < chains; ++i) values[i] = uint32_t(__popc(values[i])) + uint32_t(round);
  }
  uint32_t sum = 0;
  for (int i = 0; i < chains; ++i) sum += values[i];
  if (sum == 1) out[0] = sum;  // never; the compiler cannot know
}

template <int kWords, int kQueries>
__global__ void __launch_bounds__(threads) scan_kernel(uint32_t* out, int rounds) {
  constexpr int group = kWords < 4 ? 4 / kWords : 1;  // codes that are read at once
  FH_SHARED(uint4[shared_words / 4], codes);
  uint32_t* const words = reinterpret_cast<uint32_t*>(codes);
  for (int i = int(threadIdx.x); i < shared_words; i += threads) words[i] = uint32_t(i) * 2654435761u;
  __syncthreads();
  uint32_t queries[kQueries][kWords];
  int32_t least[kQueries];
  for (int q = 0; q < kQueries; ++q) {
    least[q] = INT32_MAX;
    for (int w = 0; w < kWords; ++w) queries[q][w] = (threadIdx.x * kQueries + q) * 40503u + w * 977u;
  }
  for (int round = 0; round < rounds; ++round) {
    for (int at = 0; at < shared_words; at += group * kWords) {
      uint32_t read[group * kWords];
#pragma unroll
      for (int i = 0; i < group * kWords; i += 4) {
        const uint4 four = codes[(at + i) / 4];
        read[i] = four.x, read[i + 1] = four.y, read[i + 2] = four.z, read[i + 3] = four.w;
      }
#pragma unroll
      for (int c = 0; c < group; ++c) {
#pragma unroll
        for (int q = 0; q < kQueries; ++q) {
          int32_t distance = 0;
#pragma unroll
          for (int w = 0; w < kWords; ++w) distance += __popc(queries[q][w] ^ read[c * kWords + w]);
          least[q] = min(least[q], distance);
        }
      }
    }
    asm volatile("" ::: "memory");  // the codes are read anew
  }
  int32_t sum = 0;
  for (int q = 0; q < kQueries; ++q) sum += least[q];
  if (sum == -1) out[0] = 1;
}

__global__ void __launch_bounds__(128) product_kernel(int32_t* out, int rounds) {
  FH_SHARED(uint4[64 * 2 + 128 * 2], memory);
  for (int i = int(threadIdx.x); i < 64 * 2 + 128 * 2; i += 128) memory[i] = make_uint4(i, ~i, i * 77, 0);
  BitProducts<128> products{int(threadIdx.x)};
  products.fence_shared();
  __syncthreads();
  const BitRows a{reinterpret_cast<uint8_t*>(memory), 64}, b{reinterpret_cast<uint8_t*>(memory + 64 * 2), 128};
  int32_t d[64] = {};
  for (int round = 0; round < rounds; ++round) {
    products.multiply(d, a, b, true);
    products.commit();
    products.wait<1>(d);
  }
  products.wait<0>(d);
  int32_t sum = 0;
  for (int i = 0; i < 64; ++i) sum += d[i];
  if (sum == -1) out[0] = sum;
}

void require(cudaError_t status) {
  if (status == cudaSuccess) return;
  std::fprintf(stderr, "gpu_limits: %s\n", cudaGetErrorString(status));
  std::exit(1);
}

// Seconds of the fastest of a few runs.
template <class Run>
double fastest(const Run& run) {
  cudaEvent_t begin, end;
  require(cudaEventCreate(&begin));
  require(cudaEventCreate(&end));
  float best = 1e30f;
  for (int i = 0; i < 6; ++i) {
    require(cudaEventRecord(begin));
    require(run());
    require(cudaEventRecord(end));
    require(cudaEventSynchronize(end));
    float milliseconds = 0;
    require(cudaEventElapsedTime(&milliseconds, begin, end));
    best = std::min(best, milliseconds);
  }
  return best * 1e-3;
}

struct Device {
  uint32_t* out;
  int blocks;  // four for each multiprocessor
};

void report(const char* name, const char* size, double per_second) {
  std::printf("{\"name\": \"%s\", \"threads\": 0, %s, \"per_second\": %.6g}\n", name, size, per_second);
}

template <int kWords, int kQueries>
void measure_scan(const Device& device) {
  constexpr int rounds = 64;
  const double seconds = fastest(
      [&] { return launch(scan_kernel<kWords, kQueries>, device.blocks, threads, 0, nullptr, device.out, rounds); });
  const double comparisons = double(device.blocks) * threads * kQueries * (shared_words / kWords) * rounds;
  char size[32];
  std::snprintf(size, sizeof size, "\"bits\": %d", 32 * kWords);
  report("scan", size, comparisons / seconds);
}

}  // namespace

int main() {
  cudaDeviceProp chip{};
  require(cudaGetDeviceProperties(&chip, 0));
  Device device{nullptr, 4 * chip.multiProcessorCount};
  require(cudaMalloc(&device.out, sizeof(uint32_t)));
  constexpr int rounds = 20000;
  const double seconds =
      fastest([&] { return launch(popcount_kernel, device.blocks, threads, 0, nullptr, device.out, rounds); });
  report("popcount", "\"unit\": \"popcounts\"", double(device.blocks) * threads * chains * rounds / seconds);
  measure_scan<1, 8>(device);
  measure_scan<2, 8>(device);
  measure_scan<4, 8>(device);
  measure_scan<8, 4>(device);
  measure_scan<16, 2>(device);
  measure_scan<32, 2>(device);
  if (chip.major == 9 && chip.minor == 0) {
    const double of_products = fastest([&] {
      return launch(product_kernel, device.blocks, 128, 0, nullptr, reinterpret_cast<int32_t*>(device.out), rounds);
    });
    report("b1 product", "\"unit\": \"products of 256 bits\"", double(device.blocks) * 64 * 128 * rounds / of_products);
  }
  return 0;
}
