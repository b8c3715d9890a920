// SPDX-License-Identifier: Apache-2.0
#include "discrete_code_update_case.h"
#include "fuzz.h"
#include "machines.h"

namespace fasthash {
namespace {

FUZZ(discrete_code_update) {
  const int64_t rows = choices.between(0, choices.coin() ? 9 : 150), bits = choices.between(1, choices.coin() ? 9 : 60);
  const int64_t samples = choices.between(0, 40), targets = choices.between(1, choices.coin() ? 2 : 90);
  const int64_t sweeps = choices.between(1, 3), extra = choices.coin() ? choices.between(0, 5) : 0;
  const DescentCase input(rows, bits, samples, targets, sweeps, extra, unsigned(choices.between(0, 1 << 30)));
  const DescentResult want = naive_descent(input);
  on_every_machine([&] {
    const DescentResult got = descent_on_cpu(input);
    CHECK_EQ(got.codes, want.codes);
    CHECK_EQ(got.changed, want.changed);
  });
}

}  // namespace
}  // namespace fasthash
