/* See referrer.h. Hosts are kept in a hash table that is asked for every suffix of a host at a
 * label's start, longest last; the hash is made from the end, so that all suffixes cost one pass.
 *
 * "google.*" in the list stands for the name under any country's domain (google.fr, google.co.uk)
 * and under .com. Of several entries the one with more labels of the host wins. */
#include "server/visitor/referrer.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "server/visitor/classes.h"
#include "shared/embed.h"

EMBED(visitor_referrers, "server/visitor/referrers.json");

#define SLOTS 4096 /* a power of two, several times the hosts of the list */

struct known_host {
    char *name; /* NULL: free; without ".*" if it is a wildcard */
    size_t length;
    bool wildcard;
    struct origin origin;
};

struct referrers {
    struct known_host slots[SLOTS];
    size_t count;
    uint8_t medium_of[256]; /* by platform */
};

/* ---- the table ------------------------------------------------------------------------------- */

static uint32_t hash_step(uint32_t hash, char c)
{
    return (hash ^ (unsigned char)c) * 16777619u;
}

static uint32_t hash_start(bool wildcard)
{
    return wildcard ? 2166136261u : 84696351u;
}

/* From the last byte to the first, like the look-up. */
static uint32_t hash_of(const char *name, size_t length, bool wildcard)
{
    uint32_t hash = hash_start(wildcard);

    while (length > 0)
        hash = hash_step(hash, name[--length]);
    return hash;
}

static const struct known_host *find(const struct referrers *referrers, uint32_t hash,
                                     struct text name, bool wildcard)
{
    for (uint32_t i = hash;; i++) {
        const struct known_host *slot = &referrers->slots[i & (SLOTS - 1)];

        if (!slot->name)
            return NULL;
        if (slot->wildcard == wildcard && slot->length == name.length &&
            memcmp(slot->name, name.bytes, name.length) == 0)
            return slot;
    }
}

static bool add(struct referrers *referrers, const char *host, struct origin origin,
                struct error *error)
{
    size_t length = strlen(host);
    bool wildcard = length > 2 && strcmp(host + length - 2, ".*") == 0;
    uint32_t hash;

    if (wildcard)
        length -= 2;
    hash = hash_of(host, length, wildcard);
    if (find(referrers, hash, (struct text){host, length}, wildcard))
        return error_set(error, "referrers.json: %s stands there twice", host);
    assert(referrers->count < SLOTS / 2);
    referrers->count++;
    while (referrers->slots[hash & (SLOTS - 1)].name)
        hash++;
    referrers->slots[hash & (SLOTS - 1)] =
        (struct known_host){strndup(host, length), length, wildcard, origin};
    return true;
}

static bool add_platform(struct referrers *referrers, uint8_t medium, const char *name,
                         const json_t *hosts, struct error *error)
{
    struct origin origin = {medium, platform_number((struct text){name, strlen(name)})};
    size_t i;
    json_t *host;

    if (origin.platform == CLASS_UNKNOWN && name[0])
        return error_set(error, "referrers.json: no platform \"%s\"", name);
    if (referrers->medium_of[origin.platform] == CLASS_UNKNOWN)
        referrers->medium_of[origin.platform] = medium;
    json_array_foreach(hosts, i, host)
    {
        if (!add(referrers, json_string_value(host), origin, error))
            return false;
    }
    return true;
}

static bool add_all(struct referrers *referrers, json_t *list, struct error *error)
{
    const char *medium_text, *name;
    json_t *platforms, *hosts;

    json_object_foreach(list, medium_text, platforms)
    {
        uint8_t medium = medium_number((struct text){medium_text, strlen(medium_text)});

        if (medium == CLASS_UNKNOWN)
            return error_set(error, "referrers.json: no medium \"%s\"", medium_text);
        json_object_foreach(platforms, name, hosts)
        {
            if (!add_platform(referrers, medium, name, hosts, error))
                return false;
        }
    }
    return true;
}

struct referrers *referrers_open(struct error *error)
{
    struct referrers *referrers = calloc(1, sizeof *referrers);
    json_error_t reason;
    json_t *list = json_loadb(visitor_referrers, EMBED_SIZE(visitor_referrers), 0, &reason);

    assert(referrers && list); /* it was built in */
    if (!add_all(referrers, list, error)) {
        referrers_close(referrers);
        referrers = NULL;
    }
    json_decref(list);
    return referrers;
}

void referrers_close(struct referrers *referrers)
{
    if (!referrers)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        free(referrers->slots[i].name);
    free(referrers);
}

uint8_t referrer_medium_of(const struct referrers *referrers, uint8_t platform)
{
    uint8_t medium = platform ? referrers->medium_of[platform] : CLASS_UNKNOWN;

    return medium ? medium : MEDIUM_SOCIAL;
}

/* ---- asking it ------------------------------------------------------------------------------- */

/* The longest suffix of `host` (which ends before a wildcard's top-level domain) that is on the
 * list, if it is longer than what `best` has of it. */
static const struct known_host *longest(const struct referrers *referrers, struct text host,
                                        bool wildcard)
{
    const struct known_host *found = NULL;
    uint32_t hash = hash_start(wildcard);

    for (size_t i = host.length; i-- > 0;) {
        const struct known_host *known;

        hash = hash_step(hash, host.bytes[i]);
        if (i > 0 && host.bytes[i - 1] != '.')
            continue;
        known = find(referrers, hash, (struct text){host.bytes + i, host.length - i}, wildcard);
        found = known ? known : found;
    }
    return found;
}

