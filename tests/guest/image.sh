#!/bin/bash
# Builds what the guest boots from, below .cache/guest, and prints nothing but progress:
#   kernel-VERSION/   a Debian cloud kernel, unpacked, not installed
#   initrd            busybox, the modules, `init`
#   base.ext4         a small Debian made of the files of packages that are installed here: python3, pytest, mkfs, ip, and our libraries
#   payload.ext4      our programs, plugins, policies, tests
# Each is rebuilt only when what it is made of changed. Needs root, because the files inside must belong to root.
#
# usage: image.sh KERNEL-SERIES CACHE-DIRECTORY
set -euo pipefail
readonly series=$1 cache=$2
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly root here=$root/tests/guest

# What the base consists of; their dependencies come along.
readonly packages=(python3-pytest e2fsprogs iproute2 procps busybox-static bash dash coreutils util-linux mount findutils grep sed tar gzip
  libc-bin mawk diffutils)
# Loaded at boot, with what they need.
readonly modules=(virtio_pci virtio_blk virtio_rng overlay loop veth bridge nf_tables)

say() { echo "guest image: $*"; }
die() { echo "guest image: $*" >&2; exit 1; }

# fresh FILE KEY: true when FILE was built from KEY.
fresh() { [[ -e $1 && -e $1.key && $(< "$1.key") == "$2" ]]; }
key() { sha256sum | cut -d' ' -f1; }

kernel_package() {
  local meta
  case $series in
    6.1) meta=linux-image-cloud-amd64 ;;
    *) meta=linux-image-$series-cloud-amd64 ;;
  esac
  apt-cache depends "$meta" | awk -v series="linux-image-$series." '$1 == "Depends:" && index($2, series) == 1 { print $2; exit }'
}

