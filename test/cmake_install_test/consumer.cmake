#
# test/cmake_install_test/consumer.cmake
# ~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
# For a project that has spindle's sources in its tree: nothing of spindle's tests and
# examples has come along, and a program can be built with it.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

foreach(target spindle_test_main spindle_standalone_headers spindle_examples)
  if(TARGET ${target})
    message(FATAL_ERROR "spindle brought ${target} along")
  endif()
endforeach()

add_executable(consumer "${CMAKE_CURRENT_LIST_DIR}/main.cpp")
target_link_libraries(consumer PRIVATE spindle::spindle)
