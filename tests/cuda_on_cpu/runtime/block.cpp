// SPDX-License-Identifier: Apache-2.0
#include "block.h"

#include <cstdio>

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace fasthash::cuda_on_cpu {
namespace {

constexpr int kIdleRounds = 100000;  // rounds in which every thread only spins, until it is taken for a deadlock

uint3 unravel(std::uint64_t linear, dim3 extent) {
  return {unsigned(linear % extent.x), unsigned(linear / extent.x % extent.y), unsigned(linear / extent.x / extent.y)};
}

std::vector<std::unique_ptr<Thread>>* thread_pool(int count) {
  static std::vector<std::unique_ptr<Thread>> pool;
  while (int(pool.size()) < count) pool.push_back(std::make_unique<Thread>());
  return &pool;
}

bool same_place(const Thread& a, const Thread& b) {
  return a.site.line == b.site.line && std::strcmp(a.site.file, b.site.file) == 0 &&
         std::strcmp(a.operation, b.operation) == 0;
}

}  // namespace

std::string describe(uint3 index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

std::string describe(const Thread& waiting) {
  char mask[40] = "";
  if (waiting.state == State::in_warp_exchange) std::snprintf(mask, sizeof(mask), " with mask 0x%08x", waiting.mask);
  return std::string(waiting.operation) + mask + " in " + waiting.site.function + " (" + waiting.site.file + ":" +
         std::to_string(waiting.site.line) + ")";
}

Block::Block(const Launch& launch, const std::function<void()>& thread)
    : launch_(launch),
      shared_(launch.shared_bytes, shared_bytes_at_most(launch.kernel), garbage_byte(fibre_order())),
      count_(int(launch.block.x * launch.block.y * launch.block.z)) {
  threads_ = thread_pool(count_);
  body_ = [this, &thread] {
    try {
      thread();
      exit_thread();
    } catch (...) {
      failure_ = std::current_exception();
    }
    running().fibre.suspend();
  };
}

void Block::run(std::uint64_t linear_index) {
  blockIdx = unravel(linear_index, launch_.grid);
  shared_.start_block();
  start_threads();
  Turns turns(fibre_order(), linear_index);
  int idle_rounds = 0;
  while (exited_ < count_) {
    moved_ = false;
    const bool ran = run_turns(turns);
    idle_rounds = moved_ ? 0 : idle_rounds + 1;
    if (!ran || idle_rounds > kIdleRounds) {
      throw KernelFault(where() + ": deadlock, no thread can go on: " + waiting_list());
    }
  }
}

void Block::start_threads() {
  exited_ = arrived_ = predicates_ = 0;
  warps_.assign(std::size_t(count_ + 31) / 32, Warp{});
  if (count_ % 32 != 0) warps_.back().exited = ~0u << count_ % 32;
  for (int i = 0; i < count_; ++i) {
    Thread& thread = *(*threads_)[i];
    thread.fibre.start(body_);
    thread.state = State::ready;
    thread.index = unravel(std::uint64_t(i), launch_.block);
  }
}

// Gives every warp a turn, from the first again once the block has met. False when no thread could run.
bool Block::run_turns(Turns& turns) {
  bool any = false;
  block_released_ = false;
  turns.arrange(warp_turns_, int(warps_.size()));
  for (const int warp : warp_turns_) {
    any |= run_warp(turns, warp);
    if (block_released_) break;
  }
  return any;
}

bool Block::run_warp(Turns& turns, int warp) {
  bool any = false;
  do {
    warp_released_ = false;
    turns.arrange(lane_turns_, 32);
    for (const int lane : lane_turns_) {
      const int thread = 32 * warp + lane;
      if (thread >= count_ || (*threads_)[thread]->state != State::ready) continue;
      resume(thread);
      any = true;
      if (block_released_) return true;
      if (warp_released_) break;
    }
  } while (warp_released_ && turns.stay());
  return any;
}

void Block::resume(int thread) {
  running_ = thread;
  threadIdx = running().index;
  running().fibre.resume();
  if (failure_) std::rethrow_exception(failure_);
}

void Block::let_others_run(Site site) {
  running().operation = "__nanosleep";
  running().mask = 0;
  running().site = site;
  running().fibre.suspend();
}

void Block::exit_thread() {
  moved_ = true;
  last_exited_ = running_;
  ++exited_;
  running().state = State::exited;
  if (arrived_ > 0) {
    const Thread& waiting = *(*threads_)[first_arrived_];
    fault("exited, but thread " + describe(waiting.index) + " waits at " + describe(waiting) +
          ", which every thread of the block must reach");
  }
  Warp& warp = warps_[running_ / 32];
  warp.exited |= 1u << lane();
  const int first = running_ - lane();
  for (int other = 0; other < 32; ++other) {
    if ((warp.waiting >> other & 1u) != 0) complete_exchange(warp, first, (*threads_)[first + other]->mask);
  }
}

int Block::meet_block(const char* operation, bool predicate, Site site) {
  Thread& self = running();
  moved_ = true;
  self.state = State::at_block_barrier;
  self.operation = operation;
  self.mask = 0;
  self.site = site;
  if (exited_ > 0) {
    fault("waits at " + describe(self) + ", which every thread of the block must reach, but thread " +
          describe((*threads_)[last_exited_]->index) + " has exited");
  }
  if (arrived_ == 0) first_arrived_ = running_;
  const Thread& first = *(*threads_)[first_arrived_];
  if (!same_place(self, first)) {
    fault("waits at " + describe(self) + ", but thread " + describe(first.index) + " at " + describe(first) +
          ": all threads of a block must meet at the same barrier");
  }
  predicates_ += predicate;
  if (++arrived_ == count_) release_block();
  self.fibre.suspend();
  return result_;
}

void Block::release_block() {
  result_ = predicates_;
  arrived_ = predicates_ = 0;
  block_released_ = true;
  for (int i = 0; i < count_; ++i) (*threads_)[i]->state = State::ready;
}

const Exchange& Block::meet_warp(const char* operation, std::uint32_t mask, std::uint64_t value, Site site) {
  Thread& self = running();
  Warp& warp = warps_[running_ / 32];
  const int first = running_ - lane();
  moved_ = true;
  self.state = State::in_warp_exchange;
  self.operation = operation;
  self.mask = mask;
  self.site = site;
  self.value = value;
  if ((mask >> lane() & 1u) == 0) fault("calls " + describe(self) + ", which leaves out the caller");
  for (std::uint32_t others = mask & warp.waiting; others != 0; others &= others - 1) {
    expect_same_exchange(*(*threads_)[first + __builtin_ctz(others)]);
  }
  warp.waiting |= 1u << lane();
  complete_exchange(warp, first, mask);
  self.fibre.suspend();
  return self.received;
}

// Two lanes that wait for each other must call the same operation with the same mask.
void Block::expect_same_exchange(const Thread& other) const {
  const Thread& self = running();
  if ((other.mask >> lane() & 1u) == 0) return;
  if (other.mask == self.mask && std::strcmp(other.operation, self.operation) == 0) return;
  fault("waits at " + describe(self) + ", but thread " + describe(other.index) + " at " + describe(other) +
        ": the lanes of a mask must call the same operation with the same mask");
}

// Lets the lanes of `mask` go on, each with a copy of what all of them brought, once those that have not exited came.
void Block::complete_exchange(Warp& warp, int first_thread, std::uint32_t mask) {
  Exchange all{mask & ~warp.exited, {}};
  if ((all.present & ~warp.waiting) != 0) return;
  for (std::uint32_t lanes = all.present; lanes != 0; lanes &= lanes - 1) {
    const int lane = __builtin_ctz(lanes);
    const Thread& thread = *(*threads_)[first_thread + lane];
    if (thread.mask != mask) return;
    all.value[lane] = thread.value;
  }
  for (std::uint32_t lanes = all.present; lanes != 0; lanes &= lanes - 1) {
    Thread& thread = *(*threads_)[first_thread + __builtin_ctz(lanes)];
    thread.received = all;
    thread.state = State::ready;
  }
  warp.waiting &= ~all.present;
  warp_released_ = true;
}

void* Block::shared_object(const void* key, std::size_t bytes, std::size_t alignment) {
  void* object = shared_.object(key, bytes, alignment);
  if (object == nullptr) fault("the kernel's static and dynamic shared memory exceed 48 KB, or what it asked for");
  return object;
}

std::string Block::where() const {
  return "kernel " + function_name(launch_.kernel) + ", launched at " + launch_.site.file + ":" +
         std::to_string(launch_.site.line) + ", block " + describe(blockIdx);
}

void Block::fault(const std::string& text) const {
  throw KernelFault(where() + ", thread " + describe(running().index) + ": " + text);
}

// Names each place where threads wait, its first thread and how many more are there.
std::string Block::waiting_list() const {
  std::vector<std::pair<const Thread*, int>> places;
  for (int i = 0; i < count_; ++i) {
    const Thread& thread = *(*threads_)[i];
    if (thread.state == State::exited) continue;
    auto place = places.begin();
    while (place != places.end() && !(same_place(*place->first, thread) && place->first->mask == thread.mask)) ++place;
    if (place == places.end()) place = places.insert(place, {&thread, -1});
    ++place->second;
  }
  std::string text;
  for (const auto& [thread, more] : places) {
    text += (text.empty() ? "thread " : "; thread ") + describe(thread->index);
    if (more > 0) text += " and " + std::to_string(more) + " more";
    text += " at " + describe(*thread);
  }
  return text;
}

}  // namespace fasthash::cuda_on_cpu
