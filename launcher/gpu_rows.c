#include "launcher/gpu_rows.h"

#include "base/file.h"
#include "base/json.h"
#include "base/vec.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_MAX (64 << 20) /* bytes */
#define OLD      60.0       /* seconds */

void gpu_rows_free(struct gpu_rows *r)
{
    vec_free(r);
}

static void put_num(struct str *out, const char *key, double v)
{
    json_put_key(out, key);
    json_put_num(out, v);
}

void gpu_rows_json(const struct gpu_rows *r, struct str *out)
{
    json_put_array(out);
    for (size_t i = 0; i < r->n; i++) {
        const struct gpu_row *row = &r->v[i];

        json_put_object(out);
        json_put_key(out, "trial");
        json_put_int(out, row->trial);
        json_put_key(out, "attempt");
        json_put_int(out, row->attempt);
        json_put_key(out, "gpus");
        json_put_int(out, row->use.gpus);
        put_num(out, "util", row->use.util);
        put_num(out, "mem_used", row->use.mem_used);
        put_num(out, "mem_total", row->use.mem_total);
        put_num(out, "power", row->use.power);
        json_put_close(out, '}');
    }
    json_put_close(out, ']');
}

int gpu_rows_write(const char *dir, double now, const struct gpu_rows *r, struct err *e)
{
    char *path = path_join(dir, "gpus.json");
    struct str out = STR_INIT;
    int rc = 0;

    if (r->n == 0) {
        unlink(path);
    } else {
        json_put_object(&out);
        put_num(&out, "time", now);
        json_put_key(&out, "gpus");
        gpu_rows_json(r, &out);
        str_add(&out, "}\n");
        rc = file_write(path, out.p, out.len, 0644, e);
    }
    str_free(&out);
    free(path);
    return rc;
}

static int32_t count(struct json *j)
{
    int64_t v = json_int(j);

    if (v < 0 || v > INT32_MAX)
        json_fail(j, "out of range");
    return (int32_t)v;
}

static void read_row(struct json *j, struct gpu_row *row)
{
    struct slice key;

    *row = (struct gpu_row){.use = {0, 0, NAN, NAN, NAN, NAN}};
    json_object(j);
    while (json_key(j, &key)) {
        if (json_is(key, "trial"))
            row->trial = count(j);
        else if (json_is(key, "attempt"))
            row->attempt = count(j);
        else if (json_is(key, "gpus"))
            row->use.gpus = count(j);
        else if (json_is(key, "util"))
            row->use.util = json_num(j);
        else if (json_is(key, "mem_used"))
            row->use.mem_used = json_num(j);
        else if (json_is(key, "mem_total"))
            row->use.mem_total = json_num(j);
        else if (json_is(key, "power"))
            row->use.power = json_num(j);
        else
            json_skip(j);
    }
}

void gpu_rows_read(const char *dir, double now, struct gpu_rows *r)
{
    char *path = path_join(dir, "gpus.json");
    struct str text = STR_INIT;
    struct slice key;
    double time = NAN;
    struct json j;

    r->n = 0;
    if (file_read_regular(path, FILE_MAX, &text, NULL) == 0) {
        json_begin(&j, text.p, text.len);
        json_object(&j);
        while (json_key(&j, &key)) {
            if (json_is(key, "time")) {
                time = json_num(&j);
            } else if (json_is(key, "gpus")) {
                json_array(&j);
                while (json_item(&j)) {
                    vec_push(r, (struct gpu_row){0});
                    read_row(&j, &r->v[r->n - 1]);
                }
            } else {
                json_skip(&j);
            }
        }
        json_end(&j);
        if (j.error || !(now - time <= OLD))
            r->n = 0;
    }
    str_free(&text);
    free(path);
}
