/* HDF5 files that others have made: data sets and checkpoints, read or refused. HDF5's
 * own reading of damaged bytes is not what is tried here: the input is a script by which
 * the library makes a whole file with anything in it.
 *
 * `c` begins with a checkpoint of ours, else the file is empty. Other lines:
 *
 *     -PATH              without that object
 *     dTL N N N PATH     a dataset of type T, layout L and these dimensions
 *     aTN PATH NAME      an attribute of type T with N values (0: without a space) */
#include "base/file.h"
#include "base/mem.h"
#include "store/h5_file.h"
#include "store/tensors.h"
#include "tests/fuzz/fuzz.h"
#include "worker/train/checkpoint.h"
#include "worker/train/cpu.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINES_MAX  40
#define WRITTEN    4096               /* elements, and a dataset of more is left empty */
#define SMALL      ((hsize_t)1 << 20) /* what may really be asked memory for */
#define IMPOSSIBLE ((hsize_t)1 << 45)

/* HDF5 itself loses memory where something fails. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

/* ---- a training for checkpoints to be loaded into ---- */

enum { FEATURES = 3, CLASSES = 2, HIDDEN = 4 };

static void training_make(struct training *t, struct device *device)
{
    const size_t hidden[] = {HIDDEN};

    *t = (struct training){.model_kind = "mlp", .seed = 1};
    t->data = mem_alloc(sizeof(*t->data));
    t->data->train.features = FEATURES;
    t->data->train.bytes = t->data->test.bytes = (struct str)STR_INIT;
    t->data->mean = mem_alloc(FEATURES * sizeof(float));
    t->data->scale = mem_alloc(FEATURES * sizeof(float));
    t->model = model_create(
        device, &(struct model_config){"mlp", {1, 1, FEATURES}, CLASSES, hidden, 1, 1, 0},
        NULL);
    t->optimizer = optimizer_create(
        device, &(struct optimizer_config){"adam", 0.1, 0, 0, false}, t->model->n, NULL);
    t->progress = (struct progress){2, 2, 100, {1, -1, 0}, 0};
    for (int i = 1; i <= 2; i++)
        vec_push(&t->history, ((struct epoch_record){i, {{0.5, 0.25, i}}}));
}

static void training_free(struct training *t)
{
    data_close(t->data);
    model_destroy(t->model);
    optimizer_destroy(t->optimizer);
    vec_free(&t->history);
}

static void load_checkpoint(bool ours)
{
    struct checkpoint_dir dir = {fuzz_dir(), false};
    struct device *device = cpu_open(1);
    struct str notes = STR_INIT;
    struct training t;
    struct err e = {0};
    int rc;

    training_make(&t, device);
    rc = checkpoint_load(&dir, -1, &t, &notes, &e);
    FUZZ_CHECK(rc == 0 || *e.text);
    FUZZ_CHECK(!ours || (rc == 0 && t.progress.step == 2 && t.history.n == 2));
    training_free(&t);
    device_close(device);
    str_free(&notes);
}

/* The bytes of a checkpoint, which are always the same. */
static void put_checkpoint(const char *path)
{
    static struct str bytes = STR_INIT;
    struct checkpoint_dir dir = {fuzz_dir(), false};
    struct device *device;
    struct training t;

    if (bytes.len == 0) {
        device = cpu_open(1);
        training_make(&t, device);
        FUZZ_CHECK(checkpoint_save(&dir, &t, NULL) == 0);
        FUZZ_CHECK(file_read(path, SIZE_MAX, &bytes, NULL) == 0);
        training_free(&t);
        device_close(device);
    }
    fuzz_file(CHECKPOINT_NAME, bytes.p, bytes.len);
}

/* ---- the file ---- */

static hid_t table_type(bool whole)
{
    hid_t row = H5Tcreate(H5T_COMPOUND, 4 + 8 * METRICS);

    H5Tinsert(row, "step", 0, H5T_STD_I32LE);
    for (size_t m = 0; m < (size_t)METRICS - !whole; m++)
        H5Tinsert(row, metric_names[m], 4 + 8 * m, H5T_IEEE_F64LE);
    return row;
}

/* A type to be closed. */
static hid_t type_of(char letter)
{
    const hid_t plain[] = {
        H5T_STD_U8LE,  H5T_STD_I8BE,  H5T_STD_U16LE,   H5T_STD_I32LE,  H5T_STD_U32BE,
        H5T_STD_I64LE, H5T_STD_U64LE, H5T_IEEE_F32LE,  H5T_IEEE_F64BE, H5T_NATIVE_LDOUBLE,
        H5T_STD_B8LE,  H5T_C_S1,      H5T_STD_REF_OBJ,
    };
    hid_t type;

    switch (letter) {
    case 'T': return table_type(true);
    case 'P': return table_type(false);
    case 'S':
        type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, 16);
        return type;
    case 'V':
        type = H5Tcopy(H5T_C_S1);
        H5Tset_size(type, H5T_VARIABLE);
        return type;
    case 'L': return H5Tvlen_create(H5T_STD_U8LE);
    case 'A': return H5Tarray_create2(H5T_STD_U8LE, 1, (const hsize_t[]){3});
    case 'O': return H5Tcreate(H5T_OPAQUE, 5);
    case 'E': return H5Tenum_create(H5T_STD_U8LE);
    default:
        return H5Tcopy(plain[(unsigned char)letter % (sizeof(plain) / sizeof(*plain))]);
    }
}

