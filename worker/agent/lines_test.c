#include "worker/agent/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Writes a line as <text> or, when cut, <text~>. */
static void note(void *ctx, const char *line, size_t n, bool cut)
{
    struct str *out = ctx;
    str_addc(out, '<');
    str_addn(out, line, n);
    str_add(out, cut ? "~>" : ">");
}

static const struct {
    const char *in, *out;
    const char *out_cr; /* with "\n\r" */
} cases[] = {
    {"", "", ""},
    {"\n", "<>", "<>"},
    {"no end", "<no en~>", "<no en~>"},
    {"12345\n", "<12345>", "<12345>"},
    {"123456\n", "<12345~>", "<12345~>"},
    {"123456789", "<12345~>", "<12345~>"},
    {"123456789\nab\n", "<12345~><ab>", "<12345~><ab>"},
    {"a\n\nb\nc", "<a><><b><c>", "<a><><b><c>"},
    {"a\rb\n", "<a\rb>", "<a><b>"},
    {"a\r\nb", "<a\r><b>", "<a><><b>"},
    {"ab\rcdefgh\nx\n", "<ab\rcd~><x>", "<ab><cdefg~><x>"},
};

/* However the stream is cut into pieces. */
static void any_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (size_t piece = 1; piece < 12; piece++)
            for (int cr = 0; cr < 2; cr++) {
                struct lines l = LINES_INIT;
                struct str out = STR_INIT;
                size_t n = strlen(cases[i].in);
                for (size_t at = 0; at < n; at += piece)
                    lines_feed(&l, cases[i].in + at, n - at < piece ? n - at : piece, 5,
                               cr ? "\n\r" : "\n", note, &out);
                lines_finish(&l, note, &out);
                assert_string_equal(out.p, cr ? cases[i].out_cr : cases[i].out);
                str_free(&out);
                lines_free(&l);
            }
}

static void nothing(void *ctx, const char *line, size_t n, bool cut)
{
    (void)line;
    assert_true(n == 1 << 20 && cut);
    ++*(int *)ctx;
}

/* A line without end is as much memory as a longest line, and none afterwards. */
static void bounded_memory(void **state)
{
    static char block[65536];
    struct lines l = LINES_INIT;
    int lines = 0;
    (void)state;
    memset(block, 'x', sizeof(block));
    for (int i = 0; i < 1600; i++) {
        lines_feed(&l, block, sizeof(block), 1 << 20, "\n", nothing, &lines);
        assert_true(l.part.cap <= 4 << 20);
    }
    lines_feed(&l, "\n", 1, 1 << 20, "\n", nothing, &lines);
    assert_int_equal(lines, 1);
    assert_int_equal(l.part.cap, 0);
    lines_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_pieces),
        cmocka_unit_test(bounded_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
