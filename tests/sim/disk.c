#include "tests/sim/disk.h"

#include "base/vec.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FD_FIRST (1 << 20) /* the system's descriptors are below */

struct inode {
    char *data;
    size_t len, cap;
    size_t synced; /* the first so many bytes are durable */
    bool dir;
    int host; /* that wrote it last */
};

struct name {
    char *path;
    int is, was; /* inode now, and after a power cut; -1: none */
    int host;    /* that changed it last */
};

struct file {
    int inode; /* -1: closed */
    size_t at;
    char *path;
};

struct listing { /* a DIR */
    VEC(char *) names;
    size_t next;
    struct dirent64 entry;
};

static struct {
    struct disk_port port;
    VEC(struct inode) inodes;
    VEC(struct name) names;
    VEC(struct file) files;
    VEC(struct listing *) listings;
} disk;

int __real_open64(const char *path, int flags, ...);
int __real_close(int fd);
ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __real_pread64(int fd, void *buf, size_t n, off64_t at);
ssize_t __real_write(int fd, const void *buf, size_t n);
int __real_fsync(int fd);
int __real_fstat64(int fd, struct stat64 *st);
int __real_stat64(const char *path, struct stat64 *st);
int __real_mkdir(const char *path, mode_t mode);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __real_access(const char *path, int mode);
DIR *__real_opendir(const char *path);
struct dirent64 *__real_readdir64(DIR *d);
int __real_closedir(DIR *d);

int __wrap_open64(const char *path, int flags, ...);
int __wrap_close(int fd);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __wrap_pread64(int fd, void *buf, size_t n, off64_t at);
ssize_t __wrap_write(int fd, const void *buf, size_t n);
int __wrap_fsync(int fd);
int __wrap_fstat64(int fd, struct stat64 *st);
int __wrap_stat64(const char *path, struct stat64 *st);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __wrap_access(const char *path, int mode);
DIR *__wrap_opendir(const char *path);
struct dirent64 *__wrap_readdir64(DIR *d);
int __wrap_closedir(DIR *d);

/* ---- inside ---- */

static bool ours(const char *path)
{
    return strncmp(path, DISK_ROOT, sizeof(DISK_ROOT) - 1) == 0;
}

static int fail(int number)
{
    errno = number;
    return -1;
}

static int before(enum disk_op op, size_t *n)
{
    int number = disk.port.before(disk.port.ctx, op, n);

    return number ? fail(number) : 0;
}

static void after(enum disk_op op)
{
    disk.port.after(disk.port.ctx, op);
}

static struct name *find(const char *path)
{
    size_t n = strlen(path);

    n -= path[n - 1] == '/';
    for (size_t i = 0; i < disk.names.n; i++)
        if (strncmp(disk.names.v[i].path, path, n) == 0 && !disk.names.v[i].path[n])
            return &disk.names.v[i];
    return NULL;
}

static int inode_of(const char *path)
{
    const struct name *n = find(path);

    return n ? n->is : -1;
}

static struct name *name_it(const char *path, int inode)
{
    struct name *n = find(path);

    if (!n) {
        vec_push(&disk.names, ((struct name){mem_strdup(path), -1, -1, 0}));
        n = &disk.names.v[disk.names.n - 1];
    }
    n->is = inode;
    n->host = disk.port.host(disk.port.ctx);
    return n;
}

static int new_inode(bool dir)
{
    vec_push(&disk.inodes, ((struct inode){.dir = dir}));
    return (int)disk.inodes.n - 1;
}

static void append(struct inode *f, const char *data, size_t n)
{
    if (f->cap < f->len + n) {
        f->cap = (f->len + n) * 2;
        f->data = mem_resize(f->data, f->cap, 1);
    }
    memcpy(f->data + f->len, data, n);
    f->len += n;
}

static struct file *file_of(int fd)
{
    return fd >= FD_FIRST ? &disk.files.v[fd - FD_FIRST] : NULL;
}

/* Is `path` an entry of directory `dir`, and not of one below? */
static const char *entry_of(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    if (strncmp(path, dir, n) != 0 || path[n] != '/' || strchr(path + n + 1, '/'))
        return NULL;
    return path + n + 1;
}

/* ---- the world's side ---- */

void disk_begin(const struct disk_port *port)
{
    disk.port = *port;
    disk_mkdir(DISK_ROOT);
}

void disk_end(void)
{
    for (size_t i = 0; i < disk.inodes.n; i++)
        free(disk.inodes.v[i].data);
    for (size_t i = 0; i < disk.names.n; i++)
        free(disk.names.v[i].path);
    for (size_t i = 0; i < disk.files.n; i++)
        free(disk.files.v[i].path);
    vec_free(&disk.inodes);
    vec_free(&disk.names);
    vec_free(&disk.files);
    vec_free(&disk.listings);
}

