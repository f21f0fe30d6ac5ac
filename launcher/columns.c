#include "launcher/columns.h"

#include "base/num.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2

void columns_head(struct columns *c, const char *text)
{
    columns_cell(c, text);
    c->n++;
}

void columns_cell(struct columns *c, const char *text)
{
    struct str visible = STR_INIT;

    str_add_visible(&visible, text, strlen(text));
    vec_push(&c->cells, str_take(&visible));
}

void columns_num(struct columns *c, double v, int digits)
{
    char text[NUM_MAX] = "-";

    if (!isnan(v))
        num_format_short(text, v, digits);
    columns_cell(c, text);
}

void columns_int(struct columns *c, int64_t v)
{
    char text[NUM_MAX];

    num_format_int(text, v);
    columns_cell(c, text);
}

/* Terminal columns of UTF-8 text: its characters. */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static bool is_number(const char *text)
{
    double v;

    return !*text || strcmp(text, "-") == 0 || strcmp(text, "...") == 0 ||
           strcmp(text, "inf") == 0 || strcmp(text, "-inf") == 0 ||
           num_parse(text, strlen(text), &v) == 0;
}

static void measure(const struct columns *c, size_t column, size_t *width, bool *right)
{
    *width = 0;
    *right = !c->left;
    for (size_t i = column; i < c->cells.n; i += c->n) {
        size_t w = width_of(c->cells.v[i]);

        *width = w > *width ? w : *width;
        if (i >= c->n)
            *right = *right && is_number(c->cells.v[i]);
    }
}

void columns_print(struct columns *c, int indent, struct str *out)
{
    size_t *width = mem_alloc((c->n + 1) * sizeof(*width));
    bool *right = mem_alloc((c->n + 1) * sizeof(*right));

    for (size_t k = 0; k < c->n; k++)
        measure(c, k, &width[k], &right[k]);
    for (size_t i = 0; i < c->cells.n; i++) {
        size_t k = i % c->n, pad = width[k] - width_of(c->cells.v[i]);
        bool last = k == c->n - 1;

        str_addf(out, "%*s", k == 0 ? indent : GAP, "");
        str_addf(out, "%*s%s", right[k] ? (int)pad : 0, "", c->cells.v[i]);
        if (!right[k] && !last)
            str_addf(out, "%*s", (int)pad, "");
        if (last) {
            while (out->p[out->len - 1] == ' ')
                str_cut(out, out->len - 1);
            str_addc(out, '\n');
        }
    }
    for (size_t i = 0; i < c->cells.n; i++)
        free(c->cells.v[i]);
    vec_free(&c->cells);
    c->n = 0;
    free(width);
    free(right);
}
