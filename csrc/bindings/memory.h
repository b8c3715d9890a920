// SPDX-License-Identifier: Apache-2.0
// How much memory there is, for results whose size is known only when they are about to be written.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

namespace fasthash::bindings {

// Bytes that the system can give without swapping; INT64_MAX where it does not tell.
int64_t available_memory();

// For tests: available_memory() becomes `limit` bytes; -1 makes it ask the system again.
void force_available_memory(int64_t limit);

// Crosses the dispatcher and the NumPy door as Python's MemoryError.
class PYBIND11_EXPORT_EXCEPTION MemoryError : public pybind11::builtin_exception {
 public:
  using builtin_exception::builtin_exception;
  void set_error() const override { PyErr_SetString(PyExc_MemoryError, what()); }
};

// "1.50 GiB"
std::string gibibytes(double bytes);

}  // namespace fasthash::bindings
