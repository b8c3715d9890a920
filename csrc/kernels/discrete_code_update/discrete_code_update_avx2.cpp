// SPDX-License-Identifier: Apache-2.0
#include "common/vec_avx2.h"
// The vector type comes first.
#include "discrete_code_update/discrete_code_update_gram.h"
#include "discrete_code_update/discrete_code_update_vec.h"

namespace fasthash {

int64_t descent_tile_avx2(const DescentTile& tile) { return TileRun(tile)(); }

void gram_run_avx2(const GramRun& run) { gram_run(run); }

}  // namespace fasthash
