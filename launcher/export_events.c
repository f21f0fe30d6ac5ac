/* TensorBoard's event files: records of (length, checksum of the length, data, checksum
 * of the data), all little-endian, whose data are Event messages of protocol buffers
 * (tensorflow/core/util/event.proto). Of those only what a scalar takes is written:
 *
 *     Event   1 wall_time: double   2 step: int64   3 file_version: string
 *             5 summary: Summary
 *     Summary 1 value: repeated Value
 *     Value   1 tag: string   2 simple_value: float
 */
#include "launcher/export.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- records ---- */

/* CRC-32C (Castagnoli), bits reflected, and the rotation and offset that records of
 * checksums call for. */
static uint32_t masked_crc(const char *data, size_t n)
{
    uint32_t crc = 0xFFFFFFFF;

    for (size_t i = 0; i < n; i++) {
        crc ^= (unsigned char)data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xA282EAD8;
}

static void put_fixed(struct str *out, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        str_addc(out, (char)(v >> 8 * i & 0xFF));
}

static void put_record(struct str *out, const struct str *data)
{
    size_t at = out->len;

    put_fixed(out, data->len, 8);
    put_fixed(out, masked_crc(out->p + at, 8), 4);
    str_addn(out, data->p, data->len);
    put_fixed(out, masked_crc(data->p, data->len), 4);
}

/* ---- messages ---- */

enum wire_type { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_varint(struct str *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        str_addc(out, (char)(v | 0x80));
    str_addc(out, (char)v);
}

static void put_key(struct str *out, int field, enum wire_type type)
{
    put_varint(out, (uint64_t)field << 3 | type);
}

static void put_bytes(struct str *out, int field, const char *data, size_t n)
{
    put_key(out, field, BYTES);
    put_varint(out, n);
    str_addn(out, data, n);
}

static void put_time(struct str *out, double time)
{
    uint64_t bits;

    memcpy(&bits, &time, sizeof(bits));
    put_key(out, 1, FIXED64);
    put_fixed(out, bits, 8);
}

static void put_value(struct str *out, const char *tag, double v)
{
    struct str value = STR_INIT;
    float narrow = (float)v;
    uint32_t bits;

    memcpy(&bits, &narrow, sizeof(bits));
    put_bytes(&value, 1, tag, strlen(tag));
    put_key(&value, 2, FIXED32);
    put_fixed(&value, bits, 4);
    put_bytes(out, 1, value.p, value.len);
    str_free(&value);
}

/* ---- a trial ---- */

static void put_first(struct str *out, double time)
{
    static const char version[] = "brain.Event:2";
    struct str event = STR_INIT;

    put_time(&event, time);
    put_bytes(&event, 3, version, sizeof(version) - 1);
    put_record(out, &event);
    str_free(&event);
}

static void put_report(struct str *out, const struct history *h,
                       const struct report_row *r)
{
    struct str event = STR_INIT, summary = STR_INIT;

    for (uint32_t i = 0; i < r->n_cells; i++) {
        const struct metric_cell *cell = &h->cells.v[r->first_cell + i];

        put_value(&summary, h->names.v[cell->column], cell->value);
    }
    put_time(&event, r->time);
    put_key(&event, 2, VARINT);
    put_varint(&event, (uint64_t)r->step);
    put_bytes(&event, 5, summary.p, summary.len);
    put_record(out, &event);
    str_free(&event);
    str_free(&summary);
}

static int write_trial(const char *to, int32_t trial, double created,
                       const struct str *events, struct err *e)
{
    struct str path = STR_INIT;
    int rc;

    str_addf(&path, "%s/tensorboard/%06d", to, trial);
    rc = dir_make(path.p, 0777, e);
    str_addf(&path, "/events.out.tfevents.%010.0f.rung", created);
    if (rc == 0)
        rc = file_write(path.p, events->p, events->len, 0666, e);
    str_free(&path);
    return rc;
}

int export_tensorboard(const struct loaded *l, const char *to, struct err *e)
{
    const struct history *h = &l->history;
    size_t trials = (size_t)sweep_trials(l->sw);
    /* each trial's reports as a list, by index plus 1 */
    size_t *first = mem_alloc(trials * sizeof(*first));
    size_t *next = mem_alloc(h->reports.n * sizeof(*next));
    struct str events = STR_INIT;
    int rc = 0;

    for (size_t i = h->reports.n; i > 0; i--) {
        next[i - 1] = first[h->reports.v[i - 1].trial];
        first[h->reports.v[i - 1].trial] = i;
    }
    for (size_t t = 0; t < trials && rc == 0; t++) {
        double created = sweep_trial(l->sw, (int32_t)t)->created;

        if (first[t] == 0)
            continue;
        str_cut(&events, 0);
        put_first(&events, created);
        for (size_t i = first[t]; i > 0; i = next[i - 1])
            put_report(&events, h, &h->reports.v[i - 1]);
        rc = write_trial(to, (int32_t)t, created, &events, e);
    }
    str_free(&events);
    free(first);
    free(next);
    return rc;
}
