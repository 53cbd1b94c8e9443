/* A plugin that needs a symbol which nobody has. */
#include <rauha/plugin.h>

RAUHA_PLUGIN_NOTE("backend", "unlinkable", "1.0");
const rauha_plugin* rauha_test_nobody_has_this(void);
const rauha_plugin* rauha_plugin_entry_v1(void) { return rauha_test_nobody_has_this(); }
