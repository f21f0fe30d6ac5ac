#include "worker/agent/private_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BELOW      "/tmp/" /* short, and on this node: a socket's path has 107 bytes */
#define PREFIX     "rung-agent-"
#define OLD_ENOUGH 60 /* seconds: one that is younger may be about to be locked */

/* Removes sockets and the directory, if that is all there is. */
static void empty(int fd, const char *path)
{
    DIR *dir = fdopendir(dup(fd));
    if (!dir)
        return;
    for (struct dirent *d; (d = readdir(dir));) {
        struct stat st;
        if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode))
            unlinkat(fd, d->d_name, 0);
    }
    closedir(dir);
    rmdir(path);
}

static bool is_left_over(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
           time(NULL) - st.st_mtime > OLD_ENOUGH && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

static void remove_left_over(void)
{
    DIR *tmp = opendir(BELOW);
    if (!tmp)
        return;
    for (struct dirent *d; (d = readdir(tmp));) {
        char path[sizeof(BELOW) + sizeof(d->d_name)];
        if (strncmp(d->d_name, PREFIX, strlen(PREFIX)) != 0)
            continue;
        strcpy(path, BELOW);
        strcat(path, d->d_name);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0 && is_left_over(fd))
            empty(fd, path);
        if (fd >= 0)
            close(fd);
    }
    closedir(tmp);
}

/* Where everybody may rename what is ours, a program could be led to another's socket. */
static int check_below(struct err *e)
{
    struct stat st;
    if (stat(BELOW, &st) < 0)
        return err_sys(e, BELOW);
    if (st.st_mode & S_IWOTH && !(st.st_mode & S_ISVTX))
        return err_set(e, ERR_DENIED,
                       BELOW " has mode %04o: what is in it is not safe from others, "
                             "chmod +t " BELOW,
                       (unsigned)(st.st_mode & 07777));
    return 0;
}

int private_dir_make(struct private_dir *d, struct err *e)
{
    d->path[0] = '\0';
    int checked = check_below(e);
    if (checked)
        return checked;
    remove_left_over();
    strcpy(d->path, BELOW PREFIX "XXXXXX");
    if (!mkdtemp(d->path)) {
        int rc = err_sys(e, "%s", d->path);
        d->path[0] = '\0';
        return rc;
    }
    d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->fd < 0 || flock(d->fd, LOCK_EX | LOCK_NB) < 0) {
        int rc = err_sys(e, "%s", d->path);
        private_dir_remove(d);
        return rc;
    }
    return 0;
}

void private_dir_remove(struct private_dir *d)
{
    if (!d->path[0])
        return;
    if (d->fd >= 0) {
        empty(d->fd, d->path);
        close(d->fd);
    } else {
        rmdir(d->path);
    }
    d->path[0] = '\0';
}
