#!/bin/bash
# fresh_root.sh INSTALLED COMMAND…: runs a command where nothing of ours is but what was installed. Namespaces of its own for mounts and processes, and
# a root that has this machine's /usr and /etc read-only, INSTALLED at /usr/local, and empty /root, /run, /tmp and /var. All of it ends with the command.
set -euo pipefail

if [[ ${1:-} != --inside ]]; then
  exec unshare --mount --pid --fork --kill-child --propagation private -- "$0" --inside "$(realpath "$1")" "${@:2}"
fi

installed=$2
shift 2
# A mount point that every system has, and only this namespace sees what is mounted there: nothing has to be made, nothing can be left.
[[ $installed != /mnt/* ]] || { echo "$installed is below /mnt, which this covers" >&2; exit 1; }
mount -t tmpfs -o mode=755 fresh /mnt
cd /mnt
mkdir etc dev old proc root run sys tmp usr var
chmod 700 root
chmod 1777 tmp
for link in bin lib lib32 lib64 libx32 sbin; do
  if [[ -L /$link ]]; then ln -s "$(readlink "/$link")" "$link"; fi
done
for directory in usr etc; do
  mount --bind "/$directory" "$directory"
  mount -o remount,ro,bind "$directory"
done
mount --bind "$installed" usr/local
mount -o remount,ro,bind usr/local
mount --rbind /dev dev
mount --rbind /sys sys
mount -t proc proc proc
# Ranges of user ids are shared by all instances of a machine.
if [[ -d /run/rauha-ids ]]; then
  mkdir run/rauha-ids
  mount --bind /run/rauha-ids run/rauha-ids
fi
pivot_root . old
cd /
umount -l /old
rmdir /old
# The name of a private instance comes from its directory, and control groups are the whole machine's: two runs at once need two names.
cd "$(mktemp -d /root/XXXXXX)"
status=0
env -i HOME="$PWD" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=dumb "$@" || status=$?
# A daemon that was told to stop takes its control groups along when it goes; one that nobody told is told now. All that runs here is ours.
for _ in {1..300}; do
  mapfile -t daemons < <(pgrep -x rauhad || :)
  if [[ ${#daemons[@]} -eq 0 ]]; then exit "$status"; fi
  kill -TERM "${daemons[@]}" 2> /dev/null || :
  sleep 0.1
done
echo "a daemon does not end" >&2
exit 1
