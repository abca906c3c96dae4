# odradek_room(NAME SOURCES a.cc b.cc [DEPS other_room lib ...] [TESTS a_test.cc ...])
# A room is the library odradek_NAME; its tests are the program NAME_test.
function(odradek_room name)
  cmake_parse_arguments(R "" "" "SOURCES;DEPS;TESTS;TEST_DEPS" ${ARGN})
  add_library(odradek_${name} STATIC ${R_SOURCES})
  target_link_libraries(odradek_${name} PUBLIC odradek_options ${R_DEPS})
  if(ODRADEK_TESTS AND R_TESTS)
    odradek_test(${name}_test SOURCES ${R_TESTS} DEPS odradek_${name} ${R_TEST_DEPS})
  endif()
endfunction()

# odradek_test(NAME SOURCES a_test.cc ... DEPS lib ...): a GoogleTest program, registered with ctest as one test.
function(odradek_test name)
  cmake_parse_arguments(T "" "" "SOURCES;DEPS;ARGS" ${ARGN})
  add_executable(${name} ${T_SOURCES})
  target_link_libraries(${name} PRIVATE odradek_options ${T_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} ${T_ARGS})
endfunction()
