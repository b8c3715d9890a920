// SPDX-License-Identifier: Apache-2.0
#include "fuzz.h"
#include "machines.h"
#include "order_aware_triplet_case.h"

namespace fasthash {
namespace {

FUZZ(order_aware_triplet) {
  const int items = int(choices.between(1, choices.coin() ? 12 : 50));
  TripletCase input(int(choices.between(1, 3)), items, int(choices.between(1, 3)));
  std::vector<uint8_t> contents(input.distances.size());
  choices.fill(contents);
  choices.fill(input.anchor_codes);
  choices.fill(input.item_codes);
  const int levels = int(choices.between(1, 64)), kinds = int(choices.between(1, 4));
  for (size_t i = 0; i < contents.size(); ++i) {
    input.distances[i] = float(contents[i] % levels) / 8;
    input.relation[i] = int8_t(contents[i] / 64 % kinds - 1);
  }
  if (choices.coin()) {
    input.gains.resize(contents.size());
    for (size_t i = 0; i < contents.size(); ++i) input.gains[i] = float(contents[i] % 7);
  }
  OrderAwareTriplet args =
      input.arguments(Weighting(choices.between(0, 3)), choices.coin(), Reduction(choices.between(0, 2)));
  args.ties = Ties(choices.between(0, 1));
  args.normalize = choices.coin();
  args.margin = double(choices.between(0, 32)) / 8 - 1;
  const TripletResult want = naive_order_aware_triplet(input, args);
  on_every_machine([&] {
    for (TripletMethod method : {TripletMethod::pairs, TripletMethod::sweep}) {
      args.method = method;
      expect_result(triplet_on_cpu(input, args), want);
    }
  });
}

}  // namespace
}  // namespace fasthash
