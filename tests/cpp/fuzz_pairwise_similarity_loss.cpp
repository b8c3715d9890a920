// SPDX-License-Identifier: Apache-2.0
#include "fuzz.h"
#include "machines.h"
#include "pairwise_similarity_loss_case.h"

namespace fasthash {
namespace {

FUZZ(pairwise_similarity_loss) {
  const int items = int(choices.coin() ? 0 : choices.between(1, choices.coin() ? 20 : 220));
  const int anchors = int(choices.between(1, choices.coin() ? 6 : 90)), bits = int(choices.between(1, 40));
  PairwiseCase input(anchors, items, bits, int(choices.coin() ? 0 : choices.between(1, 9)));
  choices.fill(input.x_bits);
  choices.fill(input.y_bits);
  std::vector<uint8_t> contents(input.x.size());
  choices.fill(contents);
  for (size_t i = 0; i < contents.size(); ++i) input.x[i] = float(int(contents[i]) - 100) / 64;
  constexpr PairRule rules[] = {PairRule::likelihood, PairRule::cauchy, PairRule::graded_likelihood};
  constexpr PairBalance balances[] = {PairBalance::none, PairBalance::both, PairBalance::similar};
  PairwiseLoss args = input.arguments(choices.one_of(rules), choices.one_of(balances), choices.coin());
  if (args.rule == PairRule::cauchy) args.smallest = 0.1 * bits;  // squared distances near it cancel
  on_every_machine([&] { expect_naive(input, args); });
}

}  // namespace
}  // namespace fasthash
