// SPDX-License-Identifier: Apache-2.0
// The shared memory of the block that runs: every object on the heap in its exact size, so that AddressSanitizer sees
// each index outside of it, and full of garbage when a block starts.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fasthash::cuda_on_cpu {

constexpr std::size_t kStaticSharedBytes = 48 * 1024;  // what ptxas accepts
constexpr std::size_t kDynamicSharedBytesAtMost =
    99 * 1024;  // of compute capability 8.6 and 8.9, the smallest since 8.0

class SharedMemory {
 public:
  // `at_most` bytes in all, dynamic and static.
  SharedMemory(std::size_t dynamic_bytes, std::size_t at_most, unsigned char garbage);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  void start_block();
  void* dynamic() const { return pieces_.front().memory; }
  // The object that `key` names, made on first use; null when shared memory would exceed its limit.
  void* object(const void* key, std::size_t bytes, std::size_t alignment);

 private:
  struct Piece {
    const void* key;
    void* memory;
    std::size_t bytes;
  };
  void* add(const void* key, std::size_t bytes, std::size_t alignment);

  unsigned char garbage_;
  std::size_t at_most_, bytes_;
  std::vector<Piece> pieces_;  // the dynamic one first
};

}  // namespace fasthash::cuda_on_cpu
