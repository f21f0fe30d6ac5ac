#include "wire/keys.h"

#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[] = "/tmp/rung-keys-XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static unsigned mode_of(const char *name)
{
    struct stat st;
    assert_int_equal(stat(in_dir(name), &st), 0);
    return st.st_mode & 07777;
}

static void load_fails(int code, const char *text)
{
    struct key_pair k = {"untouched", ""};
    struct err e = {0};
    assert_int_equal(keys_load(dir, &k, &e), code);
    if (!strstr(e.text, text))
        fail_msg("%s", e.text);
    assert_string_equal(k.public_key, "untouched");
}

static void test_absent(void **state)
{
    (void)state;
    load_fails(ERR_NOENT, "/keys: ");
    assert_int_equal(keys_create("/nonexistent/sweep", NULL), ERR_NOENT);
}

static void test_create(void **state)
{
    struct key_pair k;
    struct err e;
    mode_t mask = umask(0);
    (void)state;
    assert_int_equal(keys_create(dir, NULL), 0);
    umask(mask);
    assert_int_equal(mode_of("keys"), 0700);
    assert_int_equal(mode_of("keys/agent.key"), 0600);
    assert_int_equal(mode_of("keys/agent.pub"), 0600);
    assert_int_equal(keys_load(dir, &k, NULL), 0);
    assert_int_equal(strlen(k.public_key), 40);
    assert_int_equal(strlen(k.secret_key), 40);
    assert_string_not_equal(k.public_key, k.secret_key);
    assert_int_equal(keys_create(dir, &e), ERR_EXIST);
    /* A creation that a crash cut short is taken up again. */
    assert_int_equal(unlink(in_dir("keys/agent.key")), 0);
    load_fails(ERR_NOENT, "agent.key");
    assert_int_equal(keys_create(dir, NULL), 0);
    assert_int_equal(keys_load(dir, &k, NULL), 0);
}

/* The text has the command that mends it: run as it stands, it does. */
static void mended(const char *name, mode_t loose)
{
    struct key_pair k;
    struct err e;
    char want[64];
    assert_int_equal(chmod(in_dir(name), loose), 0);
    assert_int_equal(keys_load(dir, &k, &e), ERR_DENIED);
    snprintf(want, sizeof(want), "has mode %04o, open to others: ", (unsigned)loose);
    assert_non_null(strstr(e.text, want));
    assert_int_equal(system(strstr(e.text, "chmod ")), 0);
    assert_int_equal(keys_load(dir, &k, NULL), 0);
}

static void test_loose_modes(void **state)
{
    (void)state;
    mended("keys", 0755);
    mended("keys", 0710);
    mended("keys/agent.key", 0640);
    mended("keys/agent.key", 0604);
    mended("keys/agent.pub", 0666);
}

static void test_other_owner(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(in_dir("keys/agent.key"), 12345, (gid_t)-1), 0);
    load_fails(ERR_DENIED, "belongs to user 12345, not to you (0)");
    assert_int_equal(chown(in_dir("keys/agent.key"), 0, (gid_t)-1), 0);
}

static void test_odd_files(void **state)
{
    static const char *const odd[] = {
        "",
        "short\n",
        "0123456789012345678901234567890123456789",
        "0123456789012345678901234567890123456789\n\n",
        "01234567890123456789 1234567890123456789\n",
    };
    char kept[256];
    (void)state;
    snprintf(kept, sizeof(kept), "%s", in_dir("keys/kept"));
    assert_int_equal(rename(in_dir("keys/agent.key"), kept), 0);
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        assert_int_equal(
            file_write(in_dir("keys/agent.key"), odd[i], strlen(odd[i]), 0600, NULL), 0);
        load_fails(ERR_CORRUPT, "holds no key");
    }
    assert_int_equal(unlink(in_dir("keys/agent.key")), 0);
    assert_int_equal(symlink(kept, in_dir("keys/agent.key")), 0);
    load_fails(ERR_INVAL, "agent.key"); /* a link is not followed */
    assert_int_equal(unlink(in_dir("keys/agent.key")), 0);
    assert_int_equal(mkdir(in_dir("keys/agent.key"), 0700), 0);
    load_fails(ERR_DENIED, "is no regular file");
    assert_int_equal(rmdir(in_dir("keys/agent.key")), 0);
    assert_int_equal(rename(kept, in_dir("keys/agent.key")), 0);
}

