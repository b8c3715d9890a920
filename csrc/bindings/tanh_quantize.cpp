// SPDX-License-Identifier: Apache-2.0
#include "tanh_quantize/tanh_quantize.h"

#include <pybind11/stl.h>

#include <cmath>

#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "tanh_quantize";

// What the forward and the backward pass share; the order is that of the schema.
template <class Tensor>
struct Settings {
  std::optional<Tensor> sharpness_tensor;
  double sharpness;
  int64_t penalty, amplifier;
  bool inverse;
  double amplification, threshold;
};

Argument argument(const char* name) { return {op, name}; }

void check_logits(const View& logits) {
  argument("logits").expect_floating(logits);
  argument("logits").expect(logits.rank() >= 1 && logits.numel() > 0, "a non-empty tensor (..., bits)",
                            "shape " + text(logits.sizes));
}

AmplifierRule amplifier_rule(int64_t amplifier, bool inverse, double amplification, double threshold) {
  argument("amplifier")
      .expect(amplifier >= 0 && amplifier <= 2, "0 (none), 1 (magnitude) or 2 (wrong side)", amplifier);
  argument("amplification")
      .expect(std::isfinite(amplification) && amplification > 0, "finite and above 0", amplification);
  argument("threshold").expect(threshold >= 0 && threshold <= 1, "in [0, 1]", threshold);
  return {Amplifier(amplifier), inverse, amplification, threshold};
}

Penalty penalty_of(int64_t penalty) {
  argument("penalty").expect(penalty >= 0 && penalty <= 4, "0 (none), 1 (l2), 2 (l1), 3 (log cosh) or 4 (cubic)",
                             penalty);
  return Penalty(penalty);
}

// A sharpness tensor in host memory is read here; one on the device is left to the kernel, without synchronising.
template <class Door, class Args>
void set_sharpness(Args& args, const View& logits, const std::optional<typename Door::Tensor>& tensor, double value) {
  args.sharpness = value;
  args.sharpness_on_device = nullptr;
  if (tensor) {
    const View view = Door::view(*tensor);
    argument("sharpness").expect(view.numel() == 1, "a number or a tensor of one element", "shape " + text(view.sizes));
    if (logits.device.cuda && view.device.cuda) {
      argument("sharpness").expect_device(view, logits.device);
      argument("sharpness").expect_dtype(view, Dtype::float32);
      args.sharpness_on_device = static_cast<const float*>(view.data);
      return;
    }
    argument("sharpness").expect(!view.device.cuda, "on cpu like logits", text(view.device));
    argument("sharpness")
        .expect(view.dtype == Dtype::float32 || view.dtype == Dtype::float64, "float32 or float64",
                dtype_name(view.dtype));
    args.sharpness = view.dtype == Dtype::float64 ? *static_cast<const double*>(view.data)
                                                  : double(*static_cast<const float*>(view.data));
  }
  argument("sharpness")
      .expect(std::isfinite(args.sharpness) && args.sharpness > 0, "finite and above 0", args.sharpness);
}

// The logits as rows of bits, copied only where their strides ask for it.
template <class Door>
std::pair<typename Door::Tensor, Rows> logits_as_rows(const typename Door::Tensor& logits) {
  if (const auto rows = as_rows(Door::view(logits))) return {logits, *rows};
  const auto copy = Door::contiguous(logits);
  return {copy, *as_rows(Door::view(copy))};
}

template <class Args>
void set_rows(Args& args, const View& logits, const Rows& rows) {
  args.logits = logits.data;
  args.rows = rows.count;
  args.bits = rows.length;
  args.row_stride = rows.stride;
  args.dtype = logits.dtype;
}

Shape packed_shape(Shape shape) {
  shape.back() = (shape.back() + 7) / 8;
  return shape;
}

void write_mean(void* out, Dtype dtype, double mean) {
  if (dtype == Dtype::float64)
    *static_cast<double*>(out) = mean;
  else
    *static_cast<float*>(out) = float(mean);
}

