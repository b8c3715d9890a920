// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "hamming_histogram/parity_blocks.h"

namespace fasthash {
namespace {

template <class Word>
Word word_at(const uint8_t* in, int64_t i) {
  Word word;
  std::memcpy(&word, in + i * int64_t(sizeof(Word)), sizeof(Word));
  return word;
}

// Codes of one word, at any address. Both sides are written, so that no branch has to foretell the parity.
template <bool listed, class Word>
void add_words(const uint8_t* in, int64_t first, int64_t count, Word* const (&out)[2], int64_t* const (&places)[2],
               int64_t (&counts)[2]) {
  int64_t even = counts[0], odd = counts[1];
  for (int64_t i = 0; i < count; ++i) {
    const Word word = word_at<Word>(in, i);
    const int64_t parity = __builtin_parityll(word);
    out[0][even] = out[1][odd] = word;
    if (listed) places[0][even] = places[1][odd] = first + i;
    even += 1 - parity;
    odd += parity;
  }
  counts[0] = even;
  counts[1] = odd;
}

// The first of the words of code n, which are 8 words apart.
inline int64_t first_word(int64_t words, int64_t n) {
  return (n / group_codes * words) * group_codes + n % group_codes;
}

template <int words>
void add_codes(const uint64_t* in, int64_t first, int64_t count, uint64_t* const (&out)[2], int64_t* const (&places)[2],
               int64_t (&counts)[2]) {
  int64_t even = counts[0], odd = counts[1];
  const bool listed = places[0] != nullptr;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t* code = in + first_word(words, i);
    uint64_t all = 0;
    for (int64_t w = 0; w < words; ++w) all ^= code[w * group_codes];
    const int64_t parity = __builtin_parityll(all), to = parity ? odd : even;
    uint64_t* copy = out[parity] + first_word(words, to);
    for (int64_t w = 0; w < words; ++w) copy[w * group_codes] = code[w * group_codes];
    if (listed) places[parity][to] = first + i;
    even += 1 - parity;
    odd += parity;
  }
  counts[0] = even;
  counts[1] = odd;
}

}  // namespace

void gather_codes(int64_t width, const uint8_t* source, const int32_t* order, int64_t count, uint8_t* target) {
  if (word_bytes(width) == 4) {
    const uint32_t* in = reinterpret_cast<const uint32_t*>(source);
    for (int64_t i = 0; i < count; ++i) reinterpret_cast<uint32_t*>(target)[i] = in[order[i]];
    return;
  }
  const int64_t words = words_of(width);
  const uint64_t* in = reinterpret_cast<const uint64_t*>(source);
  uint64_t* out = reinterpret_cast<uint64_t*>(target);
  for (int64_t i = 0; i < count; ++i)
    for (int64_t w = 0; w < words; ++w)
      out[first_word(words, i) + w * group_codes] = in[first_word(words, order[i]) + w * group_codes];
}

void repeat_first(int64_t width, uint8_t* layout, int64_t begin, int64_t end) {
  for (int64_t w = 0; w < words_of(width); ++w)
    for (int64_t i = begin; i < end; ++i)
      std::memcpy(layout + packed_place(width, i, w), layout + packed_place(width, 0, w), size_t(word_bytes(width)));
}

ParityBlocks::ParityBlocks(int64_t width, int64_t codes, bool with_places) : width_(width), codes_(codes) {
  for (int parity = 0; parity < 2; ++parity) {
    lines_[parity].resize(size_t(packed_bytes(codes + chunk_codes + tile_codes, width) / 64));
    if (with_places) places_[parity].resize(size_t(codes + chunk_codes + 1));
  }
}

void ParityBlocks::add(const uint8_t* layout, int64_t first, int64_t count) {
  int64_t* const places[2] = {places_[0].data(), places_[1].data()};
  const bool listed = !places_[0].empty();
  if (word_bytes(width_) == 4) {
    uint32_t* const out[2] = {reinterpret_cast<uint32_t*>(lines_[0].data()),
                              reinterpret_cast<uint32_t*>(lines_[1].data())};
    return listed ? add_words<true>(layout, first, count, out, places, counts_)
                  : add_words<false>(layout, first, count, out, places, counts_);
  }
  uint64_t* const out[2] = {lines_[0].data()->words, lines_[1].data()->words};
  const uint64_t* in = reinterpret_cast<const uint64_t*>(layout);
  switch (words_of(width_)) {
    case 1:
      return listed ? add_words<true>(layout, first, count, out, places, counts_)
                    : add_words<false>(layout, first, count, out, places, counts_);
    case 2: return add_codes<2>(in, first, count, out, places, counts_);
    case 3: return add_codes<3>(in, first, count, out, places, counts_);
    default: return add_codes<4>(in, first, count, out, places, counts_);
  }
}

ParityBlocks::Block ParityBlocks::block(int parity, int64_t count) {
  uint8_t* layout = reinterpret_cast<uint8_t*>(lines_[parity].data());
  return {layout, places_[parity].empty() ? nullptr : places_[parity].data(), count, parity};
}

void ParityBlocks::drop_block(int parity) {
  const int64_t rest = counts_[parity] - codes_;
  uint8_t* layout = reinterpret_cast<uint8_t*>(lines_[parity].data());
  std::memmove(layout, layout + codes_ * code_bytes(), size_t(packed_bytes(rest, width_)));
  if (!places_[parity].empty()) std::copy_n(places_[parity].begin() + codes_, rest, places_[parity].begin());
  counts_[parity] = rest;
}

}  // namespace fasthash
