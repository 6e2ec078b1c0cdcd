# genview_library(NAME SOURCES a.cc ... DEPENDS base tensor ... [LINK target ...] [TORCH])
#
# One library per folder: target genview_NAME, alias genview::NAME. Every *_test.cc beside the sources becomes part
# of the test program NAME_test. DEPENDS is the layer rule: tests/layers compares every #include "genview/..." of the
# folder with it. TORCH: the folder sees LibTorch, and <ATen/ATen.h> is its precompiled header.
define_property(GLOBAL PROPERTY GENVIEW_LAYERS BRIEF_DOCS "folder:dependencies" FULL_DOCS "read by the layer test")

function(genview_library name)
  cmake_parse_arguments(arg "TORCH" "" "SOURCES;DEPENDS;LINK" ${ARGN})
  add_library(genview_${name} STATIC ${arg_SOURCES})
  add_library(genview::${name} ALIAS genview_${name})
  list(TRANSFORM arg_DEPENDS PREPEND genview:: OUTPUT_VARIABLE depends)
  target_link_libraries(genview_${name} PUBLIC genview_build genview_headers ${depends} ${arg_LINK})
  genview_precompile(genview_${name} "${arg_TORCH}")
  list(JOIN arg_DEPENDS "," joined)
  set_property(GLOBAL APPEND PROPERTY GENVIEW_LAYERS "${name}:${joined}")
  file(GLOB tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc)
  if(GENVIEW_TESTS AND tests)
    genview_test(${name}_test SOURCES ${tests} DEPENDS ${name})
  endif()
endfunction()

# Precompiled headers: one with LibTorch (owned by tensor), one without (owned by base), shared by all others.
function(genview_precompile target torch)
  if(torch)
    target_link_libraries(${target} PUBLIC genview_torch)
    if(target STREQUAL "genview_tensor")
      target_precompile_headers(${target} PRIVATE <ATen/ATen.h> <fmt/format.h> <nlohmann/json.hpp>)
    else()
      target_precompile_headers(${target} REUSE_FROM genview_tensor)
    endif()
    return()
  endif()
  # LibTorch brings an fmt of its own, which its folders see; the others take the same one, since texts cross between them.
  target_include_directories(${target} SYSTEM PRIVATE ${TORCH_ROOT}/include)
  if(target STREQUAL "genview_base")
    target_precompile_headers(${target} PRIVATE <fmt/format.h> <nlohmann/json.hpp> <string> <vector> <map> <filesystem>)
  endif()
endfunction()

if(GENVIEW_TESTS)
  add_library(genview_test_main STATIC ${PROJECT_SOURCE_DIR}/tests/main.cc ${PROJECT_SOURCE_DIR}/tests/source_dir.cc)
  target_compile_definitions(genview_test_main PRIVATE GENVIEW_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_link_libraries(genview_test_main PRIVATE genview_build PUBLIC GTest::gtest)
endif()

# genview_test(NAME SOURCES ... DEPENDS folder ...)
function(genview_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  list(TRANSFORM arg_DEPENDS PREPEND genview:: OUTPUT_VARIABLE depends)
  target_link_libraries(${name} PRIVATE ${depends} genview_test_main)
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)  # compiled a fifth sooner; the libraries keep -O3
  genview_torch_if_needed(${name} "${arg_DEPENDS}")
  include(GoogleTest)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 DISCOVERY_MODE PRE_TEST
    PROPERTIES TIMEOUT 300 LABELS unit ENVIRONMENT "GOMP_SPINCOUNT=0")  # tests share the cores
endfunction()

# genview_program(NAME SOURCES ... DEPENDS folder ...)
function(genview_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  list(TRANSFORM arg_DEPENDS PREPEND genview:: OUTPUT_VARIABLE depends)
  target_link_libraries(${name} PRIVATE ${depends})
  genview_torch_if_needed(${name} "${arg_DEPENDS}")
endfunction()

# An executable that (transitively) links LibTorch gets its rpath and the shared precompiled header.
function(genview_torch_if_needed target depends)
  set_target_properties(${target} PROPERTIES BUILD_RPATH "${GENVIEW_TORCH_RPATH}" INSTALL_RPATH "${GENVIEW_INSTALL_RPATH}")
  foreach(folder ${depends})
    get_target_property(links genview_${folder} LINK_LIBRARIES)
    if("genview_torch" IN_LIST links)
      target_precompile_headers(${target} REUSE_FROM genview_tensor)
      return()
    endif()
  endforeach()
  target_include_directories(${target} SYSTEM PRIVATE ${TORCH_ROOT}/include)
endfunction()
