#include "launcher/show_json.h"

#include "store/tables.h"

#include <stdlib.h>
#include <string.h>

struct shown {
    int32_t trial;
    struct str *out;
};

static size_t find_column(const struct table *t, const char *name)
{
    size_t c = 0;

    while (c < t->n_columns && strcmp(t->columns[c].name, name) != 0)
        c++;
    return c;
}

/* Where the columns of parameters begin. */
static size_t find_parameters(const struct table *t)
{
    size_t c = 0;

    while (c < t->n_columns && strncmp(t->columns[c].name, "hp_", 3) != 0)
        c++;
    return c;
}

/* Columns from .. to as members, without those that are absent. */
static void put_members(const struct table *t, const struct value cells[], size_t from,
                        size_t to, struct str *out)
{
    for (size_t c = from; c < to; c++) {
        if (cells[c].kind == VALUE_ABSENT)
            continue;
        json_put_key(out, t->columns[c].name);
        value_json(cells[c], out);
    }
}

/* The trial's rows as an array of objects. */
static void put_rows(const struct table *t, const struct shown *s, struct value cells[])
{
    size_t key = find_column(t, "trial");

    json_put_key(s->out, strcmp(t->name, "metrics") == 0 ? "reports" : t->name);
    json_put_array(s->out);
    for (size_t i = 0; i < t->rows; i++) {
        table_row(t, i, cells);
        if (cells[key].i != s->trial)
            continue;
        json_put_object(s->out);
        put_members(t, cells, 0, t->n_columns, s->out);
        json_put_close(s->out, '}');
    }
    json_put_close(s->out, ']');
}

static int put_table(void *ctx, const struct table *t, struct err *e)
{
    const struct shown *s = ctx;
    struct value *cells = mem_alloc(t->n_columns * sizeof(*cells));
    (void)e;

    if (strcmp(t->name, "trials") == 0) {
        /* the attempts themselves and the parameters have members of their own */
        size_t attempts = find_column(t, "attempts");

        table_row(t, (size_t)s->trial, cells);
        put_members(t, cells, 0, attempts, s->out);
        put_members(t, cells, attempts + 1, find_parameters(t), s->out);
    } else if (find_column(t, "trial") < t->n_columns) {
        put_rows(t, s, cells);
    }
    free(cells);
    return 0;
}

void show_json(const struct loaded *l, int32_t trial, struct str *out)
{
    struct shown s = {trial, out};
    struct str params = STR_INIT;

    json_put_object(out);
    tables_each(l->sw, &l->history, put_table, &s, NULL);
    sweep_params(l->sw, trial, &params);
    json_put_key(out, "params");
    json_put_raw(out, (struct slice){params.p, params.len});
    json_put_key(out, "drawn");
    json_put_raw(out, slice_of(sweep_trial(l->sw, trial)->params));
    json_put_close(out, '}');
    str_free(&params);
}
