/* fsync() and rename() are wrapped by the linker: their order is the promise of
 * file_write(), and their failures are cases of it. */
#include "base/file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);

static struct {
    char calls[16]; /* F file, D directory, R rename: the first 15 in order */
    char fail;      /* the one that is to fail */
    int with;       /* its errno */
} disk;

static int record(char call)
{
    size_t n = strlen(disk.calls);
    if (n + 1 < sizeof(disk.calls))
        disk.calls[n] = call;
    if (disk.fail == call)
        errno = disk.with;
    return disk.fail == call ? -1 : 0;
}

int __wrap_fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return record(S_ISDIR(st.st_mode) ? 'D' : 'F') < 0 ? -1 : __real_fsync(fd);
}

int __wrap_rename(const char *from, const char *to)
{
    return record('R') < 0 ? -1 : __real_rename(from, to);
}

static void disk_reset(char fail, int with)
{
    memset(&disk, 0, sizeof(disk));
    disk.fail = fail;
    disk.with = with;
}

/* Every test runs in an empty directory. */
static char top[] = "/tmp/rung-file-test-XXXXXX";
static char work[sizeof(top) + 8];

static int setup(void **state)
{
    (void)state;
    disk_reset(0, 0);
    snprintf(work, sizeof(work), "%s/work", top);
    return mkdir(work, 0700) || chdir(work);
}

static int teardown(void **state)
{
    (void)state;
    disk_reset(0, 0);
    return chdir("/") || dir_remove(work, NULL);
}

static int group_setup(void **state)
{
    (void)state;
    umask(022);
    return mkdtemp(top) ? 0 : -1;
}

static int group_teardown(void **state)
{
    (void)state;
    return dir_remove(top, NULL);
}

static void has(const char *path, const char *text)
{
    struct str s = STR_INIT;
    assert_int_equal(file_read(path, 1000, &s, NULL), 0);
    assert_string_equal(s.p, text);
    str_free(&s);
}

static size_t entries(const char *path)
{
    char **names;
    size_t n;
    assert_int_equal(dir_list(path, &names, &n, NULL), 0);
    free(names);
    return n;
}

static void test_read_bad(void **state)
{
    struct str s = STR_INIT;
    struct err e;
    (void)state;
    str_add(&s, "kept");
    assert_int_equal(file_write("f", "123456", 6, 0600, NULL), 0);
    assert_int_equal(symlink("loop", "loop"), 0);
    const struct {
        const char *path;
        int rc;
    } cases[] = {{"", ERR_NOENT},  {"none", ERR_NOENT}, {"f/none", ERR_NOENT},
                 {".", ERR_INVAL}, {"loop", ERR_INVAL}, {"f", ERR_RANGE}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        memset(&e, 0, sizeof(e));
        assert_int_equal(file_read(cases[i].path, 5, &s, &e), cases[i].rc);
        assert_int_equal(e.code, cases[i].rc);
        assert_memory_equal(e.text, cases[i].path, strlen(cases[i].path));
        assert_int_equal(file_read_gz(cases[i].path, 5, &s, NULL), cases[i].rc);
        assert_string_equal(s.p, "kept");
        assert_int_equal(s.len, 4);
    }
    str_free(&s);
}

