#!/bin/sh
# check_kept.sh SDK_INCLUDE KEPT_INCLUDE: the frozen headers are what was kept of them, but for comments, as long as the ABI has this minor. A header that grows raises
# RAUHA_ABI_MINOR; the kept copy is never edited.
set -eu
minor() { sed -n 's/^#define RAUHA_ABI_MINOR //p' "$1/rauha/plugin.h"; }
code() { cc -w -fpreprocessed -dD -E -P -x c "$1"; }
[ "$(minor "$1")" = "$(minor "$2")" ] || exit 0
status=0
for kept in "$2"/rauha/*.h; do
  name=$(basename "$kept")
  code "$kept" >"${TMPDIR:-/tmp}/rauha-kept.$$"
  code "$1/rauha/$name" | cmp -s - "${TMPDIR:-/tmp}/rauha-kept.$$" || {
    echo "$name differs from the frozen one ($kept) although the ABI's minor is the same" >&2
    status=1
  }
done
rm -f "${TMPDIR:-/tmp}/rauha-kept.$$"
exit $status
