// SPDX-License-Identifier: Apache-2.0
// A fibre: a function with its own stack that can be left and entered again. AddressSanitizer is told of every switch.
#pragma once

#include <cstddef>
#include <functional>

#if !defined(__x86_64__) || defined(FASTHASH_FIBRE_UCONTEXT)
#define FASTHASH_FIBRE_PORTABLE 1
#include <ucontext.h>
#endif

namespace fasthash::cuda_on_cpu {

class Fibre {
 public:
  Fibre();
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  // Makes the next resume() enter `body` from its start; what an earlier body left on the stack is forgotten.
  // `body` must not return: it ends with a suspend() that is never resumed. It must let no exception out.
  void start(const std::function<void()>& body);
  void resume();   // from outside: runs the body until it suspends
  void suspend();  // from inside: returns from the resume() that entered

 private:
  static void entry();
  void arrived();

  unsigned char* memory_;  // a guard page, then the stack
  unsigned char* stack_;
  const std::function<void()>* body_ = nullptr;
  const void* outside_stack_ = nullptr;  // of the thread that resumed, for AddressSanitizer
  std::size_t outside_size_ = 0;
  void* fake_stack_ = nullptr;
#if defined(FASTHASH_FIBRE_PORTABLE)
  ucontext_t inside_, outside_;
#else
  void* inside_ = nullptr;
  void* outside_ = nullptr;
#endif
};

}  // namespace fasthash::cuda_on_cpu
