// SPDX-License-Identifier: Apache-2.0
// Cases of the Hamming operators out of byte strings.
#pragma once

#include <numeric>
#include <optional>

#include "fuzz.h"
#include "hamming_case.h"
#include "hamming_topk/topk_sample.h"

namespace fasthash::fuzz {

// Codes in a buffer of exactly their size: rows that begin anywhere in it, or the scan layout.
class Placed {
 public:
  Placed(const Codes& codes, int64_t offset, bool packed)
      : codes_(codes), offset_(offset), buffer_(size_t(offset) + codes.bytes.size(), 0xab) {
    std::copy(codes.bytes.begin(), codes.bytes.end(), buffer_.begin() + offset_);
    if (packed) packed_.emplace(codes);
  }
  const Codes& codes() const { return codes_; }
  CodeRows rows() const { return codes_.rows_at(buffer_.data() + offset_); }
  Database database() const { return packed_ ? packed_->database() : as_database(rows()); }

 private:
  Codes codes_;
  int64_t offset_;
  std::vector<uint8_t> buffer_;
  std::optional<PackedCodes> packed_;
};

struct Sizes {
  int64_t queries, codes, width;
};

inline int64_t width_of(Choices& choices) {
  const int64_t widths[] = {1, 4, 8, 12, 16, 24, 32, 40, 48, 64, 72, 100, 128, 256};
  return choices.coin() ? choices.one_of(widths) : choices.between(1, 70);
}

// Mostly a few queries and codes. Sometimes queries enough for slices, and seldom codes enough for samples as well: the
// naive formula takes its time for those.
inline Sizes sizes_of(Choices& choices) {
  const int64_t kind = choices.between(0, 63);
  if (kind >= 62) {
    const int64_t codes = choices.coin() ? choices.between(33000, 45000) : choices.between(8192, 20000);
    return {choices.coin() ? choices.between(32, 48) : choices.between(4, 8), codes, choices.between(1, 35)};
  }
  if (kind >= 52)
    return {choices.between(32, choices.coin() ? 60 : 150), choices.between(1, 2500), choices.between(1, 35)};
  return {choices.between(1, 5), choices.between(1, choices.coin() ? 20 : 700), width_of(choices)};
}

inline Codes codes_of(Choices& choices, int64_t count, int64_t width) {
  Codes codes(count, width, 0, choices.coin() ? choices.between(0, 20) : 0);
  choices.fill(codes.bytes);
  return codes;
}

inline void copy_row(const Codes& from, int64_t i, Codes& to, int64_t j) {
  std::copy_n(from.bytes.begin() + i * from.stride, from.width, to.bytes.begin() + j * to.stride);
}

// Rows by falling distance from the first query: each of them is the nearest so far, until the next one comes.
inline void order_by_falling_distance(const Codes& queries, Codes& database) {
  std::vector<std::pair<int32_t, int64_t>> order;
  for (int64_t n = 0; n < database.count; ++n) order.emplace_back(-naive_distance(queries, 0, database, n), n);
  std::sort(order.begin(), order.end());
  const Codes before = database;
  for (int64_t n = 0; n < database.count; ++n) copy_row(before, order[size_t(n)].second, database, n);
}

// The positions that a search samples, which codes that are their own positions tell.
inline std::vector<int64_t> sampled_positions(int64_t codes, const uint8_t* allow, int64_t count) {
  std::vector<int64_t> positions(static_cast<size_t>(codes));
  std::iota(positions.begin(), positions.end(), 0);
  const Database database{reinterpret_cast<const uint8_t*>(positions.data()), codes, 8, 8};
  const CodeSample sample = sample_codes(database, allow, count_allowed(allow, codes), count);
  std::vector<int64_t> sampled;
  for (int64_t i = 0; i < sample.count; ++i)
    sampled.push_back(int64_t(sample.lines[size_t(i / group_codes)].words[i % group_codes]));
  return sampled;
}

// Codes equal to a query where a sample finds them: it promises more near codes than there are. Returns their number.
inline int64_t mislead(Choices& choices, const Codes& queries, Codes& database, const Selection& selection) {
  const int64_t samples[] = {512, 8192}, query = choices.between(0, queries.count - 1);
  const auto sampled = sampled_positions(database.count, selection.allow(), choices.one_of(samples));
  const int64_t near = std::min(choices.between(60, 150), int64_t(sampled.size()));
  for (int64_t i = 0; i < near; ++i) copy_row(queries, query, database, sampled[size_t(i)]);
  return near;
}

inline std::vector<uint8_t> mask_of(Choices& choices, int64_t codes) {
  std::vector<uint8_t> mask(size_t(ceil_div(codes, 8)));
  if (codes < 8192 || choices.coin()) {
    choices.fill(mask);
    return mask;
  }
  for (int64_t n : sampled_positions(codes, nullptr, 8192)) mask[size_t(n / 8)] |= uint8_t(0x80 >> n % 8);
  return mask;
}

enum class Ids { positions, distinct, repeated };

struct Search {
  Placed queries, database;
  Selection selection;
  bool repeated_ids;   // which of them come is unspecified
  int64_t misleading;  // codes of `mislead`
};

// Distinct ids in no order, of either sign where the factor is great.
inline std::vector<int64_t> ids_of(Choices& choices, int64_t codes, Ids kind) {
  std::vector<int64_t> ids;
  if (kind == Ids::positions) return ids;
  const uint64_t factor = choices.coin() ? 1 : 0x9e3779b97f4a7c15u, offset = uint64_t(-choices.between(0, codes));
  for (int64_t n = 0; n < codes; ++n) ids.push_back(int64_t((uint64_t(n) + offset) * factor));
  if (kind == Ids::repeated) std::fill(ids.begin(), ids.begin() + codes / 2, ids[0]);
  std::mt19937 random(unsigned(choices.byte()));
  std::shuffle(ids.begin(), ids.end(), random);
  return ids;
}

inline Search search_of(Choices& choices) {
  const Sizes sizes = sizes_of(choices);
  const Ids kinds[] = {Ids::positions, Ids::positions, Ids::distinct, Ids::repeated}, kind = choices.one_of(kinds);
  Selection selection{ids_of(choices, sizes.codes, kind), {}};
  if (choices.coin()) selection.mask = mask_of(choices, sizes.codes);
  const Codes queries = codes_of(choices, sizes.queries, sizes.width);
  Codes database = codes_of(choices, sizes.codes, sizes.width);
  const int64_t misleading = sizes.codes >= 8192 && choices.coin() ? mislead(choices, queries, database, selection) : 0;
  if (sizes.codes < 8192 && choices.coin()) order_by_falling_distance(queries, database);
  const int64_t offset = choices.between(0, 63);
  return {Placed(queries, offset, false), Placed(database, choices.between(0, 63), choices.coin()), selection,
          kind == Ids::repeated, misleading};
}

}  // namespace fasthash::fuzz
