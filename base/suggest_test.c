#include "base/suggest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_distance(void **state)
{
    static const struct {
        const char *a, *b;
        int distance;
    } cases[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"abc", "abc", 0},
        {"az[`", "AZ[`", 0},
        {"@", "`", 1},
        {"[", "{", 1},
        {"abc", "acb", 1},
        {"abcd", "badc", 2},
        {"abc", "ab", 1},
        {"ab", "abc", 1},
        {"kitten", "sitting", 3},
        {"logunifrom", "loguniform", 1},
        {"ca", "abc", 3},
        {"a", "b", 1},
        {"saturday", "sunday", 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(edit_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(edit_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
}

/* All pairs of words of up to four letters out of two, in both cases. */
static void test_slip(void **state)
{
    static const char letters[] = "aBb";
    char words[121][5] = {""};
    size_t n = 1;
    (void)state;
    for (size_t i = 0; n < 121; i++)
        for (size_t k = 0; k < 3; k++) {
            size_t len = strlen(words[i]);
            memcpy(words[n], words[i], len);
            words[n++][len] = letters[k];
        }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            assert_int_equal(edit_slip(words[i], words[k]),
                             edit_distance(words[i], words[k]) <= 1);
}

static void test_suggest(void **state)
{
    static const char *const names[] = {
        "uniform", "quniform", "loguniform", "qloguniform", "randint",
        "randn",   "choice",   "lr",         "l1",          "l2"};
    static const struct {
        const char *word, *want;
    } cases[] = {
        {"banana", NULL},
        {"xyz", NULL},
        {"chooosee", NULL}, /* 3 away, 2 allowed at that length */
        {"logunifrom", "loguniform"},
        {"LogUniform", "loguniform"}, /* case is nothing */
        {"unifrm", "uniform"},
        {"chioce", "choice"},
        {"l3", "lr"}, /* l1 and l2 are as near, but later */
        {"rl", "lr"},
        {"randim", "randint"}, /* randn is as near */
    };
    (void)state;
    size_t n = sizeof(names) / sizeof(names[0]);
    assert_null(suggest("lr", names, 0));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *got = suggest(cases[i].word, names, n);
        if (!cases[i].want)
            assert_null(got);
        else
            assert_string_equal(got, cases[i].want);
    }
}

/* Allowed are 1, 2 and 3 edits from lengths 1, 6 and 9 on, of the longer word. */
static void test_limits(void **state)
{
    static const struct {
        const char *word, *name;
        bool near;
    } cases[] = {
        {"a", "b", true},
        {"ab", "cd", false},
        {"abcde", "abcxy", false},
        {"abcde", "abcdx", true},
        {"abcd", "abcdxy", true},
        {"abcdxy", "abcd", true},
        {"abcdef", "abcdxy", true},
        {"abcdef", "abcxyz", false},
        {"abcdefgh", "abcdexyz", false},
        {"abcdefghi", "abcdefxyz", true},
        {"abcdefghijkl", "abcdefghwxyz", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *names[] = {cases[i].name};
        if ((suggest(cases[i].word, names, 1) != NULL) != cases[i].near)
            fail_msg("%s, %s", cases[i].word, cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_slip),
        cmocka_unit_test(test_suggest),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests_name("base/suggest", tests, NULL, NULL);
}
