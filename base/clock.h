/* The only place that asks for the time. State machines take it as a value. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>

double clock_wall(void); /* seconds since 1970 UTC, as journals and tables have it */
double clock_mono(void); /* seconds, never jumping: timers */
/* "2026-11-20 17:15:02" local time; "-" for NaN or 0. */
const char *clock_format(char buf[32], double wall);
/* "20261120-171502" local time. */
const char *clock_stamp(char buf[32], double wall);

#endif
