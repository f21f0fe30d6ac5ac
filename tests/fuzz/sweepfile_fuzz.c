/* The sweep file: any text is refused with its mistakes, each with its place, or
 * accepted, alike twice; then trials can be drawn, each satisfies the space by the point
 * it was drawn at, and there is a command for it. */
#include "launcher/forecast.h"
#include "launcher/sweepfile_keys.h"
#include "sched/sweep.h"
#include "tests/fuzz/fuzz.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define TRIALS 8

/* "f.yaml:9:7: a sentence", line by line. */
static void check_mistakes(const struct str *errors)
{
    struct slice rest = {errors->p, errors->len}, line;

    FUZZ_CHECK(errors->len > 0 && errors->p[errors->len - 1] == '\n');
    while (fuzz_line(&rest, &line)) {
        FUZZ_CHECK(fuzz_word(&line, "f.yaml:"));
        for (size_t i = 0; i < line.len; i++)
            FUZZ_CHECK((unsigned char)line.p[i] >= 0x20);
    }
}

static void check_command(const struct sweepfile *f, const struct value values[])
{
    struct command_env env = {.trial = 3,
                              .attempt = 1,
                              .seed = 5,
                              .until = 9,
                              .checkpoint_dir = "/c",
                              .sweep_dir = "/s",
                              .values = values};
    char **words = command_words(f, &env);

    FUZZ_CHECK(words[0]);
    FUZZ_CHECK(!f->shell || (words[1] && words[2] && !words[3]));
    for (size_t i = 0; words[i]; i++)
        free(words[i]);
    free(words);
}

/* The trials that it begins with. */
static void check_draws(const struct sweepfile *f)
{
    const struct spec *spec = &f->spec;
    int n = space_count(spec->space);
    struct sweep *sw = sweep_new(spec);
    struct value *values = mem_alloc((size_t)n * sizeof(*values));
    struct str text = STR_INIT, params = STR_INIT;
    struct event ev;
    struct err e;

    for (int i = 0; i < TRIALS && sweep_next(sw).kind == WORK_DRAW; i++) {
        int rc = sweep_draw(sw, &ev, &e);

        FUZZ_CHECK(rc == 0 || ((rc == ERR_RANGE || rc == ERR_NOENT) && *e.text));
        if (rc)
            break;
        str_cut(&params, 0);
        str_addn(&params, ev.drawn.params.p, ev.drawn.params.len);
        if (ev.drawn.given == GIVEN_NOT) {
            FUZZ_CHECK(ev.drawn.u.n == space_dims(spec->space));
            FUZZ_CHECK(space_eval(spec->space, ev.drawn.u.v, values, &e) == SPACE_OK);
            str_cut(&text, 0);
            space_json(spec->space, values, &text);
            FUZZ_SAME(&text, &params);
            check_command(f, values);
        }
        FUZZ_CHECK(sweep_apply(sw, &ev, NULL, &e) == 0);
        str_cut(&text, 0);
        sweep_params(sw, i, &text);
        FUZZ_SAME(&text, &params);
    }
    str_free(&text);
    str_free(&params);
    free(values);
    sweep_free(sw);
}

/* Settings that a resumed sweep may be given: taken or refused, and the file stays one.
 */
static void check_settings(struct sweepfile *f)
{
    static const char *const values[] = {"0", "1", "none", "2h", "-1", "1e9", "0.5", ""};
    struct err e;

    for (int k = 0; k < KEYS; k++)
        for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
            int rc = sweepfile_set(f, keys[k].path, values[i], &e);
            FUZZ_CHECK(rc == 0 || (rc == ERR_INVAL && *e.text));
            FUZZ_CHECK(rc == 0 ? keys[k].settable : true);
        }
}

static void check_file(struct sweepfile *f)
{
    struct forecast cast;
    const struct spec *s = &f->spec;

    FUZZ_CHECK(s->objective[0].name && s->space && f->name && *f->name &&
               f->command_text);
    FUZZ_CHECK(f->slots > 0 && s->grace_period > 0 && spec_total(s) > 0);
    if (spec_total(s) <= 64) {
        forecast_make(&cast, s, f->slots);
        FUZZ_CHECK(cast.trials == spec_planned(s));
        forecast_free(&cast);
    }
    check_draws(f);
    check_settings(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct sweepfile *f, *again;
    struct str errors = STR_INIT, more = STR_INIT;
    int rc = sweepfile_parse("f.yaml", (const char *)data, n, &f, &errors);

    FUZZ_CHECK(rc == 0 || rc == ERR_INVAL);
    FUZZ_CHECK(sweepfile_parse("f.yaml", (const char *)data, n, &again, &more) == rc);
    FUZZ_SAME(&errors, &more);
    if (rc) {
        check_mistakes(&errors);
    } else {
        check_file(f);
        sweepfile_free(f);
        sweepfile_free(again);
    }
    str_free(&errors);
    str_free(&more);
    return 0;
}
