/* Settings from the table: defaults, file (libconfuse), environment. See settings.h.
 *
 * libconfuse parses the file's syntax and gives file and line; this file checks types, ranges and
 * names against the table. Nothing is kept between calls, so a reload that fails changes nothing. */
#include "server/settings.h"

#include <confuse.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "shared/address.h"

enum setting_type { SETTING_TEXT, SETTING_ADDRESS, SETTING_INTEGER, SETTING_BOOL };
enum setting_reload { RELOAD_LIVE, RELOAD_RESTART };

struct setting {
    const char *name;
    enum setting_type type;
    int64_t low, high;
    const char *unit;
    const char *value;
    enum setting_reload reload;
    const char *doc;
    size_t offset;
};

#define AS_TEXT(value)       #value
#define VALUE_TEXT(value)    value
#define VALUE_ADDRESS(value) value
#define VALUE_INTEGER(value) AS_TEXT(value)
#define VALUE_BOOL(value)    AS_TEXT(value)

static const struct setting table[] = {
#define SETTING(type, name, low, high, unit, value, reload, doc) \
    {#name,                                                      \
     SETTING_##type,                                             \
     low,                                                        \
     high,                                                       \
     unit,                                                       \
     VALUE_##type(value),                                        \
     reload,                                                     \
     doc,                                                        \
     offsetof(struct settings, name)},
#include "server/settings_table.h"
#undef SETTING
};
#define SETTING_COUNT (sizeof table / sizeof table[0])

static void *field_of(const struct setting *setting, const struct settings *settings)
{
    return (char *)(uintptr_t)settings + setting->offset;
}

static bool set_text(const struct setting *setting, const char *value, char *field,
                     struct error *error)
{
    size_t length = strlen(value);

    if (setting->type == SETTING_ADDRESS) {
        struct address ignored;

        if (!address_parse(value, &ignored, error))
            return error_prefix(error, "%s", setting->name);
    } else if (length < (size_t)setting->low || length > (size_t)setting->high) {
        return error_set(error, "%s: %zu characters, allowed are %lld to %lld", setting->name,
                         length, (long long)setting->low, (long long)setting->high);
    }
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)value[i] < ' ')
            return error_set(error, "%s: holds a control character", setting->name);
    snprintf(field, SETTING_TEXT_MAX, "%s", value);
    return true;
}

static bool set_integer(const struct setting *setting, const char *value, int64_t *field,
                        struct error *error)
{
    char *end;
    long long number;

    errno = 0;
    number = strtoll(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || number < setting->low ||
        number > setting->high)
        return error_set(error, "%s: \"%.60s\" is not an integer from %lld to %lld%s%s",
                         setting->name, value, (long long)setting->low, (long long)setting->high,
                         setting->unit[0] ? " " : "", setting->unit);
    *field = number;
    return true;
}

static bool set_bool(const struct setting *setting, const char *value, bool *field,
                     struct error *error)
{
    static const char *const words[2][4] = {{"false", "off", "no", "0"},
                                            {"true", "on", "yes", "1"}};

    for (int truth = 0; truth < 2; truth++)
        for (int i = 0; i < 4; i++)
            if (strcasecmp(value, words[truth][i]) == 0) {
                *field = truth;
                return true;
            }
    return error_set(error, "%s: \"%.60s\" is neither on nor off", setting->name, value);
}

static bool set_value(const struct setting *setting, const char *value, struct settings *settings,
                      struct error *error)
{
    void *field = field_of(setting, settings);

    switch (setting->type) {
    case SETTING_TEXT:
    case SETTING_ADDRESS: return set_text(setting, value, field, error);
    case SETTING_INTEGER: return set_integer(setting, value, field, error);
    case SETTING_BOOL: return set_bool(setting, value, field, error);
    }
    abort();
}

static const char *const log_levels[] = {"debug", "info", "warn", "error"};

/* -1 for a word that is no level. */
static int find_level(const char *word)
{
    for (int i = 0; i < (int)(sizeof log_levels / sizeof log_levels[0]); i++)
        if (strcmp(word, log_levels[i]) == 0)
            return i;
    return -1;
}

