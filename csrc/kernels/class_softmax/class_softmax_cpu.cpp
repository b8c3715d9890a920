// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>
#include <vector>

#include "class_softmax/class_softmax.h"
#include "class_softmax/class_softmax_seam.h"
#include "common/machine.h"

namespace fasthash {
namespace {

const Variants<void(const SoftmaxSpace&, int64_t)> pack_variants{"softmax_pack", {FH_VARIANTS(softmax_pack)}};
const Variants<void(const SoftmaxSpace&, int64_t, int64_t, float*)> rows_variants{"softmax_rows",
                                                                                  {FH_VARIANTS(softmax_rows)}};
const Variants<void(const SoftmaxSpace&, int64_t, float*)> classes_variants{"softmax_classes",
                                                                            {FH_VARIANTS(softmax_classes)}};

constexpr int64_t block_rows = 128;  // at most: a block reads all classes, and its rows stay in the second cache

// Memory that is written before it is read.
using Room = std::unique_ptr<float[]>;
Room room(int64_t count) { return Room(new float[size_t(count)]); }

class Call final : public SoftmaxCall {
 public:
  Call(const ClassSoftmax& args, int threads)
      : losses_(size_t(args.rows)),
        block_(std::clamp<int64_t>((args.rows + threads - 1) / threads, 1, block_rows)),
        pack_(pack_variants.select()),
        rows_(rows_variants.select()),
        classes_(classes_variants.select()) {
    const int64_t padded = padded_lanes(args.bits), classes = padded_lanes(args.classes);
    const int64_t sizes[] = {args.rows * padded,  args.rows, args.classes * padded, args.classes,
                             classes * args.bits, classes,   args.rows * classes};
    space_.args = args;
    space_.padded = padded;
    float** const places[] = {&space_.x,     &space_.x_by, &space_.w,   &space_.w_by,
                              &space_.lanes, &space_.bias, &space_.tile};
    memory_ = room(std::accumulate(std::begin(sizes), std::end(sizes), int64_t(0)));
    float* next = memory_.get();
    for (size_t i = 0; i < std::size(sizes); next += sizes[i++]) *places[i] = next;
    space_.losses = losses_.data();
  }

  int64_t groups() const override { return space_.groups(); }
  void pack(int64_t group) override { pack_(space_, group); }
  int64_t blocks() const override { return (space_.args.rows + block_ - 1) / block_; }
  void run(int64_t block) override {
    const int64_t first = block * block_, count = std::min(block_, space_.args.rows - first);
    rows_(space_, first, count, space_.args.x_gradient ? room(count * space_.padded).get() : nullptr);
  }
  void finish(int64_t group) override {
    if (space_.args.w_gradient || space_.args.bias_gradient)
      classes_(space_, group, room(softmax_group * space_.padded).get());
  }
  double loss() const override { return std::accumulate(losses_.begin(), losses_.end(), 0.0); }

 private:
  SoftmaxSpace space_{};
  Room memory_;
  std::vector<double> losses_;
  int64_t block_;
  void (*pack_)(const SoftmaxSpace&, int64_t);
  void (*rows_)(const SoftmaxSpace&, int64_t, int64_t, float*);
  void (*classes_)(const SoftmaxSpace&, int64_t, float*);
};

}  // namespace

std::unique_ptr<SoftmaxCall> class_softmax_cpu(const ClassSoftmax& args, int threads) {
  return std::make_unique<Call>(args, threads);
}

}  // namespace fasthash
