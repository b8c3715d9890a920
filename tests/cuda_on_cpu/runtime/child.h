// SPDX-License-Identifier: Apache-2.0
// Runs a function in a child process, for faults that end one.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <string>

namespace fasthash {

struct Child {
  int status;  // 0 when the function returned, 3 when it threw, else what a sanitizer or a signal left
  std::string output;
};

template <class F>
[[noreturn]] void run_as_child(F&& f, int output) {
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  try {
    f();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "threw %s\n", error.what());
    _exit(3);
  }
  _exit(0);
}

template <class F>
Child run_in_child(F&& f) {
  int ends[2];
  if (pipe(ends) != 0) return {-1, "no pipe"};
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) run_as_child(f, ends[1]);
  close(ends[1]);
  Child result{-1, ""};
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof(buffer))) > 0;) result.output.append(buffer, std::size_t(got));
  close(ends[0]);
  waitpid(child, &result.status, 0);
  if (WIFEXITED(result.status)) result.status = WEXITSTATUS(result.status);
  return result;
}

}  // namespace fasthash
