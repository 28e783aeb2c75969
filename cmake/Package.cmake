#
# cmake/Package.cmake
# ~~~~~~~~~~~~~~~~~~~
# Install rules: headers, library, CMake package, pkg-config file.
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/spindle)

install(TARGETS spindle EXPORT spindleTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp")
install(EXPORT spindleTargets NAMESPACE spindle:: DESTINATION ${package_dir})
install(FILES tools/spindle-gdb.py DESTINATION ${CMAKE_INSTALL_DATADIR}/spindle)
install(FILES LICENSE_1_0.txt DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/spindle)

configure_package_config_file(cmake/spindleConfig.cmake.in spindleConfig.cmake
  INSTALL_DESTINATION ${package_dir})
# Before 1.0 a minor version may break what it likes.
write_basic_package_version_file(spindleConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/spindleConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/spindleConfigVersion.cmake
  DESTINATION ${package_dir})

# pkg-config: a static spindle has Boost to name, and so has a shared one, whose
# headers have inline parts that call Boost.Fiber.
set(pc_libs "")
set(pc_cflags "")
foreach(name fiber context)
  if(SPINDLE_STATIC_BOOST)
    string(APPEND pc_libs " -l:${CMAKE_STATIC_LIBRARY_PREFIX}boost_${name}${CMAKE_STATIC_LIBRARY_SUFFIX}")
  else()
    string(APPEND pc_libs " -lboost_${name}")
  endif()
endforeach()
if(spindle_type STREQUAL SHARED_LIBRARY)
  set(pc_cflags " -DSPINDLE_DYN_LINK")
endif()
# Found from where the file lies, so that an installed tree can be moved.
file(RELATIVE_PATH pc_prefix
  "/p/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/p")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
configure_file(cmake/spindle.pc.in spindle.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/spindle.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
