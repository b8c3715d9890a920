// SPDX-License-Identifier: Apache-2.0
// The door between kernels and the scheduler that runs a block's threads as fibres.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "device_types.h"

namespace fasthash::cuda_on_cpu {

// What a kernel did that a device would hang on, or leave undefined.
struct KernelFault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The order in which the fibres of a warp, the warps of a block and the blocks of a grid take turns.
struct FibreOrder {
  enum Kind { ascending, descending, random } kind = ascending;
  std::uint64_t seed = 0;
};
FibreOrder parse_fibre_order(const std::string& text);  // "ascending", "descending" or "random:SEED"
FibreOrder fibre_order();                               // FASTHASH_FIBRE_ORDER until it is set
void set_fibre_order(FibreOrder order);

// A place in the source. As a default argument it is the place of the call.
struct Site {
  const char* file;
  const char* function;
  int line;
  static constexpr Site here(const char* file = __builtin_FILE(), const char* function = __builtin_FUNCTION(),
                             int line = __builtin_LINE()) {
    return {file, function, line};
  }
};

struct Launch {
  const void* kernel;
  dim3 grid, block;
  std::size_t shared_bytes;
  Site site;
};

void run(const Launch& launch, const std::function<void()>& thread);
std::string function_name(const void* address);
std::size_t shared_bytes_at_most(const void* kernel);  // static and dynamic, by what was asked for

// What the lanes of a warp brought to a rendezvous.
struct Exchange {
  std::uint32_t present;  // the lanes that came
  std::uint64_t value[32];
};

const Exchange& meet_warp(const char* operation, std::uint32_t mask, std::uint64_t value, Site site);
int meet_block(const char* operation, bool predicate, Site site);  // how many predicates are true
void let_others_run(Site site);
int lane_index();
[[noreturn]] void fault(const std::string& text);

void* shared_memory(const void* key, std::size_t bytes, std::size_t alignment);
void* dynamic_shared_memory();
std::uint64_t garbage();  // what undefined reads return: differs from one fibre order to the next

template <class T>
std::uint64_t to_bits(T value) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8),
                "warps exchange int, unsigned, long long, unsigned long long, float and double");
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}

template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// One object per block for each place in the source and each instantiation around it.
template <class T>
T& shared_object(const void* key) {
  return *static_cast<T*>(shared_memory(key, sizeof(T), alignof(T) < 16 ? 16 : alignof(T)));
}

}  // namespace fasthash::cuda_on_cpu

#define FH_SHARED(type, name) \
  static char name##_key;     \
  auto& name = ::fasthash::cuda_on_cpu::shared_object<type>(&name##_key)

#define FH_DYNAMIC_SHARED(type, name) type* name = static_cast<type*>(::fasthash::cuda_on_cpu::dynamic_shared_memory())
