#include "worker/train/loss_scale.h"

enum { FIRST = 65536, EVERY = 2000 };

/* Beyond what fp32 has no gradient that is finite could be scaled. */
#define MOST 0x1p100

struct loss_scale loss_scale_start(bool fp16, struct loss_scale before)
{
    if (!fp16)
        return (struct loss_scale){1, -1, before.skipped};
    if (before.factor >= 1 && loss_scale_used(&before))
        return before;
    return (struct loss_scale){FIRST, 0, before.skipped};
}

void loss_scale_step(struct loss_scale *s, bool finite)
{
    if (!finite) {
        s->factor = s->factor > 2 ? s->factor / 2 : 1;
        s->since = 0;
        s->skipped++;
    } else if (++s->since == EVERY) {
        s->factor = s->factor < MOST ? s->factor * 2 : s->factor;
        s->since = 0;
    }
}
