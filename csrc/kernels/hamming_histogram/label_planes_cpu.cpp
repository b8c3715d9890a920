// SPDX-License-Identifier: Apache-2.0
#include "hamming_histogram/label_planes.h"

#include <algorithm>
#include <cstring>

namespace fasthash {
namespace {

int bucket_of_id(int64_t id) { return int((uint64_t(id) * 0x9e3779b97f4a7c15u) >> 56); }

// The first 1 of a row, as far as that can be told apart.
int bucket_of_bits(const uint8_t* row, int64_t width) {
  for (int64_t byte = 0; byte < width && byte < 32; ++byte)
    if (row[byte]) return int(8 * byte) + __builtin_ctz(row[byte]);
  return 255;
}

}  // namespace

void transpose_bits(uint64_t (&rows)[64]) {
  uint64_t mask = 0x00000000ffffffff;
  for (int half = 32; half != 0; half >>= 1, mask ^= mask << half) {
    for (int i = 0; i < 64; i += 2 * half) {
      for (int j = i; j < i + half; ++j) {
        const uint64_t moved = ((rows[j] >> half) ^ rows[j + half]) & mask;
        rows[j + half] ^= moved;
        rows[j] ^= moved << half;
      }
    }
  }
}

int LabelPlanes::bucket(int64_t place) const {
  if (labels_.ids) return bucket_of_id(labels_.ids[place]);
  return bucket_of_bits(labels_.bits.data + place * labels_.bits.stride, labels_.bits.width);
}

void LabelPlanes::sort(const int64_t* places, int64_t count) {
  keys_.resize(size_t(count));
  order_.resize(size_t(count));
  std::fill(std::begin(starts_), std::end(starts_), 0);
  for (int64_t i = 0; i < count; ++i) {
    keys_[size_t(i)] = uint8_t(bucket(places[i]));
    ++starts_[keys_[size_t(i)] + 1];
  }
  for (int key = 0; key < buckets; ++key) starts_[key + 1] += starts_[key];
  int32_t next[buckets];
  std::copy_n(starts_, buckets, next);
  for (int64_t i = 0; i < count; ++i) order_[size_t(next[keys_[size_t(i)]]++)] = int32_t(i);
}

void LabelPlanes::load(const int64_t* places, int64_t count) {
  count_ = count;
  sort(places, count);
  labels_.ids ? load_ids(places, count) : load_bits(places, count);
}

LabelPlanes::Words LabelPlanes::relevant(const Labels& query_labels, int64_t q, int64_t step, uint64_t* out) const {
  if (labels_.ids) return equal_ids(query_labels.ids[q], step, out);
  return common_bits(query_labels.bits.data + q * query_labels.bits.stride, step, out);
}

void LabelPlanes::load_ids(const int64_t* places, int64_t count) {
  const int64_t first = labels_.ids[places[0]];
  uint64_t differing = 0;
  for (int64_t i = 0; i < count; ++i) differing |= uint64_t(labels_.ids[places[i]] ^ first);
  common_ = uint64_t(first) & ~differing;
  differing_.clear();
  for (int bit = 0; bit < 64; ++bit)
    if (differing >> bit & 1) differing_.push_back(bit);
  planes_.resize(differing_.size() * size_t(words_));
  for (int64_t begin = 0; begin < count; begin += 64) {
    uint64_t rows[64] = {};
    for (int64_t i = begin; i < std::min(begin + 64, count); ++i)
      rows[i - begin] = uint64_t(labels_.ids[places[order_[size_t(i)]]]);
    transpose_bits(rows);
    for (size_t index = 0; index < differing_.size(); ++index)
      plane(int64_t(index))[begin / 64] = rows[differing_[index]];
  }
}

LabelPlanes::Words LabelPlanes::equal_ids(int64_t id, int64_t step, uint64_t* out) const {
  uint64_t differing = 0;
  for (int bit : differing_) differing |= uint64_t(1) << bit;
  const int64_t begin = starts_[bucket_of_id(id)], end = starts_[bucket_of_id(id) + 1];
  if (begin == end || (uint64_t(id) & ~differing) != common_) return {0, 0};
  const Words words{begin / 64 / step * step, ceil_div(ceil_div(end, 64), step) * step};
  const int64_t first = begin / 64, past = ceil_div(end, 64);
  std::fill(out + words.begin, out + words.end, 0);
  std::fill(out + first, out + past, ~uint64_t(0));
  for (size_t index = 0; index < differing_.size(); ++index) {
    const uint64_t wanted = (uint64_t(id) >> differing_[index] & 1) - 1;  // all ones where the bit is 0
    const uint64_t* bits = plane(int64_t(index));
    for (int64_t j = first; j < past; ++j) out[j] &= bits[j] ^ wanted;
  }
  if (count_ % 64 != 0 && past == ceil_div(count_, 64)) out[past - 1] &= (uint64_t(1) << (count_ % 64)) - 1;
  return words;
}

void LabelPlanes::load_bits(const int64_t* places, int64_t count) {
  const CodeRows& rows = labels_.bits;
  planes_.resize(size_t(8 * rows.width * words_));
  for (int64_t byte = 0; byte < rows.width; byte += 8) {
    const int64_t bytes = std::min<int64_t>(8, rows.width - byte);
    for (int64_t begin = 0; begin < count; begin += 64) {
      uint64_t bits[64] = {};
      for (int64_t i = begin; i < std::min(begin + 64, count); ++i)
        std::memcpy(&bits[i - begin], rows.data + places[order_[size_t(i)]] * rows.stride + byte, size_t(bytes));
      transpose_bits(bits);
      for (int64_t bit = 0; bit < 8 * bytes; ++bit) plane(8 * byte + bit)[begin / 64] = bits[bit];
    }
  }
}

LabelPlanes::Words LabelPlanes::common_bits(const uint8_t* row, int64_t step, uint64_t* out) const {
  const int64_t used = ceil_div(count_, 64);
  std::fill(out, out + ceil_div(used, step) * step, 0);
  for (int64_t byte = 0; byte < labels_.bits.width; ++byte) {
    for (unsigned bits = row[byte]; bits; bits &= bits - 1) {
      const uint64_t* has = plane(8 * byte + __builtin_ctz(bits));
      for (int64_t j = 0; j < used; ++j) out[j] |= has[j];
    }
  }
  int64_t begin = 0, end = used;
  while (begin < end && out[begin] == 0) ++begin;
  while (begin < end && out[end - 1] == 0) --end;
  return {begin / step * step, ceil_div(end, step) * step};
}

}  // namespace fasthash
