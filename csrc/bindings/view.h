// SPDX-License-Identifier: Apache-2.0
// A tensor as kernels see it, and the checks on it. Every check names the argument, what was expected and what came.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "common/dispatch.h"
#include "common/dtype.h"

namespace fasthash::bindings {

using Shape = std::vector<int64_t>;

struct Device {
  bool cuda = false;
  int index = 0;
  bool operator==(const Device& other) const { return cuda == other.cuda && index == other.index; }
};

struct View {
  void* data = nullptr;
  Dtype dtype = Dtype::float32;
  Device device;
  Shape sizes, strides;  // strides in elements

  int64_t rank() const { return int64_t(sizes.size()); }
  int64_t numel() const {
    int64_t count = 1;
    for (int64_t size : sizes) count *= size;
    return count;
  }
};

// Part of an error text, put together where it is read: checks that pass cost nothing. Shapes have to outlive it.
template <class... Parts>
struct Text {
  std::tuple<Parts...> parts;

  operator std::string() const {
    std::ostringstream out;
    out << *this;
    return out.str();
  }
};
inline void write(std::ostream& out, const Shape* shape) {
  out << '(';
  for (size_t i = 0; i < shape->size(); ++i) out << (i ? ", " : "") << (*shape)[i];
  out << (shape->size() == 1 ? ",)" : ")");
}
inline void write(std::ostream& out, const Device& device) {
  if (device.cuda)
    out << "cuda:" << device.index;
  else
    out << "cpu";
}
template <class Value>
void write(std::ostream& out, const Value& value) {
  out << value;
}
template <class... Parts>
std::ostream& operator<<(std::ostream& out, const Text<Parts...>& text) {
  std::apply([&](const auto&... parts) { (write(out, parts), ...); }, text.parts);
  return out;
}
template <class... First, class... Second>
Text<First..., Second...> operator+(const Text<First...>& first, const Text<Second...>& second) {
  return {std::tuple_cat(first.parts, second.parts)};
}
template <class... Parts>
Text<const char*, Parts...> operator+(const char* words, const Text<Parts...>& text) {
  return {std::tuple_cat(std::tuple(words), text.parts)};
}
template <class... Parts>
Text<Parts..., const char*> operator+(const Text<Parts...>& text, const char* words) {
  return {std::tuple_cat(text.parts, std::tuple(words))};
}
inline Text<const Shape*> text(const Shape& shape) { return {&shape}; }
template <class Value>  // a number, words or a Device
Text<Value> text(Value value) {
  return {value};
}

// One argument of one operator, and what is wrong with it. pybind11::value_error, not std::invalid_argument: from torch
// 2.15 on the dispatcher turns standard exceptions into RuntimeError, and still asks pybind11's which one they are.
struct Argument {
  const char* op;
  const char* name;

  template <class Expected, class Got>
  void expect(bool ok, const Expected& expected, const Got& got) const {
    if (ok) return;
    std::ostringstream out;
    out << op << ": " << name << " must be " << expected << ", got " << got;
    throw pybind11::value_error(out.str());
  }

  void expect_dtype(const View& view, Dtype dtype) const {
    expect(view.dtype == dtype, dtype_name(dtype), dtype_name(view.dtype));
  }
  void expect_floating(const View& view) const {
    const bool ok = view.dtype == Dtype::float32 || view.dtype == Dtype::float64 || view.dtype == Dtype::bfloat16 ||
                    view.dtype == Dtype::float16;
    expect(ok, "float32, float64, bfloat16 or float16", dtype_name(view.dtype));
  }
  void expect_rank(const View& view, int64_t rank, const char* shape) const {
    expect(view.rank() == rank, text(rank) + "-D " + shape, "shape " + text(view.sizes));
  }
  void expect_device(const View& view, const Device& device) const {
    expect(view.device == device, "on " + text(device) + " like the other tensors", text(view.device));
  }
};

// Asks for huge pages behind a large new output on the CPU, as NumPy does for its arrays: where memory comes fresh from
// the system, the first touch of each 4 KiB page would cost more than the kernel that fills it.
constexpr int64_t huge_pages_from = 4 << 20;  // bytes from which it is worth a call
void advise_huge_pages(void* output, int64_t bytes);

// The rows of a tensor (..., K) whose leading dimensions collapse into one: row r starts at data + r * stride.
struct Rows {
  int64_t count, length, stride;
};
inline std::optional<Rows> as_rows(const View& view) {
  const int64_t rank = view.rank(), length = view.sizes[rank - 1];
  if (view.numel() == 0) return Rows{0, length, length};
  if (length != 1 && view.strides[rank - 1] != 1) return std::nullopt;
  Rows rows{1, length, length};
  int64_t expected = -1;  // stride that the next outer dimension must have
  for (int64_t d = rank - 2; d >= 0; --d) {
    if (view.sizes[d] != 1) {
      if (expected >= 0 && view.strides[d] != expected) return std::nullopt;
      if (expected < 0) rows.stride = view.strides[d];
      expected = view.strides[d] * view.sizes[d];
    }
    rows.count *= view.sizes[d];
  }
  if (rows.stride < length) return std::nullopt;  // rows that overlap, as expand() makes them
  return rows;
}

}  // namespace fasthash::bindings
