/* See options.h. */
#include "loadtest/options.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum type { TEXT, INTEGER, NUMBER, FLAG, TITLE };

struct row {
    enum type type;
    const char *name;
    size_t offset;
    double lowest, highest;
    const char *unit, *doc;
};

#define SECTION(title) {TITLE, title, 0, 0, 0, "", ""},
#define OPTION(type, name, lowest, highest, unit, value, doc) \
    {type, #name, offsetof(struct options, name), (double)(lowest), (double)(highest), unit, doc},
static const struct row table[] = {
#include "loadtest/options_table.h"
};
#define ROWS (sizeof table / sizeof table[0])

static const struct options defaults = {
#define SECTION(title)
#define OPTION(type, name, lowest, highest, unit, value, doc) .name = (value),
#include "loadtest/options_table.h"
};

/* Reading -------------------------------------------------------------------------------------- */

/* "new_connection" is "--new-connection". */
static bool is_named(const char *name, const char *word, size_t length)
{
    if (strlen(name) != length)
        return false;
    for (size_t i = 0; i < length; i++)
        if ((name[i] == '_' ? '-' : name[i]) != word[i])
            return false;
    return true;
}

static const struct row *find_row(const char *word, size_t length)
{
    for (size_t i = 0; i < ROWS; i++)
        if (table[i].type != TITLE && is_named(table[i].name, word, length))
            return &table[i];
    return NULL;
}

static bool set_number(const struct row *row, struct options *options, const char *value,
                       struct error *error)
{
    char *at = (char *)options + row->offset, *end;
    double number;

    errno = 0;
    number = row->type == INTEGER ? (double)strtoll(value, &end, 10) : strtod(value, &end);
    if (end == value || *end != '\0' || errno != 0 ||
        !(number >= row->lowest && number <= row->highest))
        return error_set(error, "a number from %.15g to %.15g is wanted, not \"%.40s\"",
                         row->lowest, row->highest, value);
    if (row->type == INTEGER)
        *(int64_t *)(void *)at = (int64_t)number;
    else
        *(double *)(void *)at = number;
    return true;
}

static bool set(const struct row *row, struct options *options, const char *value,
                struct error *error)
{
    char *at = (char *)options + row->offset;

    if (row->type == FLAG) {
        *(bool *)at = true;
        return !value || error_set(error, "it takes no value");
    }
    if (!value)
        return error_set(error, "a value is missing");
    if (row->type != TEXT)
        return set_number(row, options, value, error);
    *(const char **)(void *)at = value;
    return true;
}

static bool read_words(int argc, char **argv, struct options *options, struct error *error)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i], *equals = strchr(word, '='),
                   *value = equals ? equals + 1 : NULL;
        size_t length = equals ? (size_t)(equals - word) : strlen(word);
        const struct row *row =
            length > 2 && strncmp(word, "--", 2) == 0 ? find_row(word + 2, length - 2) : NULL;

        if (!row)
            return error_set(error, "there is no option \"%.60s\"", word);
        if (!value && row->type != FLAG && i + 1 < argc)
            value = argv[++i];
        if (!set(row, options, value, error))
            return error_prefix(error, "%.*s", (int)length, word);
    }
    return true;
}

/* Checking ------------------------------------------------------------------------------------- */

