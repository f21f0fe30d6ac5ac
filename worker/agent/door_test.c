#include "worker/agent/door.h"

#include "base/str.h"
#include "wire/trial.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/rung-door-test-XXXXXX";
static char path[64];

/* A door and what was said through it: "1<hello>" for each line. */
struct house {
    struct door *door;
    uint64_t ids, last;
    struct pollset set;
    struct str said;
    bool echo; /* answers each line with itself */
};

static void said(void *ctx, uint64_t conn, const char *line, size_t n)
{
    struct house *h = ctx;
    h->last = conn;
    str_addf(&h->said, "%llu<%.*s>", (unsigned long long)conn, n < 100 ? (int)n : 100,
             line);
    if (!h->echo)
        return;
    struct str answer = STR_INIT;
    str_addn(&answer, line, n);
    str_addc(&answer, '\n');
    door_reply(h->door, conn, answer.p, answer.len);
    str_free(&answer);
}

static void house_open(struct house *h)
{
    *h = (struct house){.said = STR_INIT};
    assert_int_equal(door_open(&h->door, path, &h->ids, NULL), 0);
}

static void house_close(struct house *h)
{
    door_close(h->door);
    assert_int_not_equal(access(path, F_OK), 0);
    vec_free(&h->set);
    str_free(&h->said);
}

/* Serves until nothing happens any more; how often something did. */
static int settle_as(struct house *h, bool read)
{
    for (int rounds = 0;; rounds++) {
        h->set.n = 0;
        door_watch(h->door, read, &h->set);
        if (poll(h->set.v, h->set.n, 20) == 0)
            return rounds;
        door_serve(h->door, &h->set, said, h);
        assert_true(rounds < 10000);
    }
}

static int settle(struct house *h)
{
    return settle_as(h, true);
}

