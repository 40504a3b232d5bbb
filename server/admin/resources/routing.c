/* See routing.h.
 *
 * A URL leads back here if its host and port are those of base_url, or if its host is a registered
 * domain and its port is the scheme's own or that of base_url. Another service on another port of
 * the same machine is none of ours. Domains are looked up in this machine's replica: one that was
 * registered a moment ago may not be known yet, and a name that is not registered but leads here all
 * the same cannot be; browsers give up such a loop after some twenty rounds. */
#include "server/admin/resources/routing.h"

#include <stdlib.h>
#include <string.h>

#include "server/admin/request/input.h"
#include "server/admin/server.h"
#include "server/links/destination.h"
#include "server/links/replica.h"
#include "server/links/rules.h"
#include "server/links/target.h"

#define UTM_LONGEST 200 /* bytes of a value */

static bool replace(struct value *value, const char *text, struct error *error)
{
    char *copy = strdup(text);

    if (!copy)
        return error_set(error, "cannot be read: out of memory");
    free(value->text);
    value->text = copy;
    return true;
}

bool routing_check_destination(struct value *value, struct error *error)
{
    static struct target target; /* large; one thread */
    struct text url = {value->text, strlen(value->text)};

    return target_compile(url, NULL, &target, error) && replace(value, target.url, error);
}

bool routing_check_url(struct value *value, struct error *error)
{
    static struct destination parsed;

    return destination_parse(value->text, strlen(value->text), &parsed, error) &&
           replace(value, parsed.url, error);
}

bool routing_check_status(struct value *value, struct error *error)
{
    static const char *const statuses[] = {"301", "302", "307", "308"};

    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (strcmp(value->text, statuses[i]) == 0)
            return true;
    }
    return error_set(error, "must be 301, 302, 307 or 308");
}

/* --- UTM parameters --- */

static bool is_utm_name(const char *name)
{
    for (int i = 0; i < TARGET_UTM_COUNT; i++) {
        if (strcmp(target_utm_names[i] + strlen("utm_"), name) == 0)
            return true;
    }
    return false;
}

/* Placeholders that are known only when somebody clicks are none for UTM parameters. */
static bool check_placeholders(const char *value, struct error *error)
{
    static const char *const known[] = {"{handle}", "{code}", "{campaign}", "{slug}"};

    while ((value = strchr(value, '{'))) {
        bool good = false;

        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            good = good || strncmp(value, known[i], strlen(known[i])) == 0;
        if (!good)
            return error_set(error, "holds a brace that begins none of {handle}, {code}, "
                                    "{campaign} and {slug}");
        value++;
    }
    return true;
}

static bool check_utm_value(const json_t *value, struct error *error)
{
    size_t length = json_string_length(value);

    if (json_is_null(value))
        return true;
    if (!json_is_string(value))
        return error_set(error, "must be a string, or null");
    if (length > UTM_LONGEST)
        return error_set(error, "is longer than %d bytes", UTM_LONGEST);
    if (input_has_control(json_string_value(value), length))
        return error_set(error, "must not contain control characters");
    return check_placeholders(json_string_value(value), error);
}

bool routing_check_utm(struct value *value, struct error *error)
{
    json_t *object = json_loads(value->text, 0, NULL), *member;
    bool good = json_is_object(object);
    const char *name;

    if (!good)
        error_set(error, "must be an object");
    json_object_foreach(object, name, member)
    {
        good = is_utm_name(name)
                   ? check_utm_value(member, error)
                   : error_set(error, "there is none such; there are source, medium, campaign, "
                                      "content and term");
        if (good)
            continue;
        value_at(value, name);
        break;
    }
    json_decref(object);
    return good;
}

/* --- loops --- */

/* "host", without a trailing dot, and ":port" (or "") of an authority. */
static void split(struct text authority, struct text *host, struct text *port)
{
    size_t at = authority.length;

    while (at > 0 && ascii_is_digit(authority.bytes[at - 1]))
        at--;
    at = at > 0 && authority.bytes[at - 1] == ':' ? at - 1 : authority.length;
    *port = (struct text){authority.bytes + at, authority.length - at};
    while (at > 0 && authority.bytes[at - 1] == '.')
        at--;
    *host = (struct text){authority.bytes, at};
}

static bool equal(struct text a, struct text b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

/* Host and port of a normalised URL. */
static struct text authority_of(const struct destination *url)
{
    const char *host = url->url + url->host_offset;

    return (struct text){host, strcspn(host, "/?#")};
}

static bool is_registered(struct replica *replica, struct text host)
{
    struct domain domain;
    bool found;

    if (!replica)
        return false;
    replica_begin(replica);
    found = replica_find_domain(replica, host.bytes, host.length, &domain) && !domain.is_default;
    replica_end(replica);
    return found;
}

static bool is_own(void *argument, struct text authority)
{
    static struct destination base;
    const struct admin *admin = argument;
    const char *base_url = admin->settings->base_url;
    struct text host, port, base_host, base_port = {NULL, 0};
    struct error error;

    split(authority, &host, &port);
    if (destination_parse(base_url, strlen(base_url), &base, &error)) {
        split(authority_of(&base), &base_host, &base_port);
        if (equal(host, base_host) && equal(port, base_port))
            return true;
    }
    return (port.length == 0 || equal(port, base_port)) && is_registered(admin->replica, host);
}

void routing_refuse_loop(struct request *request, const char *pointer, const struct value *value)
{
    static struct target target;
    struct error error;

    if (!value->text ||
        !target_compile((struct text){value->text, strlen(value->text)}, NULL, &target, &error))
        return;
    if (is_own(request->admin, target_authority(&target)))
        request_bad_field(request, pointer, "leads back to a short domain of this service");
}

void routing_check_rules(struct request *request, const char *pointer, const struct value *value)
{
    static unsigned char program[RULES_BYTES_MAX];
    struct rules_problem problem;
    char where[sizeof problem.pointer + 32];

    if (!value->text || rules_compile((struct text){value->text, strlen(value->text)}, NULL, is_own,
                                      request->admin, program, &problem) >= 0)
        return;
    snprintf(where, sizeof where, "%s%s", pointer, problem.pointer);
    request_bad_field(request, where, "%s", problem.error.text);
}
