# SPDX-License-Identifier: Apache-2.0
# Where torch lies, asked of Python. find_package(Torch) is not used: it fails without a CUDA toolkit, and the stable ABI
# needs the headers and libtorch_cpu only.
#
# An isolated build hides the environment's own torch behind PYTHONPATH, so the second try goes without it.
set(ask_torch "
import importlib.util, pathlib, re
spec = importlib.util.find_spec('torch')
root = pathlib.Path(spec.submodule_search_locations[0])
version = re.search(r\"__version__ *= *'([^']*)'\", (root / 'version.py').read_text()).group(1)
print(root.as_posix(), version, sep=';', end='')
")
execute_process(COMMAND ${Python_EXECUTABLE} -c "${ask_torch}"
                OUTPUT_VARIABLE torch_found RESULT_VARIABLE failed ERROR_QUIET)
if(failed)
  execute_process(COMMAND ${CMAKE_COMMAND} -E env --unset=PYTHONPATH ${Python_EXECUTABLE} -c "${ask_torch}"
                  OUTPUT_VARIABLE torch_found RESULT_VARIABLE failed ERROR_QUIET)
endif()
if(failed)
  message(FATAL_ERROR "fasthash needs PyTorch >= 2.10 to build, and ${Python_EXECUTABLE} has none: pip install torch")
endif()
list(GET torch_found 0 TORCH_ROOT)
list(GET torch_found 1 TORCH_VERSION)
if(TORCH_VERSION VERSION_LESS 2.10)
  message(FATAL_ERROR "fasthash needs PyTorch >= 2.10, found ${TORCH_VERSION} in ${TORCH_ROOT}")
endif()
message(STATUS "fasthash: torch ${TORCH_VERSION} in ${TORCH_ROOT}")

# Bindings see torch's stable headers as system headers: their warnings are not ours.
function(fasthash_binding_options target namespace)
  set_target_properties(${target} PROPERTIES CXX_STANDARD 20)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/csrc)
  # pybind11's own headers first: torch brings a copy that refuses to be used beside the stable ABI.
  target_include_directories(${target} SYSTEM PRIVATE ${pybind11_INCLUDE_DIRS} ${TORCH_ROOT}/include)
  target_compile_definitions(${target} PRIVATE
    TORCH_TARGET_VERSION=0x020a000000000000
    FASTHASH_NAMESPACE=${namespace}
    FASTHASH_COMPILER="${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}"
    FASTHASH_TORCH_VERSION="${TORCH_VERSION}"
    FASTHASH_CUDA_COMPILER="${CMAKE_CUDA_COMPILER_VERSION}"
    FASTHASH_CUDA_ARCHITECTURES="${FASTHASH_CUDA_ARCHITECTURES_TEXT}")
  target_link_directories(${target} PRIVATE ${TORCH_ROOT}/lib)
  target_link_libraries(${target} PRIVATE torch_cpu)
  # The process has torch loaded already; a run path would tie the binary to the torch it was built beside.
  set_target_properties(${target} PROPERTIES SKIP_BUILD_RPATH ON)
  fasthash_warnings(${target})
endfunction()