static int visit(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

/* What has come back by now. */
static const char *heard(int fd)
{
    static char buf[1000];
    ssize_t n = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
    buf[n > 0 ? n : 0] = '\0';
    return buf;
}

static void cannot_open(void **state)
{
    struct door *d = NULL;
    uint64_t ids = 0;
    char long_path[200];
    struct err e;
    (void)state;
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_int_equal(door_open(&d, long_path, &ids, &e), ERR_RANGE);
    assert_int_equal(door_open(&d, "/nonexistent/door", &ids, &e), ERR_NOENT);
    assert_true(door_open(&d, dir, &ids, &e) < 0);
    assert_null(d);
    door_close(NULL);
}

static void lines_and_answers(void **state)
{
    struct house h;
    (void)state;
    house_open(&h);
    int a = visit(), b = visit();
    say(a, "hel");
    settle(&h);
    say(b, "x\ny\n");
    settle(&h);
    say(a, "lo\n");
    settle(&h);
    assert_string_equal(h.said.p, "2<x>2<y>1<hello>");
    door_reply(h.door, 1, "to a\n", 5);
    door_reply(h.door, 2, "to b\n", 5);
    door_reply(h.door, 3, "to nobody\n", 10);
    assert_string_equal(heard(a), "to a\n");
    assert_string_equal(heard(b), "to b\n");
    close(a);
    settle(&h);
    door_reply(h.door, 1, "too late\n", 9);
    int c = visit();
    say(c, "new\n");
    settle(&h);
    assert_int_equal(h.last, 3);
    close(b);
    close(c);
    house_close(&h);
}

/* Whoever closes at once has still said what it said; who closes one side, as `nc -N`
 * does, is answered, and then sees the end that it waits for; and neither makes the loop
 * turn for nothing. */
static void closing(void **state)
{
    struct house h;
    (void)state;
    house_open(&h);
    int a = visit(), b = visit();
    char c;
    say(a, "one\ntwo");
    close(a);
    say(b, "three\nfour");
    shutdown(b, SHUT_WR);
    assert_true(settle(&h) < 10);
    assert_string_equal(h.said.p, "1<one>2<three>1<two>2<four>");
    door_reply(h.door, 2, "answer\n", 7);
    assert_true(settle(&h) < 10);
    assert_string_equal(heard(b), "answer\n");
    assert_int_equal(recv(b, &c, 1, MSG_DONTWAIT), -1); /* there is more to come */
    door_reply(h.door, 2, "another\n", 8);
    assert_true(settle(&h) < 10);
    assert_string_equal(heard(b), "another\n");
    assert_int_equal(recv(b, &c, 1, MSG_DONTWAIT), 0); /* and no more after that */
    close(b);
    assert_true(settle(&h) < 10);
    house_close(&h);
}

/* That it cannot be answered any more does not unsay what it said. */
static void answer_to_nobody(void **state)
{
    struct house h;
    (void)state;
    house_open(&h);
    int a = visit();
    say(a, "one\n");
    settle(&h);
    say(a, "two\nthree");
    close(a);
    door_reply(h.door, 1, "answer\n", 7);
    door_reply(h.door, 1, "answer\n", 7);
    assert_true(settle(&h) < 10);
    assert_string_equal(h.said.p, "1<one>1<two>1<three>");
    house_close(&h);
}

/* A program that said something and was gone before anybody looked. */
static void gone_already(void **state)
{
    struct house h;
    (void)state;
    house_open(&h);
    int a = visit(), b = visit();
    say(a, "one\n");
    close(a);
    settle(&h);
    say(b, "two\nthree");
    close(b);
    int c = visit();
    say(c, "four");
    close(c);
    door_drain(h.door, said, &h);
    assert_string_equal(h.said.p, "1<one>2<two>2<three>3<four>");
    house_close(&h);
}

static void nobody_is_read_while_choked(void **state)
{
    struct house h;
    (void)state;
    house_open(&h);
    int a = visit();
    say(a, "one\n");
    settle(&h);
    say(a, "two\n");
    int b = visit();
    say(b, "three\n");
    close(a);
    assert_int_equal(settle_as(&h, false), 0);
    assert_string_equal(h.said.p, "1<one>");
    settle(&h);
    assert_string_equal(h.said.p, "1<one>1<two>2<three>");
    close(b);
    house_close(&h);
}

static void long_lines(void **state)
{
    struct house h;
    struct str line = STR_INIT;
    (void)state;
    house_open(&h);
    str_reserve(&line, TRIAL_LINE_MAX + 1);
    memset(line.p, 'x', TRIAL_LINE_MAX + 1);
    int a = visit();
    for (int over = 0; over < 2; over++) {
        size_t n = TRIAL_LINE_MAX + (size_t)over;
        for (size_t at = 0; at < n;) {
            ssize_t sent = send(a, line.p + at, n - at, MSG_DONTWAIT);
            at += sent > 0 ? (size_t)sent : 0;
            settle(&h);
        }
        str_cut(&h.said, 0);
        say(a, "\n");
        settle(&h);
        assert_int_equal(h.said.len > 0, !over);
    }
    assert_non_null(strstr(heard(a), "{\"error\":\"the line is longer"));
    say(a, "short\n");
    settle(&h);
    assert_string_equal(h.said.p, "1<short>");
    close(a);
    str_free(&line);
    house_close(&h);
}

/* Who says much and reads nothing is read no more, until it reads. */
static void answers_unread(void **state)
{
    static char text[1001];
    struct house h;
    size_t sent = 0, back = 0;
    ssize_t n;
    (void)state;
    house_open(&h);
    h.echo = true;
    memset(text, 'x', sizeof(text) - 1);
    text[999] = '\n';
    int a = visit();
    for (int i = 0; i < 20; i++) {
        while ((n = send(a, text, 1000, MSG_DONTWAIT)) > 0)
            sent += (size_t)n;
        str_cut(&h.said, 0);
        settle(&h);
    }
    assert_true(sent > 10000 && sent < 10000000);
    while ((n = recv(a, text, 1000, MSG_DONTWAIT)) > 0 || settle(&h) > 0)
        back += n > 0 ? (size_t)n : 0;
    assert_int_equal(back / 1000, sent / 1000);
    close(a);
    house_close(&h);
}

/* The same, and then it closes: what it had said is heard to the end. */
static void answers_unread_and_gone(void **state)
{
    static char text[1001];
    struct house h;
    size_t sent = 0, n_heard = 0;
    ssize_t n;
    (void)state;
    house_open(&h);
    h.echo = true;
    memset(text, 'x', sizeof(text) - 1);
    text[999] = '\n';
    int a = visit();
    for (int i = 0; i < 20; i++) {
        while ((n = send(a, text, 1000, MSG_DONTWAIT)) > 0)
            sent += (size_t)n;
        settle(&h);
    }
    close(a);
    settle(&h);
    for (const char *p = h.said.p; (p = strchr(p, '<')); p++)
        n_heard++;
    assert_int_equal(n_heard, (sent + 999) / 1000);
    house_close(&h);
}

static void crowd(void **state)
{
    int fds[DOOR_CONNECTIONS + 10];
    struct house h;
    (void)state;
    house_open(&h);
    for (int i = 0; i < DOOR_CONNECTIONS + 10; i++) {
        say(fds[i] = visit(), "x\n");
        if (i == DOOR_CONNECTIONS / 2) /* the kernel's queue is no longer than that */
            settle(&h);
    }
    settle(&h);
    assert_int_equal(h.ids, DOOR_CONNECTIONS);
    for (int i = 0; i < 10; i++)
        close(fds[i]);
    settle(&h);
    assert_int_equal(h.ids, DOOR_CONNECTIONS + 10);
    for (int i = 10; i < DOOR_CONNECTIONS + 10; i++)
        close(fds[i]);
    house_close(&h);
}

/* Without descriptors left the door waits rather than turning in circles. */
static void no_descriptors(void **state)
{
    struct rlimit before, none;
    struct house h;
    (void)state;
    house_open(&h);
    int a = visit();
    say(a, "x\n");
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = (rlim_t)a + 1;
    setrlimit(RLIMIT_NOFILE, &none);
    for (int i = 0; i < 10; i++)
        assert_true(settle(&h) <= 1);
    assert_int_equal(h.ids, 0);
    setrlimit(RLIMIT_NOFILE, &before);
    for (int i = 0; i < 20; i++)
        settle(&h);
    assert_string_equal(h.said.p, "1<x>");
    close(a);
    house_close(&h);
}

static void strangers(void **state)
{
    struct house h;
    char buf[8];
    (void)state;
    if (geteuid() != 0)
        skip();
    house_open(&h);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(seteuid(12345), 0);
    int a = visit();
    assert_int_equal(seteuid(0), 0);
    send(a, "x\n", 2, MSG_NOSIGNAL);
    settle(&h);
    assert_string_equal(h.said.p, "");
    assert_true(recv(a, buf, sizeof(buf), 0) <= 0);
    close(a);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cannot_open),
        cmocka_unit_test(lines_and_answers),
        cmocka_unit_test(closing),
        cmocka_unit_test(answer_to_nobody),
        cmocka_unit_test(gone_already),
        cmocka_unit_test(nobody_is_read_while_choked),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(answers_unread),
        cmocka_unit_test(answers_unread_and_gone),
        cmocka_unit_test(crowd),
        cmocka_unit_test(no_descriptors),
        cmocka_unit_test(strangers),
    };
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof(path), "%s/door", dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
