#!/bin/bash
# Boots a guest whose PID 1 is a real systemd, with Rauha installed as `cmake --install` does it and its socket unit enabled, and runs
# units_inside.py there: the daemon comes by socket activation, gets its control groups delegated, and its zones outlive its restarts.
# Kernel, base and payload are those of run.sh; here comes one more disk, with systemd and the installed tree, that the initrd copies over the base.
#
# usage: tests/guest/units.sh [--kernel SERIES] [--accel tcg|kvm] [--timeout SECONDS] [--log FILE]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root

series=6.1 accel=tcg limit=600 log=$root/build/logs/guest-units.log
while [[ $# -gt 0 ]]; do
  case $1 in
    --kernel) series=$2; shift 2 ;;
    --accel) accel=$2; shift 2 ;;
    --timeout) limit=$2; shift 2 ;;
    --log) log=$2; shift 2 ;;
    *) echo "units.sh: unknown option $1" >&2; exit 2 ;;
  esac
done
readonly series accel limit log cache=$root/.cache/guest
readonly packages=(systemd libsystemd-shared)

die() { echo "units.sh: $*" >&2; exit 2; }
command -v qemu-system-x86_64 > /dev/null || die "qemu-system-x86_64 is missing: ./dev setup installs it"
dpkg-query -W "${packages[@]}" > /dev/null 2>&1 || die "systemd is not installed here: apt-get install ${packages[*]}"
mkdir -p "$cache" "$(dirname "$log")"
exec 9> "$cache/lock"
flock 9 # two runs would rebuild each other's images
"$root/tests/guest/image.sh" "$series" "$cache" 9>&-

work=$(mktemp -d "${TMPDIR:-/tmp}/rauha-units.XXXXXX")
trap 'rm -rf "$work"' EXIT
tree=$work/tree
mkdir -p "$tree"/usr/{bin,sbin,lib,lib32,lib64} "$tree/etc/systemd/system/sockets.target.wants" "$tree/etc/systemd/system/multi-user.target.wants"
chmod -R u=rwX,go=rX "$work"

# systemd's files and those of the packages that it needs, as image.sh takes them for the base.
mapfile -t wanted < <(apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
  "${packages[@]}" | grep -E '^[a-z0-9]' | sort -u)
# shellcheck disable=SC2016  # dpkg's own variables
mapfile -t wanted < <(dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package}\n' "${wanted[@]}" 2> /dev/null | awk '$1 == "ii" { print $2 }')
dpkg-query -L "${wanted[@]}" | grep -vE '^/usr/share/(doc|man|info|locale|lintian|bug|perl5|i18n|bash-completion)/' \
  | sed -E 's,^/(bin|sbin|lib|lib32|lib64)/,/usr/\1/,' | sort -u | while read -r path; do
  if [[ (-f $path || -L $path) && ! -d $path && $path != /etc/@(passwd|group|shadow|machine-id) ]]; then echo "${path#/}"; fi
done | (cd / && cpio -p -d -m --quiet "$tree")

(umask 022 && DESTDIR=$tree cmake --install "$root/build" > /dev/null)
# Only to make the image smaller: what is executable and no ELF file (a script) is none of strip's.
find "$tree/usr/local" -type f \( -perm -u+x -o -name '*.so' \) -print0 | while IFS= read -r -d '' file; do
  if [[ $(head -c 4 "$file" | tail -c 3) == ELF ]]; then strip --strip-debug "$file"; fi
done
system=/usr/local/lib/systemd/system
ln -s "$system/rauhad.socket" "$tree/etc/systemd/system/sockets.target.wants/rauhad.socket"
cp "$root/tests/guest/units-check.service" "$tree/etc/systemd/system/"
ln -s ../units-check.service "$tree/etc/systemd/system/multi-user.target.wants/units-check.service"
# No seats, no network, no console logins: nothing that is not about the units.
for unit in systemd-logind.service getty.target systemd-networkd.service systemd-resolved.service systemd-timesyncd.service; do
  ln -s /dev/null "$tree/etc/systemd/system/$unit"
done
: > "$tree/etc/machine-id"
mke2fs -q -F -t ext4 -d "$tree" -m 0 "$work/units.ext4" 1G

case $accel in
  tcg) cpu=Nehalem machine='tcg,thread=multi' ;;
  kvm) cpu=host,-arch-capabilities machine=kvm ;;
  *) die "unknown accelerator $accel" ;;
esac
code=0
timeout --foreground --kill-after=5 "$limit" qemu-system-x86_64 -nodefaults -no-reboot -machine q35 -accel "$machine" -cpu "$cpu" -smp 2 -m 2048 \
  -kernel "$cache/kernel-$series"/boot/vmlinuz-* -initrd "$cache/initrd-$series" \
  -append "console=ttyS0 quiet panic=-1 oops=panic mitigations=off lsm=landlock,lockdown,yama,bpf rauha.units systemd.unified_cgroup_hierarchy=1 systemd.show_status=false" \
  -drive "file=$cache/base.ext4,format=raw,if=virtio,snapshot=on" -drive "file=$cache/payload.ext4,format=raw,if=virtio,snapshot=on" \
  -drive "file=$work/units.ext4,format=raw,if=virtio,snapshot=on" \
  -device virtio-rng-pci -display none -serial stdio < /dev/null 9>&- 2>&1 | sed -u 's,\r$,,' | tee "$log" || code=$?

result=$(sed -n 's/^UNITS-RESULT //p' "$log" | tail -n 1)
if [[ -z $result ]]; then
  echo "units.sh: the guest ended without a result (qemu: $code); console in $log" >&2
  exit 1
fi
[[ $result == ok ]]
