# LibTorch, linked in this one place. TORCH_ROOT (cache or environment) is the `torch` folder of any PyTorch
# 2.11 installation; `make deps` puts one into .deps/. find_package(Torch) is left alone: it asks for a CUDA toolkit.
set(TORCH_ROOT "$ENV{TORCH_ROOT}" CACHE PATH "the `torch` folder of a PyTorch installation")
if(NOT TORCH_ROOT)
  set(TORCH_ROOT ${PROJECT_SOURCE_DIR}/.deps/libtorch/torch CACHE PATH "" FORCE)
endif()
if(NOT EXISTS ${TORCH_ROOT}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "LibTorch is not in ${TORCH_ROOT}.\n"
    "Run `make deps`, or point TORCH_ROOT to the `torch` folder of an installed PyTorch 2.11:\n"
    "  python3 -c 'import torch, os; print(os.path.dirname(torch.__file__))'")
endif()

add_library(genview_torch INTERFACE)
target_include_directories(genview_torch SYSTEM INTERFACE
  ${TORCH_ROOT}/include ${TORCH_ROOT}/include/torch/csrc/api/include)
target_compile_definitions(genview_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=1)
target_link_libraries(genview_torch INTERFACE ${TORCH_ROOT}/lib/libtorch_cpu.so ${TORCH_ROOT}/lib/libc10.so)
# at::parallel_for is a template: it runs on several threads only where it is compiled with OpenMP, and otherwise silently on one. The
# threads are LibTorch's own, so its copy of the library is linked. Clang has another library; ThreadSanitizer knows neither.
file(GLOB torch_gomp ${TORCH_ROOT}/lib/libgomp*.so*)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND torch_gomp AND NOT GENVIEW_SANITIZE MATCHES "thread")
  target_compile_options(genview_torch INTERFACE -fopenmp)
  list(GET torch_gomp 0 torch_gomp)
  target_link_libraries(genview_torch INTERFACE -Wl,--push-state,--as-needed ${torch_gomp} -Wl,--pop-state)
elseif(NOT GENVIEW_SANITIZE)
  message(WARNING "Built without OpenMP: the program's own loops will run on one thread.\n"
    "It needs GCC and libgomp*.so in ${TORCH_ROOT}/lib; there are ${CMAKE_CXX_COMPILER_ID} and \"${torch_gomp}\".")
endif()
# libtorch_cpu.so of the CUDA wheels names CUDA libraries of its own; they are found through its own rpath.
target_link_options(genview_torch INTERFACE -Wl,--allow-shlib-undefined)
get_filename_component(torch_site ${TORCH_ROOT} DIRECTORY)
set(GENVIEW_TORCH_RPATH ${TORCH_ROOT}/lib ${torch_site}/nvidia/cu13/lib)
# An installed program takes the LibTorch that an archive has beside it, otherwise the one it was built with.
set(GENVIEW_ARCHIVE_LIBRARIES lib/genview)
set(GENVIEW_INSTALL_RPATH $ORIGIN/../${GENVIEW_ARCHIVE_LIBRARIES} ${GENVIEW_TORCH_RPATH})
