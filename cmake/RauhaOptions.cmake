# Compiler settings of all targets, sanitizers, and where things land.
option(RAUHA_TESTS "build the tests" ON)
option(RAUHA_FUZZ "build the fuzzers (clang, libFuzzer)" OFF)
option(RAUHA_BENCH "build the benchmarks" OFF)
set(RAUHA_SANITIZE "" CACHE STRING "comma-separated: address,undefined or thread")

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "" FORCE)
endif()

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(RAUHA_PLUGIN_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib/rauha/plugins)

# A compiler cache when there is one; two cores are few.
find_program(RAUHA_CCACHE ccache)
if(RAUHA_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${RAUHA_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${RAUHA_CCACHE})
endif()

add_library(rauha_options INTERFACE)
target_compile_options(rauha_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor> -Wno-missing-field-initializers
  -fstack-protector-strong -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 invents overflows inside libstdc++ (GCC PR 105329 and kin).
  target_compile_options(rauha_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-restrict -Wno-stringop-overflow -Wno-array-bounds>)
endif()
option(RAUHA_WERROR "warnings are errors" ON)
if(RAUHA_WERROR)
  target_compile_options(rauha_options INTERFACE -Werror)
endif()
target_include_directories(rauha_options INTERFACE ${CMAKE_SOURCE_DIR})

if(RAUHA_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)  # what a fuzzer runs through is mostly in libraries: without it, it is blind there
endif()
if(RAUHA_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # The instrumented code confuses g++ 12's analysis of kj::Maybe and std::optional; the sanitizers themselves look at run time.
  target_compile_options(rauha_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-maybe-uninitialized>)
endif()
if(RAUHA_SANITIZE)
  add_compile_options(-fsanitize=${RAUHA_SANITIZE} -fno-sanitize-recover=all -g)
  add_link_options(-fsanitize=${RAUHA_SANITIZE})
else()
  add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    add_compile_definitions($<$<NOT:$<CONFIG:Debug>>:_FORTIFY_SOURCE=2>)
  endif()
endif()
