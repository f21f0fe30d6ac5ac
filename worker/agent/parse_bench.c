/* What reading printed output costs: lines that match, and a flood that does not. */
#include "worker/agent/parse.h"

#include "base/clock.h"
#include "base/num.h"
#include "worker/agent/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES (100 << 20)

struct reader {
    struct parse *parse;
    int64_t step;
    long lines, reports;
};

static void read_line(void *ctx, const char *line, size_t n, bool cut)
{
    struct reader *r = ctx;
    const struct metric *metrics;
    int n_metrics;
    (void)cut;
    r->lines++;
    r->reports += parse_line(r->parse, line, n, &r->step, &metrics, &n_metrics);
}

static void flood(struct reader *r, const char *what, const char *line,
                  const char *target)
{
    static char block[65536];
    struct lines l = LINES_INIT;
    size_t n = strlen(line), filled = 0;
    while (filled + n <= sizeof(block)) {
        memcpy(block + filled, line, n);
        filled += n;
    }
    double before = clock_mono();
    for (size_t done = 0; done < BYTES; done += filled)
        lines_feed(&l, block, filled, PARSE_LINE_MAX, "\n\r", read_line, r);
    double seconds = clock_mono() - before;
    printf("%.0f MB/s\t%s\t%s, %.0f ns a line\n", 1e-6 * BYTES / seconds, target, what,
           1e9 * seconds / (double)r->lines);
    lines_free(&l);
    r->lines = 0;
}

int main(void)
{
    struct reader r = {0};
    if (parse_new("^epoch (?<step>\\d+) +val_loss[ =:]+(?<val_loss>\\S+)", &r.parse,
                  NULL))
        return 1;
    flood(&r, "printed reports through `parse:`", "epoch 3 val_loss=0.2134\n",
          ">= 50 MB/s");
    flood(&r, "printed lines of no interest",
          "[2026-11-20 17:15:02] batch 1234/60000 loss 0.2345 lr 0.001 grad 1.234\n",
          ">= 200 MB/s");
    flood(&r, "a progress bar",
          "  7%|#######                     | 1234/60000 [00:12<01:34, 431.2it/s]\r",
          ">= 200 MB/s");
    int status = r.reports > 0 ? 0 : 1;
    parse_free(r.parse);
    return status;
}
