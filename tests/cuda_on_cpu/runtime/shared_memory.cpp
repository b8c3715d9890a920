// SPDX-License-Identifier: Apache-2.0
#include "shared_memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

namespace fasthash::cuda_on_cpu {

SharedMemory::SharedMemory(std::size_t dynamic_bytes, std::size_t at_most, unsigned char garbage)
    : garbage_(garbage), at_most_(at_most), bytes_(dynamic_bytes) {
  add(nullptr, dynamic_bytes, 16);
}

SharedMemory::~SharedMemory() {
  for (const Piece& piece : pieces_) std::free(piece.memory);
}

void SharedMemory::start_block() {
  for (const Piece& piece : pieces_) std::memset(piece.memory, garbage_, piece.bytes);
}

void* SharedMemory::object(const void* key, std::size_t bytes, std::size_t alignment) {
  for (const Piece& piece : pieces_) {
    if (piece.key == key) return piece.memory;
  }
  bytes_ += bytes;
  return bytes_ > at_most_ ? nullptr : add(key, bytes, alignment);
}

void* SharedMemory::add(const void* key, std::size_t bytes, std::size_t alignment) {
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, bytes) != 0) throw std::bad_alloc();
  std::memset(memory, garbage_, bytes);
  pieces_.push_back({key, memory, bytes});
  return memory;
}

}  // namespace fasthash::cuda_on_cpu
