#include "wire/keys.h"

#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#define KEY_LEN             (KEY_TEXT - 1)
#define CONTROLLER_FILE_MAX 65536

int key_pair_make(struct key_pair *k, struct err *e)
{
    if (zmq_curve_keypair(k->public_key, k->secret_key) != 0)
        return err_set(e, ERR_UNSUPPORTED, "this libzmq was built without CURVE");
    return 0;
}

static char *key_path(const char *dir, const char *name)
{
    struct str s = STR_INIT;
    str_addf(&s, "%s/keys%s%s", dir, *name ? "/" : "", name);
    return str_take(&s);
}

static int write_key(const char *dir, const char *name, const char *key, struct err *e)
{
    char text[KEY_TEXT + 1];
    char *path = key_path(dir, name);
    memcpy(text, key, KEY_LEN);
    text[KEY_LEN] = '\n';
    int rc = file_write(path, text, KEY_LEN + 1, 0600, e);
    free(path);
    return rc;
}

int keys_create(const char *dir, struct err *e)
{
    struct key_pair k;
    char *keys = key_path(dir, ""), *secret = key_path(dir, "agent.key");
    int rc = 0;
    if (mkdir(keys, 0700) < 0 && errno != EEXIST)
        rc = err_sys(e, "%s", keys);
    else if (access(secret, F_OK) ==
             0) /* written last: without it, keys/ was begun only */
        rc = err_set(e, ERR_EXIST, "%s is there already", secret);
    if (!rc)
        rc = key_pair_make(&k, e);
    if (!rc)
        rc = write_key(dir, "agent.pub", k.public_key, e);
    if (!rc)
        rc = write_key(dir, "agent.key", k.secret_key, e);
    explicit_bzero(&k, sizeof(k));
    free(secret);
    free(keys);
    return rc;
}

static int open_to_others(const char *path, mode_t mode, const char *mended,
                          struct err *e)
{
    struct str word = STR_INIT;
    shell_quote(&word, path);
    int rc = err_set(e, ERR_DENIED, "%s has mode %04o, open to others: chmod %s %s", path,
                     (unsigned)(mode & 07777), mended, word.p);
    str_free(&word);
    return rc;
}

/* Nobody but us can have read what fd holds, or put it there. */
static int check_private(int fd, const char *path, mode_t type, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return err_sys(e, "%s", path);
    if ((st.st_mode & S_IFMT) != type)
        return err_set(e, ERR_DENIED, "%s is no %s", path,
                       type == S_IFDIR ? "directory" : "regular file");
    if (st.st_uid != geteuid())
        return err_set(e, ERR_DENIED, "%s belongs to user %ld, not to you (%ld)", path,
                       (long)st.st_uid, (long)geteuid());
    if (st.st_mode & 077)
        return open_to_others(path, st.st_mode, type == S_IFDIR ? "700" : "600", e);
    return 0;
}

/* Whoever writes the sweep's directory decides what agents run. That a group may is its
 * owner's choice; that everybody may is none. */
static int check_sweep(int keys, const char *dir, struct err *e)
{
    struct stat st;
    if (fstatat(keys, "..", &st, 0) < 0)
        return err_sys(e, "%s", dir);
    return st.st_mode & S_IWOTH ? open_to_others(dir, st.st_mode, "o-w", e) : 0;
}