build_kernel() {
  local directory=$cache/kernel-$series package work
  [[ ! -e $directory/complete ]] || return 0
  package=$(kernel_package)
  [[ -n $package ]] || die "the archive has no cloud kernel of series $series (apt-get update?)"
  say "unpacking $package"
  work=$(mktemp -d "$cache/kernel.XXXXXX")
  chmod 755 "$work"
  (cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$package" > /dev/null)
  dpkg -x "$work"/*.deb "$work"
  rm "$work"/*.deb
  depmod -b "$work" "$(ls "$work/lib/modules")"
  touch "$work/complete"
  rm -rf "$directory"
  mv "$work" "$directory"
}

build_initrd() {
  local kernel=$cache/kernel-$series out=$cache/initrd-$series version want work path name
  version=$(ls "$kernel/lib/modules")
  want=$(cat "$here/init" "${BASH_SOURCE[0]}" /bin/busybox <(echo "$version") | key)
  if fresh "$out" "$want"; then return 0; fi
  say "initrd of $version"
  work=$(mktemp -d "$cache/initrd.XXXXXX")
  mkdir -p "$work"/{bin,dev,modules,proc,root,sys}
  cp /bin/busybox "$work/bin/busybox"
  for name in $(/bin/busybox --list); do
    [[ $name == busybox ]] || ln -s busybox "$work/bin/$name"
  done
  for name in "${modules[@]}"; do modprobe -d "$kernel" -S "$version" --show-depends "$name"; done \
    | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' > "$work/list"
  while read -r path; do
    name=$(basename "${path%.xz}")
    case $path in
      *.xz) xz -dc "$path" > "$work/modules/$name" ;;
      *) cp "$path" "$work/modules/$name" ;;
    esac
    echo "$name" >> "$work/modules/order"
  done < "$work/list"
  rm "$work/list"
  install -m 755 "$here/init" "$work/init"
  (cd "$work" && find . | cpio -o -H newc --quiet) > "$out.new"
  mv "$out.new" "$out"
  echo "$want" > "$out.key"
  rm -rf "$work"
}

# Libraries that our programs and plugins load, by the paths that the loader knows.
our_libraries() {
  local file
  for file in "$root"/build/bin/* "$root"/build/lib/rauha/plugins/*.so; do
    if [[ -f $file ]]; then ldd "$file" 2> /dev/null || continue; fi
  done | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u
}

# mkfs DIRECTORY FILE SIZE
mkfs() {
  rm -f "$2.new"
  truncate -s "$3" "$2.new"
  mke2fs -q -F -t ext4 -d "$1" -E lazy_itable_init=1,lazy_journal_init=1 -m 0 -L rauha "$2.new"
  mv "$2.new" "$2"
}

build_base() {
  local out=$cache/base.ext4 want work installed
  mapfile -t installed < <(apt-cache depends --recurse --installed --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "${packages[@]}" | grep -E '^[a-z0-9]' | sort -u)
  # shellcheck disable=SC2016  # dpkg's own variables
  mapfile -t installed < <(dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package} ${Version}\n' "${installed[@]}" 2> /dev/null \
    | awk '$1 == "ii" { print $2, $3 }')
  want=$({ printf '%s\n' "${installed[@]}"; our_libraries | xargs -r sha256sum; cat "${BASH_SOURCE[0]}"; } | key)
  if fresh "$out" "$want"; then return 0; fi
  say "base of ${#installed[@]} packages"
  work=$(mktemp -d "$cache/base.XXXXXX")
  chmod 755 "$work"
  mkdir -p "$work"/usr/{bin,sbin,lib,lib32,lib64} "$work"/{dev,etc,home,opt,proc,rauha,root,run,srv,sys,tmp,var/lib,var/tmp}
  chmod 1777 "$work/tmp" "$work/var/tmp"
  chmod 700 "$work/root"
  for name in bin sbin lib lib32 lib64; do ln -s "usr/$name" "$work/$name"; done
  # Below /lib and /usr/lib are the same files: one name for each, or cpio warns about the second.
  {
    dpkg-query -L "${installed[@]%% *}" | grep -vE '^/usr/share/(doc|man|info|locale|lintian|bug|perl5|i18n|bash-completion)/'
    our_libraries
  } | sed -E 's,^/(bin|sbin|lib|lib32|lib64)/,/usr/\1/,' | sort -u | while read -r path; do
    # Directories come with their files.
    if [[ (-f $path || -L $path) && ! -d $path ]]; then echo "${path#/}"; fi
  done | (cd / && cpio -p -d -m --quiet "$work")
  # A library's name is mostly a link: bring what it points to.
  our_libraries | xargs -r realpath | sed 's,^/,,' | while read -r path; do
    if [[ ! -e $work/$path ]]; then echo "$path"; fi
  done | (cd / && cpio -p -d -m --quiet "$work")
  ln -sf mawk "$work/usr/bin/awk"
  printf 'root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nuser:x:1000:1000:user:/home/user:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' > "$work/etc/passwd"
  printf 'root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n' > "$work/etc/group"
  printf 'root:*:19000:0:99999:7:::\n' > "$work/etc/shadow"
  chmod 600 "$work/etc/shadow"
  printf '127.0.0.1 localhost\n' > "$work/etc/hosts"
  printf 'passwd: files\ngroup: files\nhosts: files\n' > "$work/etc/nsswitch.conf"
  install -d -o 1000 -g 1000 "$work/home/user"
  # Debian's packages hold no compiled python; under emulation the compiler would run for half a minute at every import.
  python3 -I -m compileall -q -s "$work" -p / "$work/usr/lib/python3" "$work/usr/lib/python3.11" > /dev/null || say "some python files do not compile"
  /sbin/ldconfig -r "$work"
  mkfs "$work" "$out" 3G
  echo "$want" > "$out.key"
  rm -rf "$work"
}

build_payload() {
  local out=$cache/payload.ext4 want work
  local -a parts=(tests policies examples)
  cd "$root"
  for part in build/bin build/lib/rauha/plugins build/guest; do
    if [[ -d $part ]]; then parts+=("$part"); fi
  done
  mapfile -t parts < <(for part in "${parts[@]}"; do if [[ -d $part ]]; then echo "$part"; fi; done)
  want=$({ find "${parts[@]}" -type f ! -name '*.pyc' -printf '%p %s %T@ %m\n' | sort; cat "${BASH_SOURCE[0]}"; } | key)
  if fresh "$out" "$want"; then return 0; fi
  say "payload of ${parts[*]}"
  work=$(mktemp -d "$cache/payload.XXXXXX")
  chmod 755 "$work"
  tar -c --exclude='__pycache__' --exclude='*.pyc' --owner=0 --group=0 "${parts[@]}" | tar -x -C "$work"
  if [[ -d $work/build ]]; then find "$work/build" -type f \( -perm -u+x -o -name '*.so' \) -exec strip --strip-debug {} +; fi
  chmod -R go-w "$work"
  # Filled in by run.sh for each run.
  : > "$work/arguments"
  mkfs "$work" "$out" 1G
  echo "$want" > "$out.key"
  rm -rf "$work"
}

[[ $EUID -eq 0 ]] || die "needs root: the files of the guest must belong to root"
for tool in mke2fs depmod cpio xz busybox; do
  command -v "$tool" > /dev/null || die "$tool is missing: ./dev setup installs it"
done
mkdir -p "$cache"
# Left by a run that was killed.
find "$cache" -maxdepth 1 -type d -name '*.??????' -mmin +120 -exec rm -rf {} +
build_kernel
build_initrd
build_base
build_payload
