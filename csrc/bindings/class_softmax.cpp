// SPDX-License-Identifier: Apache-2.0
#include "class_softmax/class_softmax.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "class_softmax";

// The options, in the order of the schema.
struct Settings {
  double scale;
  int64_t form;
  bool normalize_weights;
  double margin;
  bool angular;
  double l1, l2, cubic, outside, edge;
  bool of_embeddings, of_weights, of_bias;
};

Argument argument(const char* name) { return {op, name}; }

void check_matrix(const char* name, const View& rows) {
  argument(name).expect(rows.dtype == Dtype::float32, "float32", dtype_name(rows.dtype));
  argument(name).expect(rows.rank() == 2 && rows.numel() > 0, "of shape (rows, bits) and not empty", text(rows.sizes));
  argument(name).expect(!rows.device.cuda, "on cpu", text(rows.device));
}

void check_vector(const char* name, const View& values, Dtype dtype, int64_t length) {
  argument(name).expect_dtype(values, dtype);
  argument(name).expect(values.rank() == 1 && values.sizes[0] == length, "of shape (" + text(length) + ")",
                        text(values.sizes));
  argument(name).expect(!values.device.cuda, "on cpu", text(values.device));
}

void check_targets(const int64_t* targets, int64_t rows, int64_t classes) {
  const auto [least, most] = std::minmax_element(targets, targets + rows);
  argument("targets").expect(*least >= 0 && *most < classes, "in 0.." + text(classes - 1),
                             text(*least) + ".." + text(*most));
}

void set_options(ClassSoftmax& args, const Settings& settings) {
  argument("scale").expect(std::isfinite(settings.scale) && settings.scale > 0, "a finite number > 0", settings.scale);
  argument("form").expect(settings.form >= 0 && settings.form <= 2, "0 (plain), 1 (unit) or 2 (signs)", settings.form);
  argument("margin").expect(std::isfinite(settings.margin), "a finite number", settings.margin);
  const std::pair<const char*, double> weights[] = {{"l1", settings.l1},
                                                    {"l2", settings.l2},
                                                    {"cubic", settings.cubic},
                                                    {"outside", settings.outside},
                                                    {"edge", settings.edge}};
  for (const auto& [name, weight] : weights)
    argument(name).expect(std::isfinite(weight) && weight >= 0, "a finite number >= 0", weight);
  args.scale = float(settings.scale);
  args.form = SoftmaxForm(settings.form);
  args.unit_classes = settings.normalize_weights;
  args.margin = float(settings.margin);
  args.angular = settings.angular;
  args.corners = {float(settings.l1), float(settings.l2), float(settings.cubic), float(settings.outside),
                  float(settings.edge)};
}

double run_on_cpu(const ClassSoftmax& args) {
  BlockRunner runner;
  const auto call = class_softmax_cpu(args, BlockRunner::threads());
  runner.run(call->groups(), [&](int64_t group) { call->pack(group); });
  runner.run(call->blocks(), [&](int64_t block) { call->run(block); });
  if (args.w_gradient || args.bias_gradient) runner.run(call->groups(), [&](int64_t group) { call->finish(group); });
  return call->loss();
}

