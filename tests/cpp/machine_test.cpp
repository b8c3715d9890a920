// SPDX-License-Identifier: Apache-2.0
#include "common/machine.h"

#include <algorithm>
#include <string>

#include "check.h"

namespace fasthash {
namespace {

std::vector<std::string> names_of(const std::vector<Machine>& machines) {
  std::vector<std::string> names;
  for (Machine machine : machines) names.push_back(machine_name(machine));
  return names;
}

std::vector<Machine> variants_of(const std::string& kernel) {
  std::vector<Machine> machines;
  for (const VariantCount& count : variant_counts())
    if (count.kernel == kernel) machines.push_back(count.machine);
  return machines;
}

TEST(scalar_always_exists_and_comes_first) {
  CHECK_EQ(names_of(machines_compiled()).front(), "scalar");
  CHECK_EQ(names_of(machines_available()).front(), "scalar");
}

TEST(machines_belong_to_the_processor) {
#if defined(FASTHASH_X86_VARIANTS)
  CHECK_EQ(names_of(machines_compiled()), (std::vector<std::string>{"scalar", "avx2", "avx512", "avx512_vpopcnt"}));
#elif defined(FASTHASH_AARCH64_VARIANTS)
  CHECK_EQ(names_of(machines_compiled()), (std::vector<std::string>{"scalar", "neon"}));
  CHECK_EQ(names_of(machines_available()), (std::vector<std::string>{"scalar", "neon"}));
#endif
}

TEST(forcing_a_machine_takes_it_or_says_why_not) {
  const Machine before = machine_in_use();
  for (Machine machine : machines_available()) {
    force_machine(machine_name(machine));
    CHECK_EQ(machine_in_use(), machine);
  }
  CHECK_THROWS(force_machine("sse9"), "force_machine: machine must be one of scalar");
#if defined(FASTHASH_X86_VARIANTS)
  CHECK_THROWS(force_machine("neon"), "machine 'neon' is not available here");
#else
  CHECK_THROWS(force_machine("avx2"), "machine 'avx2' is not available here");
#endif
  CHECK_EQ(machine_in_use(), machines_available().back());  // a refused name changes nothing
  force_machine("");
  CHECK_EQ(machine_in_use(), before);
}

int first() { return 1; }
int second() { return 2; }
int third() { return 3; }

TEST(a_kernel_runs_its_next_lower_variant) {
  const std::vector<Machine> available = machines_available();
  const Variants<int()> lowest{"test_lowest", {{Machine::scalar, first}}};
  const Variants<int()> highest{"test_highest", {{Machine::scalar, second}, {available.back(), third}}};
  force_machine(machine_name(available.back()));
  CHECK_EQ(lowest.select()(), 1);
  if (available.size() > 1) CHECK_EQ(highest.select()(), 3);
  force_machine("scalar");
  CHECK_EQ(highest.select()(), 2);
  force_machine("");
}

// A table that lost a line would go unnoticed otherwise: its next lower variant gives the same results.
TEST(vector_kernels_have_a_variant_for_every_width) {
  std::vector<Machine> widths = machines_compiled();
  widths.erase(std::remove(widths.begin(), widths.end(), Machine::avx512_vpopcnt), widths.end());
  for (const char* kernel :
       {"tanh_quantize", "tanh_quantize_backward", "order_aware_triplet", "pack_codes", "pair_count", "pair_products",
        "pair_terms", "triplet_margin", "triplet_margin_swap", "unpack_codes"}) {
    check::context = kernel;
    CHECK(variants_of(kernel) == widths);
  }
  for (const char* kernel : {"hamming_scan_below", "hamming_scan_below_many", "hamming_scan_all", "hamming_slices"}) {
    check::context = kernel;
    CHECK(variants_of(kernel) == machines_compiled());
  }
  check::context.clear();
}

}  // namespace
}  // namespace fasthash
