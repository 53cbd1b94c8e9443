# Installation layout: bin, libexec/rauha, lib/rauha/plugins, share/rauha/policies, and the SDK (sdk/CMakeLists.txt). Filled by the targets' folders.
include(GNUInstallDirs)
set(RAUHA_PLUGIN_DIR lib/rauha/plugins)  # beside the daemon's bin/, whatever lib is called here
install(DIRECTORY ${CMAKE_SOURCE_DIR}/policies/ DESTINATION ${CMAKE_INSTALL_DATADIR}/rauha/policies FILES_MATCHING PATTERN "*.toml")
