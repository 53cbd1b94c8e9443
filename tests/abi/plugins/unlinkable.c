/* A plugin that needs a symbol which nobody has. */
#include <rauha/plugin.h>

#ifndef V_NAME
#define V_KIND "backend"
#define V_NAME "unlinkable"
#endif

RAUHA_PLUGIN_NOTE(V_KIND, V_NAME, "1.0");
const rauha_plugin* rauha_test_nobody_has_this(void);
const rauha_plugin* rauha_plugin_entry_v1(void) { return rauha_test_nobody_has_this(); }
