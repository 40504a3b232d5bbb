/* `kudos demo`: something to look at. Makes workspace `demo` with a campaign, three influencers, and
 * a link and a code for each, where they are missing; a second run changes nothing. Prints what
 * `make run` shows, as KEY=value lines. With --clicks there is a season of them, with sales
 * (demo_season.h).
 *
 * The key: an API key can be shown only once, so it is kept in <data_dir>/demo-key (mode 0600) and
 * made anew when the file is gone or its key is no longer good. That file is for the demo alone;
 * keys made with `kudos key create` are kept nowhere. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/admin/commands/demo_season.h"
#include "server/admin/commands/keys.h"
#include "server/admin/request/auth.h"
#include "server/commands.h"
#include "server/links/slug.h"
#include "server/stores/postgres.h"

static const char make_campaign[] =
    "with w as (insert into kudos.workspaces (name) values ('demo')"
    "           on conflict (name) do update set name = excluded.name returning id)"
    " insert into kudos.campaigns (workspace_id, slug, name, objective, hashtag, destination)"
    " select id, 'spring-launch', 'Spring launch', 'launch', '#springlaunch', "
    "'https://example.com/spring'"
    " from w on conflict (workspace_id, slug) do nothing";

static const char make_influencer[] =
    "insert into kudos.influencers (workspace_id, handle, name)"
    " select id, $1, $2 from kudos.workspaces where name = 'demo' on conflict do nothing";

static const char make_code[] =
    "insert into kudos.codes (workspace_id, campaign_id, influencer_id, code, percent)"
    " select c.workspace_id, c.id, i.id, upper(i.handle) || '20', 20"
    " from kudos.workspaces w"
    " join kudos.campaigns c on c.workspace_id = w.id and c.slug = 'spring-launch'"
    " join kudos.influencers i on i.workspace_id = w.id and i.handle = $1"
    " where w.name = 'demo' on conflict do nothing";

/* The handle is the slug, unless something else has it. */
static const char make_link[] =
    "insert into kudos.links (workspace_id, domain_id, campaign_id, influencer_id, slug,"
    " destination, title)"
    " select c.workspace_id, d.id, c.id, i.id, $2,"
    " 'https://example.com/spring?from=' || i.handle, 'Spring launch, ' || i.name"
    " from kudos.workspaces w"
    " join kudos.domains d on d.is_default"
    " join kudos.campaigns c on c.workspace_id = w.id and c.slug = 'spring-launch'"
    " join kudos.influencers i on i.workspace_id = w.id and i.handle = $1"
    " where w.name = 'demo' and not exists (select from kudos.links l"
    " where l.campaign_id = c.id and l.influencer_id = i.id)"
    " on conflict do nothing";

static const char find_links[] =
    "select i.handle, l.slug, l.id from kudos.links l"
    " join kudos.workspaces w on w.id = l.workspace_id and w.name = 'demo'"
    " join kudos.influencers i on i.id = l.influencer_id"
    " join kudos.campaigns c on c.id = l.campaign_id and c.slug = 'spring-launch'"
    " where l.state = 'active' order by l.id";

static const struct {
    const char *handle, *name;
} people[] = {{"anna", "Anna Berg"}, {"ben", "Ben Okafor"}, {"chloe", "Chloé Martin"}};
#define PEOPLE (sizeof people / sizeof people[0])

static bool make_person(PGconn *connection, const char *handle, const char *name,
                        struct error *error)
{
    const char *person[] = {handle, name}, *link[] = {handle, handle};
    char slug[SLUG_GENERATED_LENGTH + 1];

    if (!postgres_execute(connection, make_influencer, 2, person, error) ||
        !postgres_execute(connection, make_code, 1, &handle, error) ||
        !postgres_execute(connection, make_link, 2, link, error))
        return false;
    slug_generate(slug);
    link[1] = slug;
    return postgres_execute(connection, make_link, 2, link, error);
}

static bool make_demo(PGconn *connection, struct error *error)
{
    if (!postgres_execute(connection, make_campaign, 0, NULL, error))
        return false;
    for (size_t i = 0; i < PEOPLE; i++) {
        if (!make_person(connection, people[i].handle, people[i].name, error))
            return false;
    }
    return true;
}

