// SPDX-License-Identifier: Apache-2.0
#include "triplet_margin/triplet_margin.h"

#include <pybind11/stl.h>

#include <cmath>

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "triplet_margin";

// The options, in the order of the schema.
struct Settings {
  double margin;
  int64_t mining;
  bool swap, smooth;
  int64_t reduction;
};

Argument argument(const char* name) { return {op, name}; }

void check_distances(const View& distances) {
  const bool floating = distances.dtype == Dtype::float32 || distances.dtype == Dtype::float64 ||
                        distances.dtype == Dtype::bfloat16 || distances.dtype == Dtype::float16;
  argument("distances")
      .expect(floating, "a tensor of dtype float32, float64, bfloat16, float16", dtype_name(distances.dtype));
  argument("distances")
      .expect(distances.rank() == 2 && distances.numel() > 0, "of shape (anchors, items) and not empty",
              text(distances.sizes));
  argument("distances").expect(distances.sizes[1] < int64_t(1) << 24, "of fewer than 2^24 items", distances.sizes[1]);
}

void check_relation(const View& relation, const View& distances) {
  argument("relation").expect(relation.dtype == Dtype::int8, "a tensor of dtype int8", dtype_name(relation.dtype));
  argument("relation")
      .expect(relation.sizes == distances.sizes, "of shape " + text(distances.sizes) + " like distances",
              text(relation.sizes));
}

void check_tensors(const View& distances, const View& relation) {
  check_distances(distances);
  check_relation(relation, distances);
  argument("relation")
      .expect(relation.device == distances.device, "on " + text(distances.device), text(relation.device));
}

void set_options(TripletMargin& args, const Settings& settings, const Shape& sizes) {
  argument("margin").expect(std::isfinite(settings.margin), "a finite number", settings.margin);
  argument("mining").expect(settings.mining >= 0 && settings.mining <= 2, "0 (all), 1 (semi_hard) or 2 (hard)",
                            settings.mining);
  argument("swap").expect(!settings.swap || settings.mining == 0, "False where mining is not all", "True");
  argument("swap").expect(!settings.swap || sizes[0] == sizes[1], "False where distances are not square", "True");
  argument("reduction")
      .expect(settings.reduction >= 0 && settings.reduction <= 2, "0 (mean), 1 (sum) or 2 (avg_nonzero)",
              settings.reduction);
  args.margin = settings.margin;
  args.mining = Mining(settings.mining);
  args.swap = settings.swap;
  args.smooth = settings.smooth;
  args.reduction = Reduction(settings.reduction);
}

void write_loss(void* loss, Dtype dtype, double value) {
  if (dtype == Dtype::float64)
    *static_cast<double*>(loss) = value;
  else
    *static_cast<float*>(loss) = float(value);
}

void run_on_cpu(TripletMargin args, void* loss) {
  std::vector<TripletSum> sums(args.anchors);
  args.sums = sums.data();
  const int64_t blocks = triplet_margin_blocks(args.anchors);
  run_blocks(blocks, [&](int64_t block) { triplet_margin_cpu(args, block); });
  const TripletScale scale = triplet_margin_scale(args);
  run_blocks(blocks, [&](int64_t block) { triplet_margin_rescale_cpu(args, scale.gradient, block); });
  write_loss(loss, args.dtype, scale.loss);
}

// Returns the loss and its gradient with respect to the distances.
template <class Door, class Tensor = typename Door::Tensor>
std::tuple<Tensor, Tensor> forward(const Tensor& distances, const Tensor& relation, const Settings& settings) {
  const View view = Door::view(distances);
  check_tensors(view, Door::view(relation));
  TripletMargin args{};
  set_options(args, settings, view.sizes);

  const RowsOf<Door> distance_rows(distances), relation_rows(relation);
  const Dtype wide = view.dtype == Dtype::float64 ? Dtype::float64 : Dtype::float32;
  auto loss = Door::empty(distances, {}, wide);
  auto gradient = Door::empty(distances, view.sizes, wide);
  args.distances = distance_rows.data();
  args.relation = static_cast<const int8_t*>(relation_rows.data());
  args.gradient = Door::data(gradient);
  args.anchors = view.sizes[0];
  args.items = view.sizes[1];
  args.distance_stride = distance_rows.rows.stride;
  args.relation_stride = relation_rows.rows.stride;
  args.dtype = view.dtype;

  void* loss_data = Door::data(loss);
  if (!view.device.cuda) {
    run_on_cpu(args, loss_data);
  } else {
    const Tensor room = Door::empty(distances, {triplet_margin_cuda_workspace(args)}, Dtype::uint8);
    void* workspace = Door::data(room);
    run_on_device(op, view.device, FH_LAUNCH(triplet_margin_cuda(args, loss_data, workspace, stream)));
  }
  return {loss, gradient};
}

using torch::stable::Tensor;

std::tuple<Tensor, Tensor> torch_forward(const Tensor& distances, const Tensor& relation, double margin, int64_t mining,
                                         bool swap, bool smooth, int64_t reduction) {
  return forward<TorchDoor>(distances, relation, {margin, mining, swap, smooth, reduction});
}

}  // namespace

void register_triplet_margin(torch::stable::detail::StableLibrary& library) {
  library.impl("triplet_margin", TORCH_BOX(&torch_forward));
}

void bind_triplet_margin(py::module_& module) {
  module.def(
      "triplet_margin",
      [](const py::array& distances, const py::array& relation, double margin, int64_t mining, bool swap, bool smooth,
         int64_t reduction) {
        return forward<NumpyDoor>(distances, relation, {margin, mining, swap, smooth, reduction});
      },
      py::arg("distances"), py::arg("relation"), py::arg("margin"), py::arg("mining") = int64_t(Mining::all),
      py::arg("swap") = false, py::arg("smooth") = false, py::arg("reduction") = int64_t(Reduction::avg_nonzero));
}

}  // namespace fasthash::bindings
