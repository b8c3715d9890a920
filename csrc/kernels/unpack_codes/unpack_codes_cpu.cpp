// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "common/dispatch.h"
#include "common/machine.h"
#include "unpack_codes/unpack_codes.h"
#include "unpack_codes/unpack_codes_math.h"
#include "unpack_codes/unpack_codes_seam.h"

namespace fasthash {
namespace {

constexpr int64_t block_elements = 1 << 16;

const Variants<void(const UnpackRun&)> variants{"unpack_codes", {FH_VARIANTS(unpack_run)}};

int64_t rows_of_block(int64_t bits) { return std::max<int64_t>(1, block_elements / bits); }

}  // namespace

void unpack_run_scalar(const UnpackRun& run) {
  for_unsigned(run.size, [&](auto tag) {
    using Word = decltype(tag);
    const Word set = Word(run.set), clear = Word(run.clear);
    Word* codes = static_cast<Word*>(run.codes);
    for (int64_t i = 0; i < run.count; ++i) codes[i] = bit_at(run.packed, i) ? set : clear;
  });
}

int64_t unpack_codes_blocks(const UnpackCodes& args) {
  const int64_t step = rows_of_block(args.bits);
  return (args.rows + step - 1) / step;
}

// Rows that lie side by side and fill their bytes are one run.
void unpack_codes_cpu(const UnpackCodes& args, int64_t block) {
  const auto unpack_run = variants.select();
  const int64_t step = rows_of_block(args.bits), size = dtype_size(args.dtype);
  const int64_t begin = block * step, end = std::min(args.rows, begin + step);
  const bool together = args.row_stride * 8 == args.bits;
  const int64_t rows_of_run = together ? end - begin : 1;
  const CodeBytes bytes = code_bytes(args.dtype);
  for (int64_t row = begin; row < end; row += rows_of_run)
    unpack_run({args.packed + row * args.row_stride, static_cast<char*>(args.codes) + row * args.bits * size,
                rows_of_run * args.bits, size, bytes.set, bytes.clear});
}

}  // namespace fasthash