// Returns the loss and its gradients with respect to embeddings, weights and bias; without elements where one is not
// asked for.
template <class Door, class Tensor = typename Door::Tensor>
std::tuple<Tensor, Tensor, Tensor, Tensor> forward(const Tensor& embeddings, const Tensor& weights,
                                                   const Tensor& targets, const std::optional<Tensor>& bias,
                                                   const std::optional<Tensor>& factors, const Settings& settings) {
  const View x = Door::view(embeddings), w = Door::view(weights);
  check_matrix("embeddings", x);
  check_matrix("weights", w);
  argument("weights").expect(w.sizes[1] == x.sizes[1], "of shape (classes, " + text(x.sizes[1]) + ") like embeddings",
                             text(w.sizes));
  check_vector("targets", Door::view(targets), Dtype::int64, x.sizes[0]);
  if (bias) check_vector("bias", Door::view(*bias), Dtype::float32, w.sizes[0]);
  if (factors) check_vector("factors", Door::view(*factors), Dtype::float32, x.sizes[0]);
  argument("bias").expect(!bias || !settings.angular, "None where the margin is an angle", "a tensor");
  argument("of_bias").expect(bias || !settings.of_bias, "False where the bias is None", "True");
  ClassSoftmax args{};
  set_options(args, settings);

  const RowsOf<Door> x_rows(embeddings), w_rows(weights);
  const Tensor ids = Door::contiguous(targets);
  const Tensor shifts = bias ? Door::contiguous(*bias) : ids, shares = factors ? Door::contiguous(*factors) : ids;
  args.x = static_cast<const float*>(x_rows.data());
  args.w = static_cast<const float*>(w_rows.data());
  args.targets = static_cast<const int64_t*>(Door::data(ids));
  args.bias = bias ? static_cast<const float*>(Door::data(shifts)) : nullptr;
  args.factors = factors ? static_cast<const float*>(Door::data(shares)) : nullptr;
  args.rows = x.sizes[0];
  args.classes = w.sizes[0];
  args.bits = x.sizes[1];
  args.x_stride = x_rows.rows.stride;
  args.w_stride = w_rows.rows.stride;
  check_targets(args.targets, args.rows, args.classes);

  auto loss = Door::empty(embeddings, {}, Dtype::float32);
  auto x_gradient = Door::empty(embeddings, {settings.of_embeddings ? args.rows : 0, args.bits}, Dtype::float32);
  auto w_gradient = Door::empty(embeddings, {settings.of_weights ? args.classes : 0, args.bits}, Dtype::float32);
  auto bias_gradient = Door::empty(embeddings, {settings.of_bias ? args.classes : 0}, Dtype::float32);
  args.x_gradient = settings.of_embeddings ? static_cast<float*>(Door::data(x_gradient)) : nullptr;
  args.w_gradient = settings.of_weights ? static_cast<float*>(Door::data(w_gradient)) : nullptr;
  args.bias_gradient = settings.of_bias ? static_cast<float*>(Door::data(bias_gradient)) : nullptr;
  const double value = run_on_cpu(args);
  *static_cast<float*>(Door::data(loss)) = float(value);
  return {loss, x_gradient, w_gradient, bias_gradient};
}

using torch::stable::Tensor;

std::tuple<Tensor, Tensor, Tensor, Tensor> torch_forward(const Tensor& embeddings, const Tensor& weights,
                                                         const Tensor& targets, const std::optional<Tensor>& bias,
                                                         const std::optional<Tensor>& factors, double scale,
                                                         int64_t form, bool normalize_weights, double margin,
                                                         bool angular, double l1, double l2, double cubic,
                                                         double outside, double edge, bool of_embeddings,
                                                         bool of_weights, bool of_bias) {
  return forward<TorchDoor>(embeddings, weights, targets, bias, factors,
                            {scale, form, normalize_weights, margin, angular, l1, l2, cubic, outside, edge,
                             of_embeddings, of_weights, of_bias});
}

}  // namespace

void register_class_softmax(torch::stable::detail::StableLibrary& library) {
  library.impl("class_softmax", TORCH_BOX(&torch_forward));
}

void bind_class_softmax(py::module_& module) {
  module.def(
      "class_softmax",
      [](const py::array& embeddings, const py::array& weights, const py::array& targets,
         const std::optional<py::array>& bias, const std::optional<py::array>& factors, double scale, int64_t form,
         bool normalize_weights, double margin, bool angular, double l1, double l2, double cubic, double outside,
         double edge, bool of_embeddings, bool of_weights, bool of_bias) {
        return forward<NumpyDoor>(embeddings, weights, targets, bias, factors,
                                  {scale, form, normalize_weights, margin, angular, l1, l2, cubic, outside, edge,
                                   of_embeddings, of_weights, of_bias});
      },
      py::arg("embeddings"), py::arg("weights"), py::arg("targets"), py::arg("bias") = py::none(),
      py::arg("factors") = py::none(), py::arg("scale") = 1.0, py::arg("form") = int64_t(SoftmaxForm::plain),
      py::arg("normalize_weights") = false, py::arg("margin") = 0.0, py::arg("angular") = false, py::arg("l1") = 0.0,
      py::arg("l2") = 0.0, py::arg("cubic") = 0.0, py::arg("outside") = 0.0, py::arg("edge") = 1.0,
      py::arg("of_embeddings") = true, py::arg("of_weights") = true, py::arg("of_bias") = false);
}

}  // namespace fasthash::bindings
