// SPDX-License-Identifier: Apache-2.0
// The NumPy door: the same operators over NumPy arrays, without copies and with the GIL released while they run.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstring>

#include "bindings/view.h"

namespace fasthash::bindings {

namespace py = pybind11;

inline py::dtype to_numpy(Dtype dtype) {
  if (dtype == Dtype::bfloat16) throw pybind11::value_error("fasthash: NumPy has no bfloat16");
  return py::dtype(dtype_name(dtype));
}

// By kind and size: comparing with dtypes made for it would take longer than searching a small database.
inline Dtype to_dtype(const py::dtype& type) {
  struct Entry {
    char kind;
    py::ssize_t size;
    Dtype dtype;
  };
  constexpr Entry entries[] = {{'u', 1, Dtype::uint8},   {'f', 4, Dtype::float32}, {'f', 8, Dtype::float64},
                               {'f', 2, Dtype::float16}, {'i', 1, Dtype::int8},    {'i', 2, Dtype::int16},
                               {'i', 4, Dtype::int32},   {'i', 8, Dtype::int64},   {'b', 1, Dtype::boolean}};
  const bool native = type.byteorder() == '=' || type.byteorder() == '|';
  for (const Entry& entry : entries)
    if (native && entry.kind == type.kind() && entry.size == type.itemsize()) return entry.dtype;
  throw pybind11::value_error("fasthash: arrays must be real floating, integer or bool, got " +
                              std::string(py::str(type)));
}

struct NumpyDoor {
  using Tensor = py::array;

  static void* data(const Tensor& array) { return const_cast<void*>(array.data()); }
  static Device device(const Tensor&) { return {}; }
  static View view(const Tensor& array) {
    View view;
    view.data = data(array);
    view.dtype = to_dtype(array.dtype());
    for (py::ssize_t d = 0; d < array.ndim(); ++d) {
      if (array.strides(d) % array.itemsize() != 0)
        throw pybind11::value_error("fasthash: array strides must be whole elements; pass numpy.ascontiguousarray(x)");
      view.sizes.push_back(array.shape(d));
      view.strides.push_back(array.strides(d) / array.itemsize());
    }
    return view;
  }
  static Tensor empty(const Tensor&, const Shape& sizes, Dtype dtype) { return py::array(to_numpy(dtype), sizes); }
  static Tensor zeros(const Tensor& like, const Shape& sizes, Dtype dtype) {
    Tensor array = empty(like, sizes, dtype);
    std::memset(array.mutable_data(), 0, size_t(array.nbytes()));
    return array;
  }
  static Tensor contiguous(const Tensor& array) { return py::array::ensure(array, py::array::c_style); }
};

}  // namespace fasthash::bindings