void forward_on_cpu(TanhQuantizeForward args, void* penalty_mean) {
  const int64_t blocks = tanh_quantize_blocks(args.rows, args.bits);
  std::vector<double> partials(blocks);
  args.partials = partials.data();
  run_blocks(blocks, [&](int64_t block) { tanh_quantize_cpu(args, block); });
  double total = 0;
  for (double partial : partials) total += partial;
  if (penalty_mean) write_mean(penalty_mean, args.dtype, total / (double(args.rows) * double(args.bits)));
}

template <class Door>
using Outputs = std::tuple<typename Door::Tensor, typename Door::Tensor, typename Door::Tensor, typename Door::Tensor>;

template <class Door>
Outputs<Door> forward(const typename Door::Tensor& logits, const Settings<typename Door::Tensor>& settings, bool pack,
                      bool count_saturation) {
  const View view = Door::view(logits);
  check_logits(view);
  TanhQuantizeForward args{};
  args.penalty = penalty_of(settings.penalty);
  args.threshold =
      amplifier_rule(settings.amplifier, settings.inverse, settings.amplification, settings.threshold).threshold;
  set_sharpness<Door>(args, view, settings.sharpness_tensor, settings.sharpness);
  const auto [source, rows] = logits_as_rows<Door>(logits);
  set_rows(args, Door::view(source), rows);

  const bool penalize = args.penalty != Penalty::none;
  const Dtype wide = view.dtype == Dtype::float64 ? Dtype::float64 : Dtype::float32;
  auto codes = Door::empty(logits, view.sizes, view.dtype);
  auto penalty = Door::empty(logits, penalize ? Shape{} : Shape{0}, wide);
  auto packed = Door::empty(logits, pack ? packed_shape(view.sizes) : Shape{0}, Dtype::uint8);
  auto saturation = Door::zeros(logits, {count_saturation ? args.bits : 0}, Dtype::int64);
  args.codes = Door::data(codes);
  if (pack) args.packed = static_cast<uint8_t*>(Door::data(packed));
  if (count_saturation) args.saturation = static_cast<int64_t*>(Door::data(saturation));
  void* mean = penalize ? Door::data(penalty) : nullptr;

  if (!view.device.cuda) {
    forward_on_cpu(args, mean);
  } else {
    const auto partials = Door::empty(logits, {tanh_quantize_cuda_partials}, Dtype::float64);
    args.partials = static_cast<double*>(Door::data(partials));
    run_on_device(op, view.device, FH_LAUNCH(tanh_quantize_cuda(args, mean, stream)));
  }
  return {codes, penalty, packed, saturation};
}

// The gradient with respect to the codes, contiguous; checked against the logits.
template <class Door>
std::optional<typename Door::Tensor> checked_grad(const std::optional<typename Door::Tensor>& grad,
                                                  const View& logits) {
  if (!grad) return std::nullopt;
  const View view = Door::view(*grad);
  const Argument arg = argument("grad_codes");
  arg.expect(view.sizes == logits.sizes, "of the logits' shape " + text(logits.sizes), "shape " + text(view.sizes));
  arg.expect_dtype(view, logits.dtype);
  arg.expect_device(view, logits.device);
  return Door::contiguous(*grad);
}

template <class Door>
const void* checked_grad_penalty(const std::optional<typename Door::Tensor>& grad, const View& logits) {
  if (!grad) return nullptr;
  const View view = Door::view(*grad);
  if (view.numel() == 0) return nullptr;  // the penalty is off, and its output empty
  const Argument arg = argument("grad_penalty");
  arg.expect(view.numel() == 1, "a tensor of one element", "shape " + text(view.sizes));
  arg.expect_dtype(view, logits.dtype == Dtype::float64 ? Dtype::float64 : Dtype::float32);
  arg.expect_device(view, logits.device);
  return view.data;
}

