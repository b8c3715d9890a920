// SPDX-License-Identifier: Apache-2.0
#include "class_softmax_case.h"
#include "fuzz.h"
#include "machines.h"

namespace fasthash {
namespace {

FUZZ(class_softmax) {
  const int64_t rows = choices.between(1, choices.coin() ? 20 : 150), bits = choices.between(1, 70);
  SoftmaxCase input(rows, choices.between(1, choices.coin() ? 20 : 200), bits, unsigned(choices.byte()));
  std::vector<uint8_t> contents(input.x.size());
  choices.fill(contents);
  for (size_t n = 0; n < contents.size(); ++n) input.x[n] += float(int(contents[n]) - 128) / 256;
  const int threads = int(choices.between(1, 9));
  on_every_machine([&] { expect_naive(input, threads); });
}

}  // namespace
}  // namespace fasthash
