/* The directory where sweeps would be: is it what journal, sweep.h5 and checkpoints rely
 * on? A file system that hangs stops nobody but the process that asks it. */
#include "base/clock.h"
#include "base/file.h"
#include "base/units.h"
#include "launcher/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#define SYNCS 9

struct directory_facts {
    const char *doing;  /* static: what hangs, if it does */
    const char *failed; /* static: what did, */
    int why;            /* errno */
    char path[4096], type[64];
    bool soft, noexec, root;
    double bytes_free, inodes_free;
    bool once, replaced, linked;
    double sync[SYNCS]; /* seconds */
    double ahead;       /* the file system's clock before ours, seconds */
    bool sockets;
};

static bool failed(struct directory_facts *f, const char *what)
{
    f->failed = what;
    f->why = errno;
    return false;
}

/* The mount that the path is on: the last of the longest. */
static void find_mount(struct directory_facts *f)
{
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    size_t longest = 0;
    struct mntent *m;

    strcpy(f->type, "unknown");
    while (mounts && (m = getmntent(mounts)) != NULL) {
        size_t n = strlen(m->mnt_dir);

        n -= n > 0 && m->mnt_dir[n - 1] == '/';
        if (n < longest || strncmp(f->path, m->mnt_dir, n) != 0 ||
            (f->path[n] != '/' && f->path[n] != '\0'))
            continue;
        longest = n;
        snprintf(f->type, sizeof(f->type), "%s", m->mnt_type);
        f->soft = hasmntopt(m, "soft");
        f->noexec = hasmntopt(m, "noexec");
    }
    if (mounts)
        endmntent(mounts);
}

static bool find_space(struct directory_facts *f)
{
    struct statvfs s;

    f->doing = "statvfs";
    if (statvfs(f->path, &s) != 0)
        return failed(f, "its free space cannot be told");
    f->bytes_free = (double)s.f_bavail * (double)s.f_frsize;
    f->inodes_free = s.f_files ? (double)s.f_favail : INFINITY;
    return true;
}

/* As a journal grows: a line, and fsync. */
static bool try_sync(struct directory_facts *f, const char *path)
{
    char line[200];
    struct stat st;
    int fd;

    memset(line, 'x', sizeof(line));
    f->doing = "open with O_EXCL";
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(f, "no file can be made with O_EXCL");
    f->doing = "fsync";
    for (int i = 0; i < SYNCS && !f->failed; i++) {
        double began = clock_mono();

        if (write(fd, line, sizeof(line)) != sizeof(line))
            failed(f, "a file cannot be written");
        else if (fsync(fd) != 0)
            failed(f, "fsync fails");
        f->sync[i] = clock_mono() - began;
    }
    if (!f->failed && fstat(fd, &st) == 0)
        f->ahead =
            (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec / 1e9 - clock_wall();
    close(fd);
    if (f->failed)
        return false;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    f->once = fd < 0 && errno == EEXIST;
    if (fd >= 0)
        close(fd);
    return true;
}

/* As sweep.h5 is replaced, under the eyes of a reader, and older versions are kept. */
static bool try_rename(struct directory_facts *f, const char *path, const char *other)
{
    struct stat was, is;
    int fd = -1;

    f->doing = "rename and link";
    if (file_write(other, "new", 3, 0600, NULL) != 0)
        return failed(f, "no second file can be written");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    f->replaced = fd >= 0 && fstat(fd, &was) == 0 && rename(other, path) == 0 &&
                  stat(path, &is) == 0 && is.st_size == 3 && access(other, F_OK) != 0 &&
                  fstat(fd, &was) == 0 && was.st_size == SYNCS * 200;
    f->linked = link(path, other) == 0;
    if (fd >= 0)
        close(fd);
    return true;
}

static void try_files(struct directory_facts *f)
{
    struct str dir = STR_INIT;
    char *path, *other;

    str_addf(&dir, "%s/.rung-doctor-XXXXXX", f->path);
    f->doing = "mkdir";
    if (!mkdtemp(dir.p)) {
        failed(f, "nothing can be made in it");
        str_free(&dir);
        return;
    }
    path = path_join(dir.p, "journal");
    other = path_join(dir.p, "other");
    if (try_sync(f, path) && try_rename(f, path, other) && dir_sync(dir.p, NULL) != 0)
        failed(f, "fsync of a directory fails");
    f->doing = "unlink";
    dir_remove(dir.p, NULL);
    free(path);
    free(other);
    str_free(&dir);
}

/* Where agents and trials meet (worker/agent/private_dir.h). */
static void try_socket(struct directory_facts *f)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX,
                             .sun_path = "/tmp/rung-doctor-XXXXXX"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    f->doing = "a socket in /tmp";
    if (mkdtemp(at.sun_path)) {
        size_t n = strlen(at.sun_path);

        strcpy(at.sun_path + n, "/s");
        f->sockets = fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;
        unlink(at.sun_path);
        at.sun_path[n] = '\0';
        rmdir(at.sun_path);
    }
    if (fd >= 0)
        close(fd);
}