/* Bytes that are any value of types without pointers. */
static void *filling(size_t n)
{
    unsigned char *p = mem_alloc(n);

    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(i * 7 % 5);
    return p;
}

static bool has_pointers(hid_t type)
{
    return H5Tdetect_class(type, H5T_VLEN) > 0 ||
           H5Tdetect_class(type, H5T_REFERENCE) > 0 || H5Tis_variable_str(type) > 0;
}

static void write_dataset(hid_t set, hid_t type, hsize_t count)
{
    void *p;

    if (count > WRITTEN || has_pointers(type))
        return;
    p = filling(count * H5Tget_size(type));
    H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, p);
    free(p);
}

static void remove_object(hid_t file, const char *path)
{
    if (*path && strcmp(path, "/") != 0)
        H5Ldelete(file, path, H5P_DEFAULT);
}

static void add_dataset(hid_t file, struct slice line)
{
    char letter = '\0', layout = '\0', *path;
    hsize_t dim[H5S_MAX_RANK], count = 1, chunk[H5S_MAX_RANK];
    int n = 0;
    hid_t type, space, create, links, set;

    if (line.len >= 3) {
        letter = line.p[0];
        layout = line.p[1];
        line = (struct slice){line.p + 3, line.len - 3};
    }
    for (; n < 12 && line.len > 0 && *line.p >= '0' && *line.p <= '9'; n++) {
        dim[n] = (hsize_t)fuzz_number(&line, INT64_MAX);
        chunk[n] = 1;
        if (__builtin_mul_overflow(count, dim[n], &count))
            count = SMALL + 1;
    }
    if (count > SMALL && count < IMPOSSIBLE)
        return;
    path = fuzz_text(line);
    remove_object(file, path);
    type = type_of(letter);
    space = layout == 'n' ? H5Screate(H5S_NULL)
            : n           ? H5Screate_simple(n, dim, NULL)
                          : H5Screate(H5S_SCALAR);
    create = H5Pcreate(H5P_DATASET_CREATE);
    links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    if (layout == 'k' && n)
        H5Pset_chunk(create, n, chunk);
    set = H5Dcreate2(file, path, type, space, links, create, H5P_DEFAULT);
    if (set >= 0) {
        write_dataset(set, type, layout == 'n' ? 0 : count);
        H5Dclose(set);
    }
    H5Pclose(links);
    H5Pclose(create);
    H5Sclose(space);
    H5Tclose(type);
    free(path);
}

static void add_attribute(hid_t file, struct slice line)
{
    char letter = '\0', *path, *name;
    hid_t type, space, attribute;
    hsize_t count;
    void *p;

    if (line.len > 0) {
        letter = *line.p++;
        line.len--;
    }
    count = (hsize_t)fuzz_number(&line, 100);
    path = fuzz_text(line);
    name = strchr(path, ' ');
    if (name) {
        *name++ = '\0';
        type = type_of(letter);
        space = count == 0   ? H5Screate(H5S_NULL)
                : count == 1 ? H5Screate(H5S_SCALAR)
                             : H5Screate_simple(1, &count, NULL);
        H5Adelete_by_name(file, path, name, H5P_DEFAULT);
        attribute = H5Acreate_by_name(file, path, name, type, space, H5P_DEFAULT,
                                      H5P_DEFAULT, H5P_DEFAULT);
        if (attribute >= 0 && !has_pointers(type)) {
            p = filling(count * H5Tget_size(type));
            H5Awrite(attribute, type, p);
            free(p);
        }
        if (attribute >= 0)
            H5Aclose(attribute);
        H5Sclose(space);
        H5Tclose(type);
    }
    free(path);
}

static void make_file(hid_t file, struct slice rest)
{
    struct slice line;

    for (int i = 0; i < LINES_MAX && fuzz_line(&rest, &line); i++) {
        if (fuzz_word(&line, "-")) {
            char *path = fuzz_text(line);
            remove_object(file, path);
            free(path);
        } else if (fuzz_word(&line, "d")) {
            add_dataset(file, line);
        } else if (fuzz_word(&line, "a")) {
            add_attribute(file, line);
        }
    }
}

/* ---- reading ---- */

static void read_data(const char *path)
{
    struct data_config c = {.source = path, .val_fraction = NAN};
    struct err e = {0};
    struct data *d = data_open(&c, &e);

    FUZZ_CHECK(d || *e.text);
    if (!d)
        return;
    for (size_t i = 0; i < d->train.n; i++)
        FUZZ_CHECK(d->train.y[i] >= 0 && (size_t)d->train.y[i] < d->classes);
    data_measure(d);
    data_close(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct slice rest = {(const char *)data, n};
    char *path = path_join(fuzz_dir(), CHECKPOINT_NAME);
    bool ours = fuzz_word(&rest, "c");
    hid_t file;

    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    unlink(path);
    if (ours)
        put_checkpoint(path);
    file = ours ? H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT)
                : H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    FUZZ_CHECK(file >= 0);
    make_file(file, rest);
    FUZZ_CHECK(H5Fclose(file) >= 0);
    read_data(path);
    load_checkpoint(ours && rest.len == 0);
    free(path);
    return 0;
}
