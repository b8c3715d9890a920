// SPDX-License-Identifier: Apache-2.0
// The same tests on a device. Exit status 77 says that there is none.
#include <cstring>

#include "check.h"
#include "common/cuda.h"

int main(int argc, char** argv) {
  int devices = 0;
  const bool list = argc > 1 && std::strcmp(argv[1], "--list") == 0;
  if (!list && (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0)) {
    std::puts("no CUDA device");
    return 77;
  }
  return fasthash::check::main(argc, argv);
}
