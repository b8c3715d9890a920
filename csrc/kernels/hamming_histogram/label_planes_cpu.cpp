// SPDX-License-Identifier: Apache-2.0
#include "hamming_histogram/label_planes.h"

#include <algorithm>

namespace fasthash {

void LabelPlanes::load(int64_t first, int64_t count) { labels_.ids ? load_ids(first, count) : load_bits(first, count); }

void LabelPlanes::relevant(const Labels& query_labels, int64_t q, uint64_t* out) const {
  if (labels_.ids) return equal_ids(query_labels.ids[q], out);
  common_bits(query_labels.bits.data + q * query_labels.bits.stride, out);
}

void LabelPlanes::load_ids(int64_t first, int64_t count) {
  const int64_t* ids = labels_.ids + first;
  uint64_t differing = 0;
  for (int64_t i = 0; i < count; ++i) differing |= uint64_t(ids[i] ^ ids[0]);
  common_ = uint64_t(ids[0]) & ~differing;
  differing_.clear();
  for (int bit = 0; bit < 64; ++bit)
    if (differing >> bit & 1) differing_.push_back(bit);
  planes_.assign(differing_.size() * size_t(words_), 0);
  for (size_t index = 0; index < differing_.size(); ++index) {
    uint64_t* out = plane(int64_t(index));
    for (int64_t i = 0; i < count; ++i) out[i / 64] |= (uint64_t(ids[i]) >> differing_[index] & 1) << (i % 64);
  }
}

void LabelPlanes::equal_ids(int64_t id, uint64_t* out) const {
  uint64_t differing = 0;
  for (int bit : differing_) differing |= uint64_t(1) << bit;
  const bool possible = (uint64_t(id) & ~differing) == common_;
  std::fill(out, out + words_, possible ? ~uint64_t(0) : 0);
  if (!possible) return;
  for (size_t index = 0; index < differing_.size(); ++index) {
    const uint64_t wanted = (uint64_t(id) >> differing_[index] & 1) - 1;  // all ones where the bit is 0
    const uint64_t* bits = plane(int64_t(index));
    for (int64_t j = 0; j < words_; ++j) out[j] &= bits[j] ^ wanted;
  }
}

void LabelPlanes::load_bits(int64_t first, int64_t count) {
  const CodeRows& rows = labels_.bits;
  planes_.assign(size_t(8 * rows.width * words_), 0);
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* row = rows.data + (first + i) * rows.stride;
    for (int64_t byte = 0; byte < rows.width; ++byte)
      for (unsigned bits = row[byte]; bits; bits &= bits - 1)
        plane(8 * byte + __builtin_ctz(bits))[i / 64] |= uint64_t(1) << (i % 64);
  }
}

void LabelPlanes::common_bits(const uint8_t* row, uint64_t* out) const {
  std::fill(out, out + words_, 0);
  for (int64_t byte = 0; byte < labels_.bits.width; ++byte) {
    for (unsigned bits = row[byte]; bits; bits &= bits - 1) {
      const uint64_t* has = plane(8 * byte + __builtin_ctz(bits));
      for (int64_t j = 0; j < words_; ++j) out[j] |= has[j];
    }
  }
}

}  // namespace fasthash
