/* Plays files to a fuzzer, in place of libFuzzer: NAME_fuzz FILE... Its last words, where
 * it dies, are the file. */
#include "base/file.h"
#include "base/mem.h"
#include "tests/fuzz/fuzz.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char *argv[])
{
    struct err e;

    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE...\n", argv[0]);
        return 2;
    }
    for (int i = 1; i < argc; i++) {
        struct str text = STR_INIT;
        uint8_t *exact;

        if (file_read(argv[i], INT_MAX, &text, &e) != 0) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
        fprintf(stderr, "%s\n", argv[i]);
        exact = mem_dup(text.p, text.len); /* no NUL behind it, as from libFuzzer */
        LLVMFuzzerTestOneInput(exact, text.len);
        free(exact);
        str_free(&text);
    }
    return 0;
}
