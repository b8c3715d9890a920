// SPDX-License-Identifier: Apache-2.0
#include "discrete_code_update_case.h"

#include "check.h"
#include "discrete_code_update/discrete_code_update_math.h"
#include "machines.h"

namespace fasthash {
namespace {

void expect_naive(const DescentCase& input) {
  const DescentResult got = descent_on_cpu(input), want = naive_descent(input);
  CHECK_EQ(got.codes, want.codes);
  CHECK_EQ(got.changed, want.changed);
}

TEST(discrete_code_update_equals_the_naive_descent_on_every_machine) {
  on_every_machine([] {
    for (int bits : {1, 3, 4, 5, 8, 17, 48}) {
      for (int rows : {1, 63, 64, 65}) expect_naive({rows, bits, 9, 1, 2, 0, unsigned(rows)});
      expect_naive({130, bits, 40, 4, 1, 3, 7});  // tiles of several targets
    }
    expect_naive({700, 12, 300, 600, 3, 0, 3});  // several blocks, and parts of the Gram matrix
    expect_naive({0, 5, 0, 1, 1, 0, 1});
  });
  expect_every_variant_ran("discrete_code_update");
  expect_every_variant_ran("discrete_code_update_gram");
}

TEST(discrete_code_update_has_the_same_codes_where_sums_round) {
  DescentCase input(200, 37, 150, 5, 3, 0, 11);
  std::mt19937 random(5);
  for (float& u : input.relaxed) u = std::tanh(float(int(random() % 4001) - 2000) / 777);
  for (float& t : input.wanted) t = float(int(random() % 4001) - 2000) / 3333;
  force_machine("scalar");
  const DescentResult want = descent_on_cpu(input);
  on_every_machine([&] {
    const DescentResult got = descent_on_cpu(input);
    CHECK_EQ(got.codes, want.codes);
    CHECK_EQ(got.changed, want.changed);
  });
}

TEST(relative_bound_is_the_next_power_of_two) {
  CHECK_EQ(relative_bound(48), 64.0f / (1 << 24));
  CHECK_EQ(relative_bound(56), 64.0f / (1 << 24));
  CHECK_EQ(relative_bound(57), 128.0f / (1 << 24));
  CHECK_EQ(relative_bound(1), 16.0f / (1 << 24));
}

}  // namespace
}  // namespace fasthash
