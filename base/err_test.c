#include "base/err.h"

#include <errno.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(err_name(-1), "UNKNOWN");
    assert_string_equal(err_name(1), "UNKNOWN");
    assert_string_equal(err_text(ERR_BEFORE_FIRST_), "unknown error");
    assert_string_equal(err_name(0), "OK");
    assert_string_equal(err_text(0), "success");
    assert_string_equal(err_name(ERR_INVAL), "INVAL");
    assert_string_equal(err_text(ERR_UNSUPPORTED), "not supported by this build");
#define CHECK(name, text)                                                                \
    assert_true(ERR_##name < 0);                                                         \
    assert_string_equal(err_name(ERR_##name), #name);
    ERR_MAP(CHECK)
#undef CHECK
}

static void test_set(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(NULL, ERR_RANGE, "unseen"), ERR_RANGE);
    assert_int_equal(err_set(&e, ERR_RANGE, "%d is too much", 7), ERR_RANGE);
    assert_int_equal(e.code, ERR_RANGE);
    assert_string_equal(e.text, "7 is too much");
    err_set(&e, ERR_IO, "again: %s", e.text); /* its own text as an argument */
    assert_string_equal(e.text, "again: 7 is too much");
}

static void test_cut(void **state)
{
    (void)state;
    struct err e = {0};
    char text[3000];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    err_set(&e, ERR_IO, "%s", text);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_int_equal(err_prefix(&e, "front"), ERR_IO);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_memory_equal(e.text, "front: xxx", 10);
}

static void test_prefix(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_prefix(NULL, "%s", "a"), ERR_INVAL);
    err_set(&e, ERR_SYNTAX, "inner");
    assert_int_equal(err_prefix(&e, "%s:%d", "file", 3), ERR_SYNTAX);
    assert_string_equal(e.text, "file:3: inner");
}

static void test_sys(void **state)
{
    static const struct {
        int number, code;
    } cases[] = {
        {EBADF, ERR_IO},          {EIO, ERR_IO},
        {ENOENT, ERR_NOENT},      {ENOTDIR, ERR_NOENT},
        {EEXIST, ERR_EXIST},      {EACCES, ERR_DENIED},
        {EROFS, ERR_DENIED},      {ENOSPC, ERR_FULL},
        {EDQUOT, ERR_FULL},       {EFBIG, ERR_FULL},
        {ETIMEDOUT, ERR_TIMEOUT}, {ENAMETOOLONG, ERR_INVAL},
        {ERANGE, ERR_RANGE},      {ENOSYS, ERR_UNSUPPORTED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err e = {0};
        errno = cases[i].number;
        assert_int_equal(err_sys(&e, "%s", "path"), cases[i].code);
        assert_int_equal(errno, cases[i].number);
        assert_int_equal(e.code, cases[i].code);
        assert_memory_equal(e.text, "path: ", 6);
        assert_string_equal(e.text + 6, strerror(cases[i].number));
        errno = cases[i].number;
        assert_int_equal(err_sys(NULL, "path"), cases[i].code);
        assert_int_equal(errno, cases[i].number);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names), cmocka_unit_test(test_set),
        cmocka_unit_test(test_cut),   cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_sys),
    };
    return cmocka_run_group_tests_name("base/err", tests, NULL, NULL);
}
