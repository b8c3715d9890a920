// SPDX-License-Identifier: Apache-2.0
// Rows and their labels as tiles take them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "common/dtype.h"
#include "pairwise_similarity_loss/pairwise_similarity_loss.h"

namespace fasthash {

constexpr double smallest_norm = 1e-12;  // of a row that is divided by its length

// Rows as the computing type C, divided by their lengths where `unit` is set.
template <class T>
class PairRows {
 public:
  using C = Compute<T>;

  PairRows(const void* rows, int64_t bits, int64_t stride, bool unit, bool measured)
      : rows_(static_cast<const T*>(rows)), bits_(bits), stride_(stride), unit_(unit), measured_(measured) {}

  // Returns the row's squared length where `measured` is set.
  C read(int64_t row, C* out) const {
    const T* values = rows_ + row * stride_;
    const double squared = unit_ || measured_ ? square(values) : 0;
    const C by = unit_ ? C(1 / std::max(std::sqrt(squared), smallest_norm)) : C(1);
    for (int64_t k = 0; k < bits_; ++k) out[k] = by * C(load(values[k]));
    return C(squared);
  }

  // The gradient by a row from that by the row as it was read.
  template <class Value>
  void pull_back(int64_t row, C* gradient, const Value* of_read) const {
    if (!unit_) {
      for (int64_t k = 0; k < bits_; ++k) gradient[k] = C(of_read[k]);
      return;
    }
    const T* values = rows_ + row * stride_;
    const double norm = std::sqrt(square(values)), by = 1 / std::max(norm, smallest_norm);
    double along = 0;
    for (int64_t k = 0; k < bits_; ++k) along += double(of_read[k]) * double(load(values[k])) * by;
    if (norm <= smallest_norm) along = 0;
    for (int64_t k = 0; k < bits_; ++k)
      gradient[k] = C(by * (double(of_read[k]) - along * by * double(load(values[k]))));
  }

 private:
  double square(const T* values) const {
    constexpr int64_t lanes = 8;
    double sums[lanes] = {};
    for (int64_t k = 0; k + lanes <= bits_; k += lanes)
      for (int64_t i = 0; i < lanes; ++i) sums[i] += double(load(values[k + i])) * double(load(values[k + i]));
    for (int64_t k = bits_ / lanes * lanes; k < bits_; ++k)
      sums[0] += double(load(values[k])) * double(load(values[k]));
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
  }

  const T* rows_;
  int64_t bits_, stride_;
  bool unit_, measured_;
};

// A multi-hot row as numbers, 8 for each byte, element k in out[k * step]; returns how many are set.
template <class C>
C read_labels(const PairLabels& labels, int64_t row, C* out, int64_t step) {
  C count = 0;
  for (int64_t k = 0; k < 8 * labels.bytes; ++k) {
    out[k * step] = C(labels.bits[row * labels.bytes + k / 8] >> (k % 8) & 1);
    count += out[k * step];
  }
  return count;
}

// Multi-hot rows in whole words.
inline void read_words(const PairLabels& labels, int64_t row, uint32_t* words, int64_t count, int64_t step) {
  const uint8_t* bits = labels.bits + row * labels.bytes;
  for (int64_t w = 0; w < count; ++w) {
    uint32_t word = 0;
    std::memcpy(&word, bits + 4 * w, size_t(std::min<int64_t>(4, labels.bytes - 4 * w)));
    words[w * step] = word;
  }
}

}  // namespace fasthash
