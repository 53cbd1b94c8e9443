#!/bin/sh
# install.sh BUILD DIRECTORY: the SDK alone, below DIRECTORY. It is installed somewhere else and then moved, so that a path of the place where it
# was made would be missed.
set -eu
rm -rf "$2" "$2.made"
cmake --install "$1" --component sdk --prefix "$2.made" > /dev/null
mv "$2.made" "$2"
if grep -rIl -e "$2.made" -e "$(cd "$(dirname "$0")/../.." && pwd)" "$2"; then
  echo "these files of the SDK name the place where they were made" >&2
  exit 1
fi
