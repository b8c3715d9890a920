// SPDX-License-Identifier: Apache-2.0
// One block of threads: fibres that take turns, and the barriers at which they meet.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fibre.h"
#include "order.h"
#include "shared_memory.h"

namespace fasthash::cuda_on_cpu {

enum class State : unsigned char { ready, at_block_barrier, in_warp_exchange, exited };

struct Thread {
  Fibre fibre;
  State state = State::exited;
  uint3 index{};
  const char* operation = nullptr;  // what it waits for, with whom, where, and what it brought
  std::uint32_t mask = 0;
  Site site{};
  std::uint64_t value = 0;
  Exchange received{};
};

struct Warp {
  std::uint32_t waiting = 0, exited = 0;  // lanes; those that the block does not fill have exited
};

class Block {
 public:
  Block(const Launch& launch, const std::function<void()>& thread);
  void run(std::uint64_t linear_index);

  // Called by the fibre that runs.
  const Exchange& meet_warp(const char* operation, std::uint32_t mask, std::uint64_t value, Site site);
  int meet_block(const char* operation, bool predicate, Site site);
  void let_others_run(Site site);
  int lane() const { return running_ % 32; }
  void* shared_object(const void* key, std::size_t bytes, std::size_t alignment);
  void* dynamic_shared() const { return shared_.dynamic(); }
  [[noreturn]] void fault(const std::string& text) const;

 private:
  void start_threads();
  bool run_turns(Turns& turns);
  bool run_warp(Turns& turns, int warp);
  void resume(int thread);
  void exit_thread();
  void expect_same_exchange(const Thread& other) const;
  void complete_exchange(Warp& warp, int first_thread, std::uint32_t mask);
  void release_block();
  std::string where() const;
  std::string waiting_list() const;
  Thread& running() const { return *(*threads_)[running_]; }

  const Launch& launch_;
  std::function<void()> body_;
  SharedMemory shared_;
  std::vector<std::unique_ptr<Thread>>* threads_;  // the pool; the first `count_` are this block's
  std::vector<Warp> warps_;
  std::vector<int> warp_turns_, lane_turns_;
  std::exception_ptr failure_;
  int count_, running_ = 0;
  int exited_ = 0, last_exited_ = 0;
  int arrived_ = 0, first_arrived_ = 0, predicates_ = 0, result_ = 0;
  bool moved_ = false, warp_released_ = false, block_released_ = false;
};

std::string describe(uint3 index);
std::string describe(const Thread& waiting);

}  // namespace fasthash::cuda_on_cpu
