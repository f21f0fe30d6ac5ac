#include "base/suggest.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static int min2(int a, int b)
{
    return a < b ? a : b;
}

int edit_distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b), width = nb + 1;
    int *rows = mem_resize(NULL, 3 * width, sizeof(*rows));
    int *before = rows, *last = rows + width, *row = rows + 2 * width;
    for (size_t j = 0; j <= nb; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= na; i++) {
        int *free_row = before;
        before = last;
        last = row;
        row = free_row;
        row[0] = (int)i;
        for (size_t j = 1; j <= nb; j++) {
            int differs = lower(a[i - 1]) != lower(b[j - 1]);
            row[j] = min2(last[j - 1] + differs, min2(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = min2(row[j], before[j - 2] + 1);
        }
    }
    int distance = row[nb];
    free(rows);
    return distance;
}

bool edit_slip(const char *a, const char *b)
{
    while (*a && lower(*a) == lower(*b))
        a++, b++;
    size_t na = strlen(a), nb = strlen(b);
    while (na > 0 && nb > 0 && lower(a[na - 1]) == lower(b[nb - 1]))
        na--, nb--;
    return (na <= 1 && nb <= 1) || (na == 2 && nb == 2 && lower(a[0]) == lower(b[1]) &&
                                    lower(a[1]) == lower(b[0]));
}

const char *suggest(const char *word, const char *const names[], size_t n)
{
    const char *nearest = NULL;
    int nearest_distance = 0;
    for (size_t i = 0; i < n; i++) {
        size_t longer = strlen(names[i]);
        if (longer < strlen(word))
            longer = strlen(word);
        int limit = longer < 6 ? 1 : longer < 9 ? 2 : 3;
        int distance = edit_distance(word, names[i]);
        if (distance <= limit && (!nearest || distance < nearest_distance)) {
            nearest = names[i];
            nearest_distance = distance;
        }
    }
    return nearest;
}
