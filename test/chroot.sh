# shellcheck shell=bash
#
# test/chroot.sh
# ~~~~~~~~~~~~~~
# A chroot of a release of Debian, for a script that wants another one than this
# machine's, or a clean one. To be sourced. Takes root, and debootstrap, which is
# installed if it is missing.
#
#   chroot_private "$@"       first of all: the script begins again, where its mounts are
#                             its own and go with it
#   chroot_make RELEASE DIR   debootstraps DIR, unless that has been done
#   chroot_enter DIR          mounts what it needs; the next ones are about it
#   chroot_tree               this tree, as it is here, becomes /spindle there; builds stay
#   inside COMMAND...         runs it there, in /spindle
#
# Distributed under the Boost Software License, Version 1.0.
# (See accompanying file LICENSE_1_0.txt or http://www.boost.org/LICENSE_1_0.txt)
#

chroot_repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
chroot_root= # that was entered

chroot_private() {
    [ "$(id -u)" = 0 ] || { echo "$0: a chroot takes root" >&2; exit 2; }
    if [ "${SPINDLE_CHROOT_MOUNTS:-}" != private ]; then
        export SPINDLE_CHROOT_MOUNTS=private
        exec unshare --mount --propagation private "$0" "$@"
    fi
}

chroot_make() {
    local release=$1 dir=$2 mirror
    [ ! -e "$dir/spindle-ready" ] || return 0
    "$chroot_repo/test/install_missing" debootstrap
    # From where this machine has its own packages.
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' \
        'Identifier: Packages' | sed -n 's/ main$//p' | head -n 1)
    [ -n "$mirror" ] || { echo "$0: this machine has no package archive" >&2; exit 1; }
    mkdir -p "$(dirname "$dir")"
    rm -rf "$dir"
    debootstrap --variant=minbase "$release" "$dir" "$mirror" >"$dir.log" 2>&1 ||
        { tail -n 20 "$dir.log"; exit 1; }
    touch "$dir/spindle-ready"
}

chroot_enter() {
    local file
    chroot_root=$1
    # It reaches the archive as this machine does.
    apt-config dump | grep '^Acquire::[^ ]* "..*";$' \
        >"$chroot_root/etc/apt/apt.conf.d/90host" || true
    for file in /etc/resolv.conf /etc/hosts; do
        [ ! -e "$file" ] || cp -L "$file" "$chroot_root$file"
    done

    mkdir -p "$chroot_root/spindle" "$chroot_root/ccache"
    mount -t proc proc "$chroot_root/proc"
    mount --rbind /sys "$chroot_root/sys"
    mount --rbind /dev "$chroot_root/dev"
    if command -v ccache >/dev/null; then
        mount --bind "$(ccache --get-config cache_dir)" "$chroot_root/ccache" || true
    fi
}

chroot_tree() {
    find "$chroot_root/spindle" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
    git -C "$chroot_repo" ls-files -z --cached --others --exclude-standard |
        (cd "$chroot_repo" && xargs -0 ls -d 2>/dev/null) |
        tar -C "$chroot_repo" -c -T - | tar -C "$chroot_root/spindle" -x
}

inside() {
    chroot "$chroot_root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive JOBS="${JOBS:-$(nproc)}" \
        CCACHE_DIR=/ccache CCACHE_NOHASHDIR=1 bash -ec 'cd /spindle && "$@"' inside "$@"
}
