#!/bin/bash
# PID 1 of the guest: makes the machine complete (pure cgroup v2), runs the tests, prints one machine-readable line, powers off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
export RAUHA_BIN=/rauha/build/bin PYTHONDONTWRITEBYTECODE=1
cd / || exit

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sys /sys
mountpoint -q /dev || mount -t devtmpfs -o nosuid dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755 tmpfs /run
mount -t securityfs sec /sys/kernel/security
mount -t bpf bpf /sys/fs/bpf
# As systemd mounts it: the kernel, not a convention, keeps a delegated subtree apart.
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
ln -sfn /proc/self/fd /dev/fd
mount --make-rshared /
ip link set lo up
busybox hostname guest
echo "guest: Linux $(uname -r), $(nproc) cpus, lsm $(cat /sys/kernel/security/lsm), up after $(cut -d' ' -f1 /proc/uptime) s"

mapfile -t arguments < /rauha/arguments
cd /rauha || exit
python3 -m pytest -p no:cacheprovider -p tests.tools.pytest_report --rauha-report=/run/report.json --rauha-report-now -m "guest and not long" "${arguments[@]}"
code=$?
if [[ -s /run/report.json ]]; then
  echo "GUEST-REPORT $(cat /run/report.json)"
fi
echo "GUEST-RESULT exit=$code uptime=$(cut -d' ' -f1 /proc/uptime)"
sync
busybox poweroff -f
