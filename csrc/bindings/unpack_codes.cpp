// SPDX-License-Identifier: Apache-2.0
#include "unpack_codes/unpack_codes.h"

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "unpack_codes";

bool is_code_dtype(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
    case Dtype::float64:
    case Dtype::bfloat16:
    case Dtype::float16:
    case Dtype::int8:
    case Dtype::boolean: return true;
    default: return false;
  }
}

void check(const View& packed, int64_t bits, Dtype dtype) {
  const Argument argument{op, "packed"};
  argument.expect(packed.dtype == Dtype::uint8, "a tensor of dtype uint8", dtype_name(packed.dtype));
  Argument{op, "bits"}.expect(bits >= 1, ">= 1", bits);
  Argument{op, "dtype"}.expect(is_code_dtype(dtype), "one of float32, float64, bfloat16, float16, int8, bool",
                               dtype_name(dtype));
  const int64_t width = bits / 8 + (bits % 8 != 0);
  argument.expect(packed.rank() >= 1 && packed.sizes.back() == width,
                  "of shape (..., " + text(width) + ") for " + text(bits) + " bits", text(packed.sizes));
}

template <class Door>
typename Door::Tensor unpack(const typename Door::Tensor& packed, int64_t bits, Dtype dtype) {
  const View view = Door::view(packed);
  check(view, bits, dtype);
  const RowsOf<Door> source(packed);
  Shape shape = view.sizes;
  shape.back() = bits;
  auto codes = Door::empty(packed, shape, dtype);
  const UnpackCodes args{static_cast<const uint8_t*>(source.data()),
                         Door::data(codes),
                         source.rows.count,
                         bits,
                         source.rows.stride,
                         dtype};
  if (!view.device.cuda)
    run_blocks(unpack_codes_blocks(args), [&](int64_t block) { unpack_codes_cpu(args, block); });
  else
    run_on_device(op, view.device, FH_LAUNCH(unpack_codes_cuda(args, stream)));
  return codes;
}

torch::stable::Tensor torch_unpack(const torch::stable::Tensor& packed, int64_t bits, ScalarType dtype) {
  return unpack<TorchDoor>(packed, bits, to_dtype(dtype));
}

}  // namespace

void register_unpack_codes(torch::stable::detail::StableLibrary& library) {
  library.impl("unpack_codes", TORCH_BOX(&torch_unpack));
}

void bind_unpack_codes(py::module_& module) {
  module.def(
      "unpack_codes",
      [](const py::array& packed, int64_t bits, const py::object& dtype) {
        return unpack<NumpyDoor>(packed, bits, to_dtype(py::dtype::from_args(dtype)));
      },
      py::arg("packed"), py::arg("bits"), py::arg("dtype") = "float32");
}

}  // namespace fasthash::bindings
