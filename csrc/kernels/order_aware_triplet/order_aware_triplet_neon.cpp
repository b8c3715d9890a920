// SPDX-License-Identifier: Apache-2.0
#include "common/vec_neon.h"
// The vector type comes first.
#include "order_aware_triplet/order_aware_triplet_vec.h"

namespace fasthash {

TripletTileSum triplet_tile_neon(const TripletTile<float>& tile) { return triplet_tile(tile); }

}  // namespace fasthash
