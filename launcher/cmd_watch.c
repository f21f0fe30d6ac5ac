#include "base/clock.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/look.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define DRAW_MS 1000

#define ENTER "\033[?1049h\033[?25l" /* the second screen, without a cursor */
#define LEAVE "\033[?25h\033[?1049l"
#define HOME  "\033[H"
#define REST  "\033[K" /* erases the rest of the line */
#define BELOW "\033[J"

const struct cli_option watch_options[] = {{0}};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
    interrupted = signal;
}

static void catch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal}; /* poll() ends with EINTR */

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        sigaction(signals[i], &action, NULL);
}

/* Keys come at once and unseen; Ctrl-C stays a signal. false: no terminal to read. */
static bool keys_begin(struct termios *before)
{
    struct termios now;

    if (tcgetattr(STDIN_FILENO, before) != 0)
        return false;
    now = *before;
    now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    return tcsetattr(STDIN_FILENO, TCSANOW, &now) == 0;
}

/* Waits until it is time to draw again; false: q was pressed, or a signal came. */
static bool wait_a_while(bool keys)
{
    struct pollfd in = {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN};
    double until = clock_mono() + DRAW_MS / 1000.0, now;
    char key;

    while (!interrupted && (now = clock_mono()) < until) {
        if (poll(&in, 1, (int)((until - now) * 1000) + 1) <= 0)
            continue;
        if (read(STDIN_FILENO, &key, 1) != 1)
            in.fd = -1; /* the terminal is gone */
        else if (key == 'q' || key == 'Q')
            return false;
    }
    return !interrupted;
}

/* Over what stands there, without blinking; lines below the terminal's last are left out,
 * they would scroll it. */
static void draw(const struct loaded *l)
{
    struct look_size size = look_size(STDOUT_FILENO);
    struct str screen = STR_INIT, out = STR_INIT;
    int lines = 0;

    look_screen(l, STDOUT_FILENO, &screen);
    str_add(&out, HOME);
    for (size_t i = 0; i < screen.len; i++) {
        if (screen.p[i] != '\n') {
            str_addc(&out, screen.p[i]);
            continue;
        }
        str_add(&out, REST);
        if (++lines >= size.lines)
            break;
        str_add(&out, "\r\n");
    }
    str_add(&out, BELOW);
    fwrite(out.p, 1, out.len, stdout);
    fflush(stdout);
    str_free(&screen);
    str_free(&out);
}

/* Until q, a signal, or the end of the sweep; then the last screen stays. */
static int watch(const struct cli_command *self, struct loaded *l)
{
    struct termios before;
    bool keys = keys_begin(&before);
    struct err e = {0};
    int rc = 0;

    catch_signals();
    fputs(ENTER, stdout);
    do {
        rc = loaded_update(l, &e);
        if (rc == 0)
            draw(l);
    } while (rc == 0 && !sweep_totals(l->sw)->finished && wait_a_while(keys));
    fputs(LEAVE, stdout);
    fflush(stdout);
    if (keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &before);
    if (rc != 0)
        return cli_fail(self, EXIT_FAILED, "%s", e.text);
    look_print(l, false);
    return interrupted ? EXIT_INTERRUPTED : EXIT_GOOD;
}

int cmd_watch(int argc, char **argv)
{
    const struct cli_command *self = cli_find("watch");
    const char *value, *dir = NULL;
    struct loaded l;
    struct cli c;
    int o, status;

    cli_begin(&c, self, argc, argv);
    while ((o = cli_next(&c, &value)) != CLI_END) {
        switch (o) {
        case CLI_POSITIONAL:
            if (dir)
                return look_surplus(self, value);
            dir = value;
            break;
        case CLI_HELP: return EXIT_GOOD;
        default: return EXIT_USAGE;
        }
    }
    status = look_open(self, dir, false, NULL, &l);
    if (status == EXIT_GOOD && isatty(STDOUT_FILENO))
        status = watch(self, &l);
    else if (status == EXIT_GOOD)
        look_print(&l, false);
    loaded_close(&l);
    return status;
}
