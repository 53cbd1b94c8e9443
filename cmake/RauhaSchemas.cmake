# rauha_schemas(TARGET FILES…): one static library of generated code. Our own, because capnp_generate_cpp of 0.9.2 does not see imports:
# a changed imported schema left stale code behind.
# Debian's CMake config of capnproto names its tools below /usr/lib/bin, where they are not.
find_program(RAUHA_CAPNP capnp REQUIRED)
find_program(RAUHA_CAPNPC_CPP capnpc-c++ REQUIRED)

function(rauha_schemas target)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/gen)
  file(MAKE_DIRECTORY ${out}/schemas)
  set(inputs)
  foreach(f ${ARGN})
    list(APPEND inputs ${CMAKE_CURRENT_SOURCE_DIR}/${f})
  endforeach()
  set(sources)
  foreach(f ${ARGN})
    set(cpp ${out}/schemas/${f}.c++)
    add_custom_command(OUTPUT ${cpp} ${out}/schemas/${f}.h
      COMMAND ${RAUHA_CAPNP} compile
        -o ${RAUHA_CAPNPC_CPP}:${out}
        --src-prefix=${CMAKE_SOURCE_DIR} -I/usr/include ${CMAKE_CURRENT_SOURCE_DIR}/${f}
      DEPENDS ${inputs} VERBATIM)
    list(APPEND sources ${cpp})
  endforeach()
  add_library(${target} STATIC ${sources})
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_link_libraries(${target} PUBLIC CapnProto::capnp-rpc)
endfunction()
