// SPDX-License-Identifier: Apache-2.0
// pairwise_similarity_loss: the weighted mean of what pairs (anchor, item) cost by their inner product or distance and
// by whether they share a label, and its gradients, in one walk over tiles of pairs. Nothing of size (A, M) is stored.
#pragma once

#include <cstdint>
#include <memory>

#include "common/dtype.h"
#include "pairwise_similarity_loss/pair_rule.h"

namespace fasthash {

// Class ids (rows), or multi-hot rows of `bytes` bytes, similar where they have a bit in common.
struct PairLabels {
  const int64_t* ids;   // or null
  const uint8_t* bits;  // or null
  int64_t bytes;
};

struct PairwiseLoss {
  const void *x, *y;  // (A, K) and (M, K), rows `x_stride` and `y_stride` elements apart
  PairLabels x_labels, y_labels;
  int64_t anchors, items, bits, x_stride, y_stride;
  Dtype dtype;  // of x and y
  bool alone;   // y is x: an item makes no pair with itself, and x_gradient is that of both sides
  PairRule rule;
  double scale, threshold, smallest;
  PairBalance balance;
  double cohesion;                // factor on the weight of similar pairs
  bool normalize;                 // divide by the sum of weights, not by the number of pairs
  void *x_gradient, *y_gradient;  // (A, K) and (M, K), contiguous, or null: float64 for float64, else float32
};

// One call on the CPU: every block of each pass, then the loss. Blocks depend on the shape alone.
class PairwiseWork {
 public:
  virtual ~PairwiseWork() = default;
  virtual int64_t count_blocks() const = 0;  // blocks of items whose similar pairs are counted
  virtual void count(int64_t block) = 0;
  virtual void weigh() = 0;  // once, after all counts
  virtual int64_t blocks() const = 0;
  virtual void run(int64_t block) = 0;
  virtual int64_t finish_blocks() const = 0;
  virtual void finish(int64_t block) = 0;
  virtual double loss() const = 0;
};
std::unique_ptr<PairwiseWork> pairwise_similarity_loss_cpu(const PairwiseLoss& args);

}  // namespace fasthash
