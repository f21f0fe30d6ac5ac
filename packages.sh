# The Debian packages that rung is built, shown and tested with, for ./quickstart
# and ./check to source. Written for Debian 12; all of them are in its main archive.
# shellcheck shell=sh

packages_build="gcc libc6-dev make autoconf automake libtool pkg-config
    libdnnl-dev libhdf5-dev liblapacke-dev libnlopt-dev libopenblas-dev libopenmpi-dev
    libpcre2-dev librandom123-dev libxxhash-dev libyaml-dev libzmq3-dev zlib1g-dev"
packages_show="dataset-fashion-mnist python3 python3-h5py python3-pandas python3-tables"
packages_check="clang clang-format groff-base hdf5-tools libclang-rt-dev libcmocka-dev
    locales openmpi-bin procps sharness shellcheck valgrind xz-utils"
# For tests/cluster, a Slurm cluster on one machine, and `make check-cluster`.
packages_cluster="iproute2 libpmi2-0-dev mariadb-server munge procps
    slurm-client slurm-wlm slurmdbd"

# packages_install NAME...: installs those that are missing, without a question.
# Elsewhere than on Debian it only says what is wanted: configure finds out.
packages_install()
{
    missing=
    for package in "$@"; do
        status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || :
        test "$status" = installed || missing="$missing $package"
    done
    test -n "$missing" || return 0
    if ! command -v apt-get >/dev/null; then
        echo "No apt-get here. Wanted, by their names in Debian:$missing" >&2
        return 0
    fi
    if test "$(id -u)" = 0; then
        as_root=
    elif command -v sudo >/dev/null; then
        as_root=sudo
    else
        echo "As root, please: apt-get install$missing" >&2
        return 1
    fi
    echo "Installing:$missing" >&2
    # The lists may be absent (a fresh container) or name versions that are gone.
    $as_root apt-get -qq update >&2 || return 1
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y \
        -o Dpkg::Use-Pty=0 install --no-install-recommends $missing >&2
}
