/* GPUs as people read them. */
#include "launcher/view.h"

#include "base/units.h"

#include <math.h>
#include <stdio.h>

/* "trial 12  2 GPUs  93 %  60 GiB of 80 GiB  412 W" */
void view_gpu(const struct gpu_row *row, int digits, struct str *out)
{
    const struct gpu_use *use = &row->use;
    char used[UNITS_MAX], total[UNITS_MAX];

    str_addf(out, "trial %*d", digits, row->trial);
    if (use->gpus > 1)
        str_addf(out, "  %d GPUs", use->gpus);
    if (!isnan(use->util))
        str_addf(out, "  %3.0f %%", 100 * use->util);
    if (!isnan(use->mem_used))
        str_addf(out, "  %s of %s", size_format(used, use->mem_used),
                 size_format(total, use->mem_total));
    if (!isnan(use->power))
        str_addf(out, "  %.0f W", use->power);
    if (isnan(use->util) && isnan(use->mem_used) && isnan(use->power))
        str_add(out, "  they tell nothing");
}

void view_gpus_sum(const struct gpu_rows *r, struct str *out)
{
    const struct gpu_row *idle = NULL, *full = NULL;
    double util = 0, power = 0;
    int gpus = 0, telling = 0;

    for (size_t i = 0; i < r->n; i++) {
        const struct gpu_row *row = &r->v[i];

        gpus += row->use.gpus;
        power += isnan(row->use.power) ? 0 : row->use.power;
        if (!isnan(row->use.util)) {
            telling += row->use.gpus;
            util += row->use.gpus * row->use.util;
            if (!idle || row->use.util < idle->use.util)
                idle = row;
        }
        if (!isnan(row->use.mem_used) &&
            (!full || row->use.mem_used > full->use.mem_used))
            full = row;
    }
    str_addf(out, "%d, of %zu trials", gpus, r->n);
    if (idle)
        str_addf(out, ": %.0f %% busy, least those of trial %d (%.0f %%)",
                 100 * util / telling, idle->trial, 100 * idle->use.util);
    if (full) {
        char used[UNITS_MAX], total[UNITS_MAX];

        str_addf(out, ", at most %s of %s in use (trial %d)",
                 size_format(used, full->use.mem_used),
                 size_format(total, full->use.mem_total), full->trial);
    }
    if (power > 0)
        str_addf(out, ", %.2f kW", power / 1e3);
}
