#include "store/h5_file.h"

#include "base/mem.h"
#include "store/h5.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a new file grows by in memory. */
#define IMAGE_STEP ((size_t)4 << 20)

static void be_quiet(void)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* ---- a new file's memory ----
 *
 * HDF5 frees it when it closes the file, which makes it whole: that is when we take it.
 * (What H5Fget_file_image() copies of an open file has a wrong checksum in 1.10.) */

static void *bytes_copy(void *to, const void *from, size_t n, H5FD_file_image_op_t op,
                        void *arg)
{
    (void)op, (void)arg;
    return memcpy(to, from, n);
}

/* HDF5 asks for a step more each time. There is as much as was expected, and the step
 * that its end is in; beyond that twice as much, since the memory of what is large has to
 * be moved. */
static void *bytes_resize(void *p, size_t size, H5FD_file_image_op_t op, void *arg)
{
    struct h5_bytes *bytes = arg;

    (void)op;
    if (size <= bytes->room)
        return p;
    size_t room = size < MEM_HUGE ? size : 2 * size;
    if (room < bytes->expected + IMAGE_STEP)
        room = bytes->expected + IMAGE_STEP;
    void *larger = room < MEM_HUGE ? mem_resize(NULL, room, 1) : mem_huge(room);
    if (p)
        memcpy(larger, p, bytes->room);
    free(p);
    bytes->room = room;
    return larger;
}

static void *bytes_allocate(size_t size, H5FD_file_image_op_t op, void *arg)
{
    return bytes_resize(NULL, size, op, arg);
}

static herr_t bytes_release(void *p, H5FD_file_image_op_t op, void *arg)
{
    struct h5_bytes *bytes = arg;

    if (op == H5FD_FILE_IMAGE_OP_FILE_CLOSE)
        bytes->p = p;
    else
        free(p);
    return 0;
}

static void *same(void *arg)
{
    return arg;
}

static herr_t leave(void *arg)
{
    (void)arg;
    return 0;
}

hid_t h5_file_create(struct h5_bytes *bytes, size_t expected)
{
    H5FD_file_image_callbacks_t calls = {
        bytes_allocate, bytes_copy, bytes_resize, bytes_release, same, leave, bytes};

    *bytes = (struct h5_bytes){.expected = expected};
    be_quiet();
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    hid_t create = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_fapl_core(access, IMAGE_STEP, 0);
    H5Pset_file_image_callbacks(access, &calls);
    /* Nothing is allocated ahead, so that the size is known before the end. */
    H5Pset_meta_block_size(access, 0);
    H5Pset_small_data_block_size(access, 0);
    /* Version 1.8's format: its metadata carry checksums, and readers of any age
     * take it. Without times the same content gives the same bytes. */
    H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V18);
    H5Pset_obj_track_times(create, 0);
    hid_t file = H5Fcreate("memory", H5F_ACC_TRUNC, create, access);
    H5Pclose(create);
    H5Pclose(access);
    return file;
}

int h5_file_finish(hid_t file, struct h5_bytes *bytes)
{
    ssize_t size = -1;

    if (H5Fflush(file, H5F_SCOPE_LOCAL) >= 0)
        size = H5Fget_file_image(file, NULL, 0);
    if (H5Fclose(file) < 0 || size < 0) {
        h5_file_drop(-1, bytes);
        return -1;
    }
    bytes->n = (size_t)size;
    return 0;
}

void h5_file_drop(hid_t file, struct h5_bytes *bytes)
{
    if (file >= 0)
        H5Fclose(file);
    free(bytes->p);
    *bytes = (struct h5_bytes){0};
}

int h5_file_open(const char *path, hid_t *file, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_sys(e, "%s", path);
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    close(fd);
    if (!regular)
        return err_set(e, ERR_INVAL, "%s: not a file", path);

    be_quiet();
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#if H5_VERSION_GE(1, 10, 7)
    /* Files are replaced, never changed; and some file systems have no locks. */
    H5Pset_file_locking(access, 0, 1);
#endif
    *file = H5Fopen(path, H5F_ACC_RDONLY, access);
    int rc = 0;
    if (*file < 0)
        rc = h5_fail(e, ERR_CORRUPT, "%s: not a whole HDF5 file", path);
    H5Pclose(access);
    return rc;
}

static herr_t innermost(unsigned n, const H5E_error2_t *error, void *arg)
{
    const char **text = arg;

    if (n == 0 && error->desc)
        *text = error->desc;
    return 0;
}

int h5_fail(struct err *e, int code, const char *fmt, ...)
{
    const char *why = NULL;
    char what[sizeof(e->text)];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(what, sizeof(what), fmt, ap);
    va_end(ap);
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, &why);
    size_t n = why ? strcspn(why, "\n") : 0;
    /* Failed system calls come with the time and a page of numbers. */
    if (n && strstr(why, ": time = "))
        n = (size_t)(strstr(why, ": time = ") - why);
    err_set(e, code, "%s%s%.*s", what, n ? ": " : "", (int)n, n ? why : "");
    H5Eclear2(H5E_DEFAULT);
    return code;
}

void h5_version(char running[H5_VERSION_MAX], char built[H5_VERSION_MAX])
{
    unsigned a = 0, b = 0, c = 0;

    H5get_libversion(&a, &b, &c);
    snprintf(running, H5_VERSION_MAX, "%u.%u.%u", a, b, c);
    snprintf(built, H5_VERSION_MAX, "%d.%d.%d", H5_VERS_MAJOR, H5_VERS_MINOR,
             H5_VERS_RELEASE);
}
