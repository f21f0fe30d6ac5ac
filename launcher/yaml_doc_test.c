#include "launcher/yaml_doc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct mistakes mistakes_of(const char *text, size_t len)
{
    return (struct mistakes){.path = "f", .text = text, .len = len};
}

/* What no editor writes: the rest of the bad inputs is in tests/sweepfile/. */
static void test_bad_bytes(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
        {"", 0, "f:1:1: the file is empty (`rung init` writes one to start from)\n"},
        {"a: b\nc: \0\n", 10,
         "f:2:4: the control character U+0000 cannot be in a sweep file\n"},
        {"a: \x7f", 4, "f:1:4: the control character U+007F cannot be in a sweep file\n"},
        {"a: \xc2\x80", 5,
         "f:1:4: the control character U+0080 cannot be in a sweep file\n"},
        {"\xff\xfe"
         "a\0",
         4, "f:1:1: the file is in UTF-16: save it as UTF-8\n"},
        {"a: \xc3\xa9\xe9\n", 7,
         "f:1:5: the byte 0xe9 is no UTF-8: save the file as UTF-8\n"},
        {"a: \xc0\x80", 5, "f:1:4: the byte 0xc0 is no UTF-8: save the file as UTF-8\n"},
        {"a: \xed\xa0\x80", 6,
         "f:1:4: the byte 0xed is no UTF-8: save the file as UTF-8\n"},
        {"a: \xf4\x90\x80\x80", 7,
         "f:1:4: the byte 0xf4 is no UTF-8: save the file as UTF-8\n"},
        {"a: \xe2\x82", 5, "f:1:4: the byte 0xe2 is no UTF-8: save the file as UTF-8\n"},
        {"a: b\n\xef\xbb\xbf", 8,
         "f:2:1: the control character U+FEFF cannot be in a sweep file\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct mistakes m = mistakes_of(cases[i].text, cases[i].len);
        struct str out = STR_INIT;
        assert_null(doc_read(&m));
        mistakes_print(&m, &out);
        assert_string_equal(out.p, cases[i].want);
        str_free(&out);
        mistakes_free(&m);
    }
}

static void test_tree(void **state)
{
    static const char text[] = "\xef\xbb\xbf"
                               "a: [1, 'two', {b: }]\r\n"
                               "\xc3\xa9: |\r\n  x\r\n  y\r\n"
                               "c:\r\n  d: \"e\"\r\n";
    struct mistakes m = mistakes_of(text, sizeof(text) - 1);
    struct doc_node *root = doc_read(&m), *a, *d;
    (void)state;
    assert_non_null(root);
    assert_int_equal(m.n, 0);
    assert_int_equal(root->items.n, 3);
    a = doc_get(root, "a");
    assert_int_equal(a->kind, DOC_LIST);
    assert_true(a->flow);
    assert_int_equal(a->items.n, 3);
    assert_false(doc_quoted(a->items.v[0].value));
    assert_true(doc_quoted(a->items.v[1].value));
    assert_true(doc_empty(doc_get(a->items.v[2].value, "b")));
    assert_string_equal(doc_get(root, "\xc3\xa9")->text, "x\ny\n");
    assert_int_equal(doc_get(root, "\xc3\xa9")->style, DOC_LITERAL);
    assert_false(doc_get(root, "c")->flow);
    d = doc_get(doc_get(root, "c"), "d");
    assert_string_equal(d->text, "e");
    assert_int_equal(place_of(&m, d->at).line, 6);
    assert_int_equal(place_of(&m, d->at).column, 6);
    assert_int_equal(place_of(&m, a->at).column, 4); /* the BOM is no character */
    assert_null(doc_get(root, "x"));
    doc_free(root);
}

/* Each letter of the value, wherever it comes from, is found again in the file; what
 * the table gives is "line:column" of the letter X. */
