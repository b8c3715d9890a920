// SPDX-License-Identifier: Apache-2.0
#include "order.h"

#include <cstdlib>
#include <numeric>

namespace fasthash::cuda_on_cpu {
namespace {

std::uint64_t mix(std::uint64_t x) {  // splitmix64's finalizer
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

FibreOrder& chosen_order() {
  static FibreOrder order = [] {
    const char* text = std::getenv("FASTHASH_FIBRE_ORDER");
    return text == nullptr ? FibreOrder{} : parse_fibre_order(text);
  }();
  return order;
}

}  // namespace

FibreOrder parse_fibre_order(const std::string& text) {
  const std::string random = "random:";
  if (text == "ascending") return {FibreOrder::ascending, 0};
  if (text == "descending") return {FibreOrder::descending, 0};
  const std::string seed = text.compare(0, random.size(), random) == 0 ? text.substr(random.size()) : "";
  if (seed.empty() || seed.size() > 18 || seed.find_first_not_of("0123456789") != std::string::npos) {
    throw std::invalid_argument("FASTHASH_FIBRE_ORDER must be ascending, descending or random:SEED, got " + text);
  }
  return {FibreOrder::random, std::stoull(seed)};
}

FibreOrder fibre_order() { return chosen_order(); }
void set_fibre_order(FibreOrder order) { chosen_order() = order; }

std::uint64_t Turns::next() {
  state_ += 0x9e3779b97f4a7c15u;
  return mix(state_);
}

void Turns::arrange(std::vector<int>& items, int count) {
  items.resize(std::size_t(count));
  for (int i = 0; i < count; ++i) items[i] = order_.kind == FibreOrder::descending ? count - 1 - i : i;
  if (order_.kind != FibreOrder::random) return;
  for (int i = count - 1; i > 0; --i) std::swap(items[i], items[int(next() % std::uint64_t(i + 1))]);
}

std::uint64_t block_at(FibreOrder order, std::uint64_t turn, std::uint64_t blocks) {
  if (order.kind == FibreOrder::ascending) return turn;
  if (order.kind == FibreOrder::descending) return blocks - 1 - turn;
  std::uint64_t stride = mix(order.seed + 1) % blocks;  // a stride without a common factor visits every block once
  while (std::gcd(stride, blocks) != 1) stride = (stride + 1) % blocks;
  return (turn * stride + mix(order.seed) % blocks) % blocks;
}

unsigned char garbage_byte(FibreOrder order) {
  if (order.kind == FibreOrder::ascending) return 0xff;
  if (order.kind == FibreOrder::descending) return 0xcb;
  return static_cast<unsigned char>(0x4b + mix(order.seed) % 0x30);
}

}  // namespace fasthash::cuda_on_cpu
