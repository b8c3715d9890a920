// SPDX-License-Identifier: Apache-2.0
#include "bindings/memory.h"

#include <atomic>
#include <cstdio>
#include <fstream>

namespace fasthash::bindings {
namespace {

std::atomic<int64_t> forced{-1};

}  // namespace

int64_t available_memory() {
  if (const int64_t bytes = forced; bytes >= 0) return bytes;
  std::ifstream info("/proc/meminfo");
  std::string name, unit;
  for (int64_t kibibytes; info >> name >> kibibytes && std::getline(info, unit);)
    if (name == "MemAvailable:") return kibibytes * 1024;
  return INT64_MAX;
}

void force_available_memory(int64_t limit) { forced = limit; }

std::string gibibytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f GiB", bytes / double(1 << 30));
  return text;
}

}  // namespace fasthash::bindings
