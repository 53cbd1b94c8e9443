/* An ordinary library: exports what looks like an entry, but has no note. */
#include <stdlib.h>

__attribute__((constructor)) static void loaded(void) { setenv("RAUHA_TEST_PLUGIN_RAN", "plain", 1); }
__attribute__((visibility("default"))) const void* rauha_plugin_entry_v1(void);
const void* rauha_plugin_entry_v1(void) { return NULL; }
