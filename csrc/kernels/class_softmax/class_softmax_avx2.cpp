// SPDX-License-Identifier: Apache-2.0
#include "common/vec_avx2.h"
// The vector type comes first.
#include "class_softmax/class_softmax_vec.h"

namespace fasthash {

void softmax_pack_avx2(const SoftmaxSpace& space, int64_t group) { pack(space, group); }
void softmax_rows_avx2(const SoftmaxSpace& space, int64_t first, int64_t count, float* room) {
  rows(space, first, count, room);
}
void softmax_classes_avx2(const SoftmaxSpace& space, int64_t group, float* room) { classes(space, group, room); }

}  // namespace fasthash
