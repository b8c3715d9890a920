// SPDX-License-Identifier: Apache-2.0
#include "fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace fasthash::cuda_on_cpu {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;  // reserved; only the pages that are touched cost memory

Fibre* entering = nullptr;

std::size_t page_bytes() { return std::size_t(sysconf(_SC_PAGESIZE)); }

void start_switch([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* stack,
                  [[maybe_unused]] std::size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
#endif
}

void finish_switch([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** left_stack,
                   [[maybe_unused]] std::size_t* left_bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, left_stack, left_bytes);
#endif
}

void forget_frames([[maybe_unused]] unsigned char* stack) {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, kStackBytes);
#endif
}

}  // namespace

#if !defined(FASTHASH_FIBRE_PORTABLE)
// Saves the callee-saved registers and the stack pointer in *from, and takes up those saved in `to`.
extern "C" void fasthash_fibre_switch(void** from, void* to);
asm(R"(
.text
.globl fasthash_fibre_switch
.hidden fasthash_fibre_switch
.type fasthash_fibre_switch,@function
fasthash_fibre_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size fasthash_fibre_switch,.-fasthash_fibre_switch
)");
#endif

Fibre::Fibre() {
  void* memory = mmap(nullptr, kStackBytes + page_bytes(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<unsigned char*>(memory);
  stack_ = memory_ + page_bytes();
  mprotect(memory_, page_bytes(), PROT_NONE);
}

Fibre::~Fibre() {
  forget_frames(stack_);
  munmap(memory_, kStackBytes + page_bytes());
}

void Fibre::arrived() { finish_switch(fake_stack_, &outside_stack_, &outside_size_); }

void Fibre::entry() {
  Fibre* self = entering;
  self->arrived();
  (*self->body_)();
  std::abort();
}

#if defined(FASTHASH_FIBRE_PORTABLE)

void Fibre::start(const std::function<void()>& body) {
  body_ = &body;
  fake_stack_ = nullptr;
  forget_frames(stack_);
  getcontext(&inside_);
  inside_.uc_stack.ss_sp = stack_;
  inside_.uc_stack.ss_size = kStackBytes;
  inside_.uc_link = nullptr;
  makecontext(&inside_, &Fibre::entry, 0);
}

void Fibre::resume() {
  void* fake_stack = nullptr;
  entering = this;
  start_switch(&fake_stack, stack_, kStackBytes);
  swapcontext(&outside_, &inside_);
  finish_switch(fake_stack, nullptr, nullptr);
}

void Fibre::suspend() {
  start_switch(&fake_stack_, outside_stack_, outside_size_);
  swapcontext(&inside_, &outside_);
  arrived();
}

#else

// The frame that fasthash_fibre_switch pops: six registers, the address it returns to, and a return address for entry.
void Fibre::start(const std::function<void()>& body) {
  body_ = &body;
  fake_stack_ = nullptr;
  forget_frames(stack_);
  auto** top = reinterpret_cast<void**>(stack_ + kStackBytes);
  top[-1] = nullptr;
  top[-2] = reinterpret_cast<void*>(&Fibre::entry);
  for (int i = 3; i <= 8; ++i) top[-i] = nullptr;
  inside_ = top - 8;
}

void Fibre::resume() {
  void* fake_stack = nullptr;
  entering = this;
  start_switch(&fake_stack, stack_, kStackBytes);
  fasthash_fibre_switch(&outside_, inside_);
  finish_switch(fake_stack, nullptr, nullptr);
}

void Fibre::suspend() {
  start_switch(&fake_stack_, outside_stack_, outside_size_);
  fasthash_fibre_switch(&inside_, outside_);
  arrived();
}

#endif

}  // namespace fasthash::cuda_on_cpu
