// SPDX-License-Identifier: Apache-2.0
// class_softmax over the vector type Vec of the including file (common/vec_<machine>.h), all with internal linkage.
#pragma once

#include <cmath>
#include <limits>

#include "class_softmax/class_softmax_seam.h"
#include "common/products_vec.h"
#include "common/vec_math.h"

namespace {

using fasthash::ClassSoftmax;
using fasthash::CornerWeights;
using fasthash::SoftmaxForm;
using fasthash::SoftmaxSpace;

constexpr float cosine_edge = 1 - 1e-7f;  // cosines of angles stay inside, where arccos has a slope
constexpr int64_t steps_at_once = 256;    // rows of a product whose sums stay in registers

inline double dot(const float* a, const float* b, int64_t padded) {
  Vec total = broadcast(0.0f);
  for (int64_t k = 0; k < padded; k += Vec::lanes) total = fma(load_float32(a + k), load_float32(b + k), total);
  return sum(total);
}

// A row of K elements as (padded), zeros behind it; returns what it was multiplied by. A row of zeros stays as it is.
inline float read_row(const float* from, int64_t bits, int64_t padded, SoftmaxForm form, float* to) {
  int64_t k = 0;
  for (; k + Vec::lanes <= bits; k += Vec::lanes) store_float32(to + k, load_float32(from + k));
  for (; k < bits; ++k) to[k] = from[k];
  for (; k < padded; ++k) to[k] = 0;
  if (form == SoftmaxForm::unit) {
    const double squares = dot(to, to, padded);
    const float by = squares == 0 ? 0.0f : float(1 / std::sqrt(squares));
    for (k = 0; k < padded; k += Vec::lanes) store_float32(to + k, load_float32(to + k) * broadcast(by));
    return by;
  }
  if (form == SoftmaxForm::signs) {
    const Vec zero = broadcast(0.0f), one = broadcast(1.0f), minus = broadcast(-1.0f);
    for (k = 0; k < padded; k += Vec::lanes) {
      const Vec value = load_float32(to + k);
      const Vec sign = select(less(value, zero), minus, select(greater_equal(value, zero), one, value));
      store_float32(to + k, sign);
    }
    for (k = bits; k < padded; ++k) to[k] = 0;
  }
  return 1;
}

// The gradient by a row from that by the row as it is multiplied, in place; see read_row.
inline void pull_back(float* gradient, const float* unit, float by, int64_t padded) {
  const Vec along = broadcast(-float(dot(gradient, unit, padded))), factor = broadcast(by);
  for (int64_t k = 0; k < padded; k += Vec::lanes)
    store_float32(gradient + k, factor * fma(along, load_float32(unit + k), load_float32(gradient + k)));
}

inline void write_row(float* to, const float* from, int64_t bits) {
  int64_t k = 0;
  for (; k + Vec::lanes <= bits; k += Vec::lanes) store_float32(to + k, load_float32(from + k));
  for (; k < bits; ++k) to[k] = from[k];
}

struct Corner {
  Vec value, slope;
};

inline Corner corner(Vec x, const CornerWeights& weights) {
  const Vec zero = broadcast(0.0f), size = abs(x), gap = size - broadcast(1.0f), steep = gap * abs(gap);
  const Vec beyond = size - broadcast(weights.edge);
  const Vec l1 = broadcast(weights.l1), l2 = broadcast(weights.l2), cubic = broadcast(weights.cubic);
  const Vec outside = broadcast(weights.outside), is_beyond = select(greater(beyond, zero), outside, zero);
  const Vec turn = select(greater(gap, zero), l1, select(less(gap, zero), zero - l1, gap));
  Vec value = fma(l1, abs(gap), l2 * (gap * gap));
  value = fma(cubic, abs(steep * gap), fma(is_beyond, beyond, value));
  Vec slope = turn + fma(l2 + l2, gap, broadcast(3.0f) * cubic * steep) + is_beyond;
  slope = select(greater(x, zero), slope, select(less(x, zero), zero - slope, zero));
  return {value, slope};
}

// Adds the slopes of a row's penalty to its gradient, where there is one; returns the penalty.
inline double corner_row(const float* x, int64_t bits, const CornerWeights& weights, float* gradient) {
  Vec total = broadcast(0.0f);
  int64_t k = 0;
  for (; k + Vec::lanes <= bits; k += Vec::lanes) {
    const Corner found = corner(load_float32(x + k), weights);
    total = total + found.value;
    if (gradient) store_float32(gradient + k, load_float32(gradient + k) + found.slope);
  }
  if (k == bits) return sum(total);
  float last[Vec::lanes] = {}, slopes[Vec::lanes];
  std::copy(x + k, x + bits, last);
  const Corner found = corner(load_float32(last), weights);
  float values[Vec::lanes];
  store_float32(values, found.value);
  store_float32(slopes, found.slope);
  double rest = 0;
  for (int64_t i = 0; k + i < bits; ++i) {
    rest += values[i];
    if (gradient) gradient[k + i] += slopes[i];
  }
  return sum(total) + rest;
}

struct Target {
  float* place;  // in the tile
  float logit;
  float slope;  // d product less the margin / d product
};

inline Target take_out(const SoftmaxSpace& space, int64_t row) {
  const ClassSoftmax& args = space.args;
  const int64_t target = args.targets[row], group = target / fasthash::softmax_group;
  Target found{space.tile_at(group, row) + target - space.first_class(group), 0, 1};
  float product = *found.place;
  if (args.angular) {
    const float cosine = std::fmin(std::fmax(product, -cosine_edge), cosine_edge);
    const float sine = std::sqrt(1 - cosine * cosine), turn = std::cos(args.margin), rise = std::sin(args.margin);
    found.slope = cosine == product ? turn + rise * cosine / sine : 0;
    product = product == product ? cosine * turn - sine * rise : product;
  } else {
    product -= args.margin;
  }
  found.logit = args.scale * product + space.bias[target];
  *found.place = -std::numeric_limits<float>::infinity();
  return found;
}

// Writes the logits of a row; returns the greatest of them and of the target's.
inline float write_logits(const SoftmaxSpace& space, int64_t row, float target) {
  const Vec scale = broadcast(space.args.scale);
  Vec top = broadcast(target);
  for (int64_t g = 0; g < space.groups(); ++g) {
    float *tile = space.tile_at(g, row), *bias = space.bias + space.first_class(g);
    for (int64_t c = 0, lanes = space.lanes_of(g); c < lanes; c += Vec::lanes) {
      const Vec logit = fma(load_float32(tile + c), scale, load_float32(bias + c));
      store_float32(tile + c, logit);
      top = max(top, logit);
    }
  }
  return highest(top);
}

// Logits become exponentials; returns their sum.
inline double write_exponentials(const SoftmaxSpace& space, int64_t row, float most) {
  Vec total = broadcast(0.0f);
  for (int64_t g = 0; g < space.groups(); ++g) {
    float* tile = space.tile_at(g, row);
    for (int64_t c = 0, lanes = space.lanes_of(g); c < lanes; c += Vec::lanes) {
      const Vec share = exp_vec(load_float32(tile + c) - broadcast(most));
      store_float32(tile + c, share);
      total = total + share;
    }
  }
  return sum(total);
}

inline void multiply(const SoftmaxSpace& space, int64_t row, float by) {
  for (int64_t g = 0; g < space.groups(); ++g) {
    float* tile = space.tile_at(g, row);
    for (int64_t c = 0, lanes = space.lanes_of(g); c < lanes; c += Vec::lanes)
      store_float32(tile + c, load_float32(tile + c) * broadcast(by));
  }
}

constexpr int64_t most_rows = 16, most_values = 4096;  // of rows that go through each step together

// Losses of some rows, whose products become d loss / d product. Each step takes all rows, for a row alone would wait
// for every result. The target is left out of the sum of exponentials, so that both are exact to the last bits where
// the others together are next to nothing.
inline void softmax_rows(const SoftmaxSpace& space, int64_t first, int64_t count) {
  const ClassSoftmax& args = space.args;
  Target targets[most_rows];
  float most[most_rows];
  double others[most_rows];
  for (int64_t i = 0; i < count; ++i) targets[i] = take_out(space, first + i);
  for (int64_t i = 0; i < count; ++i) most[i] = write_logits(space, first + i, targets[i].logit);
  for (int64_t i = 0; i < count; ++i) others[i] = write_exponentials(space, first + i, most[i]);
  for (int64_t i = 0; i < count; ++i) {
    const double factor = args.factors ? double(args.factors[first + i]) : 1 / double(args.rows);
    const double below = double(most[i]) - double(targets[i].logit);
    const double all = (below == 0 ? 1 : std::exp(-below)) + others[i];
    space.losses[first + i] = factor * (below == 0 ? std::log1p(others[i]) : below + std::log(all));
    const double unit = factor * double(args.scale) / all;
    most[i] = float(unit);
    targets[i].logit = float(-unit * others[i] * double(targets[i].slope));
  }
  if (!args.x_gradient && !args.w_gradient && !args.bias_gradient) return;
  for (int64_t i = 0; i < count; ++i) {
    multiply(space, first + i, most[i]);
    *targets[i].place = targets[i].logit;
  }
}

inline void pack(const SoftmaxSpace& space, int64_t group) {
  const ClassSoftmax& args = space.args;
  const int64_t first = space.first_class(group), count = space.classes_of(group), lanes = space.lanes_of(group);
  const SoftmaxForm form = args.unit_classes ? SoftmaxForm::unit : SoftmaxForm::plain;
  for (int64_t c = first; c < first + count; ++c)
    space.w_by[c] = read_row(args.w + c * args.w_stride, args.bits, space.padded, form, space.w + c * space.padded);
  float* to = space.lanes_at(group);
  const float* from = space.w + first * space.padded;
  for (int64_t k = 0; k < args.bits; ++k) {
    for (int64_t c = 0; c < count; ++c) to[k * lanes + c] = from[c * space.padded + k];
    for (int64_t c = count; c < lanes; ++c) to[k * lanes + c] = 0;
  }
  for (int64_t c = 0; c < lanes; ++c) {
    const float none = c < count ? 0.0f : -std::numeric_limits<float>::infinity();
    space.bias[first + c] = c < count && args.bias ? args.bias[first + c] : none;
  }
}

inline void gradient_of_rows(const SoftmaxSpace& space, int64_t first, int64_t count, float* room) {
  const ClassSoftmax& args = space.args;
  for (int64_t g = 0; g < space.groups(); ++g)
    matrix_products({space.tile_at(g, first), space.w + space.first_class(g) * space.padded, room, count,
                     space.classes_of(g), space.padded, space.lanes_of(g), 1, space.padded, space.padded, g > 0});
  if (args.form != SoftmaxForm::unit) return;
  for (int64_t i = 0; i < count; ++i)
    pull_back(room + i * space.padded, space.x + (first + i) * space.padded, space.x_by[first + i], space.padded);
}

inline void rows(const SoftmaxSpace& space, int64_t first, int64_t count, float* room) {
  const ClassSoftmax& args = space.args;
  for (int64_t i = first; i < first + count; ++i)
    space.x_by[i] =
        read_row(args.x + i * args.x_stride, args.bits, space.padded, args.form, space.x + i * space.padded);
  for (int64_t g = 0; g < space.groups(); ++g)
    matrix_products({space.x + first * space.padded, space.lanes_at(g), space.tile_at(g, first), count, args.bits,
                     space.lanes_of(g), space.padded, 1, space.lanes_of(g), space.lanes_of(g), false});
  const int64_t together = std::clamp<int64_t>(most_values / args.classes, 1, most_rows);
  for (int64_t i = 0; i < count; i += together) softmax_rows(space, first + i, std::min(together, count - i));
  if (args.x_gradient) gradient_of_rows(space, first, count, room);
  for (int64_t i = 0; i < count; ++i) {
    const float* x = args.x + (first + i) * args.x_stride;
    float* gradient = args.x_gradient ? room + i * space.padded : nullptr;
    if (args.corners.any()) space.losses[first + i] += corner_row(x, args.bits, args.corners, gradient);
    if (gradient) write_row(args.x_gradient + (first + i) * args.bits, gradient, args.bits);
  }
}

inline void classes(const SoftmaxSpace& space, int64_t group, float* room) {
  const ClassSoftmax& args = space.args;
  const int64_t first = space.first_class(group), count = space.classes_of(group), lanes = space.lanes_of(group);
  if (args.bias_gradient) {
    float sums[fasthash::softmax_group];
    for (int64_t c = 0; c < lanes; c += Vec::lanes) {
      Vec total = broadcast(0.0f);
      for (int64_t i = 0; i < args.rows; ++i) total = total + load_float32(space.tile_at(group, i) + c);
      store_float32(sums + c, total * broadcast(1 / args.scale));
    }
    write_row(args.bias_gradient + first, sums, count);
  }
  if (!args.w_gradient) return;
  for (int64_t i = 0; i < args.rows; i += steps_at_once)
    matrix_products({space.tile_at(group, i), space.x + i * space.padded, room, count,
                     std::min(steps_at_once, args.rows - i), space.padded, 1, lanes, space.padded, space.padded,
                     i > 0});
  for (int64_t c = 0; c < count; ++c) {
    float* gradient = room + c * space.padded;
    if (args.unit_classes)
      pull_back(gradient, space.w + (first + c) * space.padded, space.w_by[first + c], space.padded);
    write_row(args.w_gradient + (first + c) * args.bits, gradient, args.bits);
  }
}

}  // namespace
