// SPDX-License-Identifier: Apache-2.0
// The name of a kernel from its address. Kernels are often local to their file, so dladdr() does not know them: the
// symbol table of the file they were loaded from does.
#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "scheduler.h"

namespace fasthash::cuda_on_cpu {
namespace {

std::string demangled(const char* name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  const std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

std::string read_file(const char* path) {
  std::ostringstream content;
  content << std::ifstream(path, std::ios::binary).rdbuf();
  return content.str();
}

// The mangled name of the function at `address` in an image loaded at `base`, or null.
const char* find_symbol(const std::string& image, std::uintptr_t base, std::uintptr_t address) {
  if (image.size() < sizeof(Elf64_Ehdr)) return nullptr;
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(image.data());
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(image.data() + header->e_shoff);
  const std::uintptr_t value = header->e_type == ET_DYN ? address - base : address;
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* symbols = reinterpret_cast<const Elf64_Sym*>(image.data() + sections[i].sh_offset);
    const char* names = image.data() + sections[sections[i].sh_link].sh_offset;
    for (std::size_t k = 0; k < sections[i].sh_size / sizeof(Elf64_Sym); ++k) {
      if (ELF64_ST_TYPE(symbols[k].st_info) == STT_FUNC && symbols[k].st_value == value) {
        return names + symbols[k].st_name;
      }
    }
  }
  return nullptr;
}

}  // namespace

std::string function_name(const void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0) return "(unknown)";
  const std::string image = read_file(info.dli_fname);
  const char* name = find_symbol(image, std::uintptr_t(info.dli_fbase), std::uintptr_t(address));
  return name == nullptr ? "(unknown)" : demangled(name);
}

}  // namespace fasthash::cuda_on_cpu
