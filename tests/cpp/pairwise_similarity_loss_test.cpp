// SPDX-License-Identifier: Apache-2.0
#include "pairwise_similarity_loss/pairwise_similarity_loss.h"

#include "check.h"
#include "machines.h"
#include "pairwise_similarity_loss_case.h"

namespace fasthash {
namespace {

void expect_naive_with_all_options(const PairwiseCase& input) {
  for_each_pair_option([&](PairRule rule, PairBalance balance, bool normalize) {
    expect_naive(input, input.arguments(rule, balance, normalize));
  });
}

TEST(pairwise_similarity_loss_equals_loops_on_every_machine) {
  on_every_machine([] {
    for (int bytes : {0, 1, 9}) {
      for (int anchors : {1, 2, 15, 16, 17, 70}) {
        expect_naive_with_all_options(PairwiseCase(anchors, 0, 12, bytes, unsigned(anchors)));
        expect_naive_with_all_options(PairwiseCase(anchors, 19, 33, bytes, unsigned(anchors)));
      }
    }
  });
  for (const char* kernel : {"pair_products", "pair_terms", "pair_count"}) expect_every_variant_ran(kernel);
}

TEST(pairwise_similarity_loss_of_every_number_of_bits_and_items) {
  on_every_machine([] {
    for (int size = 1; size <= 34; ++size) {
      const PairwiseCase input(3, size, 35 - size, 0, unsigned(size));
      expect_naive(input, input.arguments(PairRule::likelihood, PairBalance::none, false));
      expect_naive(input, input.arguments(PairRule::cosine_cauchy, PairBalance::both, false));
    }
  });
}

TEST(pairwise_similarity_loss_of_many_items_in_blocks) {
  const PairwiseCase input(5, 1300, 4, 2);
  const PairwiseLoss args = input.arguments(PairRule::cauchy, PairBalance::both, true);
  CHECK(pairwise_similarity_loss_cpu(args)->blocks() > 1);
  on_every_machine([&] { expect_naive_with_all_options(input); });
}

TEST(pairwise_similarity_loss_gives_the_same_without_a_gradient) {
  const PairwiseCase input(20, 30, 9, 0);
  const PairwiseLoss args = input.arguments(PairRule::contrast, PairBalance::both, false);
  const PairwiseResult both = pairwise_on_cpu(input, args), x = pairwise_on_cpu(input, args, true, false);
  const PairwiseResult y = pairwise_on_cpu(input, args, false, true), none = pairwise_on_cpu(input, args, false, false);
  CHECK(x.of_x == both.of_x && y.of_y == both.of_y);
  for (const PairwiseResult& result : {x, y, none}) CHECK_EQ(result.loss, both.loss);
}

TEST(pairwise_similarity_loss_of_one_item_with_itself_is_zero) {
  const PairwiseCase input(1, 0, 7, 0);
  on_every_machine([&] {
    for_each_pair_option([&](PairRule rule, PairBalance balance, bool normalize) {
      const PairwiseResult result = pairwise_on_cpu(input, input.arguments(rule, balance, normalize));
      CHECK_EQ(result.loss, 0.0);
      for (double gradient : result.of_x) CHECK_EQ(gradient, 0.0);
    });
  });
}

TEST(pairwise_similarity_loss_of_a_row_of_zeros) {
  PairwiseCase input(4, 5, 6, 0);
  std::fill_n(input.x.begin(), 6, 0.0f);
  on_every_machine([&] {
    const PairwiseLoss args = input.arguments(PairRule::cosine_cauchy, PairBalance::none, false);
    const PairwiseResult result = pairwise_on_cpu(input, args);
    CHECK(std::isfinite(result.loss));
    for (double gradient : result.of_x) CHECK(std::isfinite(gradient));
  });
}

// Large inner products neither overflow nor lose what is far below 1.
TEST(pairwise_similarity_loss_of_far_rows) {
  for (float size : {1e-3f, 30.0f, 1e4f}) {
    PairwiseCase input(6, 9, 8, 0);
    for (float& value : input.x) value *= size;
    on_every_machine([&] {
      const PairwiseResult result =
          pairwise_on_cpu(input, input.arguments(PairRule::likelihood, PairBalance::none, false));
      CHECK(std::isfinite(result.loss) && result.loss > 0);
      for (double gradient : result.of_x) CHECK(std::isfinite(gradient));
    });
  }
}

TEST(pairwise_similarity_loss_passes_what_is_not_a_number) {
  for (PairRule rule : {PairRule::likelihood, PairRule::contrast, PairRule::cauchy, PairRule::cosine_cauchy,
                        PairRule::graded_likelihood}) {
    PairwiseCase input(20, 30, 9, 1);
    input.x[9 * 3 + 1] = NAN;
    on_every_machine([&] {
      const PairwiseResult result = pairwise_on_cpu(input, input.arguments(rule, PairBalance::none, false));
      CHECK(std::isnan(result.loss));
      for (int i = 0; i < 20; ++i) CHECK_EQ(std::isnan(result.of_x[i * 9 + 1]), i == 3);
    });
  }
}

}  // namespace
}  // namespace fasthash
