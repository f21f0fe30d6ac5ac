/* A line of the journal: any bytes are read or refused; what was read, written again,
 * reads as the same. The input is a line without its checksum, which it is given here. */
#include "base/hash.h"
#include "store/event_line.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

/* Decodes and writes again. The verdict is what the event says of itself. */
static int again(const char *line, size_t n, struct event_scratch *scratch,
                 struct str *out)
{
    struct event ev;
    struct verdict v = {0};
    struct err e;
    bool first;
    int rc = event_decode(line, n, &ev, &first, scratch, &e);

    if (rc) {
        FUZZ_CHECK((rc == ERR_CORRUPT || rc == ERR_VERSION) && *e.text);
        return rc;
    }
    if (ev.kind == EVENT_REPORT) {
        v.decision = ev.report.decision;
        v.rung = ev.report.rung;
    }
    event_encode(&ev, &v, first, out);
    FUZZ_CHECK(line_whole(out->p, out->len));
    FUZZ_CHECK(line_commits(out->p, out->len) == first);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct event_scratch *scratch = event_scratch_new();
    struct str line = STR_INIT, once = STR_INIT, twice = STR_INIT;
    char sum[17];

    again((const char *)data, n, scratch, &once);
    str_cut(&once, 0);
    while (n > 0 && data[n - 1] == '\n')
        n--;
    if (n > 0 && data[n - 1] == '}')
        n--;
    str_addn(&line, data, n);
    hash_hex(sum, hash64(line.p, line.len));
    str_addf(&line, ",\"x\":\"%s\"}", sum);
    if (again(line.p, line.len, scratch, &once) == 0) {
        FUZZ_CHECK(again(once.p, once.len, scratch, &twice) == 0);
        FUZZ_SAME(&once, &twice);
    }
    str_free(&line);
    str_free(&once);
    str_free(&twice);
    event_scratch_free(scratch);
    return 0;
}
