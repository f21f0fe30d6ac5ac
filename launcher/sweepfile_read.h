/* Reading a sweep file: what its parts share. Internal to the parser. */
#ifndef LAUNCHER_SWEEPFILE_READ_H
#define LAUNCHER_SWEEPFILE_READ_H

#include "launcher/sweepfile_keys.h"
#include "launcher/yaml_doc.h"

struct reader {
    struct mistakes m;
    struct sweepfile *f;
    struct doc_node *root;
    const struct doc_node *seen[KEYS];  /* values of the keys that are in the file */
    const struct doc_node *found[KEYS]; /* those of them that can be used */
    bool names_known; /* no parameter's name is missing because of another mistake */
    bool bad[KEYS];   /* keys whose value cannot be used: it was told of, or is missing */
};

/* Where a key's value is; if it is not there, its section's; else the file's beginning.
 */
size_t reader_place(const struct reader *r, enum key_id key);

/* An adapter: what is reported for a scalar's text becomes a mistake of the file. */
struct text_errors {
    struct reader *r;
    const struct doc_node *node;
    bool is_like_text; /* one mistake says it all: that text needs quotes */
    bool told;
};
struct space_errors text_errors_of(struct text_errors *t);

/* These read from r->found[] into r->f, telling mistakes. */
void read_space(struct reader *r);
void read_start(struct reader *r);
void read_oom(struct reader *r);
void read_options(struct reader *r);

/* " (did you mean 'x'?)", of the parameters and of n more names, or nothing. */
void add_nearest(struct str *out, const char *word, const struct space *space,
                 const char *const more[], size_t n);

/* In { } or [ ] YAML cuts a call like uniform(0.5, 0.99) at its commas, and the rest
 * becomes items of its own. Was item i cut so? Then it is told of, and *i is set to the
 * last piece of the call. */
bool call_was_cut(struct reader *r, const struct doc_node *list, size_t *i);

/* What follows from several keys: in_place, has_metric, a grid's trials. */
void rules_derive(struct sweepfile *f);
/* What must hold between keys; `tell` is called for each rule that is broken. Rules that
 * need a bad key are not looked at; bad may be NULL. */
void rules_check(const struct sweepfile *f, const bool bad[],
                 void (*tell)(void *ctx, enum key_id key, const char *sentence),
                 void *ctx);

#endif
