// SPDX-License-Identifier: Apache-2.0
// Fuzz targets. A byte string decides shape and contents of one case, which checks (check.h) compare with a naive
// formula.
//
//   FUZZ(packing_twice) { const int64_t rows = choices.between(1, 9); ... CHECK_EQ(...); }
//
// Each target is a test of fuzz_tests that runs seeded pseudo-random strings; under libFuzzer the strings come from it
// (fuzz.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "check.h"

namespace fasthash::fuzz {

class Choices {
 public:
  Choices(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}

  uint8_t byte() { return at_ < end_ ? *at_++ : 0; }

  // A number in [low, high]; `low` once the string has ended.
  int64_t between(int64_t low, int64_t high) {
    const auto span = uint64_t(high - low) + 1;
    uint64_t number = 0;
    for (uint64_t left = span - 1; left > 0; left >>= 8) number = number << 8 | byte();
    return low + int64_t(number % span);
  }

  bool coin() { return byte() % 2 == 1; }

  template <class T, size_t count>
  T one_of(const T (&list)[count]) {
    return list[between(0, int64_t(count) - 1)];
  }

  // Contents: one byte throughout; what follows in the string, again and again; or random bytes, more or less sparse.
  template <class T>
  void fill(std::vector<T>& buffer) {
    static_assert(sizeof(T) == 1, "contents are bytes");
    const int64_t kind = between(0, 3);
    const uint8_t mask = kind > 2 ? byte() : 0xff, same = coin() ? byte() : coin() ? 0xff : 0;
    std::mt19937 random(unsigned(between(0, UINT32_MAX)));
    const size_t rest = size_t(end_ - at_);
    for (size_t i = 0; i < buffer.size(); ++i)
      buffer[i] = T(kind == 0 ? same : kind == 1 && rest ? at_[i % rest] : uint8_t(random()) & mask);
  }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
};

using Target = void (*)(Choices&);

// Adds a target for libFuzzer; tests run one with run_cases.
int add(Target target);
void run_cases(Target target);

}  // namespace fasthash::fuzz

#define FUZZ(name)                                                                    \
  static void fuzz_##name(fasthash::fuzz::Choices& choices);                          \
  [[maybe_unused]] static const int target_##name = fasthash::fuzz::add(fuzz_##name); \
  TEST(name) { fasthash::fuzz::run_cases(fuzz_##name); }                              \
  static void fuzz_##name(fasthash::fuzz::Choices& choices)
