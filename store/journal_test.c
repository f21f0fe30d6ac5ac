#include "store/journal.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Stands before libc's: a disk that fails on demand, after `fsync_good` more calls.
 * `fsync_then` is called once, behind the next. */
static int fsyncs, fsync_good, fsync_errno;
static void (*fsync_then)(void);

int fsync(int fd)
{
    void (*then)(void) = fsync_then;

    fsyncs++;
    fsync_then = NULL;
    if (fsync_errno && fsync_good-- <= 0) {
        errno = fsync_errno;
        return -1;
    }
    int rc = (int)syscall(SYS_fsync, fd);

    if (then)
        then();
    return rc;
}

/* ---- a journal to play with ---- */

static char dir[] = "journal_test.XXXXXX";

static int setup(void **state)
{
    (void)state;
    fsync_errno = fsync_good = 0;
    strcpy(dir + sizeof(dir) - 7, "XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return dir_remove(dir, NULL);
}

static char *path_of(int epoch)
{
    static char path[64];

    snprintf(path, sizeof(path), "%s/journal/%06d.jsonl", dir, epoch);
    return path;
}

static struct journal *begin(void)
{
    struct event ev = {.kind = EVENT_EPOCH, .time = 1, .trial = -1};
    struct journal *j;
    struct err e;

    if (journal_begin(dir, &ev, &j, NULL, &e) != 0)
        fail_msg("%s", e.text);
    return j;
}

static int try_begin(struct err *e)
{
    struct event ev = {.kind = EVENT_EPOCH, .time = 1, .trial = -1};
    struct journal *j = NULL;
    int rc = journal_begin(dir, &ev, &j, NULL, e);

    assert_int_equal(j != NULL, rc == 0);
    journal_close(j);
    return rc;
}

static void append(struct journal *j, const char *word)
{
    struct event ev = {.kind = EVENT_PAUSE, .time = 1, .trial = -1};

    ev.why.reason = slice_of(word);
    journal_append(j, &ev, NULL);
}

/* The words, each a letter, in one commit. */
static void commit(struct journal *j, const char *words)
{
    struct err e;

    for (; *words; words++)
        append(j, (char[]){*words, '\0'});
    if (journal_commit(j, &e) != 0)
        fail_msg("%s", e.text);
}

/* What was read: "1abc2d" for epoch 1, the words a, b, c, epoch 2, the word d. */
struct story {
    struct str text;
    struct journal_pos pos;
    struct journal_tail tail;
    struct err e;
    int stop_at, stop_with; /* the fn returns stop_with at the stop_at-th event */
};

static int tell(void *ctx, const struct event *ev, struct err *e)
{
    struct story *s = ctx;

    if (s->stop_at && --s->stop_at == 0)
        return s->stop_with < 0 ? err_set(e, s->stop_with, "no more") : s->stop_with;
    if (ev->kind == EVENT_EPOCH)
        str_addf(&s->text, "%d", ev->epoch.epoch);
    else
        str_addn(&s->text, ev->why.reason.p, ev->why.reason.len);
    return 0;
}

static int read_on(struct story *s, const struct journal_pos *limit)
{
    s->e = (struct err){0};
    return journal_read(dir, &s->pos, limit, tell, s, &s->tail, &s->e);
}

#define STORY                                                                            \
    {                                                                                    \
        .text = STR_INIT                                                                 \
    }

/* All of it is read, and reads so. */
static void assert_story(const char *want)
{
    struct story s = STORY;

    if (read_on(&s, NULL) != 0)
        fail_msg("%s", s.e.text);
    assert_string_equal(s.text.p, want);
    assert_int_equal(s.pos.events, strlen(want));
    str_free(&s.text);
}

/* It cannot be read, and the error says why. */
static void assert_error(int code, const char *says)
{
    struct story s = STORY;

    assert_int_equal(read_on(&s, NULL), code);
    assert_int_equal(s.e.code, code);
    if (!strstr(s.e.text, says))
        fail_msg("'%s' does not say '%s'", s.e.text, says);
    str_free(&s.text);
}

static void slurp(const char *path, struct str *out)
{
    assert_int_equal(file_read(path, 1 << 30, out, NULL), 0);
}

static void spill(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static void poke(const char *path, int64_t offset, const void *data, size_t n)
{
    int fd = open(path, O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, n, offset), n);
    close(fd);
}

static int64_t size_of(const char *path)
{
    struct stat st;

    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* Byte at which line n (from 1) of a file begins. */
static int64_t line_at(const char *path, int n)
{
    struct str s = STR_INIT;
    const char *p;

    slurp(path, &s);
    for (p = s.p; --n > 0; p++)
        p = strchr(p, '\n');
    int64_t at = p - s.p;
    str_free(&s);
    return at;
}

/* ---- tests: what cannot be read ---- */

static void test_nothing_there(void **state)
{
    char *path = path_join(dir, "journal");

    (void)state;
    assert_error(ERR_NOENT, "journal");
    assert_int_equal(mkdir(path, 0755), 0);
    assert_error(ERR_NOENT, "no epoch has begun");
    spill(path_of(1), "", 0);
    spill(path_of(3), "{\"e\":\"epoch\",", 13);
    assert_error(ERR_NOENT, "no epoch has begun");
    spill(path_of(4), "\0\0\0\0\n\n\n", 7);
    assert_error(ERR_NOENT, "no epoch has begun");
    assert_int_equal(try_begin(NULL), 0);
    assert_story("5");
    free(path);
}

static void test_no_file(void **state)
{
    struct err e;
    char *path;

    (void)state;
    journal_close(begin());
    assert_int_equal(mkdir(path_of(2), 0755), 0);
    assert_error(ERR_CORRUPT, "000002.jsonl: is no file");
    assert_int_equal(try_begin(&e), ERR_CORRUPT);
    assert_int_equal(dir_remove(dir, NULL), 0);
    assert_int_equal(mkdir(dir, 0755), 0);
    path = path_join(dir, "journal");
    spill(path, "", 0);
    assert_error(ERR_NOENT, "Not a directory");
    assert_int_equal(try_begin(&e), ERR_EXIST);
    free(path);
}

static void test_other_files(void **state)
{
    static const char *const names[] = {
        "2.jsonl",          "000002.jsonl.bak", "0000002.jsonl",
        "000002.json",      "-00002.jsonl",     " 00002.jsonl",
        "9999999999.jsonl", "000000.jsonl",     "+00002.jsonl"};

    (void)state;
    journal_close(begin());
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct str path = STR_INIT;
        str_addf(&path, "%s/journal/%s", dir, names[i]);
        spill(path.p, "?", 1);
        str_free(&path);
    }
    assert_story("1");
    assert_int_equal(try_begin(NULL), 0);
    assert_story("12");
}

static void test_damage_before_a_commit(void **state)
{
    struct journal *j = begin();
    struct err e = {0};

    (void)state;
    commit(j, "abc");
    commit(j, "d");
    journal_close(j);
    poke(path_of(1), line_at(path_of(1), 3) + 10, "?", 1);
    assert_error(ERR_CORRUPT, "000001.jsonl:3: damaged");
    assert_int_equal(try_begin(&e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "000001.jsonl:3: damaged"));
    assert_error(ERR_CORRUPT, "000001.jsonl:3: damaged");
}

static void test_damage_of_the_first_line(void **state)
{
    struct journal *j = begin();
    struct err e = {0};

    (void)state;
    commit(j, "a");
    journal_close(j);
    poke(path_of(1), 30, "?", 1);
    assert_error(ERR_CORRUPT, "000001.jsonl:1: damaged");
    assert_int_equal(try_begin(&e), ERR_CORRUPT);
    assert_non_null(strstr(e.text, "000001.jsonl:1: damaged"));
}

static void test_damage_of_what_was_accepted(void **state)
{
    struct str whole = STR_INIT;
    struct journal *j = begin();
    char *one = mem_strdup(path_of(1));

    (void)state;
    commit(j, "ab");
    journal_close(j);
    journal_close(begin());
    assert_story("1ab2");
    slurp(one, &whole);
    poke(one, line_at(one, 3) + 10, "?", 1);
    assert_error(ERR_CORRUPT, "000001.jsonl:3: damaged");
    spill(one, whole.p, whole.len);
    assert_story("1ab2");
    assert_int_equal(truncate(one, line_at(one, 3)), 0);
    assert_error(ERR_CORRUPT, "bytes are left of the");
    assert_int_equal(truncate(one, line_at(one, 3) - 1), 0);
    assert_error(ERR_CORRUPT, "bytes are left of the");
    assert_int_equal(truncate(one, 0), 0);
    assert_error(ERR_CORRUPT, "000001.jsonl: missing, or without its first line");
    assert_int_equal(unlink(one), 0);
    assert_error(ERR_CORRUPT, "000001.jsonl: missing, or without its first line");
    free(one);
    str_free(&whole);
}

/* A file's own first line, rewritten. */
static void rewrite_first(int epoch, void (*change)(struct event *ev))
{
    struct event_scratch *scratch = event_scratch_new();
    struct str s = STR_INIT, line = STR_INIT;
    struct event ev;

    slurp(path_of(epoch), &s);
    size_t n = strcspn(s.p, "\n");
    assert_int_equal(event_decode(s.p, n, &ev, NULL, scratch, NULL), 0);
    change(&ev);
    event_encode(&ev, NULL, true, &line);
    str_add(&line, s.p + n);
    spill(path_of(epoch), line.p, line.len);
    event_scratch_free(scratch);
    str_free(&s);
    str_free(&line);
}

static void one_event_more(struct event *ev)
{
    ev->epoch.after_events++;
}

static void after_itself(struct event *ev)
{
    ev->epoch.after = ev->epoch.epoch;
}

static void to_a_pause(struct event *ev)
{
    *ev = (struct event){.kind = EVENT_PAUSE, .time = 1, .trial = -1};
}

static void test_damage_that_has_a_checksum(void **state)
{
    struct str s = STR_INIT;

    (void)state;
    journal_close(begin());
    journal_close(begin());
    rewrite_first(2, one_event_more);
    assert_error(ERR_CORRUPT,
                 "000002.jsonl:1: 2 events were accepted before it, 1 are there");
    rewrite_first(2, after_itself);
    assert_error(ERR_CORRUPT, "000002.jsonl:1: it is not how epoch 2 began");
    rewrite_first(2, to_a_pause);
    assert_error(ERR_CORRUPT, "000002.jsonl:1: it is not how epoch 2 began");
    slurp(path_of(1), &s);
    spill(path_of(2), s.p, s.len);
    assert_error(ERR_CORRUPT, "000002.jsonl:1: it is not how epoch 2 began");
    assert_int_equal(unlink(path_of(2)), 0);
    str_addn(&s, s.p, s.len);
    spill(path_of(1), s.p, s.len);
    assert_error(ERR_CORRUPT, "000001.jsonl:2: ");
    str_free(&s);
}

static void test_newer_release(void **state)
{
    static const char body[] =
        "{\"e\":\"epoch\",\"t\":1.0,\"c\":1,\"format\":2,\"epoch\":1";
    struct str line = STR_INIT;
    char hex[17];
    struct err e = {0};

    (void)state;
    journal_close(begin());
    hash_hex(hex, hash64(body, strlen(body)));
    str_addf(&line, "%s,\"x\":\"%s\"}\n", body, hex);
    spill(path_of(1), line.p, line.len);
    assert_error(ERR_VERSION, "000001.jsonl:1: ");
    assert_int_equal(try_begin(&e), ERR_VERSION);
    assert_non_null(strstr(e.text, "newer release"));
    str_free(&line);
}

/* ---- tests: torn ends ---- */

/* Whatever a crash leaves of the last commit, what came before is read, and the next
 * epoch goes on from there. */
static void test_torn_anywhere(void **state)
{
    struct str whole = STR_INIT;
    struct journal *j = begin();

    (void)state;
    commit(j, "ab");
    int64_t durable = journal_bytes(j);
    commit(j, "cd");
    journal_close(j);
    slurp(path_of(1), &whole);
    int64_t c_ends = line_at(path_of(1), 5);
    for (int64_t n = durable; n <= (int64_t)whole.len; n++) {
        bool has_c = n >= c_ends, has_d = n == (int64_t)whole.len;
        int64_t kept = has_d ? n : has_c ? c_ends : durable, torn = -1;
        struct event ev = {.kind = EVENT_EPOCH, .time = 1, .trial = -1};
        struct story s = STORY;
        spill(path_of(1), whole.p, (size_t)n);
        assert_int_equal(read_on(&s, NULL), 0);
        assert_string_equal(s.text.p, has_d ? "1abcd" : has_c ? "1abc" : "1ab");
        assert_int_equal(s.pos.offset, kept);
        assert_int_equal(s.tail.torn_bytes, n - kept);
        assert_int_equal(journal_begin(dir, &ev, &j, &torn, NULL), 0);
        assert_int_equal(torn, n - kept);
        assert_int_equal(ev.epoch.after_bytes, kept);
        assert_int_equal(journal_events(j), s.pos.events + 1);
        commit(j, "x");
        journal_close(j);
        assert_story(has_d ? "1abcd2x" : has_c ? "1abc2x" : "1ab2x");
        assert_int_equal(size_of(path_of(1)), n);
        assert_int_equal(unlink(path_of(2)), 0);
        str_free(&s.text);
    }
    str_free(&whole);
}

/* The pages of a write need not reach the disk in order: one in the middle of the last
 * commit is zeros, what follows is whole. */
static void test_lost_page(void **state)
{
    struct str whole = STR_INIT;
    struct journal *j = begin();
    char zeros[100] = {0};

    (void)state;
    commit(j, "a");
    commit(j, "bcdef");
    journal_close(j);
    slurp(path_of(1), &whole);
    for (int first = 3; first <= 7; first++) { /* lines 3..7 are b..f */
        char want[16] = "1abcdef";
        struct story s = STORY;
        want[first - 1] = '\0';
        spill(path_of(1), whole.p, whole.len);
        /* from inside that line into the next one */
        int64_t at = line_at(path_of(1), first) + 20, left = (int64_t)whole.len - at;
        poke(path_of(1), at, zeros, left < 100 ? (size_t)left : 100);
        assert_int_equal(read_on(&s, NULL), 0);
        assert_string_equal(s.text.p, want);
        assert_int_equal(s.tail.torn_bytes, (int64_t)whole.len - at + 20);
        journal_close(begin());
        strcat(want, "2");
        assert_story(want);
        assert_int_equal(unlink(path_of(2)), 0);
        str_free(&s.text);
    }
    str_free(&whole);
}

/* A file that was made long before its bytes came: zeros far beyond any line. */
static void test_long_tail(void **state)
{
    struct journal *j = begin();
    struct story s = STORY;
    int64_t size;

    (void)state;
    commit(j, "a");
    journal_close(j);
    size = size_of(path_of(1));
    assert_int_equal(truncate(path_of(1), size + (100 << 20)), 0);
    assert_int_equal(read_on(&s, NULL), 0);
    assert_string_equal(s.text.p, "1a");
    assert_int_equal(s.tail.torn_bytes, 100 << 20);
    journal_close(begin());
    assert_story("1a2");
    str_free(&s.text);
}

/* ---- tests: reading ---- */

static void test_reading_on(void **state)
{
    struct story s = STORY;
    struct journal *j = begin();

    (void)state;
    for (int i = 0; i < 3; i++) {
        commit(j, "ab");
        assert_int_equal(read_on(&s, NULL), 0);
        assert_int_equal(s.tail.torn_bytes, 0);
        assert_int_equal(s.pos.epoch, i + 1);
        assert_int_equal(s.pos.events, journal_events(j));
        assert_int_equal(s.pos.offset, journal_bytes(j));
        commit(j, "c");
        journal_close(j);
        j = begin();
        assert_int_equal(journal_epoch(j), i + 2);
    }
    journal_close(j);
    assert_int_equal(read_on(&s, NULL), 0);
    assert_int_equal(read_on(&s, NULL), 0);
    assert_string_equal(s.text.p, "1abc2abc3abc4");
    str_free(&s.text);
}

static void test_limit(void **state)
{
    struct journal *j = begin();
    struct journal_pos limit[4] = {{0}};

    (void)state;
    limit[0] = (struct journal_pos){1, journal_bytes(j), 0};
    commit(j, "ab");
    limit[1] = (struct journal_pos){1, journal_bytes(j), 0};
    journal_close(j);
    j = begin();
    commit(j, "c");
    limit[2] = (struct journal_pos){2, journal_bytes(j), 0};
    commit(j, "d");
    limit[3] = (struct journal_pos){2, journal_bytes(j) - 1, 0}; /* in the middle of d */
    journal_close(j);
    journal_close(begin());
    static const char *const want[4] = {"1", "1ab", "1ab2c", "1ab2c"};
    for (int i = 0; i < 4; i++) {
        struct story s = STORY;
        assert_int_equal(read_on(&s, &limit[i]), 0);
        assert_string_equal(s.text.p, want[i]);
        assert_int_equal(read_on(&s, NULL), 0);
        assert_string_equal(s.text.p, "1ab2cd3");
        str_free(&s.text);
    }
    struct story s = STORY;
    limit[0].epoch = 9;
    assert_int_equal(read_on(&s, &limit[0]), ERR_FENCED);
    assert_string_equal(s.text.p, "");
    str_free(&s.text);
}

static void test_reader_stops(void **state)
{
    struct story s = {.text = STR_INIT, .stop_at = 3, .stop_with = 7};
    struct journal *j = begin();

    (void)state;
    commit(j, "abcd");
    journal_close(j);
    assert_int_equal(read_on(&s, NULL), 7);
    assert_string_equal(s.text.p, "1a");
    s.stop_at = 2;
    s.stop_with = ERR_PROTO;
    assert_int_equal(read_on(&s, NULL), ERR_PROTO);
    assert_string_equal(s.text.p, "1ab");
    assert_non_null(strstr(s.e.text, "000001.jsonl:4: no more"));
    assert_int_equal(read_on(&s, NULL), 0);
    assert_string_equal(s.text.p, "1abcd");
    assert_int_equal(s.pos.events, 5);
    str_free(&s.text);
}

/* ---- tests: epochs ---- */

static void test_void_epochs(void **state)
{
    struct story s = STORY;
    struct journal *j = begin();

    (void)state;
    commit(j, "ab");
    journal_close(j);
    spill(path_of(2), "", 0);
    spill(path_of(4), "{\"e\":\"epoch\",\"t\"", 16);
    j = begin();
    assert_int_equal(journal_epoch(j), 5);
    commit(j, "c");
    journal_close(j);
    spill(path_of(6), "", 0);
    assert_int_equal(read_on(&s, NULL), 0);
    assert_string_equal(s.text.p, "1ab5c");
    assert_int_equal(s.tail.epoch, 5);
    assert_int_equal(s.tail.void_files, 3);
    str_free(&s.text);
    j = begin();
    assert_int_equal(journal_epoch(j), 7);
    journal_close(j);
    assert_story("1ab5c7");
}

/* A controller that slept between creating its file and writing its first line: by the
 * time it does, another epoch has begun without it. */
static void test_late_first_line(void **state)
{
    struct str line = STR_INIT;
    struct event ev = {.kind = EVENT_EPOCH, .time = 1, .trial = -1};
    struct journal *j = begin();
    struct story s = STORY;

    (void)state;
    commit(j, "a");
    ev.epoch.epoch = 2;
    ev.epoch.after = 1;
    ev.epoch.after_bytes = journal_bytes(j);
    ev.epoch.after_events = journal_events(j);
    journal_close(j);
    spill(path_of(2), "", 0);
    journal_close(begin());
    event_encode(&ev, NULL, true, &line);
    str_addc(&line, '\n');
    spill(path_of(2), line.p, line.len);
    assert_story("1a3");
    /* a reader that saw it before the other's first line was there begins again */
    assert_int_equal(rename(path_of(3), "journal_test.away"), 0);
    assert_int_equal(read_on(&s, NULL), 0);
    assert_string_equal(s.text.p, "1a2");
    assert_int_equal(rename("journal_test.away", path_of(3)), 0);
    assert_int_equal(read_on(&s, NULL), ERR_FENCED);
    assert_story("1a3");
    str_free(&s.text);
    str_free(&line);
}

static void test_two_writers(void **state)
{
    struct journal *old = begin(), *new;
    struct story s = STORY;
    struct err e = {0};

    (void)state;
    commit(old, "a");
    new = begin();
    append(old, "b");
    assert_int_equal(journal_commit(old, &e), ERR_FENCED);
    assert_non_null(strstr(e.text, "epoch 2 has begun"));
    e = (struct err){0};
    append(old, "c");
    assert_int_equal(journal_commit(old, &e), ERR_FENCED);
    assert_int_equal(e.code, ERR_FENCED);
    commit(new, "d");
    assert_int_equal(read_on(&s, NULL), 0);
    assert_string_equal(s.text.p, "1a2d");
    assert_true(s.tail.ignored_bytes > 0);
    assert_int_equal(s.tail.torn_bytes, 0);
    journal_close(old);
    journal_close(new);
    str_free(&s.text);
}

/* Without anything to write, the look for a newer epoch remains. */
static void test_fenced_while_idle(void **state)
{
    struct journal *old = begin();

    (void)state;
    assert_false(journal_pending(old));
    assert_int_equal(journal_commit(old, NULL), 0);
    spill(path_of(2), "", 0); /* its creator may be about to read our length */
    assert_int_equal(journal_commit(old, NULL), ERR_FENCED);
    journal_close(old);
}

/* A reader has seen the end of a commit that a crash took back. */
static void test_successor_cuts(void **state)
{
    struct story s = STORY;
    struct journal *j = begin();

    (void)state;
    commit(j, "a");
    int64_t durable = journal_bytes(j);
    commit(j, "b");
    journal_close(j);
    assert_int_equal(read_on(&s, NULL), 0);
    assert_string_equal(s.text.p, "1ab");
    assert_int_equal(truncate(path_of(1), durable), 0);
    assert_int_equal(read_on(&s, NULL), ERR_FENCED);
    assert_non_null(strstr(s.e.text, "cut shorter"));
    journal_close(begin());
    assert_int_equal(read_on(&s, NULL), ERR_FENCED);
    s.pos = (struct journal_pos){0};
    str_cut(&s.text, 0);
    assert_int_equal(read_on(&s, NULL), 0);
    assert_string_equal(s.text.p, "1a2");
    str_free(&s.text);
}

/* ---- tests: disks ---- */

static struct journal *alive;

static void write_on(void)
{
    struct err e;

    append(alive, "b");
    assert_int_equal(journal_commit(alive, &e), ERR_FENCED);
}

/* What a predecessor writes behind the sync of it may not be on disk: it is not accepted,
 * though it can be read. */
static void test_written_after_the_sync(void **state)
{
    (void)state;
    alive = begin();
    commit(alive, "a");
    fsync_then = write_on;
    journal_close(begin());
    assert_story("1a2");
    journal_close(alive);
}

static void test_full_disk(void **state)
{
    struct journal *j = begin();
    struct rlimit old, tight;
    struct err e = {0};
    char *long_word = mem_alloc(5000);

    (void)state;
    memset(long_word, 'x', 4999);
    commit(j, "a");
    int64_t durable = journal_bytes(j);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    tight = (struct rlimit){(rlim_t)durable + 1000, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    append(j, "b");
    append(j, long_word);
    assert_int_equal(journal_commit(j, &e), ERR_FULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_non_null(strstr(e.text, "000001.jsonl"));
    assert_int_equal(journal_bytes(j), durable);
    assert_int_equal(size_of(path_of(1)), durable + 1000);
    append(j, "c"); /* there is room again, and it is too late */
    assert_int_equal(journal_commit(j, &e), ERR_FULL);
    assert_int_equal(size_of(path_of(1)), durable + 1000);
    journal_close(j);
    assert_story("1ab");
    journal_close(begin());
    assert_story("1ab2");
    free(long_word);
}

static void test_failing_fsync(void **state)
{
    struct journal *j = begin();
    struct err e = {0};

    (void)state;
    commit(j, "a");
    int64_t durable = journal_bytes(j);
    append(j, "b");
    fsync_errno = EIO;
    assert_int_equal(journal_commit(j, &e), ERR_IO);
    assert_non_null(strstr(e.text, "000001.jsonl"));
    fsync_errno = 0;
    int before = fsyncs;
    assert_int_equal(journal_commit(j, &e), ERR_IO);
    append(j, "c");
    assert_int_equal(journal_commit(j, &e), ERR_IO);
    assert_int_equal(fsyncs, before);
    assert_int_equal(journal_bytes(j), durable);
    journal_close(j);
}

static void test_failing_begin(void **state)
{
    struct journal *j = begin();
    struct err e = {0};

    (void)state;
    commit(j, "a");
    journal_close(j);
    fsync_errno = EIO; /* the predecessor cannot be made durable */
    assert_true(try_begin(&e) < 0);
    assert_non_null(strstr(e.text, "fsync"));
    fsync_errno = 0;
    assert_story("1a"); /* 000002.jsonl is there, and void */
    assert_int_equal(size_of(path_of(2)), 0);
    journal_close(begin());
    assert_story("1a3");
    fsync_errno = EIO; /* its own first line cannot be */
    fsync_good = 2;
    assert_int_equal(try_begin(&e), ERR_IO);
    assert_non_null(strstr(e.text, "000004.jsonl"));
    fsync_errno = 0;
    journal_close(begin());
    assert_story("1a345");
    fsync_errno = EIO; /* the predecessor's name cannot be made durable */
    fsync_good = 1;
    assert_int_equal(try_begin(&e), ERR_IO);
    fsync_errno = 0;
    assert_int_equal(size_of(path_of(6)), 0);
    assert_story("1a345");
}

static void test_no_number_left(void **state)
{
    struct err e = {0};

    (void)state;
    journal_close(begin());
    spill(path_of(INT32_MAX), "", 0);
    assert_int_equal(try_begin(&e), ERR_EXIST);
    assert_non_null(strstr(e.text, "no number is left"));
    assert_story("1");
}

static void test_commits_are_marked(void **state)
{
    struct str s = STR_INIT;
    struct journal *j = begin();
    int marks = 0;

    (void)state;
    assert_false(journal_pending(j));
    append(j, "a");
    assert_true(journal_pending(j));
    append(j, "b");
    assert_int_equal(journal_commit(j, NULL), 0);
    assert_false(journal_pending(j));
    append(j, "lost"); /* never committed */
    assert_int_equal(journal_events(j), 3);
    journal_close(j);
    journal_close(NULL);
    slurp(path_of(1), &s);
    for (const char *p = s.p; (p = strstr(p, ",\"c\":1,")) != NULL; p++)
        marks++;
    assert_int_equal(marks, 2);
    assert_story("1ab");
    str_free(&s);
}

/* ---- tests: many processes ---- */

/* Reads on until `n` events were read. */
static void follow(int64_t n)
{
    struct story s = STORY;

    while (s.pos.events < n) {
        int rc = read_on(&s, NULL);
        if (rc != 0 && rc != ERR_NOENT)
            fail_msg("%s", s.e.text);
        usleep(200);
    }
    for (size_t i = 1; i < s.text.len; i++)
        assert_int_equal(s.text.p[i], 'a' + (int)(i - 1) % 26);
    str_free(&s.text);
}

static void test_reading_what_is_written(void **state)
{
    enum { COMMITS = 300, WORDS = 7 };

    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct journal *j = begin();
        int n = 0;
        for (int i = 0; i < COMMITS; i++) {
            for (int k = 0; k < WORDS; k++, n++)
                append(j, (char[]){(char)('a' + n % 26), '\0'});
            if (journal_commit(j, NULL) != 0)
                _exit(1);
        }
        journal_close(j);
        _exit(0);
    }
    follow(1 + COMMITS * WORDS);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* A controller of the storm: writes until it is fenced and tells what it may act on. */
static void storm_child(int id, int tell_fd)
{
    for (int round = 0; round < 6; round++) {
        struct event ev = {.kind = EVENT_EPOCH, .time = 1, .trial = -1};
        struct journal *j;
        int rc = journal_begin(dir, &ev, &j, NULL, NULL);
        if (rc == ERR_FENCED)
            continue;
        if (rc != 0)
            _exit(1);
        for (int i = 0; rc == 0 && i < 20; i++) {
            char word[48];
            snprintf(word, sizeof(word), "<%d.%d.%d>", id, round, i);
            append(j, "-");
            append(j, word);
            rc = journal_commit(j, NULL);
            if (rc == 0 && write(tell_fd, word, strlen(word)) < 0)
                _exit(2);
        }
        journal_close(j);
        if (rc != 0 && rc != ERR_FENCED)
            _exit(3);
    }
    _exit(0);
}

/* Many controllers at once: whatever one of them was allowed to act on is in the
 * journal that the last of them leaves. */
static void test_storm(void **state)
{
    enum { CHILDREN = 6 };
    struct str told = STR_INIT;
    struct story s = STORY;
    char buf[4096];
    int fd[2], status;
    ssize_t n;

    (void)state;
    assert_int_equal(pipe(fd), 0);
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(fd[0]);
            storm_child(i, fd[1]);
        }
    }
    close(fd[1]);
    while ((n = read(fd[0], buf, sizeof(buf))) > 0)
        str_addn(&told, buf, (size_t)n);
    close(fd[0]);
    for (int i = 0; i < CHILDREN; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(read_on(&s, NULL), 0);
    assert_true(told.len > 0);
    for (char *p = told.p; *p;) {
        size_t len = strcspn(p, ">") + 1;
        if (!memmem(s.text.p, s.text.len, p, len))
            fail_msg("%.*s was acted on, and is not in the journal", (int)len, p);
        p += len;
    }
    str_free(&told);
    str_free(&s.text);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_there),
        TEST(test_no_file),
        TEST(test_other_files),
        TEST(test_damage_before_a_commit),
        TEST(test_damage_of_the_first_line),
        TEST(test_damage_of_what_was_accepted),
        TEST(test_damage_that_has_a_checksum),
        TEST(test_newer_release),
        TEST(test_torn_anywhere),
        TEST(test_lost_page),
        TEST(test_long_tail),
        TEST(test_reading_on),
        TEST(test_limit),
        TEST(test_reader_stops),
        TEST(test_void_epochs),
        TEST(test_late_first_line),
        TEST(test_two_writers),
        TEST(test_fenced_while_idle),
        TEST(test_successor_cuts),
        TEST(test_written_after_the_sync),
        TEST(test_full_disk),
        TEST(test_failing_fsync),
        TEST(test_failing_begin),
        TEST(test_no_number_left),
        TEST(test_commits_are_marked),
        TEST(test_reading_what_is_written),
        TEST(test_storm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
