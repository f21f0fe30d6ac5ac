#include "base/clock.h"
#include "launcher/cli.h"
#include "launcher/commands.h"
#include "launcher/look.h"
#include "launcher/submit.h"
#include "launcher/watch.h"
#include "slurm/succession.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define DRAW_MS      1000
#define LINE_SECONDS 30.0
#define LOOK_SECONDS 60.0

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

/* ---- on the terminal ---- */

struct screen {
    struct termios before;
    bool keys;
};

static void screen_begin(struct screen *s)
{
    s->keys = keys_begin(&s->before);
    catch_signals();
    fputs(ENTER, stdout);
}

static void screen_end(struct screen *s)
{
    fputs(LEAVE, stdout);
    fflush(stdout);
    if (s->keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
}

/* Until q, a signal, or the end of the sweep; then the last screen stays. */
static int watch(const struct cli_command *self, struct loaded *l)
{
    struct screen s;
    struct err e = {0};
    int rc = 0;

    screen_begin(&s);
    do {
        rc = loaded_update(l, &e);
        if (rc == 0)
            draw(l);
    } while (rc == 0 && !sweep_totals(l->sw)->finished && wait_a_while(s.keys));
    screen_end(&s);
    if (rc != 0)
        return cli_fail(self, EXIT_FAILED, "%s", e.text);
    look_print(l, false);
    return interrupted ? EXIT_INTERRUPTED : EXIT_GOOD;
}

/* ---- to the end ---- */

struct watcher {
    const char *dir;
    bool quiet, live; /* live: on the terminal's second screen */
    struct screen screen;
    struct loaded l;
    bool begun;
    double next_line, next_look, event;
    char state[16]; /* that was said last */
    struct err e;
};

/* A line for a log: when the state changes, and now and then. */
static void say_line(struct watcher *w)
{
    struct view v = look_view(&w->l, NULL);
    struct str out = STR_INIT;
    double now = clock_mono();

    if (w->quiet || (now < w->next_line && strcmp(v.state, w->state) == 0))
        return;
    w->next_line = now + LINE_SECONDS;
    snprintf(w->state, sizeof(w->state), "%s", v.state);
    view_line(&v, &out);
    fprintf(stderr, "%s\n", out.p);
    str_free(&out);
}

/* Is anybody there who will go on? Asked when nothing happens. */
static int look_for_chain(struct watcher *w)
{
    double now = clock_mono();
    struct str job = STR_INIT;
    bool runs;
    char *name;
    int rc;

    if (now < w->next_look)
        return 0;
    w->next_look = now + LOOK_SECONDS;
    name = submit_chain_name(w->dir);
    rc = succession_find(name, &job, &runs, NULL);
    if (rc == 0 && job.len == 0)
        rc = err_set(
            &w->e, ERR_NOENT,
            "the jobs of its controller are gone from Slurm; jobs/controller-*.log "
            "in %s may tell why; go on with `rung resume`",
            w->dir);
    else
        rc = 0; /* Slurm does not answer: later */
    str_free(&job);
    free(name);
    return rc;
}

/* Reads on; 0, or an error. */
static int read_on(struct watcher *w)
{
    int rc = w->begun ? loaded_update(&w->l, &w->e) : loaded_replay(&w->l, false, &w->e);

    if (rc == ERR_NOENT && !w->begun) { /* once more, from the beginning */
        loaded_close(&w->l);
        rc = loaded_file(&w->l, w->dir, &w->e);
        return rc == 0 ? look_for_chain(w) : rc;
    }
    if (rc != 0)
        return rc;
    w->begun = true;
    if (w->l.last_event != w->event)
        w->next_look = clock_mono() + LOOK_SECONDS;
    w->event = w->l.last_event;
    if (w->live)
        draw(&w->l);
    else
        say_line(w);
    return look_for_chain(w);
}

/* Its controller has written everything and is gone. */
static bool ended(const struct watcher *w)
{
    struct controller_file f;

    return w->begun && controller_file_read(w->dir, &f, NULL) == 0 &&
           controller_file_over(&f);
}

static int result(struct watcher *w, bool json)
{
    const struct sweep_totals *n = sweep_totals(w->l.sw);
    struct view v = look_view(&w->l, NULL);
    struct str out = STR_INIT;

    if (json)
        view_json(&v, &out);
    else
        view_best(&v, &out);
    printf("%s%s", out.p, json ? "\n" : "");
    if (!n->finished) {
        str_cut(&out, 0);
        cli_quote(&out, w->dir);
        cli_say("paused: %s", w->l.why_paused ? w->l.why_paused : "?");
        cli_say("go on with: rung resume %s", out.p);
    }
    str_free(&out);
    return n->finished && (n->best >= 0 || n->finishing) ? EXIT_GOOD : EXIT_FAILED;
}

int watch_to_end(const struct cli_command *self, const char *dir, bool quiet, bool json)
{
    struct watcher w = {.dir = dir, .quiet = quiet};
    int status, rc = loaded_file(&w.l, dir, &w.e);

    w.live = !quiet && !json && isatty(STDOUT_FILENO);
    w.next_look = clock_mono() + LOOK_SECONDS / 4;
    catch_signals();
    if (w.live)
        screen_begin(&w.screen);
    while (rc == 0 && (rc = read_on(&w)) == 0 && !ended(&w) &&
           wait_a_while(w.live && w.screen.keys))
        ;
    if (rc == 0 && w.begun)
        rc = loaded_update(&w.l, &w.e);
    if (w.live)
        screen_end(&w.screen);
    if (rc != 0)
        status = cli_fail(self, EXIT_FAILED, "%s", w.e.text);
    else if (!ended(&w))
        status = EXIT_INTERRUPTED;
    else
        status = result(&w, json);
    loaded_close(&w.l);
    return status;
}

/* ---- the command ---- */

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
