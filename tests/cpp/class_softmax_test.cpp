// SPDX-License-Identifier: Apache-2.0
#include "class_softmax_case.h"
#include "machines.h"

namespace fasthash {
namespace {

TEST(class_softmax_equals_loops_on_every_machine) {
  on_every_machine([] {
    for (int64_t classes : {1, 2, 15, 16, 17, 63, 64, 65, 128, 200})
      for (int64_t bits : {1, 8, 15, 16, 33, 64}) expect_naive(SoftmaxCase(7, classes, bits, unsigned(classes)), 1);
    for (int64_t rows : {1, 5, 6, 12, 16, 17, 129, 300}) expect_naive(SoftmaxCase(rows, 10, 16), 1);
  });
  expect_every_variant_ran("softmax_pack");
  expect_every_variant_ran("softmax_rows");
  expect_every_variant_ran("softmax_classes");
}

TEST(class_softmax_in_blocks_of_rows) {
  for (int threads : {2, 3, 50, 1000}) expect_naive(SoftmaxCase(200, 70, 24), threads);
}

}  // namespace
}  // namespace fasthash
