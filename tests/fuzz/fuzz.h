/* Fuzzers: programs that clang's libFuzzer gives any bytes to, and that abort where what
 * they are about does not hold. Each is one file, tests/fuzz/NAME_fuzz.c, with one
 * LLVMFuzzerTestOneInput(); its inputs are kept in tests/fuzz/corpus/NAME/.
 *
 * With `configure --enable-fuzzers` they are linked with libFuzzer; in every other build
 * with tests/fuzz/replay.c, and play the inputs that they are given, which `make check`
 * does with all that are kept. An input is played alike each time: no clock, no random
 * numbers, no memory of the input before. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Aborts, saying where, unless the condition holds. */
#define FUZZ_CHECK(condition)                                                            \
    ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_fail(const char *file, int line, const char *what);

/* Both texts are the same; shows them where they are not. */
#define FUZZ_SAME(a, b) fuzz_same(__FILE__, __LINE__, (a), (b))
void fuzz_same(const char *file, int line, const struct str *a, const struct str *b);

/* Takes the next line off an input, without its newline; false when nothing is left. */
bool fuzz_line(struct slice *rest, struct slice *line);
/* Whether the line begins so; then that is taken off it. */
bool fuzz_word(struct slice *line, const char *word);
/* Takes the digits that a line begins with, and a blank behind them, off it; at most
 * `max`. 0 where there are none. */
int64_t fuzz_number(struct slice *line, int64_t max);
/* The line as a C string, cut at a NUL. free() it. */
char *fuzz_text(struct slice line);

/* A directory of this process, in memory where the machine has that, removed at its end.
 */
const char *fuzz_dir(void);
/* Makes the file below it anew, not durably. */
void fuzz_file(const char *name, const void *data, size_t n);

#endif
