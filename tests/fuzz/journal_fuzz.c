/* Whole journals: any files are read or refused, twice alike; what is accepted replays to
 * the same state each time; a controller that begins the next epoch changes nothing of
 * that, and what it commits follows on.
 *
 * The input is text. `=N` begins the file of an epoch; other lines are the lines of it. A
 * line that ends in `}` is given its checksum, unless it has one; `@` in it stands for
 * the bytes, `#` for the lines of the file before. The last line is torn if it has no
 * newline.
 */
#include "base/file.h"
#include "base/hash.h"
#include "sched/state_json.h"
#include "store/event_line.h"
#include "store/rehearsal.h"
#include "store/replay.h"
#include "store/tables.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPOCHS 8

/* ---- the files ---- */

struct file {
    int64_t bytes, lines;
};

static void add_line(struct slice line, const struct file *before, struct str *out)
{
    size_t start = out->len;
    char sum[17];
    bool whole =
        line.len > 0 && line.p[line.len - 1] == '}' && !line_whole(line.p, line.len);

    for (size_t i = 0; i < line.len - whole; i++) {
        if (whole && line.p[i] == '@')
            str_addf(out, "%lld", (long long)before->bytes);
        else if (whole && line.p[i] == '#')
            str_addf(out, "%lld", (long long)before->lines);
        else
            str_addc(out, line.p[i]);
    }
    if (whole) {
        hash_hex(sum, hash64(out->p + start, out->len - start));
        str_addf(out, ",\"x\":\"%s\"}", sum);
    }
}

static void write_file(int64_t epoch, struct str *text, struct file *before)
{
    char name[64];

    snprintf(name, sizeof(name), "journal/%06lld.jsonl", (long long)epoch);
    fuzz_file(name, text->p, text->len);
    before->bytes = (int64_t)text->len;
    before->lines = 0;
    for (size_t i = 0; i < text->len; i++)
        before->lines += text->p[i] == '\n';
    str_cut(text, 0);
}

static void write_files(struct slice rest)
{
    struct file before = {0};
    struct str text = STR_INIT;
    struct slice line;
    int64_t epoch = 0;
    int files = 0;
    char *path = path_join(fuzz_dir(), "journal");

    FUZZ_CHECK(dir_remove(path, NULL) == 0 && dir_make(path, 0700, NULL) == 0);
    while (fuzz_line(&rest, &line)) {
        if (fuzz_word(&line, "=")) {
            if (epoch)
                write_file(epoch, &text, &before);
            if (++files > EPOCHS)
                epoch = 0;
            else
                epoch = fuzz_number(&line, INT32_MAX);
            str_cut(&text, 0);
            continue;
        }
        add_line(line, &before, &text);
        if (line.p + line.len < rest.p)
            str_addc(&text, '\n');
    }
    if (epoch)
        write_file(epoch, &text, &before);
    str_free(&text);
    free(path);
}

/* ---- reading ---- */

static int note(void *ctx, const struct event *ev, struct err *e)
{
    struct str *out = ctx;
    struct verdict v = {0};

    (void)e;
    if (ev->kind == EVENT_REPORT) {
        v.decision = ev->report.decision;
        v.rung = ev->report.rung;
    }
    event_encode(ev, &v, false, out);
    str_addc(out, '\n');
    return 0;
}

static int read_all(struct str *events, struct journal_pos *pos)
{
    struct journal_tail tail = {0};
    struct err e = {0};
    int rc;

    *pos = (struct journal_pos){0};
    rc = journal_read(fuzz_dir(), pos, NULL, note, events, &tail, &e);
    FUZZ_CHECK(rc == 0 || (*e.text && e.code == rc &&
                           (rc == ERR_NOENT || rc == ERR_CORRUPT || rc == ERR_VERSION)));
    FUZZ_CHECK(tail.torn_bytes >= 0 && tail.ignored_bytes >= 0 && tail.void_files >= 0);
    return rc;
}

/* ---- states ---- */

static int count_cells(void *ctx, const struct table *t, struct err *e)
{
    struct value *cells = mem_alloc(t->n_columns * sizeof(*cells));

    (void)e;
    for (size_t i = 0; i < t->rows; i++) {
        table_row(t, i, cells);
        for (size_t c = 0; c < t->n_columns; c++)
            *(size_t *)ctx += cells[c].kind != VALUE_ABSENT;
    }
    free(cells);
    return 0;
}

static int replay_all(const struct spec *spec, struct str *state, int64_t *events)
{
    struct sweep *sw = sweep_new(spec);
    struct history h;
    struct replay r = {.sw = sw, .history = &h, .verify = true};
    struct err e = {0};
    size_t cells = 0;
    int rc;

    history_init(&h);
    rc = replay_run(&r, fuzz_dir(), NULL, &e);
    sweep_state_json(sw, state);
    FUZZ_CHECK(r.mismatches == 0 || *r.first_mismatch);
    *events = r.pos.events;
    FUZZ_CHECK(tables_each(sw, &h, count_cells, &cells, NULL) == 0);
    str_addf(state, " %d %zu %lld", rc, cells, (long long)r.mismatches);
    history_clear(&h);
    sweep_free(sw);
    return rc;
}

/* ---- the next epoch ---- */

static void go_on(const struct str *before, const struct journal_pos *was)
{
    struct event ev = {.kind = EVENT_EPOCH, .trial = -1, .time = 1};
    struct str after = STR_INIT;
    struct journal_pos pos;
    struct journal *j;
    struct slice rest;
    struct err e;
    int64_t torn;

    if (was->epoch == INT32_MAX || journal_begin(fuzz_dir(), &ev, &j, &torn, &e) != 0)
        return;
    FUZZ_CHECK(journal_epoch(j) > was->epoch && torn >= 0);
    FUZZ_CHECK(journal_events(j) == was->events + 1);
    for (int i = 0; i < 3; i++) {
        ev = (struct event){.kind = EVENT_PAUSE, .trial = -1, .time = 2 + i};
        ev.why.reason = SLICE("because");
        journal_append(j, &ev, NULL);
    }
    FUZZ_CHECK(journal_commit(j, &e) == 0);
    journal_close(j);
    FUZZ_CHECK(read_all(&after, &pos) == 0 && pos.events == was->events + 4);
    rest = (struct slice){after.p, after.len};
    FUZZ_CHECK(before->len == 0 || fuzz_word(&rest, before->p));
    str_free(&after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str events = STR_INIT, same = STR_INIT, once = STR_INIT, twice = STR_INIT;
    struct journal_pos pos, again;
    struct spec spec;
    int64_t replayed;
    int rc;

    if (memchr(data, 0, n))
        return 0;
    rehearsal_spec(&spec, 20, n % 2);
    write_files((struct slice){(const char *)data, n});
    rc = read_all(&events, &pos);
    FUZZ_CHECK(read_all(&same, &again) == rc && memcmp(&pos, &again, sizeof(pos)) == 0);
    FUZZ_SAME(&events, &same);
    if (replay_all(&spec, &once, &replayed) == 0)
        FUZZ_CHECK(rc == 0 && replayed == pos.events);
    replay_all(&spec, &twice, &replayed);
    FUZZ_SAME(&once, &twice);
    if (rc == 0 || rc == ERR_NOENT)
        go_on(&events, &pos);
    str_free(&events);
    str_free(&same);
    str_free(&once);
    str_free(&twice);
    spec_clear(&spec);
    return 0;
}
