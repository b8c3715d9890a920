// SPDX-License-Identifier: Apache-2.0
// Elements that lie side by side in memory take the flat kernels: 16-byte accesses of neighbouring threads, two in
// flight for each tensor, one exponential and one reciprocal an element, no division of positions by the length of
// rows. Everything else takes the row kernels, a thread for up to eight neighbouring bits, which
// is one byte of packed codes. The penalty is summed in a fixed order: per thread, per block into `partials`, then over
// the blocks by one last block.
#include <algorithm>

#include "common/cuda.h"
#include "common/dispatch.h"
#include "common/warp.cuh"
#include "tanh_quantize/tanh_quantize.h"
#include "tanh_quantize/tanh_quantize_math.h"

namespace fasthash {
namespace {

constexpr int group = 8;
constexpr int threads = 256, mean_threads = 512;
constexpr int vectors_in_flight = 2;
constexpr int64_t tile_vectors = threads * vectors_in_flight;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Depends on the shape alone, so that sums are the same on every GPU.
unsigned grid_of(int64_t blocks) { return unsigned(std::min(blocks, tanh_quantize_cuda_partials)); }

template <class T>
struct alignas(16) Vector {
  static constexpr int elements = 16 / sizeof(T);
  T at[elements];
};

__device__ inline double sharpness_of(double value, const float* on_device) {
  return on_device ? double(*on_device) : value;
}

template <class C>
__device__ inline C grad_penalty_of(const void* grad_penalty, double one_over_elements) {
  return grad_penalty ? C(double(*static_cast<const C*>(grad_penalty)) * one_over_elements) : C(0);
}

// Counts by bit of a block, in shared memory where they fit, added to those of all at the end.
constexpr int64_t counted_bits = 4096;
class Saturation {
 public:
  // By all threads, before any of them counts.
  __device__ Saturation(int64_t* all, int64_t bits, int32_t* shared)
      : all_(reinterpret_cast<unsigned long long*>(all)),
        bits_(bits),
        shared_(bits <= counted_bits ? shared : nullptr) {
    if (!all_ || !shared_) return;
    for (int64_t i = threadIdx.x; i < bits_; i += threads) shared_[i] = 0;
    __syncthreads();
  }
  __device__ bool counts() const { return all_ != nullptr; }
  __device__ void add(int64_t bit) {
    if (shared_)
      atomicAdd(&shared_[bit], 1);
    else
      atomicAdd(&all_[bit], 1ull);
  }
  __device__ void finish() const {
    if (!all_ || !shared_) return;
    __syncthreads();
    for (int64_t i = threadIdx.x; i < bits_; i += threads)
      if (shared_[i] != 0) atomicAdd(&all_[i], static_cast<unsigned long long>(shared_[i]));
  }
  static size_t bytes(const TanhQuantizeForward& args) {
    return args.saturation && args.bits <= counted_bits ? size_t(args.bits) * sizeof(int32_t) : 0;
  }

