// SPDX-License-Identifier: Apache-2.0
// The driver of the fuzz targets, and the door for libFuzzer.
//
//   fuzz_tests [--cases N] [--seed S] [--list | --run NAME...]     case i is decided by the seed S + i
//
// A failed check, or a sanitizer's report, is printed with the options that repeat its case alone.
#include "fuzz.h"

#include <sanitizer/common_interface_defs.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace fasthash::fuzz {
namespace {

int64_t cases = 1000;
uint64_t seed = 1;

std::vector<Target>& targets() {
  static std::vector<Target> all;
  return all;
}

// Mostly some hundred bytes; shorter ones end within the choices.
std::vector<uint8_t> string_of(uint64_t case_seed) {
  std::mt19937_64 random(case_seed);
  std::vector<uint8_t> string(random() % (random() % 8 == 0 ? 16 : 500));
  for (uint8_t& byte : string) byte = uint8_t(random());
  return string;
}

void print_context() { std::fprintf(stderr, "with %s\n", check::context.c_str()); }

void run(Target target, const uint8_t* data, size_t size) {
  Choices choices(data, size);
  target(choices);
}

}  // namespace

int add(Target target) {
  targets().push_back(target);
  return 0;
}

void run_cases(Target target) {
  const int before = check::failures;
  for (int64_t i = 0; i < cases && check::failures == before; ++i) {
    const uint64_t case_seed = seed + uint64_t(i);
    check::context = "--cases 1 --seed " + std::to_string(case_seed);
    const std::vector<uint8_t> string = string_of(case_seed);
    run(target, string.data(), string.size());
  }
  check::context.clear();
}

}  // namespace fasthash::fuzz

// The first byte chooses the target.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fasthash;
  if (size == 0) return 0;
  const auto& all = fuzz::targets();
  fuzz::run(all[data[0] % all.size()], data + 1, size - 1);
  if (check::failures) std::abort();
  return 0;
}

#if !defined(FASTHASH_LIBFUZZER)
int main(int argc, char** argv) {
  using namespace fasthash;
  int used = 0;
  for (; used + 2 < argc; used += 2) {
    const char *name = argv[used + 1], *value = argv[used + 2];
    if (std::strcmp(name, "--cases") == 0)
      fuzz::cases = std::atoll(value);
    else if (std::strcmp(name, "--seed") == 0)
      fuzz::seed = std::strtoull(value, nullptr, 10);
    else
      break;
  }
  argv[used] = argv[0];
  __sanitizer_set_death_callback(fuzz::print_context);
  return check::main(argc - used, argv + used);
}
#endif
