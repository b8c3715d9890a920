// SPDX-License-Identifier: Apache-2.0
// Matrix products of bits on the tensor cores of sm_90a, for the 128 threads of a warpgroup: popcounts of ANDs of 64
// rows of A with 64 or 128 rows of B, 256 bits at a time. Layouts, descriptors and fences follow the PTX manual. On the
// CPU each member is one instruction's plain C++ twin, which acts as late as the instruction may.
//
// Products are asked for by multiply(), closed by commit(), and there when wait() says so: wait<n>(d) waits for all but
// the last n commits. Until then d is not to be touched, nor are the rows to be overwritten. All threads of the
// warpgroup call all of it.
#pragma once

#include <cstdint>

#include "common/cuda.h"

namespace fasthash {

// 256 bits of each of some rows in shared memory, K-major and not swizzled: halves of 16 bytes, `rows` of each half one
// after the other. Core matrices are 8 rows of a half: 128 bytes from one to the next along the rows.
struct BitRows {
  const uint8_t* data;  // 16-byte aligned
  int rows;

  static __device__ int place(int rows, int half, int row) { return (half * rows + row) * 16; }
};

// Which of the products thread `rank` of the warpgroup holds as d[i].
__device__ inline int product_row(int rank, int i) { return rank / 32 * 16 + rank % 32 / 4 + (i & 2) * 4; }
__device__ inline int product_column(int rank, int i) { return i / 4 * 8 + rank % 4 * 2 + (i & 1); }

#if defined(FASTHASH_CUDA_ON_CPU)

// A product reads its operands and is added up when it is waited for, not before; until then d holds garbage.
template <int kColumns>
class BitProducts {
 public:
  static constexpr int kValues = kColumns / 2;
  using Values = int32_t[kValues];

  explicit BitProducts(int rank) : rank_(rank) {}

  static void fence_shared() {}

  void multiply(Values& d, const BitRows& a, const BitRows& b, bool add) {
    __syncwarp();  // that the whole warp comes
    if (count_ == kMost) throw cuda_on_cpu::KernelFault("bit products: more of them at a time than there may be");
    if (!is_open(d)) {
      Sums& own = sums_of(d);
      for (int i = 0; i < kValues; ++i) own.values[i] = d[i];
    }
    for (int i = 0; i < kValues; ++i) d[i] = int32_t(cuda_on_cpu::garbage());
    products_[count_++] = {a, b, add, commits_, &d};
  }

  void commit() { ++commits_; }

  template <int kLeft>
  void wait(Values& d) {
    int done = 0;
    for (; done < count_ && products_[done].commit + kLeft < commits_; ++done) finish(products_[done]);
    for (int i = done; i < count_; ++i) products_[i - done] = products_[i];
    count_ -= done;
    if (is_open(d)) return;
    const Sums& own = sums_of(d);
    for (int i = 0; i < kValues; ++i) d[i] = own.values[i];
  }

 private:
  static constexpr int kMost = 8, kAccumulators = 2;
  struct Product {
    BitRows a, b;
    bool add;
    int commit;
    Values* to;
  };
  struct Sums {
    Values* of;
    int32_t values[kValues];
  };

  bool is_open(const Values& d) const {
    for (int i = 0; i < count_; ++i)
      if (products_[i].to == &d) return true;
    return false;
  }

  Sums& sums_of(Values& d) {
    for (Sums& sums : sums_) {
      if (sums.of == nullptr) sums.of = &d;
      if (sums.of == &d) return sums;
    }
    throw cuda_on_cpu::KernelFault("bit products: more accumulators than there may be");
  }

  void finish(const Product& product) {
    int32_t* const values = sums_of(*product.to).values;
    for (int i = 0; i < kValues; ++i)
      values[i] = (product.add ? values[i] : 0) + cell(product, product_row(rank_, i), product_column(rank_, i));
  }

  static int32_t cell(const Product& of, int row, int column) {
    int32_t sum = 0;
    for (int half = 0; half < 2; ++half)
      for (int byte = 0; byte < 16; ++byte)
        sum += __popc(unsigned(of.a.data[BitRows::place(of.a.rows, half, row) + byte]) &
                      of.b.data[BitRows::place(of.b.rows, half, column) + byte]);
    return sum;
  }

  int rank_, count_ = 0, commits_ = 0;
  Product products_[kMost]{};
  Sums sums_[kAccumulators]{};
};

#elif !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

template <int kColumns>
class BitProducts {
 public:
  static constexpr int kValues = kColumns / 2;
  using Values = int32_t[kValues];

