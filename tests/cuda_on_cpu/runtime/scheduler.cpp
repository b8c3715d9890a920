// SPDX-License-Identifier: Apache-2.0
#include "scheduler.h"

#include <mutex>

#include "block.h"

namespace fasthash::cuda_on_cpu {
namespace {

Block* current = nullptr;

Block& current_block() {
  if (current == nullptr) throw KernelFault("device code was called outside of a kernel");
  return *current;
}

struct CurrentBlock {
  explicit CurrentBlock(Block& block) { current = &block; }
  ~CurrentBlock() { current = nullptr; }
};

}  // namespace

void run(const Launch& launch, const std::function<void()>& thread) {
  static std::mutex one_launch_at_a_time;
  const std::lock_guard<std::mutex> lock(one_launch_at_a_time);
  gridDim = launch.grid;
  blockDim = launch.block;
  Block block(launch, thread);
  const CurrentBlock scope(block);
  const std::uint64_t blocks = std::uint64_t(launch.grid.x) * launch.grid.y * launch.grid.z;
  for (std::uint64_t turn = 0; turn < blocks; ++turn) block.run(block_at(fibre_order(), turn, blocks));
}

const Exchange& meet_warp(const char* operation, std::uint32_t mask, std::uint64_t value, Site site) {
  return current_block().meet_warp(operation, mask, value, site);
}

int meet_block(const char* operation, bool predicate, Site site) {
  return current_block().meet_block(operation, predicate, site);
}

void let_others_run(Site site) { current_block().let_others_run(site); }
int lane_index() { return current_block().lane(); }
void fault(const std::string& text) { current_block().fault(text); }

void* shared_memory(const void* key, std::size_t bytes, std::size_t alignment) {
  return current_block().shared_object(key, bytes, alignment);
}

void* dynamic_shared_memory() { return current_block().dynamic_shared(); }

std::uint64_t garbage() { return garbage_byte(fibre_order()) * 0x0101010101010101u; }

}  // namespace fasthash::cuda_on_cpu