template <class Door>
typename Door::Tensor backward(const std::optional<typename Door::Tensor>& grad_codes,
                               const std::optional<typename Door::Tensor>& grad_penalty,
                               const typename Door::Tensor& logits, const Settings<typename Door::Tensor>& settings) {
  const View view = Door::view(logits);
  check_logits(view);
  TanhQuantizeBackward args{};
  args.penalty = penalty_of(settings.penalty);
  args.rule = amplifier_rule(settings.amplifier, settings.inverse, settings.amplification, settings.threshold);
  set_sharpness<Door>(args, view, settings.sharpness_tensor, settings.sharpness);
  const auto grad = checked_grad<Door>(grad_codes, view);
  args.grad_codes = grad ? Door::data(*grad) : nullptr;
  args.grad_penalty = checked_grad_penalty<Door>(grad_penalty, view);
  const auto [source, rows] = logits_as_rows<Door>(logits);
  set_rows(args, Door::view(source), rows);
  auto grad_logits = Door::empty(logits, view.sizes, view.dtype);
  args.grad_logits = Door::data(grad_logits);

  if (!view.device.cuda) {
    const int64_t blocks = tanh_quantize_blocks(args.rows, args.bits);
    run_blocks(blocks, [&](int64_t block) { tanh_quantize_backward_cpu(args, block); });
  } else {
    run_on_device(op, view.device, FH_LAUNCH(tanh_quantize_backward_cuda(args, stream)));
  }
  return grad_logits;
}

using torch::stable::Tensor;
using OptionalTensor = std::optional<Tensor>;

std::tuple<Tensor, Tensor, Tensor, Tensor> torch_forward(const Tensor& logits, const OptionalTensor& sharpness_tensor,
                                                         double sharpness, int64_t penalty, int64_t amplifier,
                                                         bool inverse, double amplification, double threshold,
                                                         bool pack, bool count_saturation) {
  return forward<TorchDoor>(logits,
                            {sharpness_tensor, sharpness, penalty, amplifier, inverse, amplification, threshold}, pack,
                            count_saturation);
}

Tensor torch_backward(const OptionalTensor& grad_codes, const OptionalTensor& grad_penalty, const Tensor& logits,
                      const OptionalTensor& sharpness_tensor, double sharpness, int64_t penalty, int64_t amplifier,
                      bool inverse, double amplification, double threshold) {
  return backward<TorchDoor>(grad_codes, grad_penalty, logits,
                             {sharpness_tensor, sharpness, penalty, amplifier, inverse, amplification, threshold});
}

}  // namespace

void register_tanh_quantize(torch::stable::detail::StableLibrary& library) {
  library.impl("tanh_quantize", TORCH_BOX(&torch_forward));
  library.impl("tanh_quantize_backward", TORCH_BOX(&torch_backward));
}

void bind_tanh_quantize(py::module_& module) {
  using OptionalArray = std::optional<py::array>;
  module.def(
      "tanh_quantize",
      [](const py::array& logits, double sharpness, int64_t penalty, double threshold, bool pack,
         bool count_saturation) {
        return forward<NumpyDoor>(logits, {std::nullopt, sharpness, penalty, 0, false, 1, threshold}, pack,
                                  count_saturation);
      },
      py::arg("logits"), py::arg("sharpness") = 1.0, py::arg("penalty") = int64_t(Penalty::l2),
      py::arg("threshold") = 0.99, py::arg("pack") = false, py::arg("count_saturation") = false);
  module.def(
      "tanh_quantize_backward",
      [](const OptionalArray& grad_codes, const OptionalArray& grad_penalty, const py::array& logits, double sharpness,
         int64_t penalty, int64_t amplifier, bool inverse, double amplification, double threshold) {
        return backward<NumpyDoor>(grad_codes, grad_penalty, logits,
                                   {std::nullopt, sharpness, penalty, amplifier, inverse, amplification, threshold});
      },
      py::arg("grad_codes"), py::arg("grad_penalty"), py::arg("logits"), py::arg("sharpness") = 1.0,
      py::arg("penalty") = int64_t(Penalty::l2), py::arg("amplifier") = int64_t(Amplifier::wrong_side),
      py::arg("inverse") = false, py::arg("amplification") = 10.0, py::arg("threshold") = 0.99);
}

}  // namespace fasthash::bindings