  __device__ explicit BitProducts(int) {}

  // Before the barrier after which others multiply what this thread has stored.
  static __device__ void fence_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

  // d = a b, or d + a b.
  __device__ void multiply(Values& d, const BitRows& a, const BitRows& b, bool add) {
    hold(d);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
    if constexpr (kColumns == 64) {
      asm volatile(
          "{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
          "wgmma.mma_async.sync.aligned.m64n64k256.s32.b1.b1.and.popc {"
          "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
          "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31 "
          "}, %32, %33, add;\n}\n"
          : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7]), "+r"(d[8]),
            "+r"(d[9]), "+r"(d[10]), "+r"(d[11]), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15]), "+r"(d[16]),
            "+r"(d[17]), "+r"(d[18]), "+r"(d[19]), "+r"(d[20]), "+r"(d[21]), "+r"(d[22]), "+r"(d[23]), "+r"(d[24]),
            "+r"(d[25]), "+r"(d[26]), "+r"(d[27]), "+r"(d[28]), "+r"(d[29]), "+r"(d[30]), "+r"(d[31])
          : "l"(descriptor(a)), "l"(descriptor(b)), "r"(int(add)));
    } else {
      static_assert(kColumns == 128);
      asm volatile(
          "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
          "wgmma.mma_async.sync.aligned.m64n128k256.s32.b1.b1.and.popc {"
          "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
          "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
          "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
          "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63 "
          "}, %64, %65, add;\n}\n"
          : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3]), "+r"(d[4]), "+r"(d[5]), "+r"(d[6]), "+r"(d[7]), "+r"(d[8]),
            "+r"(d[9]), "+r"(d[10]), "+r"(d[11]), "+r"(d[12]), "+r"(d[13]), "+r"(d[14]), "+r"(d[15]), "+r"(d[16]),
            "+r"(d[17]), "+r"(d[18]), "+r"(d[19]), "+r"(d[20]), "+r"(d[21]), "+r"(d[22]), "+r"(d[23]), "+r"(d[24]),
            "+r"(d[25]), "+r"(d[26]), "+r"(d[27]), "+r"(d[28]), "+r"(d[29]), "+r"(d[30]), "+r"(d[31]), "+r"(d[32]),
            "+r"(d[33]), "+r"(d[34]), "+r"(d[35]), "+r"(d[36]), "+r"(d[37]), "+r"(d[38]), "+r"(d[39]), "+r"(d[40]),
            "+r"(d[41]), "+r"(d[42]), "+r"(d[43]), "+r"(d[44]), "+r"(d[45]), "+r"(d[46]), "+r"(d[47]), "+r"(d[48]),
            "+r"(d[49]), "+r"(d[50]), "+r"(d[51]), "+r"(d[52]), "+r"(d[53]), "+r"(d[54]), "+r"(d[55]), "+r"(d[56]),
            "+r"(d[57]), "+r"(d[58]), "+r"(d[59]), "+r"(d[60]), "+r"(d[61]), "+r"(d[62]), "+r"(d[63])
          : "l"(descriptor(a)), "l"(descriptor(b)), "r"(int(add)));
    }
  }

  __device__ void commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

  template <int kLeft>
  __device__ void wait(Values& d) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
    hold(d);
  }

 private:
  // Nothing that uses d moves over this.
  static __device__ void hold(Values& d) {
#pragma unroll
    for (int i = 0; i < kValues; ++i) asm volatile("" : "+r"(d[i])::"memory");
  }

  // Address, offset between the halves and offset between groups of 8 rows, in units of 16 bytes.
  static __device__ uint64_t descriptor(const BitRows& rows) {
    const uint64_t address = __cvta_generic_to_shared(rows.data);
    return (address & 0x3ffff) >> 4 | uint64_t(rows.rows) << 16 | uint64_t(128 >> 4) << 32;
  }
};

#else

// Kernels with bit products are launched on sm_90a only.
template <int kColumns>
class BitProducts {
 public:
  using Values = int32_t[kColumns / 2];
  __device__ explicit BitProducts(int) {}
  static __device__ void fence_shared() { __trap(); }
  __device__ void multiply(Values&, const BitRows&, const BitRows&, bool) { __trap(); }
  __device__ void commit() { __trap(); }
  template <int kLeft>
  __device__ void wait(Values&) {
    __trap();
  }
};

#endif

}  // namespace fasthash
