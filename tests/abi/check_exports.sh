#!/bin/sh
# check_exports.sh PLUGIN.so: exactly one exported symbol, the entry; no search path of its own, no text relocations.
set -eu
symbols=$(nm -D --defined-only "$1" | awk '$2 != "A" { print $3 }' | sed 's/@.*//')
if [ "$symbols" != rauha_plugin_entry_v1 ]; then
  echo "$1 exports: $symbols; expected rauha_plugin_entry_v1 alone" >&2
  exit 1
fi
if readelf -d "$1" | grep -E 'RPATH|RUNPATH|TEXTREL'; then
  echo "$1 has a search path or text relocations" >&2
  exit 1
fi