static int read_key(int keys, const char *dir, const char *name, char key[KEY_TEXT],
                    struct err *e)
{
    char text[KEY_TEXT + 1];
    unsigned char binary[32];
    char *path = key_path(dir, name);
    int rc, fd = openat(keys, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        rc = err_sys(e, "%s", path);
        goto out;
    }
    rc = check_private(fd, path, S_IFREG, e);
    if (rc)
        goto out;
    ssize_t n = read(fd, text, sizeof(text));
    if (n < 0) {
        rc = err_sys(e, "%s", path);
        goto out;
    }
    memcpy(key, text, KEY_LEN);
    key[KEY_LEN] = '\0';
    if (n != KEY_TEXT || text[KEY_LEN] != '\n' || strlen(key) != KEY_LEN ||
        !zmq_z85_decode(binary, key))
        rc = err_set(e, ERR_CORRUPT, "%s holds no key", path);
out:
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

int keys_load(const char *dir, struct key_pair *k, struct err *e)
{
    struct key_pair found;
    char *path = key_path(dir, "");
    int keys = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc = keys < 0 ? err_sys(e, "%s", path) : check_private(keys, path, S_IFDIR, e);
    if (!rc)
        rc = check_sweep(keys, dir, e);
    if (!rc)
        rc = read_key(keys, dir, "agent.pub", found.public_key, e);
    if (!rc)
        rc = read_key(keys, dir, "agent.key", found.secret_key, e);
    if (!rc)
        *k = found;
    explicit_bzero(&found, sizeof(found));
    if (keys >= 0)
        close(keys);
    free(path);
    return rc;
}

/* ---- controller.json ---- */

void slurm_calls_json(const struct slurm_calls *calls, struct str *out)
{
    json_put_object(out);
    json_put_key(out, "polling");
    json_put_int(out, calls->polling);
    json_put_key(out, "others");
    json_put_int(out, calls->others);
    json_put_key(out, "steps");
    json_put_int(out, calls->steps);
    json_put_close(out, '}');
}

static void read_calls(struct json *j, struct slurm_calls *calls)
{
    struct slice key;
    json_object(j);
    while (json_key(j, &key)) {
        if (json_is(key, "polling"))
            calls->polling = json_int(j);
        else if (json_is(key, "others"))
            calls->others = json_int(j);
        else if (json_is(key, "steps"))
            calls->steps = json_int(j);
        else
            json_skip(j);
    }
}

int controller_file_write(const char *dir, const struct controller_file *f, struct err *e)
{
    struct str s = STR_INIT;
    char *path = path_join(dir, "controller.json");
    json_put_object(&s);
    json_put_key(&s, "epoch");
    json_put_int(&s, f->epoch);
    json_put_key(&s, "state");
    json_put_str(&s, f->state);
    json_put_key(&s, "address");
    json_put_str(&s, f->address);
    json_put_key(&s, "public_key");
    json_put_str(&s, f->public_key);
    json_put_key(&s, "host");
    json_put_str(&s, f->host);
    json_put_key(&s, "pid");
    json_put_int(&s, f->pid);
    json_put_key(&s, "pid_start");
    json_put_int(&s, (int64_t)f->pid_start);
    json_put_key(&s, "since");
    json_put_num(&s, f->since);
    if (*f->note) {
        json_put_key(&s, "note");
        json_put_str(&s, f->note);
    }
    if (f->calls.polling + f->calls.others > 0) {
        json_put_key(&s, "slurm_calls");
        slurm_calls_json(&f->calls, &s);
    }
    str_add(&s, "}\n");
    int rc = file_write(path, s.p, s.len, 0644, e);
    free(path);
    str_free(&s);
    return rc;
}

/* A string member into a field of the structure. */
static void read_text(struct json *j, char *out, size_t size)
{
    struct slice raw = json_string(j);
    if (j->error)
        return;
    char *text = json_text(raw);
    if (!text || strlen(text) >= size)
        json_fail(j, "a text that does not fit");
    else
        strcpy(out, text);
    free(text);
}

static void read_controller(struct json *j, struct controller_file *f)
{
    const struct {
        const char *key;
        char *text;
        size_t size;
    } texts[] = {
        {"public_key", f->public_key, sizeof(f->public_key)},
        {"address", f->address, sizeof(f->address)},
        {"host", f->host, sizeof(f->host)},
        {"state", f->state, sizeof(f->state)},
        {"note", f->note, sizeof(f->note)},
    };
    struct slice key;
    json_object(j);
    while (json_key(j, &key)) {
        size_t i = 0, n = sizeof(texts) / sizeof(texts[0]);
        while (i < n && !json_is(key, texts[i].key))
            i++;
        if (i < n)
            read_text(j, texts[i].text, texts[i].size);
        else if (json_is(key, "epoch"))
            f->epoch = (int)json_int(j);
        else if (json_is(key, "pid"))
            f->pid = (long)json_int(j);
        else if (json_is(key, "pid_start"))
            f->pid_start = (unsigned long long)json_int(j);
        else if (json_is(key, "since"))
            f->since = json_num(j);
        else if (json_is(key, "slurm_calls"))
            read_calls(j, &f->calls);
        else
            json_skip(j);
    }
    json_end(j);
    if (f->epoch < 1 || !*f->state)
        json_fail(j, "epoch and state are wanted");
}

int controller_file_read(const char *dir, struct controller_file *f, struct err *e)
{
    struct str s = STR_INIT;
    struct json j;
    struct controller_file found = {0};
    char *path = path_join(dir, "controller.json");
    int rc = file_read_regular(path, CONTROLLER_FILE_MAX, &s, e);
    if (rc)
        goto out;
    json_begin(&j, s.p, s.len);
    read_controller(&j, &found);
    if (j.error)
        rc = err_set(e, ERR_CORRUPT, "%s: %s", path, j.error);
    else
        *f = found;
out:
    str_free(&s);
    free(path);
    return rc;
}

bool controller_file_over(const struct controller_file *f)
{
    return strcmp(f->state, "paused") == 0 || strcmp(f->state, "finished") == 0;
}
