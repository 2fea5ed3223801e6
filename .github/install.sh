#!/bin/sh
# Installs the server: downloads the archive of this machine, verifies its SHA-256 and copies the
# binary to ~/.local/bin, or as root to /usr/local/bin. Needs curl or wget, tar and sha256sum or shasum.
# REVERB_RELEASES is the address of the folder that has a folder vVERSION with the archives; the script of
# a release knows its own.
set -eu

default_version=0.2.0
releases=${REVERB_RELEASES:-}
work=

main() {
    version=$default_version action=install prefix=
    while [ "$#" -gt 0 ]; do
        case $1 in
        --version) version=$(value "$@") && shift ;;
        --version=*) version=${1#*=} ;;
        --prefix) prefix=$(value "$@") && shift ;;
        --prefix=*) prefix=${1#*=} ;;
        --uninstall) action=uninstall ;;
        -h | --help) usage && return ;;
        *) fail "unknown argument $1; see --help" ;;
        esac
        shift
    done
    version=${version#v}
    case $version in
    '' | *[!0-9A-Za-z.-]*) fail "\"$version\" is not a version, such as $default_version" ;;
    esac
    if [ -z "$prefix" ]; then
        if [ "$(id -u)" -eq 0 ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
    fi
    "$action"
}

usage() {
    cat <<TEXT
Usage: install.sh [--version VERSION] [--prefix FOLDER] [--uninstall]

  --version VERSION  Install this version; the default is $default_version.
  --prefix FOLDER    Install to FOLDER/bin; the default is /usr/local for root, and otherwise ~/.local.
  --uninstall        Remove the binary. Configuration and data stay.
TEXT
}

install() {
    [ -n "$releases" ] ||
        fail "REVERB_RELEASES is not set: set it to the address of the releases"
    work=$(mktemp -d) || fail "cannot create a folder for the download"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    machine=$(uname -m)
    find_archive
    verify
    tar -xzf "$work/$name.tar.gz" -C "$work" || fail "cannot unpack $name.tar.gz"
    binary=$work/$name/reverb
    [ -f "$binary" ] || fail "$name.tar.gz has no file $name/reverb"
    chmod 755 "$binary"
    found=$("$binary" --version 2>&1) ||
        fail "the binary for $target does not run on this machine ($machine): $found"
    place "$binary"
    echo "installed $(echo "$found" | head -n 1) to $prefix/bin/reverb"
    case :$PATH: in
    *":$prefix/bin:"*) ;;
    *) echo "$prefix/bin is not in PATH: add it, or run $prefix/bin/reverb" ;;
    esac
}

# Downloads the archive for this machine; sets `target` and `name`. All binaries are static, so that of
# glibc also runs where the C library is musl, and it is the second choice there.
find_archive() {
    for target in $(targets); do
        name=reverb-$version-$target
        archive=$releases/v$version/$name.tar.gz
        if fetch "$archive" "$work/$name.tar.gz"; then return; fi
    done
    fail "cannot download $archive: see the message above, and whether version $version exists"
}

targets() {
    [ "$(uname -s)" = Linux ] ||
        fail "there are no binaries for $(uname -s) that this script installs, only for Linux; take an \
archive of the release, or build the server from source"
    case $(uname -m) in
    x86_64 | amd64) processor=x86_64 suffix='' ;;
    aarch64 | arm64) processor=aarch64 suffix='' ;;
    armv7* | armv8l) processor=armv7 suffix=eabihf ;;
    *) fail "there are no binaries for $(uname -m); build the server from source" ;;
    esac
    if is_musl; then echo "$processor-unknown-linux-musl$suffix"; fi
    echo "$processor-unknown-linux-gnu$suffix"
}

is_musl() {
    case $(ldd --version 2>&1 || true) in
    *musl*) return 0 ;;
    *) return 1 ;;
    esac
}

# Without the rest of the file, curl and some versions of wget end with an error; otherwise `verify`
# does.
fetch() {
    if command -v curl >/dev/null; then
        curl -fsSL --connect-timeout 30 -o "$2" "$1"
    elif command -v wget >/dev/null; then
        # Without -T, on which the wget of busybox 1.35 crashes.
        wget -q -O "$2" "$1"
    else
        fail "neither curl nor wget is installed"
    fi
}

verify() {
    fetch "$archive.sha256" "$work/sha256" || fail "cannot download $archive.sha256"
    expected=$(cut -c 1-64 "$work/sha256" | head -n 1)
    if command -v sha256sum >/dev/null; then
        sum=$(sha256sum "$work/$name.tar.gz")
    elif command -v shasum >/dev/null; then
        sum=$(shasum -a 256 "$work/$name.tar.gz")
    else
        fail "neither sha256sum nor shasum is installed"
    fi
    [ "${sum%% *}" = "$expected" ] || fail "the SHA-256 of $name.tar.gz is ${sum%% *}, not $expected; \
the download is incomplete or was changed; nothing was installed"
}

# Copies the binary to its folder under another name and renames it, so that a running server and a
# start at this moment see either the old file or the new one.
place() {
    mkdir -p "$prefix/bin" || fail "cannot create $prefix/bin; choose another folder with --prefix"
    next=$prefix/bin/.reverb-$$
    if ! { cp "$1" "$next" && mv -f "$next" "$prefix/bin/reverb"; }; then
        rm -f "$next"
        fail "cannot write to $prefix/bin; choose another folder with --prefix"
    fi
}

uninstall() {
    [ -e "$prefix/bin/reverb" ] || fail "there is no $prefix/bin/reverb"
    rm -f "$prefix/bin/reverb" || fail "cannot remove $prefix/bin/reverb"
    echo "removed $prefix/bin/reverb"
}

value() {
    if [ "$#" -lt 2 ] || [ -z "$2" ]; then fail "$1 needs a value"; fi
    printf '%s\n' "$2"
}

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

# The last line, so that a script that was cut in its download does nothing.
main "$@"
