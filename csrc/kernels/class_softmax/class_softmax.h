// SPDX-License-Identifier: Apache-2.0
// class_softmax: cross-entropy of a softmax over classes, logits from products of rows with one row for each class, and
// its gradients by both; a penalty of the embeddings besides.
#pragma once

#include <cstdint>
#include <memory>

namespace fasthash {

// What becomes of an embedding before the products.
enum class SoftmaxForm { plain, unit, signs };  // signs: sgn(0) = +1, with the gradient of the identity

// Weights of what is summed over all elements x of the embeddings, with the gap g = |x| - 1.
struct CornerWeights {
  float l1, l2, cubic;  // of |g|, g^2, |g|^3
  float outside, edge;  // of max(0, |x| - edge)
  bool any() const { return l1 != 0 || l2 != 0 || cubic != 0 || outside != 0; }
};

struct ClassSoftmax {
  const float *x, *w;      // (B, K) and (C, K), rows `x_stride` and `w_stride` elements apart
  const float* bias;       // (C) or null
  const int64_t* targets;  // (B), in [0, C)
  const float* factors;    // (B) of the rows' losses, or null for 1 / B
  int64_t rows, classes, bits, x_stride, w_stride;
  SoftmaxForm form;
  bool unit_classes;  // class rows are divided by their lengths
  float scale;        // > 0; logit = scale product + bias, where the target's product has lost the margin
  float margin;
  bool angular;  // the target's product becomes cos(arccos(product) + margin); without a bias
  CornerWeights corners;
  float *x_gradient, *w_gradient, *bias_gradient;  // (B, K), (C, K), (C), contiguous, or null
};

// One call on the CPU: every block of each pass, in turn. Results do not depend on the number of blocks of rows.
class SoftmaxCall {
 public:
  virtual ~SoftmaxCall() = default;
  virtual int64_t groups() const = 0;  // of classes
  virtual void pack(int64_t group) = 0;
  virtual int64_t blocks() const = 0;  // of rows
  virtual void run(int64_t block) = 0;
  virtual void finish(int64_t group) = 0;  // gradients of classes; nothing without them
  virtual double loss() const = 0;
};
std::unique_ptr<SoftmaxCall> class_softmax_cpu(const ClassSoftmax& args, int threads);

}  // namespace fasthash
