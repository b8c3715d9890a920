// SPDX-License-Identifier: Apache-2.0
#include "pairwise_similarity_loss/pairwise_similarity_loss.h"

#include <pybind11/stl.h>

#include <cmath>

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "pairwise_similarity_loss";

// The options, in the order of the schema.
struct Settings {
  int64_t rule;
  double scale, threshold, smallest;
  int64_t balance;
  double cohesion;
  bool normalize, of_embeddings, of_items;
};

Argument argument(const char* name) { return {op, name}; }

void check_rows(const char* name, const View& rows) {
  argument(name).expect_floating(rows);
  argument(name).expect(rows.rank() == 2 && rows.numel() > 0, "of shape (rows, bits) and not empty", text(rows.sizes));
  argument(name).expect(!rows.device.cuda, "on cpu", text(rows.device));
}

// Ids (rows) int64 or packed multi-hot rows (rows, bytes) uint8.
void check_labels(const char* name, const View& labels, const View& rows) {
  const bool ids = labels.rank() == 1;
  argument(name).expect(ids || labels.rank() == 2, "1-D ids or 2-D packed multi-hot rows", text(labels.sizes));
  argument(name).expect(labels.dtype == (ids ? Dtype::int64 : Dtype::uint8),
                        ids ? "int64 where 1-D" : "uint8 where 2-D", dtype_name(labels.dtype));
  argument(name).expect(ids || labels.sizes[1] > 0, "of at least one byte where 2-D", text(labels.sizes));
  argument(name).expect(labels.sizes[0] == rows.sizes[0], "of length " + text(rows.sizes[0]), text(labels.sizes));
  argument(name).expect(labels.device == rows.device, "on " + text(rows.device), text(labels.device));
}

void check_sides(const View& x, const View& labels, const View& y, const View& item_labels) {
  check_rows("items", y);
  argument("items").expect(y.dtype == x.dtype, "a tensor of dtype " + text(dtype_name(x.dtype)) + " like embeddings",
                           dtype_name(y.dtype));
  argument("items").expect(y.sizes[1] == x.sizes[1], "of shape (items, " + text(x.sizes[1]) + ") like embeddings",
                           text(y.sizes));
  check_labels("item_labels", item_labels, y);
  const bool alike =
      item_labels.rank() == labels.rank() && (labels.rank() == 1 || item_labels.sizes[1] == labels.sizes[1]);
  argument("item_labels")
      .expect(alike, "of the kind and width of labels " + text(labels.sizes), text(item_labels.sizes));
}

void set_options(PairwiseLoss& args, const Settings& settings) {
  argument("rule").expect(settings.rule >= 0 && settings.rule <= 4,
                          "0 (likelihood), 1 (contrast), 2 (cauchy), 3 (cosine_cauchy) or 4 (graded_likelihood)",
                          settings.rule);
  argument("balance").expect(settings.balance >= 0 && settings.balance <= 2, "0 (none), 1 (both) or 2 (similar)",
                             settings.balance);
  argument("scale").expect(std::isfinite(settings.scale), "a finite number", settings.scale);
  const auto positive = [](double number) { return std::isfinite(number) && number > 0; };
  const bool any_sign = PairRule(settings.rule) == PairRule::graded_likelihood;
  argument("threshold")
      .expect(positive(settings.threshold) || (any_sign && std::isfinite(settings.threshold)),
              any_sign ? "a finite number" : "a finite number > 0", settings.threshold);
  argument("smallest").expect(positive(settings.smallest), "a finite number > 0", settings.smallest);
  argument("cohesion").expect(positive(settings.cohesion), "a finite number > 0", settings.cohesion);
  args.rule = PairRule(settings.rule);
  args.balance = PairBalance(settings.balance);
  args.scale = settings.scale;
  args.threshold = settings.threshold;
  args.smallest = settings.smallest;
  args.cohesion = settings.cohesion;
  args.normalize = settings.normalize;
}

PairLabels labels_of(const View& view) {
  if (view.rank() == 1) return {static_cast<const int64_t*>(view.data), nullptr, 0};
  return {nullptr, static_cast<const uint8_t*>(view.data), view.sizes[1]};
}

double run_on_cpu(const PairwiseLoss& args) {
  const auto work = pairwise_similarity_loss_cpu(args);
  BlockRunner runner;
  runner.run(work->count_blocks(), [&](int64_t block) { work->count(block); });
  work->weigh();
  runner.run(work->blocks(), [&](int64_t block) { work->run(block); });
  runner.run(work->finish_blocks(), [&](int64_t block) { work->finish(block); });
  return work->loss();
}

