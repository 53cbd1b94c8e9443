# rauha_add_plugin(TARGET [NAME plugin] SOURCES file… [LINK target…] [CHECK] [CHECK_AFTER_BUILD] [CHECK_ARGUMENTS argument…])
#
# Makes NAME.so, a plugin as the loader wants it: the file is called as the plugin is (no lib prefix), exports its entry and nothing else,
# has a build id, resolves every symbol when it is linked, and carries no path of its own to search libraries in. Sources are C11, C++20, or both.
#
#   NAME               the plugin's name, as in its note; without it, the target's
#   LINK               libraries of the plugin's own; link what others may have in another version statically
#   CHECK              adds the test TARGET.check: `rauha-plugin-check NAME.so` (needs enable_testing())
#   CHECK_AFTER_BUILD  runs the same after every build: a plugin that does not keep the contract is not built
#   CHECK_ARGUMENTS    for both, such as --config FILE: see `rauha-plugin-check --help`
#
# Used by Rauha's own plugins and by everybody else's. The target is an ordinary one: add compile options, definitions, install rules as usual.
# With a sanitizer in the compiler's flags symbols may stay open, because some sanitizers' own come from the program.

set(RAUHA_PLUGIN_MAP ${CMAKE_CURRENT_LIST_DIR}/plugin.map)

function(rauha_add_plugin target)
  cmake_parse_arguments(A "CHECK;CHECK_AFTER_BUILD" "NAME" "SOURCES;LINK;CHECK_ARGUMENTS" ${ARGN})
  if(A_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "rauha_add_plugin(${target}): unknown argument ${A_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT A_SOURCES)
    message(FATAL_ERROR "rauha_add_plugin(${target}): no SOURCES")
  endif()
  set(name ${target})
  if(A_NAME)
    set(name ${A_NAME})
  endif()
  string(LENGTH "${name}" length)
  if(NOT name MATCHES "^[a-z0-9-]+$" OR length GREATER 31)
    message(FATAL_ERROR "rauha_add_plugin(${target}): the plugin's name \"${name}\" must be made of a-z, 0-9 and '-', at most 31")
  endif()

  add_library(${target} MODULE ${A_SOURCES})
  target_link_libraries(${target} PRIVATE rauha::sdk ${A_LINK})
  set_target_properties(${target} PROPERTIES
    PREFIX "" OUTPUT_NAME ${name} SUFFIX ".so" POSITION_INDEPENDENT_CODE ON
    C_STANDARD 11 C_STANDARD_REQUIRED ON CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON
    C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
    BUILD_WITH_INSTALL_RPATH ON INSTALL_RPATH "" INSTALL_RPATH_USE_LINK_PATH OFF
    LINK_DEPENDS ${RAUHA_PLUGIN_MAP})
  target_link_options(${target} PRIVATE -Wl,--version-script=${RAUHA_PLUGIN_MAP} -Wl,--build-id -Wl,-z,relro,-z,now,-z,noexecstack)
  if(NOT RAUHA_SANITIZE AND NOT "${CMAKE_C_FLAGS} ${CMAKE_CXX_FLAGS}" MATCHES "-fsanitize")
    target_link_options(${target} PRIVATE -Wl,--no-undefined)
  endif()

  if(A_CHECK OR A_CHECK_AFTER_BUILD)
    if(NOT TARGET rauha::plugin-check)
      message(FATAL_ERROR "rauha_add_plugin(${target}): there is no rauha-plugin-check to run; install the SDK whole")
    endif()
  endif()
  if(A_CHECK)
    add_test(NAME ${target}.check COMMAND rauha::plugin-check $<TARGET_FILE:${target}> ${A_CHECK_ARGUMENTS})
  endif()
  if(A_CHECK_AFTER_BUILD)
    add_custom_command(TARGET ${target} POST_BUILD COMMAND rauha::plugin-check --only-failed $<TARGET_FILE:${target}> ${A_CHECK_ARGUMENTS} VERBATIM)
  endif()
endfunction()
