// SPDX-License-Identifier: Apache-2.0
// What a test of a kernel needs, on the stand-in and on a device alike.
//
//   TEST(sum_of_rows) {
//     in_every_order([] {
//       DeviceBuffer<float> rows(std::vector<float>{1, 2, 3}), sum(1);
//       CHECK_EQ(sum_cuda(rows.data(), sum.data(), 3, nullptr), cudaSuccess);
//       CHECK_EQ(sum.host(), std::vector<float>{6});
//     });
//   }
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "check.h"
#include "common/cuda.h"

namespace fasthash {

inline void require(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

// Device memory of exactly `size` elements, garbage at first.
template <class T>
class DeviceBuffer {
 public:
  explicit DeviceBuffer(std::size_t size) : size_(size) { require(cudaMalloc(&data_, size * sizeof(T))); }
  explicit DeviceBuffer(const std::vector<T>& values) : DeviceBuffer(values.size()) {
    require(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~DeviceBuffer() { (void)cudaFree(data_); }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* data() { return data_; }
  std::size_t size() const { return size_; }

  // Waits for the device: errors of kernels come to light here.
  std::vector<T> host() const {
    std::vector<T> values(size_);
    require(cudaDeviceSynchronize());
    require(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};

// Runs `body` once for each order of the fibres; on a device three times in the one order there is.
template <class F>
void in_every_order(F&& body) {
#if defined(FASTHASH_CUDA_ON_CPU)
  const auto before = cuda_on_cpu::fibre_order();
  for (const char* order : {"ascending", "descending", "random:1", "random:2", "random:3"}) {
    cuda_on_cpu::set_fibre_order(cuda_on_cpu::parse_fibre_order(order));
    check::context = std::string("fibres ") + order;
    body();
  }
  cuda_on_cpu::set_fibre_order(before);
#else
  for (int i = 0; i < 3; ++i) body();
#endif
  check::context.clear();
}

// The same bits: tells -0 from 0 and takes equal NaNs for equal.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace fasthash
