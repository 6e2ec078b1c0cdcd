# The small libraries, all from the distribution, linked statically so that the program runs wherever LibTorch does.
find_path(GENVIEW_JSON_INCLUDE nlohmann/json.hpp REQUIRED)
find_path(GENVIEW_TOML_INCLUDE toml++/toml.h HINTS ${PROJECT_SOURCE_DIR}/.deps/tomlplusplus/include REQUIRED)
find_path(GENVIEW_CLI11_INCLUDE CLI/CLI.hpp REQUIRED)
find_path(GENVIEW_XXHASH_INCLUDE xxhash.h REQUIRED)
find_path(GENVIEW_GLOO_INCLUDE gloo/transport/device.h)  # headers alone: the library itself is a part of LibTorch

function(genview_static_library variable name)
  find_library(${variable} lib${name}.a)
  if(NOT ${variable})
    message(FATAL_ERROR "lib${name}.a not found. `make deps` installs it, or prints the apt-get line that does.")
  endif()
endfunction()
genview_static_library(GENVIEW_JPEG jpeg)
genview_static_library(GENVIEW_PNG png16)
genview_static_library(GENVIEW_WEBP webp)
find_library(GENVIEW_SHARPYUV libsharpyuv.a)  # part of libwebp itself before 1.3
if(NOT GENVIEW_SHARPYUV)
  set(GENVIEW_SHARPYUV "")
endif()
genview_static_library(GENVIEW_ARCHIVE archive)
genview_static_library(GENVIEW_Z z)

# toml++ is used header-only, since Debian ships it as a shared library alone; so is fmt, of which LibTorch brings the headers.
add_library(genview_headers INTERFACE)
target_compile_definitions(genview_headers INTERFACE FMT_HEADER_ONLY=1 TOML_HEADER_ONLY=1)
target_include_directories(genview_headers SYSTEM INTERFACE ${GENVIEW_TOML_INCLUDE})
add_library(genview_image_codecs INTERFACE)
target_link_libraries(genview_image_codecs INTERFACE ${GENVIEW_JPEG} ${GENVIEW_PNG} ${GENVIEW_WEBP} ${GENVIEW_SHARPYUV} ${GENVIEW_Z} m)
add_library(genview_archive INTERFACE)
target_link_libraries(genview_archive INTERFACE ${GENVIEW_ARCHIVE} ${GENVIEW_Z})
