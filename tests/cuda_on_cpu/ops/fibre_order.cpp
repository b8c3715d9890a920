// SPDX-License-Identifier: Apache-2.0
// Lets the Python tests choose the order in which the stand-in runs threads: "ascending", "descending", "random:SEED".
#include "scheduler.h"

extern "C" __attribute__((visibility("default"))) void fasthash_set_fibre_order(const char* order) {
  fasthash::cuda_on_cpu::set_fibre_order(fasthash::cuda_on_cpu::parse_fibre_order(order));
}
