// SPDX-License-Identifier: Apache-2.0
// The dispatcher's door: torch tensors through PyTorch's stable ABI.
#pragma once

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
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

  static void* data(const Tensor& tensor) { return tensor.data_ptr(); }
  static Device device(const Tensor& tensor) {
#if defined(FASTHASH_CUDA_ON_CPU)
    (void)tensor;
    return {true, 0};
#else
    return {tensor.is_cuda(), tensor.is_cuda() ? int(tensor.get_device()) : 0};
#endif
  }
  static View view(const Tensor& tensor) {
    View view;
    view.data = data(tensor);
    view.dtype = to_dtype(tensor.scalar_type());
    view.device = device(tensor);
    const auto sizes = tensor.sizes(), strides = tensor.strides();
    view.sizes.assign(sizes.begin(), sizes.end());
    view.strides.assign(strides.begin(), strides.end());
    return view;
  }
  static Tensor empty(const Tensor& like, const Shape& sizes, Dtype dtype) {
    if (like.is_cuda()) return torch::stable::new_empty(like, sizes, to_scalar_type(dtype));
    // Without a way through the dispatcher, which would take longer than searching a small database.
    Shape strides(sizes.size());
    int64_t stride = 1;
    for (size_t d = sizes.size(); d-- > 0; stride *= std::max<int64_t>(1, sizes[d])) strides[d] = stride;
    AtenTensorHandle handle;
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_empty_strided(int64_t(sizes.size()), sizes.data(), strides.data(),
                                                           int32_t(to_scalar_type(dtype)), aoti_torch_device_type_cpu(),
                                                           0, &handle));
    const Tensor tensor(handle);
    const int64_t bytes = tensor.numel() * dtype_size(dtype);
    if (bytes >= huge_pages_from) advise_huge_pages(data(tensor), bytes);
    return tensor;
  }
  static Tensor zeros(const Tensor& like, const Shape& sizes, Dtype dtype) {
    return torch::stable::new_zeros(like, sizes, to_scalar_type(dtype));
  }
  static Tensor contiguous(const Tensor& tensor) { return torch::stable::contiguous(tensor); }
};

}  // namespace fasthash::bindings