void disk_mkdir(const char *path)
{
    struct name *n = name_it(path, new_inode(true));

    n->was = n->is;
}

void disk_put(const char *path, const char *text)
{
    struct name *n = name_it(path, new_inode(false));
    struct inode *f = &disk.inodes.v[n->is];

    n->was = n->is;
    append(f, text, strlen(text));
    f->synced = f->len;
}

bool disk_exists(const char *path)
{
    return inode_of(path) >= 0;
}

int disk_open_files(void)
{
    int n = 0;

    for (size_t i = 0; i < disk.files.n; i++)
        n += disk.files.v[i].inode >= 0;
    return n;
}

static void lose_bytes(struct inode *f)
{
    size_t lost = f->len - f->synced;
    size_t kept = (size_t)(disk.port.chance(disk.port.ctx) * (double)(lost + 1));

    if (kept < lost && disk.port.chance(disk.port.ctx) < 0.3)
        memset(f->data + f->synced + kept, 0, lost - kept);
    else
        f->len = f->synced + kept;
    f->synced = f->len;
}

void disk_power_cut(int host)
{
    for (size_t i = 0; i < disk.inodes.n; i++)
        if (disk.inodes.v[i].host == host &&
            disk.inodes.v[i].len > disk.inodes.v[i].synced)
            lose_bytes(&disk.inodes.v[i]);
    for (size_t i = 0; i < disk.names.n; i++) {
        struct name *n = &disk.names.v[i];

        if (n->host == host && n->is != n->was && disk.port.chance(disk.port.ctx) < 0.6)
            n->is = n->was;
        if (n->host == host)
            n->was = n->is;
    }
}

/* After a failed fsync what was not synced may be gone (else it still is not synced). */
static void drop_unsynced(int fd)
{
    struct inode *f = &disk.inodes.v[file_of(fd)->inode];
    int number = errno;

    f->len = f->synced;
    errno = number;
}

/* ---- the calls ---- */

static int new_file(int inode, const char *path)
{
    size_t i = 0;

    while (i < disk.files.n && disk.files.v[i].inode >= 0)
        i++;
    if (i == disk.files.n)
        vec_push(&disk.files, ((struct file){.inode = -1}));
    free(disk.files.v[i].path);
    disk.files.v[i] = (struct file){
        inode, 0, mem_strndup(path, strlen(path) - (path[strlen(path) - 1] == '/'))};
    return FD_FIRST + (int)i;
}

int __wrap_open64(const char *path, int flags, ...)
{
    mode_t mode = 0;
    int inode;

    if (flags & O_CREAT) {
        va_list ap;

        va_start(ap, flags);
        mode = va_arg(ap, mode_t);
        va_end(ap);
    }
    if (!ours(path))
        return __real_open64(path, flags, mode);
    if (before(DISK_OPEN, NULL) < 0)
        return -1;
    inode = inode_of(path);
    if (inode < 0 && !(flags & O_CREAT))
        return fail(ENOENT);
    if (inode >= 0 && (flags & O_CREAT) && (flags & O_EXCL))
        return fail(EEXIST);
    if (inode < 0) {
        inode = new_inode(false);
        name_it(path, inode);
    }
    inode = new_file(inode, path);
    if (flags & O_CREAT)
        after(DISK_OPEN);
    return inode;
}

int __wrap_close(int fd)
{
    struct file *f = file_of(fd);

    if (!f)
        return __real_close(fd);
    f->inode = -1;
    return 0;
}

ssize_t __wrap_pread64(int fd, void *buf, size_t n, off64_t at)
{
    const struct file *f = file_of(fd);
    const struct inode *in;

    if (!f)
        return __real_pread64(fd, buf, n, at);
    if (before(DISK_READ, NULL) < 0)
        return -1;
    in = &disk.inodes.v[file_of(fd)->inode];
    if ((size_t)at >= in->len)
        return 0;
    if (n > in->len - (size_t)at)
        n = in->len - (size_t)at;
    memcpy(buf, in->data + at, n);
    return (ssize_t)n;
}

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
    ssize_t done;

    if (fd < FD_FIRST)
        return __real_read(fd, buf, n);
    done = __wrap_pread64(fd, buf, n, (off64_t)file_of(fd)->at);
    if (done > 0)
        file_of(fd)->at += (size_t)done;
    return done;
}

/* All writing here is appending: journals do, and files made to be renamed. */
ssize_t __wrap_write(int fd, const void *buf, size_t n)
{
    struct inode *in;

    if (fd < FD_FIRST)
        return __real_write(fd, buf, n);
    if (before(DISK_WRITE, &n) < 0)
        return -1;
    in = &disk.inodes.v[file_of(fd)->inode];
    append(in, buf, n);
    in->host = disk.port.host(disk.port.ctx);
    after(DISK_WRITE);
    return (ssize_t)n;
}

