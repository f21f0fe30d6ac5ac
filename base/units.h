/* Durations and sizes as people and Slurm write them. */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* "4:00:00" "30:00" (mm:ss) "1-12:00:00" "1-12" "90s" "15m" "2h" "1.5h" "3d", or
 * a bare number of seconds; seconds, > 0. */
int duration_parse(const char *text, double *seconds, struct err *e);
/* "512M" "2G" "1.5T" "800K", or bytes; powers of 1024; bytes, > 0. */
int size_parse(const char *text, int64_t *bytes, struct err *e);

#define UNITS_MAX 32
/* For people: "4.2 s", "3m 07s", "2h 05m", "1d 04h"; "1.5 GiB". */
const char *duration_format(char buf[UNITS_MAX], double seconds);
const char *size_format(char buf[UNITS_MAX], double bytes);
/* For sbatch --time: D-HH:MM:SS, rounded up to whole seconds. */
const char *duration_slurm(char buf[UNITS_MAX], double seconds);

#endif
