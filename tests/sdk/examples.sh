#!/bin/sh
# examples.sh SDK WORK: builds the installed examples out of tree, as an author would, and runs their own tests. The C one also without CMake.
set -eu
rm -rf "$2"
mkdir -p "$2"
examples=$1/share/doc/rauha-sdk/examples
ccache=$(command -v ccache || :)
cmake -S "$examples" -B "$2/build" -G Ninja -DCMAKE_PREFIX_PATH="$1" -DCMAKE_C_COMPILER_LAUNCHER="$ccache" -DCMAKE_CXX_COMPILER_LAUNCHER="$ccache" \
  > "$2/configure.log" || { cat "$2/configure.log"; exit 1; }
cmake --build "$2/build" > "$2/build.log" 2>&1 || { cat "$2/build.log"; exit 1; }
if grep -i 'warning:' "$2/build.log"; then
  echo "the examples give warnings" >&2
  exit 1
fi
ctest --test-dir "$2/build" --output-on-failure --no-tests=error
PKG_CONFIG_PATH=$1/lib/pkgconfig
export PKG_CONFIG_PATH
# shellcheck disable=SC2046  # words are what pkg-config gives
cc -std=c11 -Wall -Wextra -Wpedantic -Werror $(pkg-config --cflags rauha-sdk) -o "$2/count-enforcer.so" "$examples/count-enforcer/count_enforcer.c" \
  $(pkg-config --libs rauha-sdk)
