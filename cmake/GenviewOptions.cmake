# Build options. Few, and all start with GENVIEW_. As a subproject only the library is built.
option(GENVIEW_PROGRAM "build the genview program" ${PROJECT_IS_TOP_LEVEL})
option(GENVIEW_TESTS "build the tests" ${PROJECT_IS_TOP_LEVEL})
option(GENVIEW_FUZZERS "build the fuzzers (libFuzzer with clang, a replay main otherwise)" OFF)
option(GENVIEW_WERROR "warnings are errors" OFF)
set(GENVIEW_SANITIZE "" CACHE STRING "sanitizers, for example address,undefined or thread")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

# Flags travel on interface targets, never on CMAKE_CXX_FLAGS.
add_library(genview_warnings INTERFACE)
target_compile_options(genview_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  $<$<BOOL:${GENVIEW_WERROR}>:-Werror>)

add_library(genview_sanitize INTERFACE)
if(GENVIEW_SANITIZE)
  target_compile_options(genview_sanitize INTERFACE -fsanitize=${GENVIEW_SANITIZE} -fno-omit-frame-pointer -g1)
  target_link_options(genview_sanitize INTERFACE -fsanitize=${GENVIEW_SANITIZE})
endif()

if(GENVIEW_FUZZERS AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(genview_sanitize INTERFACE -fsanitize=fuzzer-no-link)  # coverage for the fuzzers
endif()

# What every target of ours is built with. -ffp-contract=off: the same arithmetic on every x86-64 processor.
add_library(genview_build INTERFACE)
target_compile_features(genview_build INTERFACE cxx_std_20)
# -fPIC everywhere: executables, too, then share the precompiled headers of the libraries.
target_compile_options(genview_build INTERFACE -ffp-contract=off -fPIC)
target_include_directories(genview_build INTERFACE ${PROJECT_SOURCE_DIR})
target_link_libraries(genview_build INTERFACE genview_warnings genview_sanitize)

if(PROJECT_IS_TOP_LEVEL)
  find_program(GENVIEW_CCACHE ccache)
  if(GENVIEW_CCACHE)
    # pch_defines and time_macros let ccache serve files that use a precompiled header.
    set(launcher ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${GENVIEW_CCACHE})
    set(CMAKE_C_COMPILER_LAUNCHER ${launcher})
    set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher})
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(genview_build INTERFACE -fpch-preprocess)
    endif()
  endif()
  find_program(GENVIEW_MOLD mold)
  find_program(GENVIEW_LLD ld.lld)
  if(GENVIEW_MOLD AND (CMAKE_CXX_COMPILER_ID STREQUAL "Clang" OR CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 12.1))
    target_link_options(genview_build INTERFACE -fuse-ld=mold)
  elseif(GENVIEW_LLD)
    target_link_options(genview_build INTERFACE -fuse-ld=lld)
  endif()
endif()
