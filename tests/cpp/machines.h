// SPDX-License-Identifier: Apache-2.0
// Runs checks with one machine variant after the other.
#pragma once

#include <string>

#include "check.h"
#include "common/machine.h"

namespace fasthash {

// Runs `body` with each machine variant that this processor has.
template <class F>
void on_every_machine(F&& body) {
  const std::string before = check::context;
  for (Machine machine : machines_available()) {
    force_machine(machine_name(machine));
    check::context = before + (before.empty() ? "" : ", ") + machine_name(machine);
    body();
  }
  force_machine("");
  check::context = before;
}

// After on_every_machine: every variant of the kernel that this processor has was chosen.
inline void expect_every_variant_ran(const std::string& kernel) {
  int variants = 0;
  for (Machine machine : machines_available()) {
    for (const VariantCount& count : variant_counts()) {
      if (count.kernel != kernel || count.machine != machine) continue;
      check::context = kernel + " " + machine_name(machine);
      CHECK(count.calls > 0);
      ++variants;
    }
  }
  check::context.clear();
  CHECK(variants > 0);
}

}  // namespace fasthash
