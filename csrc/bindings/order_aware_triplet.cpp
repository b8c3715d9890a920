// SPDX-License-Identifier: Apache-2.0
#include "order_aware_triplet/order_aware_triplet.h"

#include <pybind11/stl.h>

#include <cmath>
#include <optional>

#include "bindings/codes.h"
#include "bindings/numpy_door.h"
#include "bindings/ops.h"
#include "bindings/run.h"
#include "bindings/torch_door.h"

namespace fasthash::bindings {
namespace {

constexpr const char* op = "order_aware_triplet";

// The options, in the order of the schema.
struct Settings {
  double margin;
  int64_t weighting;
  bool squared;
  int64_t reduction;
  bool normalize;
  int64_t method;
  int64_t ties;
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
  argument("distances").expect(distances.sizes[1] < int64_t(1) << 30, "of fewer than 2^30 items", distances.sizes[1]);
}

void check_relation(const View& relation, const View& distances) {
  argument("relation").expect(relation.dtype == Dtype::int8, "a tensor of dtype int8", dtype_name(relation.dtype));
  argument("relation")
      .expect(relation.sizes == distances.sizes, "of shape " + text(distances.sizes) + " like distances",
              text(relation.sizes));
}

// Packed codes (rows, bytes); the anchor codes decide how many bytes.
void check_codes(const char* name, const View& codes, int64_t rows, const View& anchor_codes) {
  check_packed(argument(name), codes);
  const Shape shape{rows, anchor_codes.sizes[1]};
  argument(name).expect(codes.sizes == shape, "of shape " + text(shape), text(codes.sizes));
}

void check_device(const char* name, const View& view, const View& distances) {
  argument(name).expect(view.device == distances.device, "on " + text(distances.device), text(view.device));
}

void check_tensors(const View& distances, const View& relation, const View& anchor_codes, const View& item_codes) {
  check_distances(distances);
  check_relation(relation, distances);
  check_codes("anchor_codes", anchor_codes, distances.sizes[0], anchor_codes);
  check_codes("item_codes", item_codes, distances.sizes[1], anchor_codes);
  check_device("relation", relation, distances);
  check_device("anchor_codes", anchor_codes, distances);
  check_device("item_codes", item_codes, distances);
}

void check_gains(const View& gains, const View& distances, Weighting weighting) {
  argument("gains").expect(weighting == Weighting::delta_ndcg, "None where weighting is not delta_ndcg", "a tensor");
  argument("gains").expect(gains.dtype == Dtype::float32, "a tensor of dtype float32", dtype_name(gains.dtype));
  argument("gains").expect(gains.sizes == distances.sizes, "of shape " + text(distances.sizes) + " like distances",
                           text(gains.sizes));
  check_device("gains", gains, distances);
}

void set_options(OrderAwareTriplet& args, const Settings& settings) {
  argument("margin").expect(std::isfinite(settings.margin), "a finite number", settings.margin);
  argument("weighting")
      .expect(settings.weighting >= 0 && settings.weighting <= 3,
              "0 (none), 1 (delta AP), 2 (delta NDCG) or 3 (rank difference)", settings.weighting);
  argument("reduction")
      .expect(settings.reduction >= 0 && settings.reduction <= 2, "0 (mean), 1 (sum) or 2 (avg_nonzero)",
              settings.reduction);
  argument("method").expect(settings.method >= 0 && settings.method <= 2, "0 (auto), 1 (pairs) or 2 (sweep)",
                            settings.method);
  argument("ties").expect(settings.ties == 0 || settings.ties == 1, "0 (index) or 1 (mean)", settings.ties);
  args.margin = settings.margin;
  args.weighting = Weighting(settings.weighting);
  args.squared = settings.squared;
  args.reduction = Reduction(settings.reduction);
  args.normalize = settings.normalize;
  args.method = TripletMethod(settings.method);
  args.ties = Ties(settings.ties);
}

void write_loss(void* loss, Dtype dtype, double value) {
  if (dtype == Dtype::float64)
    *static_cast<double*>(loss) = value;
  else
    *static_cast<float*>(loss) = float(value);
}

void run_on_cpu(OrderAwareTriplet args, void* loss) {
  std::vector<TripletSum> sums(args.anchors);
  args.sums = sums.data();
  const int64_t blocks = order_aware_triplet_blocks(args.anchors);
  run_blocks(blocks, [&](int64_t block) { order_aware_triplet_cpu(args, block); });
  const TripletScale scale = order_aware_triplet_scale(args);
  run_blocks(blocks, [&](int64_t block) { order_aware_triplet_rescale_cpu(args, scale.gradient, block); });
  write_loss(loss, args.dtype, scale.loss);
}

// Returns the loss and its gradient with respect to the distances.
template <class Door, class Tensor = typename Door::Tensor>
std::tuple<Tensor, Tensor> forward(const Tensor& distances, const Tensor& relation, const Tensor& anchor_codes,
                                   const Tensor& item_codes, const Settings& settings,
                                   const std::optional<Tensor>& gains) {
  const View view = Door::view(distances);
  check_tensors(view, Door::view(relation), Door::view(anchor_codes), Door::view(item_codes));
  OrderAwareTriplet args{};
  set_options(args, settings);
  if (gains) check_gains(Door::view(*gains), view, args.weighting);
  argument("method").expect(!view.device.cuda || args.method != TripletMethod::sweep,
                            "auto or pairs on " + text(view.device), "sweep");

  const RowsOf<Door> distance_rows(distances), relation_rows(relation), anchors(anchor_codes), items(item_codes);
  std::optional<RowsOf<Door>> gain_rows;
  const Dtype wide = view.dtype == Dtype::float64 ? Dtype::float64 : Dtype::float32;
  auto loss = Door::empty(distances, {}, wide);
  auto gradient = Door::empty(distances, view.sizes, wide);
  args.distances = distance_rows.data();
  args.relation = static_cast<const int8_t*>(relation_rows.data());
  args.anchor_codes = anchors.codes();
  args.item_codes = items.codes();
  if (gains) {
    gain_rows.emplace(*gains);
    args.gains = static_cast<const float*>(gain_rows->data());
    args.gain_stride = gain_rows->rows.stride;
  }
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
    const Tensor room = Door::empty(distances, {order_aware_triplet_cuda_workspace(args)}, Dtype::uint8);
    void* workspace = Door::data(room);
    run_on_device(op, view.device, FH_LAUNCH(order_aware_triplet_cuda(args, loss_data, workspace, stream)));
  }
  return {loss, gradient};
}

using torch::stable::Tensor;

std::tuple<Tensor, Tensor> torch_forward(const Tensor& distances, const Tensor& relation, const Tensor& anchor_codes,
                                         const Tensor& item_codes, double margin, int64_t weighting, bool squared,
                                         int64_t reduction, bool normalize, int64_t method, int64_t ties,
                                         const std::optional<Tensor>& gains) {
  return forward<TorchDoor>(distances, relation, anchor_codes, item_codes,
                            {margin, weighting, squared, reduction, normalize, method, ties}, gains);
}

}  // namespace

void register_order_aware_triplet(torch::stable::detail::StableLibrary& library) {
  library.impl("order_aware_triplet", TORCH_BOX(&torch_forward));
}

void bind_order_aware_triplet(py::module_& module) {
  module.def(
      "order_aware_triplet",
      [](const py::array& distances, const py::array& relation, const py::array& anchor_codes,
         const py::array& item_codes, double margin, int64_t weighting, bool squared, int64_t reduction, bool normalize,
         int64_t method, int64_t ties, const std::optional<py::array>& gains) {
        return forward<NumpyDoor>(distances, relation, anchor_codes, item_codes,
                                  {margin, weighting, squared, reduction, normalize, method, ties}, gains);
      },
      py::arg("distances"), py::arg("relation"), py::arg("anchor_codes"), py::arg("item_codes"), py::arg("margin"),
      py::arg("weighting") = int64_t(Weighting::delta_ap), py::arg("squared") = true,
      py::arg("reduction") = int64_t(Reduction::mean), py::arg("normalize") = true,
      py::arg("method") = int64_t(TripletMethod::automatic), py::arg("ties") = int64_t(Ties::index),
      py::arg("gains") = py::none());
}

}  // namespace fasthash::bindings
