#!/bin/sh
# layers.sh [TREE]: holds every #include of the tree against the tables of rooms
# and of libraries in doc/architecture.md. Prints each include that has no
# permission there as FILE:LINE: and a sentence; exit status 1 if there is any.
set -eu
export LC_ALL=C

cd "${1:-$(dirname "$0")/..}"

# Sources of C and CUDA; what builds, tests and make dist leave here is not ours.
find . \( -name '.?*' -o -path './build*' -o -path './_*' -o -path './rung-[0-9]*' \
    -o -name 'trash directory.*' -o -path ./config.h \) -prune \
    -o -type f \( -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' \) -print |
    sed 's|^\./||' | sort |
    awk '
function fail(text)
{
    print FILENAME ":" FNR ": " text
    bad = 1
}

# The longest room that the path lies in; "" if it lies in none.
function room_of(path)
{
    while (sub(/[^\/]*\/?$/, "", path) && path != "")
        if (path in may_include)
            return path
    return ""
}

# Does the comma-separated list hold the word, or "all"?
function listed(list, word,    items, n, i)
{
    n = split(list, items, /, */)
    for (i = 1; i <= n; i++)
        if (items[i] == word || items[i] == "all")
            return 1
    return 0
}

# The library that a system header belongs to; "libc" for those of C, POSIX and
# the kernel; "" for a stranger.
function library_of(header,    i)
{
    for (i = 1; i <= patterns; i++)
        if (header ~ pattern[i])
            return library[i]
    if (header in libc || header ~ /^(sys|linux|net|netinet|arpa)\/[a-z0-9_]+\.h$/)
        return "libc"
    return ""
}

function clean(cell)
{
    gsub(/`/, "", cell)
    gsub(/^ +| +$/, "", cell)
    return cell == "–" ? "" : cell
}

# A row of one of the two tables, told apart by the heading row above it.
function read_row(row,    cell, glob, n, i)
{
    split(row, cell, "|")
    if (cell[2] ~ /^ *(room|library) *$/) {
        table = clean(cell[2])
    } else if (table == "room" && cell[2] ~ /\//) {
        may_include[clean(cell[2])] = clean(cell[4])
        may_use[clean(cell[2])] = clean(cell[5])
        rooms++
    } else if (table == "library" && cell[3] ~ /`/) {
        n = split(clean(cell[3]), glob, " ")
        for (i = 1; i <= n; i++) {
            gsub(/\./, "\\.", glob[i])
            gsub(/\*/, ".*", glob[i])
            pattern[++patterns] = "^" glob[i] "$"
            library[patterns] = clean(cell[2])
        }
    }
}

function check_ours(path,    to)
{
    if (path == "config.h")
        return
    to = room_of(path)
    if (to == "")
        fail("\"" path "\" is in no room: write \"ROOM/FILE.h\", from the top of the tree")
    else if (to != room && !listed(may_include[room], to) && \
             !listed(may_include[room], path))
        fail(room " may not include \"" path "\"")
}

function check_outside(header,    lib)
{
    lib = library_of(header)
    if (lib == "")
        fail("<" header "> is of no library in doc/architecture.md")
    else if (lib != "libc" && !(lib == "cmocka" && FILENAME ~ /_test\.[ch]$/) && \
             !listed(may_use[room], lib))
        fail(room " may not use " lib ": <" header ">")
}

BEGIN {
    n = split("assert complex ctype dirent dlfcn elf endian err errno execinfo fcntl " \
        "features fenv float fnmatch ftw getopt glob grp ifaddrs inttypes iso646 " \
        "langinfo libgen limits link locale malloc math mntent netdb poll pthread " \
        "pty pwd regex resolv sched semaphore setjmp signal spawn stdalign stdarg " \
        "stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings " \
        "syslog termios tgmath threads time uchar ucontext unistd utime wchar " \
        "wctype wordexp", names, " ")
    for (i = 1; i <= n; i++)
        libc[names[i] ".h"]

    doc = "doc/architecture.md"
    while ((status = (getline line < doc)) > 0)
        if (line ~ /^\|/)
            read_row(line)
        else
            table = ""
    if (status < 0 || rooms == 0 || patterns == 0) {
        print doc ": the tables of rooms and libraries are not there"
        exit bad = 1
    }
    while ((getline path < "-") > 0)
        ARGV[ARGC++] = path
    if (ARGC == 1) {
        print "no sources found"
        exit bad = 1
    }
}

FNR == 1 {
    files++
    room = room_of(FILENAME)
    if (room == "")
        fail("this file is in no room of doc/architecture.md")
}

room != "" && /^[ \t]*#[ \t]*include/ {
    includes++
    if (match($0, /"[^"]+"/))
        check_ours(substr($0, RSTART + 1, RLENGTH - 2))
    else if (match($0, /<[^>]+>/))
        check_outside(substr($0, RSTART + 1, RLENGTH - 2))
    else
        fail("an include that cannot be checked: name the file")
}

END {
    if (!bad)
        print includes " includes of " files " files keep to doc/architecture.md"
    exit bad
}'