 private:
  unsigned long long* all_;
  int64_t bits_;
  int32_t* shared_;
};

// ---- flat: `vectors` vectors side by side ----

template <class T>
__device__ inline void load_tile(const void* from, int64_t first, int64_t vectors, Vector<T> (&to)[vectors_in_flight]) {
#pragma unroll
  for (int v = 0; v < vectors_in_flight; ++v) {
    const int64_t at = first + v * threads;
    to[v] = at < vectors ? static_cast<const Vector<T>*>(from)[at] : Vector<T>{};
  }
}

// Bits of 8 / Vector::elements neighbouring threads make a byte; all threads of a warp call.
template <class T>
__device__ inline void store_packed(uint8_t* packed, unsigned bits, int64_t at, int64_t vectors) {
  constexpr int elements = Vector<T>::elements, lanes = group / elements;
  const int lane = int(threadIdx.x) % lanes;
  bits <<= group - elements * (1 + lane);
#pragma unroll
  for (int other = 1; other < lanes; other *= 2) bits |= __shfl_xor_sync(kFullWarp, bits, other);
  if (lane == 0 && at < vectors) packed[at / lanes] = uint8_t(bits);
}

template <class T, Penalty penalty>
__global__ void __launch_bounds__(threads) flat_forward_kernel(TanhQuantizeForward args, int64_t vectors) {
  using C = Compute<T>;
  constexpr int elements = Vector<T>::elements;
  FH_SHARED(double[kMaxWarps], scratch);
  FH_DYNAMIC_SHARED(int32_t, saturated);
  Saturation saturation(args.saturation, args.bits, saturated);
  const C sharpness = C(sharpness_of(args.sharpness, args.sharpness_on_device)), threshold = C(args.threshold);
  double sum = 0;
  for (int64_t tile = int64_t(blockIdx.x) * tile_vectors; tile < vectors; tile += int64_t(gridDim.x) * tile_vectors) {
    Vector<T> z[vectors_in_flight];
    load_tile(args.logits, tile + threadIdx.x, vectors, z);
#pragma unroll
    for (int v = 0; v < vectors_in_flight; ++v) {
      const int64_t at = tile + threadIdx.x + v * threads;
      Vector<T> h;
      C vector_sum = C(0);
      unsigned bits = 0, beyond = 0;
#pragma unroll
      for (int i = 0; i < elements; ++i) {
        const C logit = load(z[v].at[i]), code = tanh_parts<C>(sharpness * logit).h;
        beyond |= unsigned(fabs(code) > threshold) << i;
        h.at[i] = Store<T>::from(code);
        if constexpr (penalty != Penalty::none) vector_sum += penalty_value(code, penalty);
        bits |= unsigned(logit >= C(0)) << (elements - 1 - i);
      }
      if (at < vectors) {
        static_cast<Vector<T>*>(args.codes)[at] = h;
        sum += double(vector_sum);
        if (saturation.counts() && beyond != 0) {
          int64_t bit = at * elements % args.bits;
          for (int i = 0; i < elements; ++i, bit = bit + 1 == args.bits ? 0 : bit + 1)
            if (beyond >> i & 1) saturation.add(bit);
        }
      }
      if (args.packed) store_packed<T>(args.packed, bits, at, vectors);
    }
  }
  saturation.finish();
  if constexpr (penalty != Penalty::none) {
    sum = block_reduce_sum(sum, scratch);
    if (threadIdx.x == 0) args.partials[blockIdx.x] = sum;
  }
}

template <class T, Penalty penalty>
__global__ void __launch_bounds__(threads)
    flat_backward_kernel(TanhQuantizeBackward args, int64_t vectors, double one_over_elements) {
  using C = Compute<T>;
  const C sharpness = C(sharpness_of(args.sharpness, args.sharpness_on_device));
  const C grad_penalty = grad_penalty_of<C>(args.grad_penalty, one_over_elements);
  const RuleOf<C> rule = rule_of<C>(args.rule);
  for (int64_t tile = int64_t(blockIdx.x) * tile_vectors; tile < vectors; tile += int64_t(gridDim.x) * tile_vectors) {
    Vector<T> z[vectors_in_flight], grad[vectors_in_flight] = {};
    load_tile(args.logits, tile + threadIdx.x, vectors, z);
    if (args.grad_codes) load_tile(args.grad_codes, tile + threadIdx.x, vectors, grad);
#pragma unroll
    for (int v = 0; v < vectors_in_flight; ++v) {
      const int64_t at = tile + threadIdx.x + v * threads;
      Vector<T> out;
#pragma unroll
      for (int i = 0; i < Vector<T>::elements; ++i) {
        const C gradient =
            tanh_quantize_gradient<C>(load(z[v].at[i]), load(grad[v].at[i]), grad_penalty, sharpness, penalty, rule);
        out.at[i] = Store<T>::from(gradient);
      }
      if (at < vectors) static_cast<Vector<T>*>(args.grad_logits)[at] = out;
    }
  }
}

// ---- rows of any stride and alignment ----

struct Groups {
  int64_t per_row, count;
};
Groups groups_of(int64_t rows, int64_t bits) {
  const int64_t per_row = ceil_div(bits, group);
  return {per_row, per_row * rows};
}

template <class T>
__global__ void __launch_bounds__(threads) row_forward_kernel(TanhQuantizeForward args, Groups groups) {
  using C = Compute<T>;
  FH_SHARED(double[kMaxWarps], scratch);
  FH_DYNAMIC_SHARED(int32_t, saturated);
  Saturation saturation(args.saturation, args.bits, saturated);
  const C sharpness = C(sharpness_of(args.sharpness, args.sharpness_on_device)), threshold = C(args.threshold);
  double sum = 0;
  for (int64_t g = int64_t(blockIdx.x) * threads + threadIdx.x; g < groups.count; g += int64_t(gridDim.x) * threads) {
    const int64_t row = g / groups.per_row, first = (g - row * groups.per_row) * group;
    const int live = int(args.bits - first < group ? args.bits - first : group);
    const T* z = static_cast<const T*>(args.logits) + row * args.row_stride + first;
    T* h = static_cast<T*>(args.codes) + row * args.bits + first;
    unsigned byte = 0;
    C group_sum = C(0);
    for (int i = 0; i < live; ++i) {
      const C logit = load(z[i]), code = tanh_parts<C>(sharpness * logit).h;
      h[i] = Store<T>::from(code);
      if (args.penalty != Penalty::none) group_sum += penalty_value(code, args.penalty);
      byte |= unsigned(logit >= C(0)) << (7 - i);
      if (saturation.counts() && fabs(code) > threshold) saturation.add(first + i);
    }
    sum += double(group_sum);
    if (args.packed) args.packed[g] = uint8_t(byte);
  }
  saturation.finish();
  if (args.penalty == Penalty::none) return;
  sum = block_reduce_sum(sum, scratch);
  if (threadIdx.x == 0) args.partials[blockIdx.x] = sum;
}

template <class T>
__global__ void __launch_bounds__(threads)
    row_backward_kernel(TanhQuantizeBackward args, int64_t elements, double one_over_elements) {
  using C = Compute<T>;
  const C sharpness = C(sharpness_of(args.sharpness, args.sharpness_on_device));
  const C grad_penalty = grad_penalty_of<C>(args.grad_penalty, one_over_elements);
  const RuleOf<C> rule = rule_of<C>(args.rule);
  for (int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x; i < elements; i += int64_t(gridDim.x) * threads) {
    const int64_t row = i / args.bits, bit = i - row * args.bits;
    const C z = load(static_cast<const T*>(args.logits)[row * args.row_stride + bit]);
    const C grad_code = args.grad_codes ? C(load(static_cast<const T*>(args.grad_codes)[i])) : C(0);
    static_cast<T*>(args.grad_logits)[i] =
        Store<T>::from(tanh_quantize_gradient<C>(z, grad_code, grad_penalty, sharpness, args.penalty, rule));
  }
}

template <class Wide>
__global__ void __launch_bounds__(mean_threads)
    mean_kernel(const double* partials, int count, double elements, Wide* mean) {
  FH_SHARED(double[kMaxWarps], scratch);
  double sum = 0;
  for (int i = threadIdx.x; i < count; i += mean_threads) sum += partials[i];
  sum = block_reduce_sum(sum, scratch);
  if (threadIdx.x == 0) *mean = Wide(sum / elements);
}

// ---- launching ----

template <class F>
cudaError_t for_penalty(Penalty penalty, F&& f) {
  switch (penalty) {
    case Penalty::l2: return f(std::integral_constant<Penalty, Penalty::l2>{});
    case Penalty::l1: return f(std::integral_constant<Penalty, Penalty::l1>{});
    case Penalty::log_cosh: return f(std::integral_constant<Penalty, Penalty::log_cosh>{});
    case Penalty::cubic: return f(std::integral_constant<Penalty, Penalty::cubic>{});
    default: return f(std::integral_constant<Penalty, Penalty::none>{});
  }
}

bool aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

// How many vectors the elements are where they lie side by side, 0 where they do not.
template <class T, class Args>
int64_t flat_vectors(const Args& args, const void* result) {
  const int64_t elements = args.rows * args.bits;
  const bool dense = args.rows == 1 || args.row_stride == args.bits;
  const bool whole = elements % Vector<T>::elements == 0 && aligned(args.logits) && aligned(result);
  return dense && whole ? elements / Vector<T>::elements : 0;
}

template <class T>
cudaError_t launch_codes(const TanhQuantizeForward& args, unsigned& grid, cudaStream_t stream) {
  const int64_t vectors = flat_vectors<T>(args, args.codes);
  if (vectors != 0 && (!args.packed || args.bits % group == 0)) {
    grid = grid_of(ceil_div(vectors, tile_vectors));
    return for_penalty(args.penalty, [&](auto penalty) {
      return launch(flat_forward_kernel<T, decltype(penalty)::value>, grid, threads, Saturation::bytes(args), stream,
                    args, vectors);
    });
  }
  const Groups groups = groups_of(args.rows, args.bits);
  grid = grid_of(ceil_div(groups.count, threads));
  return launch(row_forward_kernel<T>, grid, threads, Saturation::bytes(args), stream, args, groups);
}

template <class T>
cudaError_t launch_forward(const TanhQuantizeForward& args, void* penalty_mean, cudaStream_t stream) {
  unsigned grid = 0;
  const cudaError_t error = launch_codes<T>(args, grid, stream);
  if (error != cudaSuccess || args.penalty == Penalty::none) return error;
  using Wide = Compute<T>;
  const double elements = double(args.rows) * double(args.bits);
  return launch(mean_kernel<Wide>, 1, mean_threads, 0, stream, args.partials, int(grid), elements,
                static_cast<Wide*>(penalty_mean));
}

template <class T>
cudaError_t launch_backward(const TanhQuantizeBackward& args, cudaStream_t stream) {
  const int64_t elements = args.rows * args.bits, vectors = flat_vectors<T>(args, args.grad_logits);
  const double one_over_elements = 1 / double(elements);
  if (vectors != 0 && aligned(args.grad_codes)) {
    const unsigned grid = unsigned(std::min<int64_t>(ceil_div(vectors, tile_vectors), 1 << 20));
    return for_penalty(args.penalty, [&](auto penalty) {
      return launch(flat_backward_kernel<T, decltype(penalty)::value>, grid, threads, 0, stream, args, vectors,
                    one_over_elements);
    });
  }
  return launch(row_backward_kernel<T>, grid_of(ceil_div(elements, threads)), threads, 0, stream, args, elements,
                one_over_elements);
}

}  // namespace

int tanh_quantize_cuda(const TanhQuantizeForward& args, void* penalty_mean, void* stream) {
  return for_float_dtype(args.dtype, [&](auto tag) {
    return int(launch_forward<decltype(tag)>(args, penalty_mean, static_cast<cudaStream_t>(stream)));
  });
}

int tanh_quantize_backward_cuda(const TanhQuantizeBackward& args, void* stream) {
  return for_float_dtype(args.dtype, [&](auto tag) {
    return int(launch_backward<decltype(tag)>(args, static_cast<cudaStream_t>(stream)));
  });
}

}  // namespace fasthash