/* keys/ itself as a link, a file, and in a directory where everybody may put another. */
static void test_odd_directories(void **state)
{
    char kept[256];
    (void)state;
    snprintf(kept, sizeof(kept), "%s", in_dir("kept"));
    assert_int_equal(rename(in_dir("keys"), kept), 0);
    assert_int_equal(symlink(kept, in_dir("keys")), 0);
    load_fails(ERR_NOENT, "/keys: ");
    assert_int_equal(unlink(in_dir("keys")), 0);
    assert_int_equal(file_write(in_dir("keys"), "", 0, 0600, NULL), 0);
    load_fails(ERR_NOENT, "/keys: ");
    assert_int_equal(unlink(in_dir("keys")), 0);
    assert_int_equal(rename(kept, in_dir("keys")), 0);
    mended("", 0757);
    assert_int_equal(chmod(dir, 0700), 0);
    if (geteuid() != 0)
        return;
    assert_int_equal(chown(in_dir("keys"), 12345, (gid_t)-1), 0);
    load_fails(ERR_DENIED, "belongs to user 12345, not to you (0)");
    assert_int_equal(chown(in_dir("keys"), 0, (gid_t)-1), 0);
}

/* In the place of controller.json: nothing waits, and nothing is followed. */
static void test_odd_controller_file(void **state)
{
    struct controller_file got;
    struct str s = STR_INIT;
    (void)state;
    assert_int_equal(mkfifo(in_dir("controller.json"), 0600), 0);
    assert_int_equal(controller_file_read(dir, &got, NULL), ERR_INVAL);
    assert_int_equal(unlink(in_dir("controller.json")), 0);
    assert_int_equal(symlink("/dev/zero", in_dir("controller.json")), 0);
    assert_int_equal(controller_file_read(dir, &got, NULL), ERR_INVAL);
    assert_int_equal(unlink(in_dir("controller.json")), 0);
    str_reserve(&s, 100000);
    memset(s.p, ' ', 100000);
    assert_int_equal(file_write(in_dir("controller.json"), s.p, 100000, 0600, NULL), 0);
    assert_int_equal(controller_file_read(dir, &got, NULL), ERR_RANGE);
    assert_int_equal(unlink(in_dir("controller.json")), 0);
    str_free(&s);
}

static void test_controller_file(void **state)
{
    static const char *const bad[] = {"",
                                      "{}",
                                      "[]",
                                      "{\"epoch\":1}",
                                      "{\"epoch\":0,\"state\":\"running\"}",
                                      "{\"epoch\":1,\"state\":\"a state much too long\"}",
                                      "{\"epoch\":1,\"state\":\"running\"} x"};
    struct controller_file f = {.epoch = 3,
                                .address = "tcp://10.0.0.1:5555 tcp://n1:5555",
                                .host = "n1",
                                .pid = 4711,
                                .pid_start = 123456789,
                                .since = 1763658902.5,
                                .state = "running",
                                .note = "sbatch: \"no\"",
                                .calls = {41, 17, INT64_MAX}},
                           got;
    struct key_pair k;
    struct err e;
    (void)state;
    assert_int_equal(controller_file_read(dir, &got, NULL), ERR_NOENT);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        file_write(in_dir("controller.json"), bad[i], strlen(bad[i]), 0644, NULL);
        assert_int_equal(controller_file_read(dir, &got, &e), ERR_CORRUPT);
        assert_non_null(strstr(e.text, "controller.json: "));
    }
    assert_int_equal(key_pair_make(&k, NULL), 0);
    strcpy(f.public_key, k.public_key);
    assert_int_equal(controller_file_write(dir, &f, NULL), 0);
    assert_int_equal(controller_file_read(dir, &got, NULL), 0);
    assert_int_equal(got.epoch, 3);
    assert_string_equal(got.public_key, f.public_key);
    assert_string_equal(got.address, f.address);
    assert_string_equal(got.host, "n1");
    assert_int_equal(got.pid, 4711);
    assert_true(got.pid_start == 123456789);
    assert_true(got.since == 1763658902.5);
    assert_string_equal(got.state, "running");
    assert_string_equal(got.note, f.note);
    assert_memory_equal(&got.calls, &f.calls, sizeof(f.calls));
}

static int begin(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    return dir_remove(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_create),
        cmocka_unit_test(test_loose_modes),
        cmocka_unit_test(test_other_owner),
        cmocka_unit_test(test_odd_files),
        cmocka_unit_test(test_odd_directories),
        cmocka_unit_test(test_odd_controller_file),
        cmocka_unit_test(test_controller_file),
    };
    return cmocka_run_group_tests_name("wire/keys", tests, begin, end);
}
