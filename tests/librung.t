#!/bin/sh
test_description='librung as a program outside this tree meets it'
# shellcheck source=tests/setup.sh
. "${top_srcdir:-$(dirname "$0")/..}/tests/setup.sh"

# libtool cannot install to where a path has blanks, as this directory has.
root=$(mktemp -d) || exit 1
cleanup 'rm -rf "$root"'

cat >program.c <<'END'
#include <rung.h>

int main(void)
{
    struct rung *r = rung_open();
    struct rung_metric m[] = {{"val_loss", 0.5}, {"acc", 0.25}};
    int d = rung_report(r, rung_start(r) + 1, 2, m);
    rung_close(r);
    return d;
}
END
echo 'step=1 val_loss=0.5 acc=0.25' >expected

# installed COMPILER SOURCE: builds a program with what pkg-config says, and runs it.
installed()
{
    # shellcheck disable=SC2046
    "$1" -o program "$2" $(pkg-config --define-prefix --static --cflags --libs rung) &&
        LD_LIBRARY_PATH="$root/lib" ./program >printed &&
        test_cmp expected printed
}

test_expect_success 'installs with a header and a pkg-config file' '
    make -C "$top_builddir" prefix=/ DESTDIR="$root" install-libLTLIBRARIES \
        install-includeHEADERS install-pkgconfigDATA &&
    test -f "$root/include/rung.h" &&
    test -f "$root/lib/pkgconfig/rung.pc"
'

PKG_CONFIG_PATH=$root/lib/pkgconfig
export PKG_CONFIG_PATH

# A library under sanitizers wants a program under sanitizers.
if ! grep -q __asan_ "$root/lib/librung.a" 2>/dev/null; then
    command -v cc >/dev/null && test_set_prereq CC
    command -v c++ >/dev/null && test_set_prereq CXX
fi
ls "$top_builddir"/.libs/librung.so >/dev/null 2>&1 && test_set_prereq SHARED

test_expect_success CC 'serves C' 'installed cc program.c'
test_expect_success CXX 'serves C++' 'cp program.c program.cc && installed c++ program.cc'
test_expect_success SHARED 'exports its own names only' '
    nm -D --defined-only "$top_builddir/.libs/librung.so" | cut -d" " -f3 >names &&
    grep -x rung_open names &&
    test_must_fail grep -v "^rung_" names
'

test_done
