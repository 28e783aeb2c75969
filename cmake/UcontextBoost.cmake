#
# cmake/UcontextBoost.cmake
# ~~~~~~~~~~~~~~~~~~~~~~~~~
# Boost::context and Boost::fiber from SPINDLE_UCONTEXT_BOOST, the directory
# that test/sanitize/build_boost filled: include/, lib/, and FLAVOUR, a word
# that says with which sanitizer.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

get_filename_component(ucontext_boost "${SPINDLE_UCONTEXT_BOOST}" ABSOLUTE BASE_DIR "${CMAKE_BINARY_DIR}")
if(NOT EXISTS "${ucontext_boost}/FLAVOUR")
  message(FATAL_ERROR
    "SPINDLE_UCONTEXT_BOOST: ${ucontext_boost} is not complete; "
    "make it with: test/sanitize/build_boost asan|tsan|plain ${ucontext_boost}")
endif()
file(STRINGS "${ucontext_boost}/FLAVOUR" flavour LIMIT_COUNT 1)

set(wanted plain)
if(SPINDLE_SANITIZE MATCHES address)
  set(wanted asan)
elseif(SPINDLE_SANITIZE MATCHES thread)
  set(wanted tsan)
endif()
if(NOT flavour STREQUAL wanted)
  message(FATAL_ERROR
    "SPINDLE_UCONTEXT_BOOST: ${ucontext_boost} is the ${flavour} build, "
    "but SPINDLE_SANITIZE=\"${SPINDLE_SANITIZE}\" needs the ${wanted} one")
endif()

# Every translation unit must see what the library was built with.
set(defines BOOST_USE_UCONTEXT BOOST_CONTEXT_STATIC_LINK=1 BOOST_FIBERS_STATIC_LINK=1 BOOST_ALL_NO_LIB)
if(flavour STREQUAL asan)
  list(APPEND defines BOOST_USE_ASAN)
elseif(flavour STREQUAL tsan)
  list(APPEND defines BOOST_USE_TSAN)
endif()

find_package(Boost 1.81 REQUIRED)

foreach(name context fiber)
  add_library(Boost::${name} STATIC IMPORTED GLOBAL)
  set_target_properties(Boost::${name} PROPERTIES
    IMPORTED_LOCATION "${ucontext_boost}/lib/libboost_${name}.a"
    INTERFACE_COMPILE_DEFINITIONS "${defines}"
    # Its own headers come before the installed Boost's.
    INTERFACE_INCLUDE_DIRECTORIES "${ucontext_boost}/include")
  set_property(TARGET Boost::${name} APPEND PROPERTY INTERFACE_LINK_LIBRARIES Boost::headers)
endforeach()
set_property(TARGET Boost::fiber APPEND PROPERTY INTERFACE_LINK_LIBRARIES Boost::context Threads::Threads)
