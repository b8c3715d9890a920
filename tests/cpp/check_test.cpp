// SPDX-License-Identifier: Apache-2.0
#include "check.h"

#include <cstdint>
#include <limits>
#include <stdexcept>

namespace fasthash::check {
namespace {

enum class Colour { red, green };

TEST(values_are_shown_as_numbers) {
  CHECK_EQ(show(uint8_t{200}), "200");
  CHECK_EQ(show(int8_t{-3}), "-3");
  CHECK_EQ(show(Colour::green), "1");
  CHECK_EQ(show(0.1), "0.10000000000000001");
  CHECK_EQ(show(std::vector<int>{1, 2}), "[1, 2]");
  CHECK_EQ(show(std::vector<int>(40, 7)).substr(40), "7, 7, 7, ...](40)");
}

TEST(integers_of_different_types_are_compared_as_numbers) {
  CHECK(equal(3, 3u));
  CHECK(equal(uint8_t{255}, 255));
  CHECK(!equal(-1, ~0u));
  CHECK(!equal(int64_t{-1}, ~uint64_t{0}));
  CHECK(!equal(std::numeric_limits<uint64_t>::max(), std::numeric_limits<uint64_t>::max() - 1));
}

// Fails once on purpose and takes the failure back.
template <class F>
int failures_of(F&& f) {
  const int before = failures;
  failures = 100;  // past the number that is printed
  f();
  const int counted = failures - 100;
  failures = before;
  return counted;
}

TEST(checks_that_do_not_hold_are_counted) {
  CHECK_EQ(failures_of([] { CHECK(1 + 1 == 3); }), 1);
  CHECK_EQ(failures_of([] { CHECK_EQ(std::string("a"), "b"); }), 1);
  CHECK_EQ(failures_of([] { CHECK_NEAR(1.0, 1.1, 0.01); }), 1);
  CHECK_EQ(failures_of([] { CHECK_NEAR(1.0, std::nan(""), 10.0); }), 1);
  CHECK_EQ(failures_of([] { CHECK_THROWS(throw std::runtime_error("other"), "one"); }), 1);
  CHECK_EQ(failures_of([] { CHECK_THROWS(0, ""); }), 1);
}

TEST(checks_that_hold_are_not_counted) {
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK_NEAR(infinity, infinity, 0);
  CHECK_NEAR(std::nan(""), std::nan(""), 0);
  CHECK_THROWS(throw std::runtime_error("this one"), "one");
}

}  // namespace
}  // namespace fasthash::check
