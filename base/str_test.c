#include "base/mem.h"
#include "base/str.h"
#include "base/vec.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_empty(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    assert_string_equal(s.p, "");
    str_addn(&s, NULL, 0);
    str_cut(&s, 5);
    str_drop(&s, 5);
    str_add(&s, "");
    assert_int_equal(s.cap, 0); /* nothing has been allocated */
    char *p = str_take(&s);
    assert_string_equal(p, "");
    free(p);
    str_free(&s);
    str_free(&s);
    str_reserve(&s, 0);
    assert_string_equal(s.p, "");
    str_free(&s);
}

static void test_add(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    char model[3000];
    size_t n = 0;
    for (int i = 0; i < 500; i++) {
        char c = (char)('a' + i % 26);
        str_addc(&s, c);
        model[n++] = c;
        assert_int_equal(s.p[n], 0);
        str_add(&s, "xy");
        memcpy(model + n, "xy", 2);
        n += 2;
        str_addn(&s, "\0z", 2);
        memcpy(model + n, "\0z", 2);
        n += 2;
        assert_int_equal(s.len, n);
        assert_int_equal(s.p[n], 0);
        assert_true(s.cap > s.len);
    }
    assert_memory_equal(s.p, model, n);
    str_free(&s);
    assert_string_equal(s.p, "");
}

static void test_format(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    char want[600];
    /* Lengths around every capacity that the string passes through. */
    for (int n = 0; n < 500; n++) {
        memset(want, 'a', (size_t)n);
        want[n] = '\0';
        str_cut(&s, 0);
        str_addf(&s, "%s", want);
        assert_string_equal(s.p, want);
        assert_int_equal(s.len, n);
    }
    str_free(&s);
    str_addf(&s, "%d", 1);
    str_addf(&s, "%0400d", 2);
    assert_int_equal(s.len, 401);
    assert_int_equal(s.p[0], '1');
    assert_int_equal(s.p[400], '2');
    str_free(&s);
}

static void test_cut_drop_take(void **state)
{
    (void)state;
    struct str s = STR_INIT;
    str_add(&s, "hello world");
    str_cut(&s, 99);
    assert_string_equal(s.p, "hello world");
    str_drop(&s, 0);
    str_drop(&s, 1);
    assert_string_equal(s.p, "ello world");
    str_drop(&s, 5);
    assert_string_equal(s.p, "world");
    str_cut(&s, 2);
    assert_string_equal(s.p, "wo");
    assert_int_equal(s.len, 2);
    char *p = str_take(&s);
    assert_string_equal(p, "wo");
    assert_int_equal(s.len, 0);
    str_add(&s, "new");
    str_drop(&s, 3);
    assert_string_equal(s.p, "");
    str_add(&s, "er");
    str_drop(&s, 1000);
    assert_string_equal(s.p, "");
    free(p);
    str_free(&s);
}

static void test_visible(void **state)
{
    static const char text[] = "a\n\t\r\033[2J\177\302\233\302\240\303\251\0z\2332J\302";
    struct str s = STR_INIT;
    (void)state;
    str_add(&s, "x=");
    str_add_visible(&s, "", 0);
    str_add_visible(&s, text, sizeof(text) - 1);
    assert_string_equal(
        s.p, "x=a\\n\\t\\r\\x1b[2J\\x7f\\x9b\302\240\303\251\\x00z\\x9b2J\\xc2");
    str_cut(&s, 0);
    str_add_visible_lines(&s, "\n\na\033b\r\nc\n");
    assert_string_equal(s.p, "\n\na\\x1bb\\r\nc\n");
    str_free(&s);
}

static void test_slice(void **state)
{
    (void)state;
    struct slice none = slice_of(NULL);
    assert_int_equal(none.len, 0);
    assert_true(slice_eq(none, ""));
    assert_false(slice_eq(SLICE("ab"), "abc"));
    assert_false(slice_eq(SLICE("abc"), "ab"));
    assert_false(slice_eq(SLICE("a\0b"), "a"));
    assert_true(slice_eq(slice_of("abc"), "abc"));
}

static void test_vec(void **state)
{
    (void)state;
    VEC(int) v = {0};
    vec_free(&v);
    for (int i = 0; i < 100; i++)
        vec_push(&v, i);
    assert_int_equal(v.n, 100);
    vec_remove(&v, 0);
    vec_remove(&v, 98); /* the last */
    vec_remove(&v, 10);
    assert_int_equal(v.n, 97);
    for (int i = 0; i < 97; i++)
        assert_int_equal(v.v[i], i < 10 ? i + 1 : i + 2);
    vec_reserve(&v, 1000);
    assert_true(v.cap >= 1000);
    assert_int_equal(v.v[96], 98);
    vec_free(&v);
    assert_null(v.v);
    assert_int_equal(v.n, 0);
}

static void test_mem(void **state)
{
    (void)state;
    static const char zeros[100];
    char *a = mem_alloc(100), *b = mem_alloc(0), *c = mem_alloc(0);
    assert_memory_equal(a, zeros, 100);
    assert_ptr_not_equal(b, c);
    assert_null(mem_strdup(NULL));
    char *d = mem_strdup("abc"), *e = mem_strndup("abc", 2), *f = mem_dup("a\0b", 3);
    assert_string_equal(d, "abc");
    assert_string_equal(e, "ab");
    assert_memory_equal(f, "a\0b", 3);
    e = mem_resize(e, 10, 10);
    assert_string_equal(e, "ab");
    char *g = mem_strndup(NULL, 0);
    assert_string_equal(g, "");
    void *all[] = {a, b, c, d, e, f, g};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        free(all[i]);
}

/* A child that asks for too much says so on one line and aborts. */
static void test_mem_overflow(void **state)
{
    (void)state;
    int fd[2], status;
    char text[200] = "";
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGABRT, SIG_DFL);
        dup2(fd[1], STDERR_FILENO);
        volatile size_t half = SIZE_MAX / 2 + 1; /* hidden from the compiler */
        void *p = mem_resize(NULL, half, 2);
        _exit(p ? 1 : 2);
    }
    close(fd[1]);
    assert_true(read(fd[0], text, sizeof(text) - 1) > 0);
    close(fd[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_string_equal(text, "rung: out of memory\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),        cmocka_unit_test(test_add),
        cmocka_unit_test(test_format),       cmocka_unit_test(test_cut_drop_take),
        cmocka_unit_test(test_slice),        cmocka_unit_test(test_visible),
        cmocka_unit_test(test_vec),          cmocka_unit_test(test_mem),
        cmocka_unit_test(test_mem_overflow),
    };
    return cmocka_run_group_tests_name("base/str", tests, NULL, NULL);
}
