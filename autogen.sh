#!/bin/sh
# autogen.sh [--update]: makes ./configure from configure.ac; needs autoconf, automake
# and libtool. With --update, only if what it is made of has changed.
set -e
cd "$(dirname "$0")"
changed=$(test ! -x configure || find . \( -name '.?*' -o -path './build*' \) -prune -o \
    \( -name configure.ac -o -name '*.am' \) -newer configure -print)
test "$1" = --update && test -x configure && test -z "$changed" && exit
mkdir -p build-aux m4
exec autoreconf --install --force --warnings=all