// Returns the loss and its gradients with respect to embeddings and items; (0, K) where one is not asked for.
template <class Door, class Tensor = typename Door::Tensor>
std::tuple<Tensor, Tensor, Tensor> forward(const Tensor& embeddings, const Tensor& labels,
                                           const std::optional<Tensor>& items, const std::optional<Tensor>& item_labels,
                                           const Settings& settings) {
  const View x = Door::view(embeddings);
  check_rows("embeddings", x);
  check_labels("labels", Door::view(labels), x);
  argument("item_labels")
      .expect(bool(item_labels) == bool(items), "given where items are, and only there",
              item_labels ? "a tensor" : "None");
  const View y = items ? Door::view(*items) : x;
  if (items) check_sides(x, Door::view(labels), y, Door::view(*item_labels));
  argument("of_items").expect(items || !settings.of_items, "False where items are None", "True");
  PairwiseLoss args{};
  set_options(args, settings);

  const RowsOf<Door> x_rows(embeddings), y_rows(items ? *items : embeddings);
  const Tensor x_labels = Door::contiguous(labels), y_labels = items ? Door::contiguous(*item_labels) : x_labels;
  const Dtype wide = x.dtype == Dtype::float64 ? Dtype::float64 : Dtype::float32;
  auto loss = Door::empty(embeddings, {}, wide);
  auto x_gradient = Door::empty(embeddings, {settings.of_embeddings ? x.sizes[0] : 0, x.sizes[1]}, wide);
  auto y_gradient = Door::empty(embeddings, {settings.of_items ? y.sizes[0] : 0, x.sizes[1]}, wide);
  args.x = x_rows.data();
  args.y = y_rows.data();
  args.x_labels = labels_of(Door::view(x_labels));
  args.y_labels = labels_of(Door::view(y_labels));
  args.anchors = x.sizes[0];
  args.items = y.sizes[0];
  args.bits = x.sizes[1];
  args.x_stride = x_rows.rows.stride;
  args.y_stride = y_rows.rows.stride;
  args.dtype = x.dtype;
  args.alone = !items;
  args.x_gradient = settings.of_embeddings ? Door::data(x_gradient) : nullptr;
  args.y_gradient = settings.of_items ? Door::data(y_gradient) : nullptr;

  const double value = run_on_cpu(args);
  void* loss_data = Door::data(loss);
  if (wide == Dtype::float64)
    *static_cast<double*>(loss_data) = value;
  else
    *static_cast<float*>(loss_data) = float(value);
  return {loss, x_gradient, y_gradient};
}

using torch::stable::Tensor;

std::tuple<Tensor, Tensor, Tensor> torch_forward(const Tensor& embeddings, const Tensor& labels,
                                                 const std::optional<Tensor>& items,
                                                 const std::optional<Tensor>& item_labels, int64_t rule, double scale,
                                                 double threshold, double smallest, int64_t balance, double cohesion,
                                                 bool normalize, bool of_embeddings, bool of_items) {
  return forward<TorchDoor>(embeddings, labels, items, item_labels,
                            {rule, scale, threshold, smallest, balance, cohesion, normalize, of_embeddings, of_items});
}

}  // namespace

void register_pairwise_similarity_loss(torch::stable::detail::StableLibrary& library) {
  library.impl("pairwise_similarity_loss", TORCH_BOX(&torch_forward));
}

void bind_pairwise_similarity_loss(py::module_& module) {
  module.def(
      "pairwise_similarity_loss",
      [](const py::array& embeddings, const py::array& labels, const std::optional<py::array>& items,
         const std::optional<py::array>& item_labels, int64_t rule, double scale, double threshold, double smallest,
         int64_t balance, double cohesion, bool normalize, bool of_embeddings, bool of_items) {
        return forward<NumpyDoor>(
            embeddings, labels, items, item_labels,
            {rule, scale, threshold, smallest, balance, cohesion, normalize, of_embeddings, of_items});
      },
      py::arg("embeddings"), py::arg("labels"), py::arg("items") = py::none(), py::arg("item_labels") = py::none(),
      py::arg("rule") = int64_t(PairRule::likelihood), py::arg("scale") = 1.0, py::arg("threshold") = 1.0,
      py::arg("smallest") = 1.0, py::arg("balance") = int64_t(PairBalance::none), py::arg("cohesion") = 1.0,
      py::arg("normalize") = false, py::arg("of_embeddings") = true, py::arg("of_items") = false);
}

}  // namespace fasthash::bindings
