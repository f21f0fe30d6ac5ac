#include "wire/timers.h"

#include "base/num.h"

#include <string.h>

static const struct {
    const char *name;
    double seconds;
    const char *reason;
} table[] = {
#define TIMER_ROW_(name, seconds, why) {#name, seconds, why},
    TIMER_MAP(TIMER_ROW_)
#undef TIMER_ROW_
};

const char *timer_name(int timer)
{
    return table[timer].name;
}

const char *timer_reason(int timer)
{
    return table[timer].reason;
}

void timers_default(struct timers *t)
{
    for (int i = 0; i < TIMERS; i++)
        t->s[i] = table[i].seconds;
}

static int timer_of(const char *name, size_t n)
{
    for (int i = 0; i < TIMERS; i++)
        if (strlen(table[i].name) == n && memcmp(table[i].name, name, n) == 0)
            return i;
    return -1;
}

int timers_parse(struct timers *t, const char *text)
{
    struct timers changed = *t;
    while (text && *text) {
        size_t n = strcspn(text, ","), name = strcspn(text, "=,");
        int timer = timer_of(text, name);
        double seconds;
        if (timer < 0 || name == n ||
            num_parse(text + name + 1, n - name - 1, &seconds) || !(seconds > 0))
            return -1;
        changed.s[timer] = seconds;
        text += n;
        if (*text == ',' && *++text == '\0')
            return -1;
    }
    *t = changed;
    return 0;
}
