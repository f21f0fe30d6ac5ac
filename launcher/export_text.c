#include "launcher/export.h"

#include "base/file.h"
#include "base/num.h"
#include "store/tables.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- CSV ---- */

static void csv_text(struct str *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        str_add(out, text);
        return;
    }
    str_addc(out, '"');
    for (; *text; text++) {
        if (*text == '"')
            str_addc(out, '"');
        str_addc(out, *text);
    }
    str_addc(out, '"');
}

static void csv_cell(struct str *out, struct value v)
{
    char number[NUM_MAX];

    switch (v.kind) {
    case VALUE_ABSENT: return;
    case VALUE_REAL:
        if (isinf(v.r)) {
            str_add(out, v.r < 0 ? "-Inf" : "Inf");
        } else if (!isnan(v.r)) {
            num_format(number, v.r);
            str_add(out, number);
        }
        return;
    case VALUE_STR: csv_text(out, v.s); return;
    case VALUE_INT:
    case VALUE_BOOL: value_text(v, out); return;
    }
}

static void csv_head(const struct table *t, struct str *out)
{
    for (size_t c = 0; c < t->n_columns; c++) {
        str_add(out, c ? "," : "");
        csv_text(out, t->columns[c].name);
    }
    str_addc(out, '\n');
}

static void csv_row(const struct table *t, const struct value cells[], struct str *out)
{
    for (size_t c = 0; c < t->n_columns; c++) {
        str_add(out, c ? "," : "");
        csv_cell(out, cells[c]);
    }
    str_addc(out, '\n');
}

/* ---- JSON lines ---- */

static void jsonl_head(const struct table *t, struct str *out)
{
    (void)t;
    (void)out;
}

static void jsonl_row(const struct table *t, const struct value cells[], struct str *out)
{
    json_put_object(out);
    for (size_t c = 0; c < t->n_columns; c++) {
        if (cells[c].kind == VALUE_ABSENT)
            continue;
        json_put_key(out, t->columns[c].name);
        value_json(cells[c], out);
    }
    json_put_close(out, '}');
    str_addc(out, '\n');
}

/* ---- both ---- */

struct format {
    const char *suffix;
    void (*head)(const struct table *t, struct str *out);
    void (*row)(const struct table *t, const struct value cells[], struct str *out);
};

struct writer {
    const struct format *format;
    const char *to;
};

static int write_table(void *ctx, const struct table *t, struct err *e)
{
    const struct writer *w = ctx;
    struct value *cells = mem_alloc(t->n_columns * sizeof(*cells));
    struct str path = STR_INIT, text = STR_INIT;
    int rc;

    str_addf(&path, "%s/%s.%s", w->to, t->name, w->format->suffix);
    w->format->head(t, &text);
    for (size_t i = 0; i < t->rows; i++) {
        table_row(t, i, cells);
        w->format->row(t, cells, &text);
    }
    rc = file_write(path.p, text.p, text.len, 0666, e);
    str_free(&path);
    str_free(&text);
    free(cells);
    return rc;
}

int export_csv(const struct loaded *l, const char *to, struct err *e)
{
    static const struct format csv = {"csv", csv_head, csv_row};
    struct writer w = {&csv, to};

    return tables_each(l->sw, &l->history, write_table, &w, e);
}

int export_jsonl(const struct loaded *l, const char *to, struct err *e)
{
    static const struct format jsonl = {"jsonl", jsonl_head, jsonl_row};
    struct writer w = {&jsonl, to};

    return tables_each(l->sw, &l->history, write_table, &w, e);
}
