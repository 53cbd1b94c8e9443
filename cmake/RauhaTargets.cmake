# rauha_library(name SOURCES … LINK …), rauha_plugin(name …), rauha_test(name …): the few shapes of target that we have.

function(rauha_library name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${A_SOURCES})
  target_link_libraries(${name} PUBLIC rauha_options ${A_LINK} PRIVATE ${A_PRIVATE})
endfunction()

# A plugin: one exported symbol, no RPATH, never part of another target.
function(rauha_plugin name)
  cmake_parse_arguments(A "" "" "SOURCES;LINK" ${ARGN})
  add_library(${name} MODULE ${A_SOURCES})
  target_link_libraries(${name} PRIVATE rauha_options rauha_sdk ${A_LINK})
  set_target_properties(${name} PROPERTIES PREFIX "" LIBRARY_OUTPUT_DIRECTORY ${RAUHA_PLUGIN_OUTPUT_DIRECTORY}
    LINK_DEPENDS ${CMAKE_SOURCE_DIR}/sdk/cmake/plugin.map)
  target_link_options(${name} PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/sdk/cmake/plugin.map -Wl,--build-id)
  if(NOT RAUHA_SANITIZE)
    target_link_options(${name} PRIVATE -Wl,--no-undefined)
  endif()
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
