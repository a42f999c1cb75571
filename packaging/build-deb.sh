#!/bin/sh
# Builds the .deb into the folder $1 from this checkout, by dpkg-buildpackage, in a copy: make deb
set -eu
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/memtriage"
tar -cf - --exclude=__pycache__ --exclude='*.egg-info' bin checks lib docs packaging setup.cfg pyproject.toml README.md CHANGELOG.md LICENSE |
    tar -xf - -C "$work/memtriage"
cp -r packaging/debian "$work/memtriage/debian"
cd "$work/memtriage"
# The day the tree says; any builder gets the same package, bit by bit.
dpkg-buildpackage --build=binary --no-sign
cp ../memtriage_*.deb ../memtriage_*.changes ../memtriage_*.buildinfo "$out"
