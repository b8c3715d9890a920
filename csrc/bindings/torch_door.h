// SPDX-License-Identifier: Apache-2.0
// The dispatcher's door: torch tensors through PyTorch's stable ABI.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <memory>

#include "bindings/view.h"

namespace fasthash::bindings {

using torch::headeronly::ScalarType;

inline ScalarType to_scalar_type(Dtype dtype) {
  constexpr ScalarType types[] = {ScalarType::Float, ScalarType::Double, ScalarType::BFloat16, ScalarType::Half,
                                  ScalarType::Char,  ScalarType::Short,  ScalarType::Int,      ScalarType::Long,
                                  ScalarType::Byte,  ScalarType::Bool};
  return types[int(dtype)];
}

inline Dtype to_dtype(ScalarType type) {
  for (int i = 0; i <= int(Dtype::boolean); ++i)
    if (to_scalar_type(Dtype(i)) == type) return Dtype(i);
  throw pybind11::value_error("fasthash: tensors must be real floating, integer or bool, got torch scalar type " +
                              std::to_string(int(type)));
}

struct TorchDoor {
  using Tensor = torch::stable::Tensor;

  static View view(const Tensor& tensor) {
    View view;
    view.data = tensor.data_ptr();
    view.dtype = to_dtype(tensor.scalar_type());
#if defined(FASTHASH_CUDA_ON_CPU)
    view.device = {true, 0};
#else
    view.device = {tensor.is_cuda(), tensor.is_cuda() ? int(tensor.get_device()) : 0};
#endif
    const auto sizes = tensor.sizes(), strides = tensor.strides();
    view.sizes.assign(sizes.begin(), sizes.end());
    view.strides.assign(strides.begin(), strides.end());
    return view;
  }
  static Tensor empty(const Tensor& like, const Shape& sizes, Dtype dtype) {
    Tensor tensor = torch::stable::new_empty(like, sizes, to_scalar_type(dtype));
    advise_huge_pages(view(tensor));
    return tensor;
  }
  static Tensor zeros(const Tensor& like, const Shape& sizes, Dtype dtype) {
    return torch::stable::new_zeros(like, sizes, to_scalar_type(dtype));
  }
  static Tensor contiguous(const Tensor& tensor) { return torch::stable::contiguous(tensor); }
};

}  // namespace fasthash::bindings
