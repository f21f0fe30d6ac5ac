#include "store/h5.h"

#include "base/file.h"
#include "base/mem.h"
#include "store/h5_keep.h"
#include "store/h5_table.h"

#include "config.h"

#include <stdlib.h>
#include <string.h>

#define SCHEMA 1

/* ---- writing ---- */

static int put_objectives(hid_t root, const struct spec *spec)
{
    const char *names[OBJECTIVES_MAX], *modes[OBJECTIVES_MAX];

    for (int i = 0; i < spec->objectives; i++) {
        names[i] = spec->objective[i].name;
        modes[i] = objective_mode(&spec->objective[i]);
    }
    if (h5_put_texts(root, "metrics", names, (size_t)spec->objectives) < 0)
        return -1;
    return h5_put_texts(root, "modes", modes, (size_t)spec->objectives);
}

static int put_root(hid_t file, const struct h5_input *in)
{
    const struct history *h = in->history;
    const struct spec *spec = sweep_spec(in->sw);
    hid_t root = H5Gopen2(file, "/", H5P_DEFAULT);
    const struct {
        const char *name, *text;
        bool optional;
    } texts[] = {
        {"rung_version", PACKAGE_VERSION, false},
        {"name", in->name, false},
        {"metric", spec->objective[0].name, false},
        {"mode", objective_mode(&spec->objective[0]), false},
        {"host", h->host, false},
        {"user", h->user, false},
        {"command", h->command, false},
        {"git", h->git, true},
    };
    int rc = root < 0 ? -1 : 0;

    if (rc == 0)
        rc = h5_put_int(root, "schema", SCHEMA);
    if (rc == 0 && spec->objectives > 1)
        rc = put_objectives(root, spec);
    for (size_t i = 0; rc == 0 && i < sizeof(texts) / sizeof(texts[0]); i++)
        if (*texts[i].text || !texts[i].optional)
            rc = h5_put_text(root, texts[i].name, texts[i].text);
    if (rc == 0)
        rc = h5_put_num(root, "created", h->created);
    if (rc == 0)
        rc = h5_put_num(root, "written", in->written);
    if (rc == 0)
        rc = h5_put_int(root, "journal_events", h->events);
    if (root >= 0)
        H5Gclose(root);
    return rc;
}

static int put_yaml(hid_t file, const struct h5_input *in)
{
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    hid_t create = H5Pcreate(H5P_DATASET_CREATE);
    herr_t rc = -1;

    H5Tset_size(type, in->yaml_len ? in->yaml_len : 1);
    H5Tset_strpad(type, H5T_STR_NULLPAD);
    H5Tset_cset(type, H5T_CSET_UTF8);
    H5Pset_obj_track_times(create, 0);
    hid_t set =
        H5Dcreate2(file, "sweep_yaml", type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    if (set >= 0) {
        const char *text = in->yaml_len ? in->yaml : "";
        rc = H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, text);
        if (rc >= 0)
            rc = h5_put_texts(set, "units", &(const char *){"YAML"}, 1);
        H5Dclose(set);
    }
    H5Pclose(create);
    H5Sclose(space);
    H5Tclose(type);
    return rc < 0 ? -1 : 0;
}

static int put_table(void *file, const struct table *t, struct err *e)
{
    return table_write(*(hid_t *)file, t, e);
}

static int put_all(hid_t file, const struct h5_input *in, struct err *e)
{
    if (put_root(file, in) < 0)
        return h5_fail(e, ERR_IO, "the attributes cannot be written");
    if (put_yaml(file, in) < 0)
        return h5_fail(e, ERR_IO, "/sweep_yaml: cannot be written");
    return tables_each(in->sw, in->history, put_table, &file, e);
}

int h5_write(const char *path, const struct h5_input *in, struct err *e)
{
    struct h5_bytes bytes;
    hid_t file = h5_file_create(&bytes, 0);
    int rc;

    if (file < 0)
        return h5_fail(e, ERR_IO, "%s: cannot be made in memory", path);
    rc = put_all(file, in, e);
    if (rc) {
        err_prefix(e, "%s", path);
        goto out;
    }
    rc = h5_file_finish(file, &bytes);
    file = -1;
    if (rc < 0) {
        rc = h5_fail(e, ERR_IO, "%s: cannot be made in memory", path);
        goto out;
    }
    versions_tidy(path, in->written);
    version_keep(path, in->written);
    rc = file_write(path, bytes.p, bytes.n, 0666, e);
out:
    h5_file_drop(file, &bytes);
    return rc;
}

/* ---- checking ---- */

static int read_number(hid_t file, const char *name, double *v)
{
    hid_t a = H5Aopen_by_name(file, "/", name, H5P_DEFAULT, H5P_DEFAULT);
    herr_t rc = a < 0 ? -1 : H5Aread(a, H5T_NATIVE_DOUBLE, v);

    if (a >= 0)
        H5Aclose(a);
    return rc < 0 ? -1 : 0;
}

/* Reads the last of `rows` rows. */
static herr_t read_last(hid_t set, hid_t space, hsize_t rows)
{
    hid_t type = H5Dget_type(set);
    hsize_t start = rows - 1, one = 1;
    hid_t memory = H5Screate_simple(1, &one, NULL);
    char *row = mem_alloc(H5Tget_size(type));
    herr_t rc = H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &one, NULL);

    if (rc >= 0)
        rc = H5Dread(set, type, memory, space, H5P_DEFAULT, row);
    free(row);
    H5Sclose(memory);
    H5Tclose(type);
    return rc;
}

static int check_table(hid_t file, const char *path, const char *name, int64_t *rows,
                       struct err *e)
{
    hid_t set = H5Dopen2(file, name, H5P_DEFAULT), space = -1;
    hsize_t n = 0;
    int rc = 0;

    if (set < 0)
        return h5_fail(e, ERR_CORRUPT, "%s: no table /%s in it", path, name);
    space = H5Dget_space(set);
    if (H5Sget_simple_extent_ndims(space) != 1 ||
        H5Sget_simple_extent_dims(space, &n, NULL) < 0)
        rc = h5_fail(e, ERR_CORRUPT, "%s: /%s is no table", path, name);
    else if (n > 0 && read_last(set, space, n) < 0)
        rc =
            h5_fail(e, ERR_CORRUPT, "%s: the last row of /%s cannot be read", path, name);
    *rows = (int64_t)n;
    H5Sclose(space);
    H5Dclose(set);
    return rc;
}

int h5_check(const char *path, struct h5_info *info, struct err *e)
{
    int64_t other;
    const struct {
        const char *name;
        int64_t *rows;
    } tables[] = {
        {"trials", &info->trials},     {"metrics", &info->metrics},
        {"attempts", &info->attempts}, {"rungs", &other},
        {"decisions", &other},
    };
    double schema = 0, events = 0;
    hid_t file;
    int rc = h5_file_open(path, &file, e);

    if (rc)
        return rc;
    *info = (struct h5_info){0};
    if (read_number(file, "schema", &schema) < 0 ||
        read_number(file, "journal_events", &events) < 0)
        rc = h5_fail(e, ERR_CORRUPT, "%s: not a sweep, or not a whole one", path);
    else if (schema != SCHEMA)
        rc = err_set(e, ERR_VERSION, "%s: has schema %.0f, this release knows %d", path,
                     schema, SCHEMA);
    info->schema = (int)schema;
    info->journal_events = (int64_t)events;
    for (size_t i = 0; rc == 0 && i < sizeof(tables) / sizeof(tables[0]); i++)
        rc = check_table(file, path, tables[i].name, tables[i].rows, e);
    H5Fclose(file);
    return rc;
}
