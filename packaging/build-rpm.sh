#!/bin/sh
# Builds the noarch .rpm into the folder $1 from this checkout, by rpmbuild, in a folder of its own: make rpm. The rest is for rpmbuild.
# On Debian the packages that BuildRequires names have other names, so that rpmbuild is told not to look for them; see docs/install.md.
set -eu
out=$(mkdir -p "$1" && cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' lib/memtriage/__init__.py)
mkdir -p "$work/SOURCES"
# The day of the newest entry of the changelog, from which Debian's package has its time stamps too.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date -d "$(sed -n 's/^ -- .*>  //p' packaging/debian/changelog | head -1)" +%s)}
export SOURCE_DATE_EPOCH PYTHONDONTWRITEBYTECODE=1
tar -czf "$work/SOURCES/memtriage-$version.tar.gz" --exclude=__pycache__ --exclude='*.egg-info' --transform "s,^,memtriage-$version/,S" \
    bin checks lib docs packaging setup.cfg pyproject.toml README.md CHANGELOG.md LICENSE
nodeps=
[ ! -e /etc/debian_version ] || nodeps=--nodeps
rpmbuild -bb $nodeps --define "_topdir $work" "$@" packaging/rpm/memtriage.spec
cp "$work"/RPMS/noarch/memtriage-*.rpm "$out"