/* What somebody else may have put in the place of a file. */
static void test_read_regular(void **state)
{
    struct str s = STR_INIT;
    (void)state;
    assert_int_equal(file_write("f", "123456", 6, 0600, NULL), 0);
    assert_int_equal(symlink("f", "link"), 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(file_read_regular("none", 9, &s, NULL), ERR_NOENT);
    assert_int_equal(file_read_regular("link", 9, &s, NULL), ERR_INVAL);
    assert_int_equal(file_read_regular("fifo", 9, &s, NULL), ERR_INVAL);
    assert_int_equal(file_read_regular(".", 9, &s, NULL), ERR_INVAL);
    assert_int_equal(file_read_regular("/dev/zero", 9, &s, NULL), ERR_INVAL);
    assert_int_equal(file_read_regular("f", 5, &s, NULL), ERR_RANGE);
    assert_string_equal(s.p, "");
    assert_int_equal(file_read_regular("f", 6, &s, NULL), 0);
    assert_string_equal(s.p, "123456");
    str_free(&s);
}

static void test_read(void **state)
{
    struct str s = STR_INIT, big = STR_INIT;
    (void)state;
    assert_int_equal(file_write("empty", "", 0, 0600, NULL), 0);
    assert_int_equal(file_write("f", "a\0b", 3, 0600, NULL), 0);
    str_add(&s, "x");
    assert_int_equal(file_read("empty", 0, &s, NULL), 0);
    assert_int_equal(file_read("f", 3, &s, NULL), 0); /* max is all of it */
    assert_int_equal(s.len, 4);
    assert_memory_equal(s.p, "xa\0b", 5);
    str_cut(&s, 0);
    for (int i = 0; i < 300000; i++)
        str_addc(&big, (char)i);
    assert_int_equal(file_write("big", big.p, big.len, 0600, NULL), 0);
    assert_int_equal(file_read("big", SIZE_MAX, &s, NULL), 0);
    assert_int_equal(s.len, big.len);
    assert_memory_equal(s.p, big.p, big.len);
    /* A file that stat() calls empty. */
    str_cut(&s, 0);
    assert_int_equal(file_read("/proc/self/stat", 10000, &s, NULL), 0);
    assert_true(s.len > 50);
    str_free(&s);
    str_free(&big);
}

static void write_gz(const char *path, const char *mode, const char *text)
{
    gzFile gz = gzopen(path, mode);
    assert_non_null(gz);
    assert_int_equal(gzwrite(gz, text, (unsigned)strlen(text)), strlen(text));
    assert_int_equal(gzclose(gz), Z_OK);
}

static void test_gz(void **state)
{
    struct str packed = STR_INIT, s = STR_INIT;
    struct err e = {0};
    (void)state;
    write_gz("f.gz", "wb", "hello hello hello hello");
    assert_int_equal(file_read("f.gz", 1000, &packed, NULL), 0);
    for (size_t n = 1; n < packed.len; n++) { /* cut short anywhere */
        assert_int_equal(file_write("cut.gz", packed.p, n, 0600, NULL), 0);
        int rc = file_read_gz("cut.gz", 1000, &s, &e);
        assert_int_equal(rc, n == 1 ? 0 : ERR_CORRUPT); /* one byte is no magic */
        assert_int_equal(s.len, n == 1 ? 1 : 0);
        str_cut(&s, 0);
    }
    packed.p[packed.len - 6] ^= 1; /* in the checksum */
    assert_int_equal(file_write("bad.gz", packed.p, packed.len, 0600, NULL), 0);
    assert_int_equal(file_read_gz("bad.gz", 1000, &s, &e), ERR_CORRUPT);
    assert_memory_equal(e.text, "bad.gz: ", 8);
    assert_int_equal(s.len, 0);
    str_add(&s, "> ");
    assert_int_equal(file_read_gz("f.gz", 22, &s, NULL), ERR_RANGE);
    assert_string_equal(s.p, "> ");
    assert_int_equal(file_read_gz("f.gz", 23, &s, NULL), 0);
    assert_string_equal(s.p, "> hello hello hello hello");
    str_cut(&s, 0);
    write_gz("f.gz", "ab", " twice"); /* gzip files may be joined */
    assert_int_equal(file_read_gz("f.gz", 1000, &s, NULL), 0);
    assert_string_equal(s.p, "hello hello hello hello twice");
    str_cut(&s, 0);
    assert_int_equal(file_write("plain", "not packed", 10, 0600, NULL), 0);
    assert_int_equal(file_read_gz("plain", 1000, &s, NULL), 0);
    assert_string_equal(s.p, "not packed");
    assert_int_equal(file_write("empty", "", 0, 0600, NULL), 0);
    assert_int_equal(file_read_gz("empty", 1000, &s, NULL), 0);
    assert_string_equal(s.p, "not packed");
    str_free(&packed);
    str_free(&s);
}

static void test_write(void **state)
{
    struct stat st;
    char path[200];
    (void)state;
    assert_int_equal(file_write("f", "one", 3, 0640, NULL), 0);
    assert_string_equal(disk.calls, "FRD"); /* the bytes, the name, the directory */
    has("f", "one");
    assert_int_equal(stat("f", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(file_write("f", "two", 3, 0666, NULL), 0);
    has("f", "two");
    assert_int_equal(stat("f", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644);
    snprintf(path, sizeof(path), "%s/abs", work);
    assert_int_equal(file_write(path, "3", 1, 0600, NULL), 0);
    /* What a killed process of this number left behind is no obstacle. */
    snprintf(path, sizeof(path), "f.tmp-%ld-0", (long)getpid());
    assert_int_equal(file_write(path, "left", 4, 0600, NULL), 0);
    assert_int_equal(file_write("f", "four", 4, 0600, NULL), 0);
    has("f", "four");
    has(path, "left");
    assert_int_equal(entries("."), 3);
    /* It goes when asked to, and nothing else does. */
    assert_int_equal(file_write("ff.tmp-1-0", "other", 5, 0600, NULL), 0);
    assert_int_equal(file_write("f.tmp", "other", 5, 0600, NULL), 0);
    assert_int_equal(mkdir("f.tmp-2-0", 0700), 0);
    file_tidy("f");
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(entries("."), 5);
    snprintf(path, sizeof(path), "%s/abs.tmp-3-0", work);
    assert_int_equal(file_write(path, "left", 4, 0600, NULL), 0);
    snprintf(path, sizeof(path), "%s/abs", work);
    file_tidy(path);
    assert_int_equal(entries("."), 5);
    file_tidy("nowhere/f");
}

static void test_write_fails(void **state)
{
    static const struct {
        char fail;
        int with, rc;
        const char *calls, *after;
        size_t entries;
    } cases[] = {
        {'F', EIO, ERR_IO, "F", "old", 1},         {'F', ENOSPC, ERR_FULL, "F", "old", 1},
        {'R', EACCES, ERR_DENIED, "FR", "old", 1}, {'D', EIO, ERR_IO, "FRD", "new", 1},
        {'D', EINVAL, 0, "FRD", "new", 1}, /* no directories to sync there */
    };
    struct err e;
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(file_write("f", "old", 3, 0600, NULL), 0);
        memset(&e, 0, sizeof(e));
        disk_reset(cases[i].fail, cases[i].with);
        assert_int_equal(file_write("f", "new", 3, 0600, &e), cases[i].rc);
        assert_string_equal(disk.calls, cases[i].calls);
        disk_reset(0, 0);
        assert_int_equal(e.code, cases[i].rc);
        has("f", cases[i].after);
        assert_int_equal(entries("."), cases[i].entries);
    }
    assert_int_equal(mkdir("dir", 0700), 0);
    assert_int_equal(file_write("none/f", "x", 1, 0600, &e), ERR_NOENT);
    assert_memory_equal(e.text, "none/f: ", 8);
    assert_int_equal(file_write("f/f", "x", 1, 0600, NULL), ERR_NOENT);
    assert_true(file_write("dir", "x", 1, 0600, NULL) < 0);
    assert_true(file_write("", "x", 1, 0600, NULL) < 0);
    assert_int_equal(entries("."), 2); /* f and dir */
}

/* A large file goes to the disk in pieces. */
enum { LARGE = (9 << 20) + 5 };

static void test_write_large(void **state)
{
    static const size_t sizes[] = {LARGE, 8 << 20, (8 << 20) + 1, (4 << 20) - 1};
    char *data = mem_alloc(LARGE);
    struct str back = STR_INIT;
    (void)state;
    for (size_t i = 0; i < LARGE; i++)
        data[i] = (char)(i * 251 >> 12);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        assert_int_equal(file_write("f", data, sizes[i], 0600, NULL), 0);
        str_cut(&back, 0);
        assert_int_equal(file_read("f", LARGE, &back, NULL), 0);
        assert_int_equal(back.len, sizes[i]);
        assert_memory_equal(back.p, data, sizes[i]);
    }
    str_free(&back);
    free(data);
}

/* No room: a file size limit, which acts as a full disk does, after some bytes. */
static void write_full(size_t size, rlim_t room)
{
    char *data = mem_alloc(size);
    struct rlimit old, limit;
    struct err e = {0};
    assert_int_equal(file_write("f", "old", 3, 0600, NULL), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit = (struct rlimit){room, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int rc = file_write("f", data, size, 0600, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(rc, ERR_FULL);
    assert_memory_equal(e.text, "f: ", 3);
    has("f", "old");
    assert_int_equal(entries("."), 1);
    free(data);
}

static void test_write_full(void **state)
{
    (void)state;
    write_full(200000, 100000);
    write_full(LARGE, 6 << 20); /* in its second piece */
}

static void test_write_fd(void **state)
{
    struct err e = {0};
    (void)state;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(file_write_fd(fd, "x", 1, &e), ERR_FULL);
    assert_int_equal(file_write_fd(fd, "x", 0, NULL), 0);
    close(fd);
    assert_int_equal(file_write_fd(fd, "x", 1, NULL), ERR_IO);
}

static void test_commit(void **state)
{
    struct err e = {0};
    (void)state;
    assert_int_equal(file_commit("none", "f", &e), ERR_NOENT);
    assert_int_equal(file_write("tmp", "new", 3, 0600, NULL), 0);
    disk_reset('F', EIO);
    assert_int_equal(file_commit("tmp", "f", &e), ERR_IO);
    assert_int_equal(entries("."), 0); /* tmp is gone, and no f has come */
    disk_reset(0, 0);
    assert_int_equal(mkdir("dir", 0700), 0);
    assert_int_equal(file_write("tmp", "new", 3, 0600, NULL), 0);
    assert_true(file_commit("tmp", "dir", &e) < 0);
    assert_int_equal(entries("."), 1);
    assert_int_equal(file_write("tmp", "new", 3, 0600, NULL), 0);
    disk_reset(0, 0);
    assert_int_equal(file_commit("tmp", "dir/f", &e), 0);
    assert_string_equal(disk.calls, "FRD");
    has("dir/f", "new");
    assert_int_equal(entries("."), 1);
}

static void test_dir_make(void **state)
{
    struct stat st;
    struct err e = {0};
    (void)state;
    assert_int_equal(file_write("f", "", 0, 0600, NULL), 0);
    assert_int_equal(dir_make("", 0755, &e), ERR_NOENT);
    assert_int_equal(dir_make("f", 0755, &e), ERR_EXIST);
    assert_true(dir_make("f/a/b", 0755, &e) < 0);
    assert_int_equal(entries("."), 1);
    assert_int_equal(dir_make_new("f", 0755, &e), ERR_EXIST);
    assert_true(dir_make_new("f/a", 0755, &e) < 0);
    assert_int_equal(dir_make_new("new//x/", 0755, &e), 0);
    assert_int_equal(dir_make_new("new/x", 0755, &e), ERR_EXIST);
    assert_int_equal(dir_make_new("new/y", 0755, &e), 0);

    assert_int_equal(dir_make("a/b//c/", 0750, &e), 0);
    assert_int_equal(stat("a/b/c", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(dir_make("a/b/c", 0700, &e), 0); /* there already */
    assert_int_equal(dir_make("/", 0700, &e), 0);
    assert_int_equal(dir_make(".", 0700, &e), 0);
    assert_int_equal(symlink("a", "link"), 0);
    assert_int_equal(dir_make("link/d", 0700, &e), 0);
    assert_int_equal(stat("a/d", &st), 0);
}

static void test_dir_remove(void **state)
{
    struct stat st;
    struct err e = {0};
    (void)state;
    assert_int_equal(dir_remove("none", &e), 0);
    assert_int_equal(dir_make("keep/d", 0700, NULL), 0);
    assert_int_equal(file_write("keep/f", "", 0, 0600, NULL), 0);
    assert_int_equal(dir_make("t/a/b", 0700, NULL), 0);
    for (int i = 0; i < 300; i++) {
        char path[64];
        snprintf(path, sizeof(path), "t/a/%d", i);
        assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0400)), 0);
    }
    assert_int_equal(symlink("../keep", "t/link"), 0);
    assert_int_equal(symlink("nowhere", "t/dangling"), 0);
    assert_int_equal(mkfifo("t/fifo", 0600), 0);
    assert_int_equal(dir_remove("t", &e), 0);
    assert_int_equal(stat("t", &st), -1);
    assert_int_equal(entries("keep"), 2);
    assert_int_equal(symlink("keep", "link"), 0);
    assert_int_equal(dir_remove("link", &e), 0); /* the link itself */
    assert_int_equal(entries("keep"), 2);
    assert_int_equal(dir_remove("keep/f", &e), 0); /* rm -r takes files, too */
    assert_true(dir_remove("/proc/self", &e) < 0);
    assert_memory_equal(e.text, "/proc/self", 10);
}

static bool no_logs(const char *name)
{
    return strcmp(name, "log") != 0;
}

static void assert_file(const char *path, const char *want)
{
    struct str text = STR_INIT;
    assert_int_equal(file_read(path, 100, &text, NULL), 0);
    assert_string_equal(text.p, want);
    str_free(&text);
}

static void test_dir_copy(void **state)
{
    const struct timespec times[] = {{1, 0}, {1000000007, 5}};
    struct stat st;
    struct err e = {0};
    char target[16] = "";
    (void)state;
    assert_int_equal(dir_copy("none", "to", NULL, &e), ERR_NOENT);
    assert_int_equal(dir_make("from/a", 0700, NULL), 0);
    assert_int_equal(file_write("from/f", "text", 4, 0640, NULL), 0);
    assert_int_equal(file_write("from/a/empty", "", 0, 0600, NULL), 0);
    assert_int_equal(file_write("from/a/log", "deep", 4, 0600, NULL), 0);
    assert_int_equal(file_write("from/log", "x", 1, 0600, NULL), 0);
    assert_int_equal(symlink("a/log", "from/link"), 0);
    assert_int_equal(mkfifo("from/fifo", 0600), 0);
    assert_int_equal(utimensat(AT_FDCWD, "from/f", times, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, "from/a", times, 0), 0);
    assert_int_equal(dir_copy("from", "to", no_logs, &e), 0);
    assert_int_equal(entries("to"), 3);
    assert_int_equal(entries("to/a"), 2);
    assert_file("to/f", "text");
    assert_file("to/a/log", "deep");
    assert_file("to/a/empty", "");
    assert_int_equal(stat("to/f", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    assert_true(st.st_mtim.tv_sec == 1000000007 && st.st_mtim.tv_nsec == 5);
    assert_int_equal(stat("to/a", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(st.st_mtim.tv_sec, 1000000007);
    assert_int_equal(readlink("to/link", target, sizeof(target) - 1), 5);
    assert_string_equal(target, "a/log");
    assert_int_equal(dir_copy("from", "to", NULL, &e), ERR_EXIST);
    disk_reset('F', EIO);
    assert_true(dir_copy("from", "again", NULL, &e) < 0); /* it may not be on the disk */
    disk_reset(0, 0);
    /* where the kernel copies nothing by itself */
    assert_int_equal(dir_copy("/proc/sys/kernel/random", "proc", NULL, NULL), 0);
    assert_int_equal(stat("proc/boot_id", &st), 0);
    assert_int_equal(st.st_size, 37);
}

static void test_dir_list(void **state)
{
    static const char *const want[] = {".hidden", "B", "a", "b10", "b9"};
    char **names = NULL;
    size_t n = 77;
    struct err e = {0};
    (void)state;
    assert_int_equal(dir_list("none", &names, &n, &e), ERR_NOENT);
    assert_null(names);
    assert_int_equal(n, 77);
    assert_int_equal(dir_list(".", &names, &n, &e), 0);
    assert_int_equal(n, 0);
    assert_null(names[0]);
    free(names);
    for (size_t i = COUNT(want); i-- > 0;)
        assert_int_equal(file_write(want[i], "", 0, 0600, NULL), 0);
    assert_int_equal(dir_list(".", &names, &n, &e), 0);
    assert_int_equal(n, COUNT(want));
    for (size_t i = 0; i < n; i++)
        assert_string_equal(names[i], want[i]);
    assert_null(names[n]);
    free(names);
}

static void test_dir_sync(void **state)
{
    (void)state;
    assert_int_equal(dir_sync("none", NULL), ERR_NOENT);
    assert_int_equal(file_write("f", "", 0, 0600, NULL), 0);
    assert_int_equal(dir_sync("f", NULL), ERR_NOENT); /* ENOTDIR */
    disk_reset(0, 0);
    assert_int_equal(dir_sync(".", NULL), 0);
    assert_string_equal(disk.calls, "D");
    disk_reset('D', EIO);
    assert_int_equal(dir_sync(".", NULL), ERR_IO);
}

static void test_standard(void **state)
{
    int kept = dup(STDERR_FILENO), next;
    struct stat null, st;
    (void)state;
    assert_int_equal(stat("/dev/null", &null), 0);
    assert_int_equal(close(STDERR_FILENO), 0);
    assert_int_equal(file_standard(NULL), 0);
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    assert_true(st.st_rdev == null.st_rdev);
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFD), 0); /* for children, too */
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    next = dup(kept);
    close(next);
    assert_int_equal(file_standard(NULL), 0);
    assert_int_equal(fcntl(next, F_GETFD), -1); /* it leaves none open */
    close(kept);
}

static void test_path_join(void **state)
{
    static const struct {
        const char *dir, *name, *want;
    } cases[] = {{"", "f", "f"}, {"/", "f", "/f"}, {"a", "f", "a/f"}, {"a/", "f", "a/f"}};
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *path = path_join(cases[i].dir, cases[i].name);
        assert_string_equal(path, cases[i].want);
        free(path);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_read_bad),   TEST(test_read),         TEST(test_gz),
        TEST(test_write),      TEST(test_write_fails),  TEST(test_write_large),
        TEST(test_write_full), TEST(test_write_fd),     TEST(test_commit),
        TEST(test_dir_make),   TEST(test_dir_remove),   TEST(test_dir_copy),
        TEST(test_dir_list),   TEST(test_dir_sync),     TEST(test_path_join),
        TEST(test_standard),   TEST(test_read_regular),
    };
    return cmocka_run_group_tests_name("base/file", tests, group_setup, group_teardown);
}
