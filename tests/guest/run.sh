#!/bin/bash
# Boots a QEMU guest with a Debian kernel and pure cgroup v2, runs the tests marked `guest` in it and judges the outcome.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root

usage() {
  cat << 'END'
usage: tests/guest/run.sh [options] [-- pytest arguments]

Runs the tests marked `guest` (tests/guest, tests/integration, tests/security) in a virtual machine.

  --kernel SERIES    Debian cloud kernel: 6.1 (default) or 6.12
  --accel tcg|kvm    default tcg: the same on every machine; kvm where /dev/kvm works, ten times as fast
  --timeout SECONDS  for the whole guest, default 900
  --report FILE      counts, failures and skips as JSON
  --log FILE         the serial console, default build/logs/guest-console.log

  tests/guest/run.sh -- -k memory -x
END
}

series=6.1 accel=tcg limit=900 report='' log=$root/build/logs/guest-console.log
while [[ $# -gt 0 ]]; do
  case $1 in
    --kernel) series=$2; shift 2 ;;
    --accel) accel=$2; shift 2 ;;
    --timeout) limit=$2; shift 2 ;;
    --report) report=$2; shift 2 ;;
    --log) log=$2; shift 2 ;;
    --) shift; break ;;
    -h | --help) usage; exit 0 ;;
    *) echo "run.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
readonly series accel limit report log cache=$root/.cache/guest

arguments=(-q -rs --tb=short --no-summary)
if [[ $# -gt 0 ]]; then arguments+=("$@"); fi
for folder in tests/guest tests/integration tests/security; do
  if [[ -d $root/$folder ]]; then arguments+=("$folder"); fi
done

command -v qemu-system-x86_64 > /dev/null || { echo "run.sh: qemu-system-x86_64 is missing: ./dev setup installs it" >&2; exit 2; }
mkdir -p "$cache" "$(dirname "$log")"
exec 9> "$cache/lock"
flock 9 # two runs would rebuild each other's images
"$root/tests/guest/image.sh" "$series" "$cache" 9>&-

work=$(mktemp -d "${TMPDIR:-/tmp}/rauha-guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
# The arguments travel as a file of the payload; debugfs writes into the image without a mount.
cp --sparse=always "$cache/payload.ext4" "$work/payload.ext4"
printf '%s\n' "${arguments[@]}" > "$work/arguments"
debugfs -w -f - "$work/payload.ext4" > /dev/null 2>&1 << END
rm arguments
write $work/arguments arguments
END

# An emulated AVX is slower than none: the C library would choose it for each string function.
case $accel in
  tcg) cpu=Nehalem machine='tcg,thread=multi' ;;
  kvm) cpu=host,-arch-capabilities machine=kvm ;;
  *) echo "run.sh: unknown accelerator $accel" >&2; exit 2 ;;
esac

start=$SECONDS
code=0
timeout --foreground --kill-after=5 "$limit" qemu-system-x86_64 -nodefaults -no-reboot -machine q35 -accel "$machine" -cpu "$cpu" -smp 2 -m 2048 \
  -kernel "$cache/kernel-$series"/boot/vmlinuz-* -initrd "$cache/initrd-$series" \
  -append "console=ttyS0 quiet panic=-1 oops=panic mitigations=off lsm=landlock,lockdown,yama,bpf" \
  -drive "file=$cache/base.ext4,format=raw,if=virtio,snapshot=on" -drive "file=$work/payload.ext4,format=raw,if=virtio,snapshot=on" \
  -device virtio-rng-pci -display none -serial stdio < /dev/null 9>&- 2>&1 | sed -u 's,\r$,,' | tee "$log" | grep -v --line-buffered '^GUEST-REPORT' || code=$?
seconds=$((SECONDS - start))

if [[ -n $report ]]; then
  sed -n 's/^GUEST-REPORT //p' "$log" | tail -n 1 > "$report"
fi
result=$(sed -n 's/^GUEST-RESULT exit=\([0-9]*\) .*/\1/p' "$log" | tail -n 1)
if [[ -z $result ]]; then
  if [[ $seconds -ge $limit ]]; then
    echo "run.sh: the guest was ended after its limit of $limit s; console in $log" >&2
  else
    echo "run.sh: the guest ended after $seconds s without a result (qemu: $code); console in $log" >&2
  fi
  exit 1
fi
echo "guest: kernel $series, $accel, pytest ended with $result after $seconds s"
[[ $result -eq 0 ]]
