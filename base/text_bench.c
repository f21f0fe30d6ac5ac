/* What a report costs in text: its journal line read and written, its numbers read
 * and printed. Prints lines of figure, target, method. */
#include "base/clock.h"
#include "base/json.h"
#include "base/num.h"

#include <stdio.h>

static const char line[] =
    "{\"ev\":\"report\",\"t\":1763657162.123457,\"trial\":1234,\"attempt\":2,\"step\":27,"
    "\"rung\":3,\"seq\":918273,\"m\":{\"val_loss\":0.21345678901234567,\"accuracy\":0."
    "9132}}";

struct report {
    double t, val_loss, accuracy;
    int64_t trial, attempt, step, rung, seq;
};

/* Keeps the compiler from leaving out work whose result is not looked at. */
static void keep(const void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

static void read_metrics(struct json *j, struct report *r)
{
    struct slice key;
    json_object(j);
    while (json_key(j, &key)) {
        if (json_is(key, "val_loss"))
            r->val_loss = json_num(j);
        else if (json_is(key, "accuracy"))
            r->accuracy = json_num(j);
        else
            json_skip(j);
    }
}

static void read_line(void)
{
    struct report r;
    struct json j;
    struct slice key;
    json_begin(&j, line, sizeof(line) - 1);
    json_object(&j);
    while (json_key(&j, &key)) {
        if (json_is(key, "t"))
            r.t = json_num(&j);
        else if (json_is(key, "trial"))
            r.trial = json_int(&j);
        else if (json_is(key, "attempt"))
            r.attempt = json_int(&j);
        else if (json_is(key, "step"))
            r.step = json_int(&j);
        else if (json_is(key, "rung"))
            r.rung = json_int(&j);
        else if (json_is(key, "seq"))
            r.seq = json_int(&j);
        else if (json_is(key, "m"))
            read_metrics(&j, &r);
        else
            json_skip(&j);
    }
    json_end(&j);
    keep(&r);
    keep(j.error);
}

static void skip_line(void)
{
    struct json j;
    json_begin(&j, line, sizeof(line) - 1);
    json_skip(&j);
    json_end(&j);
    keep(j.error);
}

static void write_line(void)
{
    static struct str s = STR_INIT;
    str_cut(&s, 0);
    json_put_object(&s);
    json_put_key(&s, "ev");
    json_put_str(&s, "report");
    json_put_key(&s, "t");
    json_put_num(&s, 1763657162.123457);
    json_put_key(&s, "trial");
    json_put_int(&s, 1234);
    json_put_key(&s, "attempt");
    json_put_int(&s, 2);
    json_put_key(&s, "step");
    json_put_int(&s, 27);
    json_put_key(&s, "rung");
    json_put_int(&s, 3);
    json_put_key(&s, "seq");
    json_put_int(&s, 918273);
    json_put_key(&s, "m");
    json_put_object(&s);
    json_put_key(&s, "val_loss");
    json_put_num(&s, 0.21345678901234567);
    json_put_key(&s, "accuracy");
    json_put_num(&s, 0.9132);
    json_put_close(&s, '}');
    json_put_close(&s, '}');
    keep(s.p);
}

static void format_one(double v)
{
    char buf[NUM_MAX];
    num_format(buf, v);
    keep(buf);
}

static void format_short(void)
{
    format_one(0.2134);
}

static void format_long(void)
{
    format_one(0.21345678901234567);
}

static void format_tiny(void)
{
    format_one(1.2345678901234567e-12);
}

static void parse_one(const char *text, size_t n)
{
    double v;
    num_parse(text, n, &v);
    keep(&v);
}

static void parse_long(void)
{
    parse_one("0.21345678901234567", 19);
}

static void parse_tiny(void)
{
    parse_one("1.2345678901234567e-12", 22);
}

static const struct {
    const char *what;
    double target; /* ns, 0 for none */
    void (*run)(void);
} cases[] = {
    {"read a report's journal line of 149 bytes and 10 members", 400, read_line},
    {"check the same line", 400, skip_line},
    {"write it", 0, write_line},
    {"num_format 0.2134", 200, format_short},
    {"num_format 0.21345678901234567", 200, format_long},
    {"num_format 1.2345678901234567e-12 (by printf)", 0, format_tiny},
    {"num_parse 0.21345678901234567", 200, parse_long},
    {"num_parse 1.2345678901234567e-12 (by strtod)", 0, parse_tiny},
};

int main(void)
{
    enum { REPEAT = 200000, RUNS = 5 };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double best = 1e9;
        for (int run = 0; run < RUNS; run++) {
            double start = clock_mono();
            for (int k = 0; k < REPEAT; k++)
                cases[i].run();
            double ns = (clock_mono() - start) * 1e9 / REPEAT;
            best = ns < best ? ns : best;
        }
        char target[32] = "-";
        if (cases[i].target > 0)
            snprintf(target, sizeof(target), "< %.0f ns", cases[i].target);
        printf("%.0f ns\t%s\t%s; best of %d runs of %d\n", best, target, cases[i].what,
               RUNS, REPEAT);
    }
    return 0;
}
