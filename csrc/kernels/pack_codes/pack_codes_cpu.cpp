// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/machine.h"
#include "pack_codes/pack_codes.h"
#include "pack_codes/pack_codes_math.h"
#include "pack_codes/pack_codes_seam.h"

namespace fasthash {
namespace {

constexpr int64_t block_elements = 1 << 16;

const Variants<int64_t(const PackRun&)> variants{"pack_codes", {FH_VARIANTS(pack_run)}};

template <class T>
int64_t pack_scalar(const PackRun& run) {
  const T* codes = static_cast<const T*>(run.codes);
  int64_t nan = no_nan;
  for (int64_t first = 0; first < run.count; first += 8) {
    const int64_t live = std::min<int64_t>(8, run.count - first);
    unsigned byte = 0;
    for (int64_t i = 0; i < live; ++i) {
      const T code = codes[first + i];
      byte |= unsigned(code_bit(code)) << (7 - i);
      if (code_is_nan(code)) nan = std::min(nan, first + i);
    }
    run.packed[first / 8] = uint8_t(byte);
  }
  return nan;
}

int64_t rows_of_block(int64_t bits) { return std::max<int64_t>(1, block_elements / bits); }

}  // namespace

int64_t pack_run_scalar(const PackRun& run) {
  return for_code_dtype(run.dtype, [&](auto tag) { return pack_scalar<decltype(tag)>(run); });
}

int64_t pack_codes_blocks(const PackCodes& args) {
  const int64_t step = rows_of_block(args.bits);
  return (args.rows + step - 1) / step;
}

// Rows that lie side by side and fill their bytes are one run.
int64_t pack_codes_cpu(const PackCodes& args, int64_t block) {
  const auto pack_run = variants.select();
  const int64_t step = rows_of_block(args.bits), size = dtype_size(args.dtype), row_bytes = (args.bits + 7) / 8;
  const int64_t begin = block * step, end = std::min(args.rows, begin + step);
  const bool together = args.row_stride == args.bits && args.bits % 8 == 0;
  const int64_t rows_of_run = together ? end - begin : 1;
  int64_t nan = no_nan;
  for (int64_t row = begin; row < end; row += rows_of_run) {
    const char* codes = static_cast<const char*>(args.codes) + row * args.row_stride * size;
    const int64_t found = pack_run({codes, args.packed + row * row_bytes, rows_of_run * args.bits, args.dtype});
    if (found != no_nan) nan = std::min(nan, row * args.bits + found);
  }
  return nan;
}

}  // namespace fasthash