/* True if the key in the file is one that PostgreSQL takes. */
static bool read_key(PGconn *connection, const char *path, char key[AUTH_KEY_LENGTH + 1])
{
    unsigned char hash[AUTH_HASH_BYTES];
    char hex[2 + 2 * AUTH_HASH_BYTES + 1] = "\\x";
    const char *parameters[] = {hex};
    struct error error;
    PGresult *rows;
    ssize_t length = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good;

    if (fd >= 0) {
        length = read(fd, key, AUTH_KEY_LENGTH);
        close(fd);
    }
    if (length != AUTH_KEY_LENGTH)
        return false;
    key[AUTH_KEY_LENGTH] = '\0';
    if (!auth_hash_key(key, AUTH_KEY_LENGTH, hash))
        return false;
    sodium_bin2hex(hex + 2, sizeof hex - 2, hash, sizeof hash);
    rows = postgres_query(connection,
                          "select from kudos.api_keys where hash = $1::bytea and revoked_at is null"
                          " and (expires_at is null or expires_at > now())",
                          1, parameters, &error);
    good = rows && PQntuples(rows) == 1;
    PQclear(rows);
    return good;
}

/* The file is written first and renamed after the key is stored: it never names a key that is not. */
static bool make_key(PGconn *connection, const char *path, char key[AUTH_KEY_LENGTH + 1],
                     struct error *error)
{
    char partial[SETTING_TEXT_MAX + 32];
    int64_t workspace = keys_find_workspace(connection, "demo", error);
    bool written;
    int fd;

    if (!workspace || !keys_create(connection, workspace, "admin", "demo", key, error))
        return false;
    snprintf(partial, sizeof partial, "%s.new", path);
    unlink(partial);
    fd = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(error, "%s: %s", partial, strerror(errno));
    written = write(fd, key, AUTH_KEY_LENGTH) == AUTH_KEY_LENGTH && write(fd, "\n", 1) == 1;
    if (close(fd) < 0 || !written || rename(partial, path) < 0)
        return error_set(error, "%s: %s", path, strerror(errno));
    return true;
}

static bool print_demo(PGconn *connection, const struct settings *settings, const char *key,
                       struct error *error)
{
    PGresult *rows = postgres_query(connection, find_links, 0, NULL, error);

    if (!rows)
        return false;
    for (int i = 0; i < PQntuples(rows); i++) {
        if (i == 0)
            printf("SHORT_URL=%s/%s\n", settings->base_url, PQgetvalue(rows, i, 1));
        printf("SHORT_URL_%d=%s/%s\n", i + 1, settings->base_url, PQgetvalue(rows, i, 1));
        printf("LINK_ID_%d=%s\n", i + 1, PQgetvalue(rows, i, 2));
    }
    PQclear(rows);
    printf("BASE_URL=%s\nADMIN_URL=http://%s\n", settings->base_url, settings->admin_listen);
    printf("DATABASE_URL=%s\nCAMPAIGN=spring-launch\nAPI_KEY=%s\n", settings->database_url, key);
    return true;
}

static bool run_demo(PGconn *connection, const struct settings *settings, int64_t clicks,
                     int64_t seed, struct error *error)
{
    char key[AUTH_KEY_LENGTH + 1], path[SETTING_TEXT_MAX + 16];
    bool good;

    if (mkdir(settings->data_dir, 0750) < 0 && errno != EEXIST)
        return error_set(error, "data_dir %s: %s", settings->data_dir, strerror(errno));
    snprintf(path, sizeof path, "%s/demo-key", settings->data_dir);
    if (!make_demo(connection, error) ||
        (clicks > 0 && !demo_season(connection, settings, clicks, seed, error)))
        return false;
    if (!read_key(connection, path, key) && !make_key(connection, path, key, error))
        return false;
    good = print_demo(connection, settings, key, error);
    sodium_memzero(key, sizeof key);
    return good;
}

static bool read_number(const char *text, int64_t least, int64_t most, int64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoll(text, &end, 10);
    return !errno && end != text && !*end && *out >= least && *out <= most;
}

static bool read_options(int argc, char **argv, int64_t *clicks, int64_t *seed)
{
    static const struct option options[] = {{"clicks", required_argument, NULL, 'c'},
                                            {"seed", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    int option;

    optind = 1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'c' && read_number(optarg, 1, DEMO_CLICKS_MAX, clicks))
            continue;
        if (option == 's' && read_number(optarg, 0, INT32_MAX, seed))
            continue;
        return false;
    }
    return optind == argc;
}

int demo_command(int argc, char **argv, const struct settings *settings)
{
    struct error error;
    PGconn *connection;
    int64_t clicks = 0, seed = 1;
    bool good;

    if (!read_options(argc, argv, &clicks, &seed)) {
        fputs("usage: kudos demo [--clicks N [--seed S]]\n", stderr);
        return 2;
    }
    if (sodium_init() < 0)
        return 2;
    connection = postgres_connect(settings->database_url, "kudos-demo", &error);
    if (!connection) {
        fprintf(stderr, "kudos demo: PostgreSQL: %s\n", error.text);
        return 2;
    }
    good = run_demo(connection, settings, clicks, seed, &error);
    if (!good)
        fprintf(stderr, "kudos demo: %s\n", error.text);
    PQfinish(connection);
    return good ? 0 : 1;
}
