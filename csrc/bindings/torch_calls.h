// SPDX-License-Identifier: Apache-2.0
// torch's own operators, called through the dispatcher, for what kernels on a device are given ready-made.
#pragma once

#include <array>
#include <optional>

#include "bindings/torch_door.h"

#if !defined(STABLE_TORCH_ERROR_CODE_CHECK)  // its name before torch 2.12
#define STABLE_TORCH_ERROR_CODE_CHECK TORCH_ERROR_CODE_CHECK
#endif

namespace fasthash::bindings {

template <class... Args>
torch::stable::Tensor call_torch(const char* name, const Args&... args) {
  std::array<StableIValue, sizeof...(Args)> stack{torch::stable::detail::from(args)...};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher(name, "", stack.data(), TORCH_ABI_VERSION));
  return torch::stable::detail::to<torch::stable::Tensor>(stack[0]);
}

// The positions of ids (N) by rising id, or nothing where there are no ids; the tensor keeps them alive.
class RisingOrder {
 public:
  explicit RisingOrder(const std::optional<torch::stable::Tensor>& ids) {
    if (ids) positions_ = call_torch("aten::argsort", *ids, int64_t(0), false);
  }
  const int64_t* data() const {
    return positions_ ? static_cast<const int64_t*>(TorchDoor::data(*positions_)) : nullptr;
  }

 private:
  std::optional<torch::stable::Tensor> positions_;
};

}  // namespace fasthash::bindings
