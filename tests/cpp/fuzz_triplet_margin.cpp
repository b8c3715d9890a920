// SPDX-License-Identifier: Apache-2.0
#include "fuzz.h"
#include "machines.h"
#include "triplet_margin_case.h"

namespace fasthash {
namespace {

FUZZ(triplet_margin) {
  const int items = int(choices.between(1, choices.coin() ? 20 : 200));
  const int anchors = choices.coin() ? int(choices.between(1, 6)) : std::min(items, 40);
  MarginCase input(anchors, items);
  std::vector<uint8_t> contents(input.distances.size());
  choices.fill(contents);
  const int levels = int(choices.between(1, 64)), kinds = int(choices.between(1, 4));
  for (size_t i = 0; i < contents.size(); ++i) {
    input.distances[i] = float(contents[i] % levels) / 8;
    input.relation[i] = int8_t(contents[i] / 64 % kinds - 1);
  }
  on_every_machine([&] {
    for_each_margin_option(anchors == items, [&](Mining mining, bool swap, bool smooth, Reduction reduction) {
      const TripletMargin args = input.arguments(mining, swap, smooth, reduction);
      expect_result(margin_on_cpu(input, args), naive_triplet_margin(input, args));
    });
  });
}

}  // namespace
}  // namespace fasthash