static void find_out(void *facts)
{
    struct directory_facts *f = facts;
    char *real;

    try_socket(f);
    f->doing = "realpath";
    real = realpath(f->path, NULL);
    if (!real || strlen(real) >= sizeof(f->path)) {
        failed(f, "it cannot be found");
        return;
    }
    strcpy(f->path, real);
    free(real);
    find_mount(f);
    if (find_space(f))
        try_files(f);
    f->doing = NULL;
}

/* ---- what to say of it ---- */

/* Beginnings of the types that a cluster's nodes share. Of FUSE's it is not known. */
static bool is_shared(const char *type)
{
    static const char *const types[] = {
        "nfs",       "lustre", "gpfs", "beegfs", "ceph", "cifs",   "smb",
        "glusterfs", "panfs",  "weka", "orange", "pvfs", "afs",    "9p",
        "ocfs",      "gfs",    "daos", "fuse",   "vast", "virtio", NULL};

    for (const char *const *t = types; *t; t++) {
        if (strncmp(type, *t, strlen(*t)) == 0)
            return true;
    }
    return false;
}

static void say_type(struct doctor *d, const struct directory_facts *f)
{
    char size[UNITS_MAX];
    bool memory = strcmp(f->type, "tmpfs") == 0 || strcmp(f->type, "ramfs") == 0;

    size_format(size, f->bytes_free);
    if (f->soft)
        doctor_say(d, MARK_NOTE, "file system",
                   "a server that is slow loses what was written: ask for a hard mount",
                   "%s, mounted soft, %s free", f->type, size);
    else if (memory)
        doctor_say(d, MARK_NOTE, "file system",
                   "sweeps here are gone after a reboot, and other nodes do not see them",
                   "%s: in this machine's memory, %s free", f->type, size);
    else if (d->slurm && !is_shared(f->type))
        doctor_say(d, MARK_NOTE, "file system",
                   "for sweeps under Slurm, take a directory that all nodes share",
                   "%s: as a rule only this machine sees it, %s free", f->type, size);
    else
        doctor_say(d, MARK_OK, "file system", NULL, "%s, %s free", f->type, size);
    if (f->bytes_free < (1 << 30) || f->inodes_free < 10000)
        doctor_say(d, MARK_NOTE, "space", "make room, or take another directory",
                   "%s and %.0f files are left", size, f->inodes_free);
    if (f->noexec)
        doctor_say(d, MARK_NOTE, "programs", "keep trial programs elsewhere",
                   "none can be started from here (mounted noexec)");
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void say_sync(struct doctor *d, struct directory_facts *f)
{
    double median;

    qsort(f->sync, SYNCS, sizeof(f->sync[0]), by_size);
    median = f->sync[SYNCS / 2];
    if (median > 0.1)
        doctor_say(d, MARK_NOTE, "fsync",
                   "each decision waits for one: with many short steps, trials wait, too",
                   "takes %.0f ms (median of %d, the longest %.0f ms)", median * 1e3,
                   SYNCS, f->sync[SYNCS - 1] * 1e3);
    else
        doctor_say(d, MARK_OK, "fsync", NULL, "works, in %.2g ms (median of %d)",
                   median * 1e3, SYNCS);
    if (fabs(f->ahead) > 2)
        doctor_say(d, MARK_NOTE, "clock",
                   "tell the administrators; times of files differ",
                   "the file system's is %.0f s %s this machine's", fabs(f->ahead),
                   f->ahead > 0 ? "ahead of" : "behind");
}

static void say_files(struct doctor *d, struct directory_facts *f)
{
    if (!f->once || !f->replaced)
        doctor_say(d, MARK_BAD, "files",
                   "two controllers could write at once here: take another directory",
                   "%s",
                   !f->once ? "O_EXCL makes a file twice" : "rename does not replace");
    else if (!f->linked)
        doctor_say(d, MARK_NOTE, "files",
                   "readers on other nodes may lose sweep.h5 while it is replaced",
                   "rename replaces, O_EXCL makes once; no hard links");
    else
        doctor_say(d, MARK_OK, "files", NULL,
                   "rename replaces, O_EXCL makes once, links are there");
    say_sync(d, f);
}

void doctor_directory(struct doctor *d)
{
    struct directory_facts *f = doctor_facts(sizeof(*f));
    bool ended;

    d->group = "directory";
    snprintf(f->path, sizeof(f->path), "%s", d->dir);
    ended = doctor_apart(d, find_out, f);
    if (!ended)
        doctor_say(d, MARK_BAD, "directory",
                   "its server may be away: try later, or elsewhere (--dir)",
                   "%s: no answer within %.3g s: %s", f->path, d->patience,
                   f->doing ? f->doing : "none");
    else if (f->failed)
        doctor_say(d, MARK_BAD, "directory", "go where you may write, or name it: --dir",
                   "%s: %s: %s", f->path, f->failed, strerror(f->why));
    else
        doctor_say(d, MARK_OK, "directory", NULL, "%s", f->path);
    if (ended && f->type[0])
        say_type(d, f);
    if (ended && !f->failed)
        say_files(d, f);
    if (ended && !f->sockets)
        doctor_say(d, MARK_BAD, "sockets",
                   "trials and agents talk there: see to it that you may write in /tmp",
                   "none can be made in /tmp");
    doctor_facts_free(f, sizeof(*f));
}
