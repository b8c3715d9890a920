// SPDX-License-Identifier: Apache-2.0
// Which instruction-set variant of a kernel runs. Chosen once from the processor, or forced (FASTHASH_ISA,
// force_machine).
#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

namespace fasthash {

// In rising order of preference; those of other processors are not compiled in. A kernel without a variant for the
// machine in use runs its next lower one.
enum class Machine : int32_t { scalar, avx2, avx512, avx512_vpopcnt, neon };
constexpr int machine_count = 5;

const char* machine_name(Machine machine);
std::vector<Machine> machines_compiled();
std::vector<Machine> machines_available();  // compiled in, and the processor and operating system have it
Machine machine_in_use();

// Forces one variant by name; the empty name goes back to FASTHASH_ISA, or to the best available one.
// Throws std::invalid_argument for a name that is unknown or not available here.
void force_machine(const std::string& name);

// One variant of one kernel, and how often it was chosen.
struct VariantCount {
  const char* kernel;
  Machine machine;
  int64_t calls;
};
std::vector<VariantCount> variant_counts();

namespace detail {
struct VariantRecord {
  const char* kernel;
  Machine machine;
  std::atomic<int64_t> calls{0};
};
VariantRecord* record_variant(const char* kernel, Machine machine);
}  // namespace detail

template <class Function>
struct Variant {
  Machine machine;
  Function* run;
};

// The variants of one kernel. Make it a namespace-scope constant: construction records the variants for
// variant_counts().
template <class Function>
class Variants {
 public:
  Variants(const char* kernel, std::initializer_list<Variant<Function>> variants) {
    for (const auto& variant : variants) entries_.push_back({variant, detail::record_variant(kernel, variant.machine)});
  }

  Function* select() const {
    const Machine limit = machine_in_use();
    const Entry* best = nullptr;
    for (const Entry& entry : entries_)
      if (entry.variant.machine <= limit && (!best || entry.variant.machine > best->variant.machine)) best = &entry;
    best->record->calls.fetch_add(1, std::memory_order_relaxed);
    return best->variant.run;
  }

 private:
  struct Entry {
    Variant<Function> variant;
    detail::VariantRecord* record;
  };
  std::vector<Entry> entries_;
};

// Entries of Variants{kernel, {...}}: one variant, and the variants of a kernel that has one per width of vector, as
// far as they are compiled in.
#define FH_VARIANT(name, machine) \
  Variant<decltype(name##_##machine)> { Machine::machine, &name##_##machine }
#if defined(FASTHASH_X86_VARIANTS)
#define FH_VARIANTS(name) FH_VARIANT(name, scalar), FH_VARIANT(name, avx2), FH_VARIANT(name, avx512)
#elif defined(FASTHASH_AARCH64_VARIANTS)
#define FH_VARIANTS(name) FH_VARIANT(name, scalar), FH_VARIANT(name, neon)
#else
#define FH_VARIANTS(name) FH_VARIANT(name, scalar)
#endif

}  // namespace fasthash
