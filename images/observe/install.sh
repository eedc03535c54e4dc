#!/bin/sh
# Unpack Debian's Prometheus into a folder, without an account of its own or a service: images/observe/install.sh FOLDER.
# Prints where the programs are: those on PATH if there are any, else FOLDER/usr/bin. Needs Debian or Ubuntu and its package lists.
set -eu
if command -v prometheus >/dev/null && command -v promtool >/dev/null; then
    dirname "$(command -v prometheus)"
    exit 0
fi
folder=$1
if [ ! -x "$folder/usr/bin/promtool" ]; then
    fail() {
        echo "given no prometheus on PATH, and $1; expected Debian's package prometheus; next: install Prometheus, or run apt-get update as root" >&2
        exit 1
    }
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "no apt-get"
    mkdir -p "$(dirname "$folder")"
    made=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$made"' EXIT
    (cd "$made" && apt-get download prometheus >download.log 2>&1) || fail "a package that could not be fetched"
    dpkg-deb -x "$made"/prometheus_*.deb "$made"
    rm -f "$made"/prometheus_*.deb
    rm -rf "$folder"
    mv "$made" "$folder"
    trap - EXIT
fi
echo "$folder/usr/bin"
