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

// Buckets of one id alone need no planes: all of their codes are relevant, or none.
void LabelPlanes::load_ids(const int64_t* places, int64_t count) {
  planes_.resize(size_t(64 * words_));
  for (int key = 0; key < buckets; ++key) {
    const int64_t begin = starts_[key], end = starts_[key + 1];
    if (begin == end) continue;
    const auto id = [&](int64_t i) { return labels_.ids[places[order_[size_t(i)]]]; };
    ids_[key] = id(begin);
    mixed_[key] = false;
    for (int64_t i = begin; i < end; ++i) mixed_[key] |= id(i) != ids_[key];
    for (int64_t word = begin / 64; mixed_[key] && word < ceil_div(end, 64); ++word) {
      uint64_t rows[64] = {};
      for (int64_t i = 64 * word; i < std::min(64 * word + 64, count); ++i) rows[i % 64] = uint64_t(id(i));
      transpose_bits(rows);
      for (int bit = 0; bit < 64; ++bit) plane(bit)[word] = rows[bit];
    }
  }
}

LabelPlanes::Words LabelPlanes::equal_ids(int64_t id, int64_t step, uint64_t* out) const {
  const int key = bucket_of_id(id);
  const int64_t begin = starts_[key], end = starts_[key + 1];
  if (begin == end || (!mixed_[key] && ids_[key] != id)) return {0, 0};
  const int64_t first = begin / 64, past = ceil_div(end, 64);
  const Words words{first / step * step, ceil_div(past, step) * step};
  std::fill(out + words.begin, out + words.end, 0);
  std::fill(out + first, out + past, ~uint64_t(0));
  for (int bit = 0; bit < 64 && mixed_[key]; ++bit) {
    const uint64_t wanted = (uint64_t(id) >> bit & 1) - 1;  // all ones where the bit is 0
    for (int64_t j = first; j < past; ++j) out[j] &= plane(bit)[j] ^ wanted;
  }
  out[first] &= ~uint64_t(0) << (begin % 64);
  if (end % 64 != 0) out[past - 1] &= (uint64_t(1) << (end % 64)) - 1;
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
  if (begin == end) return {0, 0};
  while (begin < end && out[end - 1] == 0) --end;
  return {begin / step * step, ceil_div(end, step) * step};
}

}  // namespace fasthash
