# rauha_library(name SOURCES … LINK …), rauha_plugin(name …), rauha_test(name …): the few shapes of target that we have.

function(rauha_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC rauha_options ${A_LINK} PRIVATE ${A_PRIVATE})
endfunction()

# A plugin of ours: made as everybody's (sdk/cmake/RauhaPlugin.cmake), with our warnings, where the daemon of this build looks. Never part
# of another target.
function(rauha_plugin target)
  cmake_parse_arguments(A "" "NAME" "SOURCES;LINK" ${ARGN})
  rauha_add_plugin(${target} NAME ${A_NAME} SOURCES ${A_SOURCES} LINK rauha_options ${A_LINK})
  set_target_properties(${target} PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${RAUHA_PLUGIN_OUTPUT_DIRECTORY})
endfunction()

# A unit test program beside the code; registered case by case would start a process each, so one ctest entry per program.
function(rauha_test name)
  if(NOT RAUHA_TESTS)
    return()
  endif()
  cmake_parse_arguments(A "" "" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test)
  target_link_libraries(${name} PRIVATE rauha_options ${A_LINK} GTest::gtest GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "unit;${A_LABELS}" TIMEOUT 300)
endfunction()

# A libFuzzer program, clang only.
function(rauha_fuzzer name)
  if(NOT RAUHA_FUZZ)
    return()
  endif()
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_libraries(${name} PRIVATE rauha_options ${A_LINK})
endfunction()

# A statically linked program. How its exceptions find their way: core/base/static_unwind.c.
function(rauha_static target)
  target_sources(${target} PRIVATE ${CMAKE_SOURCE_DIR}/core/base/static_unwind.c)
  target_link_options(${target} PRIVATE -static -Wl,--eh-frame-hdr -Wl,--wrap=__register_frame_info -Wl,--wrap=__deregister_frame_info)
endfunction()
