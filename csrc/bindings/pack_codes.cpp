// SPDX-License-Identifier: Apache-2.0
#include "pack_codes/pack_codes.h"

#include <algorithm>
#include <atomic>

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr Argument codes_argument{"pack_codes", "codes"};

void check_codes(const View& codes) {
  codes_argument.expect(codes.dtype != Dtype::uint8, "a float, signed integer or bool tensor",
                        "uint8 (0/1 bytes are ambiguous, pass bool)");
  codes_argument.expect(codes.rank() >= 1 && codes.sizes.back() > 0, "of shape (..., bits > 0)", text(codes.sizes));
}

// The position in a tensor of `sizes` of its element number `index`.
Shape position(const Shape& sizes, int64_t index) {
  Shape at(sizes.size());
  for (size_t d = sizes.size(); d-- > 0; index /= sizes[d]) at[d] = index % sizes[d];
  return at;
}

void pack_on_cpu(const PackCodes& args, const Shape& sizes) {
  std::atomic<int64_t> first_nan{no_nan};
  run_blocks(pack_codes_blocks(args), [&](int64_t block) {
    const int64_t nan = pack_codes_cpu(args, block);
    int64_t first = first_nan;
    while (nan < first && !first_nan.compare_exchange_weak(first, nan)) {
    }
  });
  if (first_nan == no_nan) return;
  codes_argument.expect(false, "free of NaN", "NaN at " + text(position(sizes, first_nan)));
}

template <class Door>
typename Door::Tensor pack(const typename Door::Tensor& codes) {
  const View view = Door::view(codes);
  check_codes(view);
  const RowsOf<Door> source(codes);
  Shape shape = view.sizes;
  shape.back() = (shape.back() + 7) / 8;
  auto packed = Door::empty(codes, shape, Dtype::uint8);
  const PackCodes args{source.data(),      static_cast<uint8_t*>(Door::data(packed)),
                       source.rows.count,  source.rows.length,
                       source.rows.stride, view.dtype};
  if (!view.device.cuda)
    pack_on_cpu(args, view.sizes);
  else
    run_on_device("pack_codes", view.device, FH_LAUNCH(pack_codes_cuda(args, stream)));
  return packed;
}

torch::stable::Tensor torch_pack(const torch::stable::Tensor& codes) { return pack<TorchDoor>(codes); }

}  // namespace

void register_pack_codes(torch::stable::detail::StableLibrary& library) {
  library.impl("pack_codes", TORCH_BOX(&torch_pack));
}

void bind_pack_codes(py::module_& module) { module.def("pack_codes", &pack<NumpyDoor>, py::arg("codes")); }

}  // namespace fasthash::bindings
