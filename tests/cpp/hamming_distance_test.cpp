// SPDX-License-Identifier: Apache-2.0
#include "hamming_distance/hamming_distance.h"

#include "hamming_case.h"

namespace fasthash {
namespace {

TEST(hamming_distance_equals_counting_bits) {
  on_every_machine([] {
    for (int64_t width : {1, 4, 8, 12, 32, 250}) {
      for (int64_t gap : {0, 5}) {
        const Codes queries(3, width, 1, gap), database(150, width, 2, gap);
        std::vector<int32_t> distances(3 * 150, -1);
        const PackedCodes packed(database);
        for (const Database& form : {as_database(database.rows()), packed.database()}) {
          std::fill(distances.begin(), distances.end(), -1);
          const HammingDistance args{queries.rows(), form, distances.data()};
          for (int64_t block = 0; block < hamming_distance_blocks(args); ++block) hamming_distance_cpu(args, block);
          CHECK_EQ(distances, naive_distances(queries, database));
        }
      }
    }
  });
}

TEST(hamming_distance_of_nothing_has_no_blocks) {
  const Codes none(0, 8, 1), some(9, 8, 2);
  CHECK_EQ(hamming_distance_blocks({none.rows(), as_database(some.rows()), nullptr}), 0);
  CHECK_EQ(hamming_distance_blocks({some.rows(), as_database(none.rows()), nullptr}), 0);
}

}  // namespace
}  // namespace fasthash
