# Target `archive`: one file that runs where nothing is built or installed. Program, operators, demo models, recipes, documentation and
# the libraries of LibTorch that a processor needs; those for NVIDIA GPUs are several GB and stay out. The folder is laid out as the
# repository is, so that recipes find the models.
file(GLOB runtime ${TORCH_ROOT}/lib/libtorch_cpu.so ${TORCH_ROOT}/lib/libc10.so ${TORCH_ROOT}/lib/libgomp*.so*
  ${torch_site}/nvidia/cu13/lib/libcudart.so.* ${torch_site}/nvidia/cu13/lib/libcupti.so.*)
file(GLOB torch_licenses ${torch_site}/torch-*.dist-info/licenses/*)
install(FILES ${runtime} DESTINATION ${GENVIEW_ARCHIVE_LIBRARIES} COMPONENT archive EXCLUDE_FROM_ALL)
install(FILES ${torch_licenses} DESTINATION ${GENVIEW_ARCHIVE_LIBRARIES}/licenses COMPONENT archive EXCLUDE_FROM_ALL)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION . COMPONENT archive EXCLUDE_FROM_ALL)
install(DIRECTORY configs docs recipes DESTINATION . COMPONENT archive EXCLUDE_FROM_ALL)
install(DIRECTORY models/demo DESTINATION models COMPONENT archive EXCLUDE_FROM_ALL
  FILES_MATCHING PATTERN "*.json" PATTERN "*.safetensors" PATTERN "training" EXCLUDE)

set(archive genview-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(stage ${PROJECT_BINARY_DIR}/${archive})
add_custom_target(archive
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${stage}
  COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${stage}
  COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${stage} --component archive
  COMMAND ${CMAKE_COMMAND} -E tar czf ${archive}.part ${archive}
  COMMAND ${CMAKE_COMMAND} -E rename ${archive}.part ${archive}.tar.gz
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${stage}
  COMMAND ${CMAKE_COMMAND} -E echo "${stage}.tar.gz"
  WORKING_DIRECTORY ${PROJECT_BINARY_DIR} VERBATIM)
add_dependencies(archive genview genview_operators)
