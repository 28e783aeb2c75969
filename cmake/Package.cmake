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

# A static and a shared spindle may be installed into the same place, the shared one last:
# what differs has this in its name.
if(spindle_type STREQUAL SHARED_LIBRARY)
  set(spindle_kind shared)
else()
  set(spindle_kind static)
endif()

install(TARGETS spindle EXPORT spindleTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.hpp" PATTERN "*.ipp")
install(EXPORT spindleTargets NAMESPACE spindle:: DESTINATION ${package_dir}
  FILE spindle-${spindle_kind}-targets.cmake)
install(FILES tools/spindle-gdb.py DESTINATION ${CMAKE_INSTALL_DATADIR}/spindle)
if(spindle_kind STREQUAL shared)
  # Where gdb looks for what belongs to a library, if it has the same prefix.
  install(FILES tools/spindle-gdb.py
    DESTINATION ${CMAKE_INSTALL_DATADIR}/gdb/auto-load${CMAKE_INSTALL_FULL_LIBDIR}
    RENAME libspindle.so.${PROJECT_VERSION}-gdb.py)
endif()
install(FILES LICENSE_1_0.txt DESTINATION ${CMAKE_INSTALL_DATADIR}/licenses/spindle)

configure_package_config_file(cmake/spindleConfig.cmake.in spindleConfig.cmake
  INSTALL_DESTINATION ${package_dir})
configure_file(cmake/spindle-kind.cmake.in spindle-${spindle_kind}.cmake @ONLY)
# Before 1.0 a minor version may break what it likes.
write_basic_package_version_file(spindleConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/spindleConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/spindleConfigVersion.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/spindle-${spindle_kind}.cmake
  DESTINATION ${package_dir})

# pkg-config: a static spindle has Boost to name, and so has a shared one, whose
# headers have inline parts that call Boost.Fiber. spindle-static is static whatever else
# is installed.
set(pc_boost "")
foreach(name fiber context)
  if(SPINDLE_STATIC_BOOST)
    string(APPEND pc_boost " -l:${CMAKE_STATIC_LIBRARY_PREFIX}boost_${name}${CMAKE_STATIC_LIBRARY_SUFFIX}")
  else()
    string(APPEND pc_boost " -lboost_${name}")
  endif()
endforeach()
# Found from where the file lies, so that an installed tree can be moved.
file(RELATIVE_PATH pc_prefix
  "/p/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/p")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")

function(spindle_pkg_config name library cflags)
  configure_file(cmake/spindle.pc.in ${name}.pc @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${name}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()

if(spindle_kind STREQUAL shared)
  spindle_pkg_config(spindle -lspindle " -DSPINDLE_DYN_LINK")
else()
  spindle_pkg_config(spindle -lspindle "")
  spindle_pkg_config(spindle-static
    -l:${CMAKE_STATIC_LIBRARY_PREFIX}spindle${CMAKE_STATIC_LIBRARY_SUFFIX} "")
endif()