static void test_places(void **state)
{
    static const struct {
        const char *text;
        size_t line, column;
    } cases[] = {
        {"k: abXc", 1, 6},
        {"k: ab\n   c d\n\n  e X f", 4, 5},
        {"k: 'it''s X'", 1, 11},
        {"k: 'a\n  b''\n  X'", 3, 3},
        {"k: \"a\\x41\\u00e9\\t\\n\\\"\\\\X\"", 1, 24},
        {"k: \"a \\\n  b X\"", 2, 5},
        {"k: \"\\U0001F600X\"", 1, 15},
        {"k: \xc3\xa9\xe2\x82\xac X", 1, 7},
        {"k: |\n  a\n  b X\n", 3, 5},
        {"k: >-\n\n  a\n\n    b\n  c X", 6, 5},
        {"k: |2\n   a\n  X", 3, 3},
        {"k:\r\n  a\r\n  X", 3, 3},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct mistakes m = mistakes_of(cases[i].text, strlen(cases[i].text));
        struct doc_node *root = doc_read(&m), *k;
        assert_non_null(root);
        k = doc_get(root, "k");
        size_t offset = strcspn(k->text, "X");
        assert_int_equal(k->text[offset], 'X');
        struct place p = place_of(&m, doc_place(&m, k, offset));
        assert_int_equal(p.line, cases[i].line);
        assert_int_equal(p.column, cases[i].column);
        /* the end is right behind the last character */
        size_t end = doc_place(&m, k, k->len);
        assert_true(end > 0 && !strchr(" \r\n", m.text[end - 1]));
        doc_free(root);
    }
}

static void test_order(void **state)
{
    static const char text[] = "one\ntwo\n\xc3\xa9\xc3\xa9 three";
    struct mistakes m = mistakes_of(text, sizeof(text) - 1);
    struct str out = STR_INIT;
    (void)state;
    mistake_add(&m, 13, "d");
    mistake_add(&m, 4, "b%d", 1);
    mistake_add(&m, 4, "b%d", 2);
    mistake_add(&m, 1000, "e");
    mistake_add(&m, 0, "a");
    mistakes_print(&m, &out);
    assert_string_equal(out.p, "f:1:1: a\nf:2:1: b1\nf:2:1: b2\nf:3:4: d\nf:3:9: e\n");
    str_cut(&out, 0);
    for (int i = 0; i < 1000; i++)
        mistake_add(&m, 0, "x");
    assert_true(mistakes_full(&m));
    mistakes_print(&m, &out);
    assert_non_null(
        strstr(out.p, "\nf: and more: these are the first 200 that were found\n"));
    str_free(&out);
    mistakes_free(&m);
}

static void test_shown(void **state)
{
    (void)state;
    assert_string_equal(shown("", 0).text, "");
    assert_string_equal(shown(" a \n\t b ", 8).text, "a b");
    assert_string_equal(shown("a\033\xc2\x9b\x7f"
                              "b\xc2\xa0",
                              8)
                            .text,
                        "a b\xc2\xa0");
    assert_string_equal(shown("0123456789012345678901234567890123456789", 40).text,
                        "0123456789012345678901234567890123456789");
    assert_string_equal(shown("0123456789012345678901234567890123456789x", 41).text,
                        "0123456789012345678901234567890123456789...");
    struct str s = STR_INIT;
    for (int i = 0; i < 50; i++)
        str_add(&s, "\xf0\x9f\x98\x80");
    assert_int_equal(strlen(shown(s.p, s.len).text), 4 * 40 + 3);
    str_free(&s);
}

/* What is shown of a text that is no UTF-8 has room, whatever it is. */
static void test_any_bytes_are_shown(void **state)
{
    char text[1000];

    (void)state;
    for (int c = 1; c < 256; c++) {
        memset(text, c, sizeof(text));
        struct shown s = shown(text, sizeof(text));
        size_t n = strnlen(s.text, sizeof(s.text));
        assert_in_range(n, 0, 4 * 40 + 6);
        if (c > ' ' && c != 0x7f)
            assert_string_equal(s.text + n - 3, "...");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_bytes_are_shown),
        cmocka_unit_test(test_bad_bytes),
        cmocka_unit_test(test_tree),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_shown),
    };
    return cmocka_run_group_tests_name("launcher/yaml_doc", tests, NULL, NULL);
}
