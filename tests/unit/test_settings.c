/* Settings: the table, the file, the environment, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/settings.h"

static char path[] = "/tmp/kudos-settings-XXXXXX";

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void assert_refused(const char *text, const char *reason)
{
    struct settings settings;
    struct error error = {.text = ""};

    write_file(text);
    assert_false(settings_load(path, &settings, &error));
    if (!strstr(error.text, reason))
        fail_msg("\"%s\" does not say \"%s\"", error.text, reason);
}

static void test_defaults(void **state)
{
    struct settings settings;
    struct error error;

    (void)state;
    assert_true(settings_load(NULL, &settings, &error));
    assert_string_equal(settings.listen, "127.0.0.1:8080");
    assert_int_equal(settings.ship_interval_ms, 100);
    assert_int_equal(settings.flush_interval_ms, 1000);
    assert_int_equal(settings.journal_sync_ms, 200);
    assert_int_equal(settings.redis_backlog_bytes, 256 << 20);
}

static void test_refusals(void **state)
{
    char where[64];

    (void)state;
    snprintf(where, sizeof where, "%s:2: ", path);
    assert_refused("workers = 1\nbogus = 1\n", where);
    assert_refused("workers = 1\nlisten = \"localhost:80\"\n", where);
    assert_refused("workers = 1\nship_interval_ms = 0\n", "1 to 60000 ms");
    assert_refused("workers = 1x\n", "workers");
    assert_refused("base_url = \"https://x/\"\n", "slash");
    assert_refused("log_level = \"loud\"\n", "log_level");
    assert_refused("workers = \n", path);
}

static void test_order(void **state)
{
    struct settings settings;
    struct error error;

    (void)state;
    write_file("# a comment\nworkers = 3\nclick_id_param = \"kid\"\n");
    setenv("KUDOS_WORKERS", "5", 1);
    assert_true(settings_load(path, &settings, &error));
    assert_int_equal(settings.workers, 5);
    assert_string_equal(settings.click_id_param, "kid");
    setenv("KUDOS_WORKERS", "many", 1);
    assert_false(settings_load(path, &settings, &error));
    assert_non_null(strstr(error.text, "KUDOS_WORKERS"));
    unsetenv("KUDOS_WORKERS");
    setenv("KUDOS_WORKRES", "5", 1);
    assert_false(settings_load(path, &settings, &error));
    assert_non_null(strstr(error.text, "KUDOS_WORKRES"));
    unsetenv("KUDOS_WORKRES");
}

/* What `kudos settings` prints is a file that says the same. */
static void test_round_trip(void **state)
{
    struct settings settings, again;
    struct error error;
    char *one = NULL, *two = NULL;
    size_t size;
    FILE *out = open_memstream(&one, &size);

    (void)state;
    assert_true(settings_load(NULL, &settings, &error));
    snprintf(settings.database_url, sizeof settings.database_url, "host='a b' password=\"x$y\\z\"");
    settings_print(&settings, out);
    fclose(out);
    write_file(one);
    if (!settings_load(path, &again, &error))
        fail_msg("%s", error.text);
    assert_string_equal(again.database_url, settings.database_url);
    out = open_memstream(&two, &size);
    settings_print(&again, out);
    fclose(out);
    assert_string_equal(one, two);
    free(one);
    free(two);
}

static void test_restart_needed(void **state)
{
    struct settings old, new;
    struct error error;
    char names[100];

    (void)state;
    assert_true(settings_load(NULL, &old, &error));
    new = old;
    new.ship_interval_ms = 5;
    assert_int_equal(settings_restart_needed(&old, &new, names, sizeof names), 0);
    new.workers = 7;
    snprintf(new.data_dir, sizeof new.data_dir, "/elsewhere");
    assert_int_equal(settings_restart_needed(&old, &new, names, sizeof names), 2);
    assert_string_equal(names, "data_dir, workers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),       cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_order),          cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_restart_needed),
    };
    int fd = mkstemp(path), failed;
    extern char **environ;

    close(fd);
    for (char **variable = environ; *variable;) {
        char name[128];

        snprintf(name, sizeof name, "%.*s", (int)strcspn(*variable, "="), *variable);
        if (strncmp(name, "KUDOS_", 6) == 0)
            unsetenv(name); /* moves the others up */
        else
            variable++;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
