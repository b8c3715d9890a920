// SPDX-License-Identifier: Apache-2.0
// What the instruction-set variants of class_softmax implement.
#pragma once

#include <algorithm>
#include <cstdint>

#include "class_softmax/class_softmax.h"
#include "common/products.h"

namespace fasthash {

constexpr int64_t softmax_group = 64;  // classes of a group

// Where a call keeps what it works with.
struct SoftmaxSpace {
  ClassSoftmax args;
  int64_t padded;   // elements of a row: K, to the next multiple of lane_padding
  float *x, *x_by;  // (B, padded) rows as they are multiplied, and what they were multiplied by to get there (B)
  float *w, *w_by;  // the same of classes
  float* lanes;     // for each group (K, lanes)
  float* bias;      // (C padded), minus infinity beyond C
  float* tile;      // for each group (B, lanes): products, then logits, then d loss / d product
  double* losses;   // (B)

  int64_t groups() const { return (args.classes + softmax_group - 1) / softmax_group; }
  int64_t first_class(int64_t group) const { return group * softmax_group; }
  int64_t classes_of(int64_t group) const { return std::min(softmax_group, args.classes - first_class(group)); }
  int64_t lanes_of(int64_t group) const { return padded_lanes(classes_of(group)); }
  float* lanes_at(int64_t group) const { return lanes + first_class(group) * args.bits; }
  float* tile_at(int64_t group, int64_t row) const {
    return tile + first_class(group) * args.rows + row * lanes_of(group);
  }
};

// pack reads the classes of a group; rows computes a block of rows: their losses, the tile and their gradient;
// classes the gradients of the classes of a group. `room` has (count, padded) and (classes of a group, padded)
// elements.
#define FH_SOFTMAX_VARIANT(machine)                                                                  \
  void softmax_pack_##machine(const SoftmaxSpace& space, int64_t group);                             \
  void softmax_rows_##machine(const SoftmaxSpace& space, int64_t first, int64_t count, float* room); \
  void softmax_classes_##machine(const SoftmaxSpace& space, int64_t group, float* room);
FH_SOFTMAX_VARIANT(scalar)
FH_SOFTMAX_VARIANT(avx2)
FH_SOFTMAX_VARIANT(avx512)
FH_SOFTMAX_VARIANT(neon)
#undef FH_SOFTMAX_VARIANT

}  // namespace fasthash
