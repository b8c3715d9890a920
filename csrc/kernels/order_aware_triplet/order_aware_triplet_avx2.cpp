// SPDX-License-Identifier: Apache-2.0
#include "common/vec_avx2.h"
// The vector type comes first.
#include "order_aware_triplet/order_aware_triplet_vec.h"

namespace fasthash {

TripletTileSum triplet_tile_avx2(const TripletTile<float>& tile) { return triplet_tile(tile); }

}  // namespace fasthash
