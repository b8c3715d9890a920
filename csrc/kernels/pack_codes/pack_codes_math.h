// SPDX-License-Identifier: Apache-2.0
// The bit of one code.
#pragma once

#include <type_traits>

#include "common/dispatch.h"
#include "common/dtype.h"
#include "common/platform.h"

namespace fasthash {

// A bool is stored as a byte, and read as one: a byte above 1 is no valid C++ bool.
template <class T>
FH_HD inline bool code_bit(T x) {
  if constexpr (std::is_same_v<T, uint8_t>)
    return x != 0;
  else if constexpr (std::is_integral_v<T>)
    return x >= 0;
  else
    return load(x) >= 0;  // false for NaN
}

template <class T>
FH_HD inline bool code_is_nan(T x) {
  if constexpr (std::is_integral_v<T>)
    return false;
  else
    return load(x) != load(x);
}

// Calls f with a value of the type in which codes of `dtype` are stored.
template <class F>
auto for_code_dtype(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::int8: return f(int8_t{});
    case Dtype::int16: return f(int16_t{});
    case Dtype::int32: return f(int32_t{});
    case Dtype::int64: return f(int64_t{});
    case Dtype::boolean: return f(uint8_t{});
    default: return for_float_dtype(dtype, f);
  }
}

}  // namespace fasthash