/* The host without its last label; empty if it has one only. */
static struct text without_label(struct text host)
{
    const char *dot = host.length ? memrchr(host.bytes, '.', host.length) : NULL;

    host.length = dot ? (size_t)(dot - host.bytes) : 0;
    return host;
}

/* The host without its top-level domain, where that is a country's ("fr", "co.uk", "com.br") or
 * "com"; empty otherwise. */
static struct text without_country(struct text host, bool two_labels)
{
    struct text rest = without_label(host), second = without_label(rest);
    size_t top = host.length - rest.length - 1;

    if (rest.length == 0)
        return rest;
    if (!two_labels)
        return top == 2 ||
                       text_equals_nocase((struct text){rest.bytes + rest.length + 1, top}, "com")
                   ? rest
                   : (struct text){NULL, 0};
    return top == 2 && second.length && rest.length - second.length - 1 <= 3
               ? second
               : (struct text){NULL, 0};
}

static size_t count_labels(struct text text)
{
    size_t count = text.length > 0;

    for (size_t i = 0; i < text.length; i++)
        count += text.bytes[i] == '.';
    return count;
}

/* The known host that says most about `host`, by how much of it stands before what it leaves open.
 * */
static const struct known_host *find_best(const struct referrers *referrers, struct text host)
{
    const struct known_host *best = longest(referrers, host, false);
    size_t best_start = best ? host.length - best->length : host.length;

    for (int two = 0; two < 2; two++) {
        struct text rest = without_country(host, two);
        const struct known_host *known = rest.length ? longest(referrers, rest, true) : NULL;

        if (known && rest.length - known->length < best_start) {
            best = known;
            best_start = rest.length - known->length;
        }
    }
    return best;
}

static bool starts(struct text text, const char *start)
{
    size_t length = strlen(start);

    return text.length >= length && memcmp(text.bytes, start, length) == 0;
}

static bool ends(struct text text, const char *end)
{
    size_t length = strlen(end);

    return text.length >= length && memcmp(text.bytes + text.length - length, end, length) == 0;
}

/* What the first label of a host with three or more says by itself: "webmail.example.org". */
static uint8_t medium_by_name(struct text host)
{
    struct text rest = host, label = text_cut(&rest, '.');

    if (starts(label, "deref-"))
        return MEDIUM_EMAIL;
    if (count_labels(host) < 3)
        return CLASS_UNKNOWN;
    if (starts(label, "mail") || ends(label, "mail") || starts(label, "webmail") ||
        starts(label, "email") || starts(label, "lightmailer") || starts(label, "roundcube") ||
        starts(label, "zimbra") || text_equals_nocase(label, "owa") ||
        text_equals_nocase(label, "horde") || text_equals_nocase(label, "imp"))
        return MEDIUM_EMAIL;
    if (starts(label, "search") || ends(label, "search") || starts(label, "suche") ||
        starts(label, "recherche") || starts(label, "buscador") || starts(label, "ricerca"))
        return MEDIUM_SEARCH;
    return CLASS_UNKNOWN;
}

struct origin referrer_origin(const struct referrers *referrers, struct text host)
{
    const struct known_host *known = find_best(referrers, host);
    uint8_t named;

    if (known && known->origin.medium != MEDIUM_SEARCH)
        return known->origin;
    named = medium_by_name(host);
    if (known && named != MEDIUM_EMAIL) /* a portal's search, but its mail is mail */
        return known->origin;
    return (struct origin){named ? named : MEDIUM_OTHER,
                           known ? known->origin.platform : CLASS_UNKNOWN};
}

/* ---- the host -------------------------------------------------------------------------------- */

static bool skip_scheme(struct text *url)
{
    static const char *const schemes[] = {"https://", "http://", "android-app://"};

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t length = strlen(schemes[i]);

        if (url->length > length &&
            text_equals_nocase((struct text){url->bytes, length}, schemes[i])) {
            url->bytes += length;
            url->length -= length;
            return true;
        }
    }
    return false;
}

static bool ends_authority(char c)
{
    return c == '/' || c == '?' || c == '#' || c == '\\';
}

/* The authority's host: behind the last '@', before the port. */
static struct text host_of(struct text url)
{
    size_t end = 0, start = 0;

    while (end < url.length && !ends_authority(url.bytes[end]))
        if (url.bytes[end++] == '@')
            start = end;
    url.bytes += start;
    url.length = end - start;
    if (url.length && url.bytes[0] != '[')
        url = text_cut(&url, ':');
    if (url.length && url.bytes[url.length - 1] == '.')
        url.length--;
    return url;
}

struct text referrer_host(struct text referrer, char out[EVENT_REFERRER_MAX])
{
    struct text url = text_trim(referrer), host;

    if (!skip_scheme(&url))
        return (struct text){NULL, 0};
    host = host_of(url);
    if (host.length == 0 || host.length > EVENT_REFERRER_MAX || host.bytes[0] == '[')
        return (struct text){NULL, 0};
    for (size_t i = 0; i < host.length; i++) {
        char c = host.bytes[i];

        if (!ascii_is_alnum(c) && c != '-' && c != '.' && c != '_')
            return (struct text){NULL, 0};
        out[i] = ascii_lower(c);
    }
    return (struct text){out, host.length};
}
