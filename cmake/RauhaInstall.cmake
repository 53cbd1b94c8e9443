# Installation layout: bin, libexec/rauha, lib/rauha/plugins, include/rauha, share/rauha/policies. Filled by the targets' folders.
include(GNUInstallDirs)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/sdk/include/rauha DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/policies/ DESTINATION ${CMAKE_INSTALL_DATADIR}/rauha/policies FILES_MATCHING PATTERN "*.toml")