enum log_level settings_log_level(const struct settings *settings)
{
    return (enum log_level)find_level(settings->log_level);
}

static bool check_word(const char *name, const char *value, const char *one, const char *other,
                       struct error *error)
{
    return strcmp(value, one) == 0 || strcmp(value, other) == 0 ||
           error_set(error, "%s: \"%.60s\" is neither %s nor %s", name, value, one, other);
}

static bool check_proxies(const struct settings *settings, struct error *error)
{
    return strcmp(settings->proxy_protocol, "off") == 0 ||
           settings->trusted_proxies[strspn(settings->trusted_proxies, " ,")] != '\0' ||
           error_set(error, "proxy_protocol is required, but trusted_proxies is empty: nobody "
                            "could connect");
}

/* Checks that need more than one type and range. */
static bool check(const struct settings *settings, struct error *error)
{
    if (find_level(settings->log_level) < 0)
        return error_set(error, "log_level: \"%.60s\" is none of debug, info, warn, error",
                         settings->log_level);
    if (strncmp(settings->base_url, "http://", 7) != 0 &&
        strncmp(settings->base_url, "https://", 8) != 0)
        return error_set(error, "base_url: \"%.200s\" must begin with http:// or https://",
                         settings->base_url);
    if (settings->base_url[strlen(settings->base_url) - 1] == '/')
        return error_set(error, "base_url: \"%.200s\" must not end with a slash",
                         settings->base_url);
    for (const char *c = settings->click_id_param; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.", *c))
            return error_set(error, "click_id_param: \"%s\" may hold letters, digits, _ - . only",
                             settings->click_id_param);
    return check_word("prefetch", settings->prefetch, "refuse", "serve", error) &&
           check_word("proxy_protocol", settings->proxy_protocol, "off", "required", error) &&
           check_proxies(settings, error);
}

/* libconfuse calls this for its own complaints (syntax, unknown names), with file and line. */
static struct error *parse_error;

static void __attribute__((format(printf, 2, 0)))
on_parse_error(cfg_t *file, const char *format, va_list arguments)
{
    char text[ERROR_TEXT_MAX / 2];

    vsnprintf(text, sizeof text, format, arguments);
    if (parse_error && !parse_error->text[0])
        error_set(parse_error, "%s:%d: %s", file->filename ? file->filename : "settings",
                  file->line, text);
}

/* Called for each value, so that a bad one is reported with its line. */
static struct settings *parse_target;

static int on_value(cfg_t *file, cfg_opt_t *option, const char *value, void *result)
{
    struct error error = {.text = ""};

    for (size_t i = 0; i < SETTING_COUNT; i++) {
        if (strcmp(table[i].name, option->name) != 0)
            continue;
        if (!set_value(&table[i], value, parse_target, &error)) {
            cfg_error(file, "%s", error.text);
            return -1;
        }
    }
    *(const char **)result = value;
    return 0;
}

static bool load_file(const char *path, struct settings *out, struct error *error)
{
    cfg_opt_t options[SETTING_COUNT + 1] = {CFG_END()};
    cfg_t *file;
    int status;

    for (size_t i = 0; i < SETTING_COUNT; i++) {
        cfg_opt_t option = CFG_STR_CB(table[i].name, NULL, CFGF_NONE, on_value);

        options[i] = option;
    }
    options[SETTING_COUNT] = (cfg_opt_t)CFG_END();
    file = cfg_init(options, CFGF_NONE);
    if (!file)
        return error_set(error, "out of memory");
    error->text[0] = '\0';
    parse_error = error;
    parse_target = out;
    cfg_set_error_function(file, on_parse_error);
    status = cfg_parse(file, path);
    cfg_free(file);
    parse_error = NULL;
    parse_target = NULL;
    if (status == CFG_FILE_ERROR)
        return error_set(error, "%s: %s", path, strerror(errno));
    if (status != CFG_SUCCESS && !error->text[0])
        error_set(error, "%s: not a settings file", path);
    return status == CFG_SUCCESS && !error->text[0];
}

/* KUDOS_<NAME>; the crash points and test variables of a test build are no settings. */
static bool load_variable(const char *variable, struct settings *out, struct error *error)
{
    static const char *const others[] = {"CRASH_AT", "CRASH_ONCE", "BIN", "TEST_"};
    const char *name = variable + strlen("KUDOS_"), *equals = strchr(name, '=');
    size_t length;

    if (!equals)
        return true;
    length = (size_t)(equals - name);
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (strlen(table[i].name) == length && strncasecmp(table[i].name, name, length) == 0) {
            if (set_value(&table[i], equals + 1, out, error))
                return true;
            return error_prefix(error, "environment variable KUDOS_%.*s", (int)length, name);
        }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strncmp(name, others[i], strlen(others[i])) == 0)
            return true;
    return error_set(error, "environment variable KUDOS_%.*s: no such setting", (int)length, name);
}

