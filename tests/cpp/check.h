// SPDX-License-Identifier: Apache-2.0
// A minimal test framework. One executable holds many tests; each is one pytest item (test_native.py).
//
//   TEST(pack_codes_of_one_row) { CHECK_EQ(packed[0], 0x80); }
//
//   exe --list         names, one a line        exe --run NAME...  those tests        exe  all of them
//
// A failed check is printed with its values (the first twenty are) and the test goes on; the exit status is 1 when any
// check failed.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

namespace fasthash::check {

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

inline int failures = 0;
inline std::string context;  // under what circumstances the checks run; printed with each that fails

inline int add(const char* name, void (*body)()) {
  tests().push_back({name, body});
  return 0;
}

// Characters print as the numbers they are, floats with all their digits.
template <class T>
std::string show(const T& value) {
  std::ostringstream out;
  out.precision(17);
  if constexpr (std::is_enum_v<T> || (std::is_arithmetic_v<T> && sizeof(T) == 1)) {
    out << static_cast<long long>(value);
  } else {
    out << value;
  }
  return out.str();
}

template <class T>
std::string show(const std::vector<T>& values) {
  std::string text;
  for (std::size_t i = 0; i < values.size() && i < 16; ++i) text += (i == 0 ? "" : ", ") + show(T(values[i]));
  return "[" + text + (values.size() > 16 ? ", ...](" + std::to_string(values.size()) + ")" : "]");
}

inline void fail(const char* file, int line, const std::string& text) {
  if (++failures > 20) return;
  std::printf("%s:%d: %s%s%s\n", file, line, text.c_str(), context.empty() ? "" : ", with ", context.c_str());
}

inline void check(bool holds, const char* expression, const char* file, int line) {
  if (!holds) fail(file, line, std::string("CHECK(") + expression + ") does not hold");
}

// Integers of different types are equal when they are the same number; a long double holds each of them.
template <class A, class B>
bool equal(const A& a, const B& b) {
  if constexpr (std::is_integral_v<A> && std::is_integral_v<B>) {
    return static_cast<long double>(a) == static_cast<long double>(b);
  } else {
    return a == b;
  }
}

template <class A, class B>
void check_equal(const A& a, const B& b, const char* expression, const char* file, int line) {
  if (!equal(a, b)) fail(file, line, std::string(expression) + ": " + show(a) + " is not " + show(b));
}

inline void check_near(double a, double b, double tolerance, const char* expression, const char* file, int line) {
  if (a == b || (std::isnan(a) && std::isnan(b)) || std::fabs(a - b) <= tolerance) return;
  fail(file, line, std::string(expression) + ": " + show(a) + " is not within " + show(tolerance) + " of " + show(b));
}

template <class F>
std::string thrown_by(F&& f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

inline void check_throws(const std::string& message, const char* part, const char* expression, const char* file,
                         int line) {
  if (message.empty()) return fail(file, line, std::string(expression) + " threw nothing");
  if (message.find(part) == std::string::npos) {
    fail(file, line, std::string(expression) + " threw \"" + message + "\", which does not contain \"" + part + "\"");
  }
}

inline int run(const Test& test) {
  const int before = failures;
  try {
    test.body();
  } catch (const std::exception& error) {
    fail(test.name, 0, std::string("threw ") + error.what());
  }
  std::printf("%s %s\n", failures == before ? "ok    " : "FAILED", test.name);
  return failures != before;
}

inline int main(int argc, char** argv) {
  const bool list = argc > 1 && std::strcmp(argv[1], "--list") == 0;
  const bool all = argc < 2 || std::strcmp(argv[1], "--run") != 0;
  int ran = 0, failed = 0;
  for (const Test& test : tests()) {
    bool named = all;
    for (int i = 2; i < argc; ++i) named |= std::strcmp(argv[i], test.name) == 0;
    if (list) std::puts(test.name);
    if (list || !named) continue;
    failed += run(test);
    ++ran;
  }
  if (!list && ran == 0) std::puts("no test of that name; --list shows them");
  return failed != 0 || (!list && ran == 0);
}

}  // namespace fasthash::check

#define TEST(name)                                                                                \
  static void test_##name();                                                                      \
  [[maybe_unused]] static const int registered_##name = fasthash::check::add(#name, test_##name); \
  static void test_##name()
#define CHECK(condition) fasthash::check::check(static_cast<bool>(condition), #condition, __FILE__, __LINE__)
#define CHECK_EQ(a, b) fasthash::check::check_equal(a, b, #a " == " #b, __FILE__, __LINE__)
#define CHECK_NEAR(a, b, tolerance) fasthash::check::check_near(a, b, tolerance, #a " ~ " #b, __FILE__, __LINE__)
#define CHECK_THROWS(expression, part)                                                                                \
  fasthash::check::check_throws(fasthash::check::thrown_by([&] { (void)(expression); }), part, #expression, __FILE__, \
                                __LINE__)
