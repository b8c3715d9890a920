// SPDX-License-Identifier: Apache-2.0
// From a Dtype known at run time to a C++ type.
#pragma once

#include <stdexcept>

#include "common/dtype.h"

namespace fasthash {

inline int64_t dtype_size(Dtype dtype) {
  switch (dtype) {
    case Dtype::float64:
    case Dtype::int64: return 8;
    case Dtype::float32:
    case Dtype::int32: return 4;
    case Dtype::bfloat16:
    case Dtype::float16:
    case Dtype::int16: return 2;
    default: return 1;
  }
}

inline const char* dtype_name(Dtype dtype) {
  constexpr const char* names[] = {"float32", "float64", "bfloat16", "float16", "int8",
                                   "int16",   "int32",   "int64",    "uint8",   "bool"};
  return names[int(dtype)];
}

// Calls f with a value of the floating type that `dtype` names.
template <class F>
auto for_float_dtype(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::float32: return f(float{});
    case Dtype::float64: return f(double{});
    case Dtype::bfloat16: return f(bfloat16{});
    case Dtype::float16: return f(float16{});
    default: throw std::logic_error("not a floating dtype");
  }
}

}  // namespace fasthash
