// SPDX-License-Identifier: Apache-2.0
#include "common/machine.h"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <stdexcept>

namespace fasthash {
namespace {

constexpr const char* names[machine_count] = {"scalar", "avx2", "avx512", "avx512_vpopcnt", "neon"};

bool compiled(Machine machine) {
#if defined(FASTHASH_X86_VARIANTS)
  return machine != Machine::neon;
#elif defined(FASTHASH_AARCH64_VARIANTS)
  return machine == Machine::scalar || machine == Machine::neon;
#else
  return machine == Machine::scalar;
#endif
}

// __builtin_cpu_supports asks the operating system for the register state too. Every aarch64 processor has NEON.
bool processor_has(Machine machine) {
#if defined(FASTHASH_X86_VARIANTS)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (machine == Machine::avx2) return avx2;
  if (machine == Machine::avx512) return avx512;
  if (machine == Machine::avx512_vpopcnt) return avx512 && __builtin_cpu_supports("avx512vpopcntdq");
#elif defined(FASTHASH_AARCH64_VARIANTS)
  if (machine == Machine::neon) return true;
#endif
  return machine == Machine::scalar;
}

std::string joined(const std::vector<Machine>& machines) {
  std::string text;
  for (Machine machine : machines) text += (text.empty() ? "" : ", ") + std::string(machine_name(machine));
  return text;
}

Machine parse(const std::string& name, const char* source) {
  const auto available = machines_available();
  for (int i = 0; i < machine_count; ++i) {
    if (name != names[i]) continue;
    if (std::find(available.begin(), available.end(), Machine(i)) != available.end()) return Machine(i);
    throw std::invalid_argument(std::string(source) + ": machine '" + name +
                                "' is not available here; available: " + joined(available));
  }
  throw std::invalid_argument(std::string(source) + ": machine must be one of " + joined(available) + ", got '" + name +
                              "'");
}

Machine initial_machine() {
  const char* forced = std::getenv("FASTHASH_ISA");
  if (forced && *forced) return parse(forced, "FASTHASH_ISA");
  return machines_available().back();
}

std::atomic<int32_t>& chosen() {
  static std::atomic<int32_t> machine{int32_t(initial_machine())};
  return machine;
}

// A deque keeps the addresses of its elements when it grows.
struct Registry {
  std::mutex mutex;
  std::deque<detail::VariantRecord> records;
};
Registry& registry() {
  static Registry instance;
  return instance;
}

}  // namespace

const char* machine_name(Machine machine) { return names[int(machine)]; }

std::vector<Machine> machines_compiled() {
  std::vector<Machine> found;
  for (int i = 0; i < machine_count; ++i)
    if (compiled(Machine(i))) found.push_back(Machine(i));
  return found;
}

std::vector<Machine> machines_available() {
  std::vector<Machine> found;
  for (Machine machine : machines_compiled())
    if (processor_has(machine)) found.push_back(machine);
  return found;
}

Machine machine_in_use() { return Machine(chosen().load(std::memory_order_relaxed)); }

void force_machine(const std::string& name) {
  chosen() = int32_t(name.empty() ? initial_machine() : parse(name, "force_machine"));
}

std::vector<VariantCount> variant_counts() {
  Registry& all = registry();
  const std::lock_guard<std::mutex> lock(all.mutex);
  std::vector<VariantCount> counts;
  for (const auto& record : all.records) counts.push_back({record.kernel, record.machine, record.calls.load()});
  return counts;
}

detail::VariantRecord* detail::record_variant(const char* kernel, Machine machine) {
  Registry& all = registry();
  const std::lock_guard<std::mutex> lock(all.mutex);
  all.records.emplace_back();
  all.records.back().kernel = kernel;
  all.records.back().machine = machine;
  return &all.records.back();
}

}  // namespace fasthash