static bool is_loopback(const struct address *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address->storage;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address->storage;

    if (address->storage.ss_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* "http://127.0.0.1:8080", with or without http:// and a slash at the end. Port 80 if none is
 * given. */
static bool read_url(const char *url, struct address *address, char host[64], struct error *error)
{
    const char *at = strncmp(url, "http://", 7) == 0 ? url + 7 : url;
    size_t length = strcspn(at, "/");
    char text[80];
    const char *bracket;

    if (strncmp(url, "https://", 8) == 0)
        return error_set(error, "TLS is not spoken here: load the service behind the proxy");
    if (length == 0 || length >= 56 || (at[length] == '/' && at[length + 1] != '\0'))
        return error_set(error, "\"%.80s\" is no http://ADDRESS:PORT", url);
    snprintf(host, 64, "%.*s", (int)length, at);
    bracket = strrchr(host, ']');
    if (strncmp(host, "localhost", 9) == 0 && (host[9] == ':' || host[9] == '\0'))
        snprintf(text, sizeof text, "127.0.0.1%s%s", host + 9, host[9] ? "" : ":80");
    else
        snprintf(text, sizeof text, "%s%s", host,
                 strchr(bracket ? bracket : host, ':') ? "" : ":80");
    return address_parse(text, address, error);
}

static bool check_target(struct options *options, struct error *error)
{
    bool remote = *options->remote_target != '\0';

    if (remote && options->target != defaults.target)
        return error_set(error, "--target or --remote-target, not both");
    if (!read_url(remote ? options->remote_target : options->target, &options->address,
                  options->address_host, error))
        return error_prefix(error, remote ? "--remote-target" : "--target");
    if (!remote && !is_loopback(&options->address))
        return error_set(
            error, "%s is not on this machine. If you may load it, say so: --remote-target %s",
            options->target, options->target);
    if (*options->admin == '\0')
        return true;
    if (!read_url(options->admin, &options->admin_address, options->admin_host, error))
        return error_prefix(error, "--admin");
    return remote || is_loopback(&options->admin_address) ||
           error_set(error, "--admin: %s is not on this machine; that goes with --remote-target",
                     options->admin);
}

static bool check_arrivals(struct options *options, struct error *error)
{
    char profile[64];
    const char *parts = options->profile;
    bool rated = options->rate != defaults.rate, profiled = *parts != '\0';

    if (profiled && (rated || options->duration != defaults.duration))
        return error_set(error, "--profile says rates and durations: no --rate, no --duration");
    if (options->closed && (profiled || rated))
        return error_set(error, "--closed has no rate: connections send as soon as they can");
    if (strcmp(options->arrivals, "poisson") != 0 && strcmp(options->arrivals, "constant") != 0)
        return error_set(error, "--arrivals: poisson or constant, not \"%.40s\"",
                         options->arrivals);
    if (!profiled) {
        snprintf(profile, sizeof profile, "%.3f@%.3f", options->rate, options->duration);
        parts = profile;
    }
    return schedule_parse(&options->schedule, parts, error) || error_prefix(error, "--profile");
}

static bool is_currency(const char *text)
{
    return strlen(text) == 3 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 3;
}

static bool check_sales(struct options *options, struct error *error)
{
    struct timespec now;

    if (options->by_code > 0 && *options->codes == '\0')
        return error_set(error, "--by-code wants --codes FILE");
    if (!is_currency(options->currency))
        return error_set(error, "--currency: three capital letters, not \"%.40s\"",
                         options->currency);
    if (strlen(options->orders) > 64)
        return error_set(error, "--orders: at most 64 characters");
    if (*options->orders == '\0') {
        clock_gettime(CLOCK_REALTIME, &now);
        snprintf(options->orders_made, sizeof options->orders_made, "lt%llx",
                 (unsigned long long)now.tv_sec * 1000000000 + (unsigned long long)now.tv_nsec);
        options->orders = options->orders_made;
    }
    return true;
}

static bool check_rest(struct options *options, struct error *error)
{
    const char *database = getenv("KUDOS_DATABASE_URL");

    if ((*options->links == '\0') == (*options->admin == '\0'))
        return error_set(error, "which links? --links FILE, or --admin URL with --key-file FILE");
    if ((*options->admin == '\0') != (*options->key_file == '\0'))
        return error_set(error, "--admin and --key-file go together");
    if (options->processes > options->connections)
        return error_set(error, "each process needs a connection: --connections %lld at least",
                         (long long)options->processes);
    if (options->pipeline > 1 && (options->keepalive < 1 || options->new_connection > 0))
        return error_set(error, "--pipeline goes with connections that stay: no --keepalive, no "
                                "--new-connection");
    if (*options->database == '\0' && database)
        options->database = database;
    if (options->verify && *options->database == '\0')
        return error_set(error, "--verify wants --database URL (or KUDOS_DATABASE_URL)");
    if (options->verify && options->ids_max == 0)
        return error_set(error, "--verify compares ids: --ids-max must not be 0");
    return *options->click_id_param != '\0' || error_set(error, "--click-id-param is empty");
}

bool options_parse(int argc, char **argv, struct options *options, struct error *error)
{
    *options = defaults;
    if (!read_words(argc, argv, options, error))
        return false;
    if (options->help || *options->show)
        return true;
    return check_target(options, error) && check_arrivals(options, error) &&
           check_sales(options, error) && check_rest(options, error);
}

/* Printing ------------------------------------------------------------------------------------- */

static void print_default(const struct row *row, FILE *out)
{
    const char *at = (const char *)&defaults + row->offset;
    const char *text = row->type == TEXT ? *(const char *const *)(const void *)at : "";

    if (row->type == TEXT && *text)
        fprintf(out, " (%s)", text);
    if (row->type == INTEGER)
        fprintf(out, " (%lld)", (long long)*(const int64_t *)(const void *)at);
    if (row->type == NUMBER)
        fprintf(out, " (%g)", *(const double *)(const void *)at);
}

void options_help(FILE *out)
{
    fputs("usage: kudos-loadtest --links FILE [options]\n\n"
          "Clicks short links as many visitors would, measures how long answers take, and proves\n"
          "that each click was counted once. Default values in brackets.\n",
          out);
    for (size_t i = 0; i < ROWS; i++) {
        const struct row *row = &table[i];
        char name[48];
        int length = snprintf(name, sizeof name, "--%s %s", row->name, row->unit);

        if (row->type == TITLE) {
            fprintf(out, "\n%s\n", row->name);
            continue;
        }
        for (int at = 2; at < length && name[at] != ' '; at++)
            name[at] = name[at] == '_' ? '-' : name[at];
        fprintf(out, "  %-28s %s", name, row->doc);
        print_default(row, out);
        fputc('\n', out);
    }
}
