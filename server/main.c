/* kudos: one binary, its commands in one table. Loads the settings (-c FILE, environment) and hands
 * over. Exit status: 0 done, 1 not done, 2 wrong use or could not look. */
#include <stdio.h>
#include <string.h>

#include "server/commands.h"

static int settings_command(int argc, char **argv, const struct settings *settings)
{
    (void)argc;
    (void)argv;
    settings_print(settings, stdout);
    return 0;
}

static int version_command(int argc, char **argv, const struct settings *settings)
{
    (void)argc;
    (void)argv;
    (void)settings;
    puts("kudos " KUDOS_VERSION);
    return 0;
}

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv, const struct settings *settings);
    bool needs_settings;
    const char *usage, *summary;
} commands[] = {
    {"serve", serve_command, true, "[--roles redirect,sync,ship,flush,admin]",
     "run the service in the foreground"},
    {"migrate", migrate_command, true, "", "bring PostgreSQL to this version's schema"},
    {"workspace", workspace_command, true, "create NAME", "make a workspace"},
    {"key", key_command, true, "create --workspace W --scope S --name N",
     "make an API key; it is printed once, on the last line"},
    {"demo", demo_command, true, "", "make a demo workspace to look at"},
    {"verify", verify_command, true, "[--clicks FILE] [--json]",
     "prove that every click is there once (0 yes, 1 no, 2 could not look)"},
    {"gap", gap_command, true, "declare --origin O --first F --last L",
     "give up events that are in no journal any more"},
    {"reclassify", reclassify_command, true, "FILTER… --to VERDICT --because TEXT",
     "change the verdict of stored clicks, e.g. of a burst of previews"},
    {"reattribute", reattribute_command, true, "--campaign C [--workspace W] [--dry-run]",
     "decide anew who earned what, after a change of a campaign's policy"},
    {"explain", explain_command, true, "[--data-dir DIR] [--trusted NETWORKS]",
     "say who clicked, where it leads, and why: JSON Lines on standard input"},
    {"test-link", test_link_command, true, "SHORT_URL",
     "print a short link whose clicks are stored as internal"},
    {"check", check_command, true, "", "check settings and stores"},
    {"settings", settings_command, true, "", "print every setting with its meaning"},
    {"version", version_command, false, "", "print the version"},
};
#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static int usage(FILE *out, int status)
{
    fputs("usage: kudos [-c SETTINGS_FILE] COMMAND …\n\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-10s %-42s %s\n", commands[i].name, commands[i].usage,
                commands[i].summary);
    return status;
}

static int run(const struct command *command, const char *path, int argc, char **argv)
{
    struct settings settings = {.listen = ""};
    struct error error;

    if (command->needs_settings && !settings_load(path, &settings, &error)) {
        fprintf(stderr, "kudos: %s\n", error.text);
        return 2;
    }
    return command->run(argc, argv, &settings);
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    int at = 1;

    if (argc > 2 && strcmp(argv[1], "-c") == 0) {
        path = argv[2];
        at = 3;
    }
    if (at >= argc)
        return usage(stderr, 2);
    if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "help") == 0)
        return usage(stdout, 0);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, argv[at]) == 0)
            return run(&commands[i], path, argc - at, argv + at);
    fprintf(stderr, "kudos: no command \"%.40s\"\n", argv[at]);
    return usage(stderr, 2);
}
