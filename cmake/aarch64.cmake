# SPDX-License-Identifier: Apache-2.0
# The core and its tests once more for aarch64, in the folder aarch64 of the build; tests/cpp/test_native.py runs them
# under qemu-user. Left out where the processor is one already or the cross compiler is missing.
find_program(FASTHASH_AARCH64_COMPILER aarch64-linux-gnu-g++)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$" OR NOT FASTHASH_AARCH64_COMPILER)
  return()
endif()

include(ExternalProject)
ExternalProject_Add(aarch64
  PREFIX ${PROJECT_BINARY_DIR}/aarch64-project
  SOURCE_DIR ${PROJECT_SOURCE_DIR}
  BINARY_DIR ${PROJECT_BINARY_DIR}/aarch64
  CMAKE_CACHE_ARGS
    -DCMAKE_TOOLCHAIN_FILE:FILEPATH=${PROJECT_SOURCE_DIR}/cmake/aarch64-linux-gnu.cmake
    -DCMAKE_MAKE_PROGRAM:FILEPATH=${CMAKE_MAKE_PROGRAM}
    -DCMAKE_BUILD_TYPE:STRING=${CMAKE_BUILD_TYPE}
    -DFASTHASH_CORE_ONLY:BOOL=ON
    -DFASTHASH_TESTS:BOOL=ON
    -DFASTHASH_WERROR:BOOL=${FASTHASH_WERROR}
  BUILD_ALWAYS ON
  INSTALL_COMMAND "")