int __wrap_fsync(int fd)
{
    const struct file *f;
    struct inode *in;

    if (fd < FD_FIRST)
        return __real_fsync(fd);
    if (before(DISK_SYNC, NULL) < 0) {
        if (errno == EIO && disk.port.chance(disk.port.ctx) < 0.5)
            drop_unsynced(fd);
        return -1;
    }
    f = file_of(fd);
    in = &disk.inodes.v[f->inode];
    in->synced = in->len;
    for (size_t i = 0; in->dir && i < disk.names.n; i++)
        if (entry_of(disk.names.v[i].path, f->path))
            disk.names.v[i].was = disk.names.v[i].is;
    after(DISK_SYNC);
    return 0;
}

static void fill_stat(int inode, struct stat64 *st)
{
    const struct inode *in = &disk.inodes.v[inode];

    memset(st, 0, sizeof(*st));
    st->st_ino = (ino_t)inode + 1;
    st->st_mode = in->dir ? S_IFDIR | 0700 : S_IFREG | 0600;
    st->st_size = (off64_t)in->len;
    st->st_uid = getuid();
    st->st_nlink = 1;
}

int __wrap_fstat64(int fd, struct stat64 *st)
{
    if (fd < FD_FIRST)
        return __real_fstat64(fd, st);
    fill_stat(file_of(fd)->inode, st);
    return 0;
}

int __wrap_stat64(const char *path, struct stat64 *st)
{
    if (!ours(path))
        return __real_stat64(path, st);
    if (inode_of(path) < 0)
        return fail(ENOENT);
    fill_stat(inode_of(path), st);
    return 0;
}

int __wrap_access(const char *path, int mode)
{
    if (!ours(path))
        return __real_access(path, mode);
    return inode_of(path) < 0 ? fail(ENOENT) : 0;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    if (!ours(path))
        return __real_mkdir(path, mode);
    if (before(DISK_NAME, NULL) < 0)
        return -1;
    if (inode_of(path) >= 0)
        return fail(EEXIST);
    name_it(path, new_inode(true));
    after(DISK_NAME);
    return 0;
}

int __wrap_rename(const char *from, const char *to)
{
    int inode;

    if (!ours(from))
        return __real_rename(from, to);
    if (before(DISK_NAME, NULL) < 0)
        return -1;
    inode = inode_of(from);
    if (inode < 0)
        return fail(ENOENT);
    name_it(to, inode);
    name_it(from, -1);
    after(DISK_NAME);
    return 0;
}

int __wrap_unlink(const char *path)
{
    if (!ours(path))
        return __real_unlink(path);
    if (before(DISK_NAME, NULL) < 0)
        return -1;
    if (inode_of(path) < 0)
        return fail(ENOENT);
    name_it(path, -1);
    after(DISK_NAME);
    return 0;
}

/* ---- directories ---- */

static bool is_listing(const DIR *d)
{
    for (size_t i = 0; i < disk.listings.n; i++)
        if (disk.listings.v[i] == (const struct listing *)(const void *)d)
            return true;
    return false;
}

DIR *__wrap_opendir(const char *path)
{
    struct listing *l;

    if (!ours(path))
        return __real_opendir(path);
    if (before(DISK_LIST, NULL) < 0)
        return NULL;
    if (inode_of(path) < 0) {
        errno = ENOENT;
        return NULL;
    }
    l = mem_alloc(sizeof(*l));
    for (size_t i = 0; i < disk.names.n; i++) {
        const char *entry = entry_of(disk.names.v[i].path, path);

        if (entry && disk.names.v[i].is >= 0)
            vec_push(&l->names, mem_strdup(entry));
    }
    vec_push(&disk.listings, l);
    return (DIR *)(void *)l;
}

struct dirent64 *__wrap_readdir64(DIR *d)
{
    struct listing *l = (struct listing *)(void *)d;

    if (!is_listing(d))
        return __real_readdir64(d);
    if (l->next == l->names.n)
        return NULL;
    snprintf(l->entry.d_name, sizeof(l->entry.d_name), "%s", l->names.v[l->next++]);
    return &l->entry;
}

int __wrap_closedir(DIR *d)
{
    struct listing *l = (struct listing *)(void *)d;

    if (!is_listing(d))
        return __real_closedir(d);
    for (size_t i = 0; i < disk.listings.n; i++) {
        if (disk.listings.v[i] == l) {
            vec_remove(&disk.listings, i);
            break;
        }
    }
    for (size_t i = 0; i < l->names.n; i++)
        free(l->names.v[i]);
    vec_free(&l->names);
    free(l);
    after(DISK_LIST);
    return 0;
}
