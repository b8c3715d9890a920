# SPDX-License-Identifier: Apache-2.0
# The core: the C++ standard library, intrinsics and itself. No other include path reaches it.
function(fasthash_core_library target)
  set(kernels ${PROJECT_SOURCE_DIR}/csrc/kernels)
  file(GLOB sources CONFIGURE_DEPENDS ${kernels}/common/*.cpp ${kernels}/*/*_cpu.cpp)
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} PUBLIC ${kernels})
  fasthash_warnings(${target})
  fasthash_isa_variants(${target})
endfunction()
