# SPDX-License-Identifier: Apache-2.0
# Instruction-set variants: csrc/kernels/<op>/<op>_<machine>.cpp is compiled with that machine's flags and no others.
set(FASTHASH_FLAGS_avx2 -mavx2 -mfma -mf16c -mpopcnt -mbmi2)
set(FASTHASH_FLAGS_avx512 ${FASTHASH_FLAGS_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
# gcc 12 takes the undefined registers of its own AVX-512 intrinsics for a fault of the caller.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND FASTHASH_FLAGS_avx512 -Wno-maybe-uninitialized -Wno-uninitialized)
endif()
set(FASTHASH_FLAGS_avx512_vpopcnt ${FASTHASH_FLAGS_avx512} -mavx512vpopcntdq)
set(FASTHASH_FLAGS_neon)  # every aarch64 processor has it

function(fasthash_isa_variants target)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    target_compile_definitions(${target} PUBLIC FASTHASH_X86_VARIANTS)
    set(machines avx2 avx512 avx512_vpopcnt)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
    target_compile_definitions(${target} PUBLIC FASTHASH_AARCH64_VARIANTS)
    set(machines neon)
  endif()
  foreach(machine ${machines})
    file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/csrc/kernels/*/*_${machine}.cpp)
    set_source_files_properties(${sources} PROPERTIES COMPILE_OPTIONS "${FASTHASH_FLAGS_${machine}}")
    target_sources(${target} PRIVATE ${sources})
  endforeach()
endfunction()