static const char *last_path;

const char *settings_path(void)
{
    return last_path;
}

bool settings_load(const char *path, struct settings *out, struct error *error)
{
    extern char **environ;

    last_path = path;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < SETTING_COUNT; i++)
        if (!set_value(&table[i], table[i].value, out, error))
            return error_prefix(error, "default");
    if (path && !load_file(path, out, error))
        return false;
    for (char **variable = environ; *variable; variable++)
        if (strncmp(*variable, "KUDOS_", strlen("KUDOS_")) == 0 &&
            !load_variable(*variable, out, error))
            return false;
    return check(out, error);
}

static bool differs(const struct setting *setting, const struct settings *a,
                    const struct settings *b)
{
    const void *one = field_of(setting, a), *other = field_of(setting, b);

    switch (setting->type) {
    case SETTING_INTEGER: return *(const int64_t *)one != *(const int64_t *)other;
    case SETTING_BOOL: return *(const bool *)one != *(const bool *)other;
    default: return strcmp(one, other) != 0;
    }
}

int settings_restart_needed(const struct settings *old, const struct settings *new, char *names,
                            size_t size)
{
    int count = 0;

    names[0] = '\0';
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        size_t used = strlen(names);

        if (table[i].reload == RELOAD_LIVE || !differs(&table[i], old, new))
            continue;
        snprintf(names + used, size - used, "%s%s", count ? ", " : "", table[i].name);
        count++;
    }
    return count;
}

/* A double-quoted string as libconfuse reads it. */
static void print_quoted(const char *text, FILE *out)
{
    putc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\' || *text == '$')
            putc('\\', out);
        putc(*text, out);
    }
    putc('"', out);
}

static void print_value(const struct setting *setting, const struct settings *settings, FILE *out)
{
    const void *field = field_of(setting, settings);

    switch (setting->type) {
    case SETTING_INTEGER: fprintf(out, "%lld", (long long)*(const int64_t *)field); break;
    case SETTING_BOOL: fputs(*(const bool *)field ? "on" : "off", out); break;
    default: print_quoted(field, out);
    }
}

void settings_print(const struct settings *settings, FILE *out)
{
    fputs(
        "# Kudos settings. Order: default, this file (kudos -c FILE), environment KUDOS_<NAME>.\n",
        out);
    for (size_t i = 0; i < SETTING_COUNT; i++) {
        const struct setting *setting = &table[i];

        fprintf(out, "\n# %s\n", setting->doc);
        if (setting->type == SETTING_INTEGER)
            fprintf(out, "# %lld to %lld%s%s. ", (long long)setting->low, (long long)setting->high,
                    setting->unit[0] ? " " : "", setting->unit);
        else
            fputs("# ", out);
        fprintf(out, "Environment: KUDOS_");
        for (const char *c = setting->name; *c; c++)
            putc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, out);
        fprintf(out, ". %s\n%s = ",
                setting->reload == RELOAD_LIVE ? "SIGHUP applies it." : "Needs a restart.",
                setting->name);
        print_value(setting, settings, out);
        putc('\n', out);
    }
}
