/* `kudos explain`: what would be decided about a request, and why. Reads JSON Lines on standard
 * input, {"ip": …, "method": …, "target": …, "headers": {"Name": "value" or ["value", …], …}}, and
 * prints one JSON object per line. "ip" is the peer: behind trusted proxies the visitor's address
 * is found as the service finds it, and shown as "address". "headers" may also be an array of
 * "Name: value" lines. An "id" is repeated in the answer.
 *
 * It classifies with the same code as the redirect process and needs no store, replica, secret or
 * settings; what those would tell is null. A line that is no request is answered with an "error".
 * Nothing is written anywhere. */
#include <arpa/inet.h>
#include <assert.h>
#include <getopt.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "server/commands.h"
#include "server/visitor/classes.h"
#include "server/visitor/classify.h"
#include "server/visitor/client_address.h"
#include "shared/log.h"

#define LINE_MAX_BYTES 1048576
#define LISTS_MAX      (64 * 1024) /* bytes of headers that came on several lines */

struct explainer {
    struct classifier *classifier;
    struct networks trusted;
    char joined[LISTS_MAX];
    size_t joined_used;
};

/* A request as it is read; texts point into the JSON value or into `joined`. */
struct subject {
    struct visitor_request visitor;
    struct text forwarded, forwarded_for;
    struct sockaddr_storage peer, address;
};

/* ---- reading --------------------------------------------------------------------------------- */

static struct text *field_of(struct subject *subject, const char *name)
{
    struct visitor_request *visitor = &subject->visitor;
    const struct {
        const char *name;
        struct text *field;
    } fields[] = {
        {"user-agent", &visitor->user_agent},
        {"accept-language", &visitor->accept_language},
        {"referer", &visitor->referrer},
        {"sec-purpose", &visitor->sec_purpose},
        {"purpose", &visitor->purpose},
        {"x-purpose", &visitor->purpose},
        {"x-moz", &visitor->purpose},
        {"sec-gpc", &visitor->gpc},
        {"dnt", &visitor->dnt},
        {"host", &visitor->host},
        {"sec-ch-ua", &visitor->brands},
        {"sec-ch-ua-mobile", &visitor->mobile},
        {"sec-ch-ua-platform", &visitor->platform},
        {"sec-ch-ua-model", &visitor->model},
        {"x-requested-with", &visitor->requested_with},
        {"forwarded", &subject->forwarded},
        {"x-forwarded-for", &subject->forwarded_for},
    };

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (strcasecmp(name, fields[i].name) == 0)
            return fields[i].field;
    return NULL;
}

/* A list goes on with ", "; of any other header the first line counts, as in the service. */
static bool add_header(struct explainer *explainer, struct subject *subject, const char *name,
                       struct text value, struct error *error)
{
    struct text *field = field_of(subject, name);
    char *at = explainer->joined + explainer->joined_used;

    if (!field)
        return true;
    value = text_trim(value);
    if (!field->bytes) {
        *field = value;
        return true;
    }
    if (field != &subject->forwarded && field != &subject->forwarded_for)
        return true;
    if (explainer->joined_used + field->length + value.length + 2 > LISTS_MAX)
        return error_set(error, "headers are too long");
    memcpy(at, field->bytes, field->length);
    memcpy(at + field->length, ", ", 2);
    memcpy(at + field->length + 2, value.bytes, value.length);
    *field = (struct text){at, field->length + 2 + value.length};
    explainer->joined_used += field->length;
    return true;
}

static bool add_value(struct explainer *explainer, struct subject *subject, const char *name,
                      const json_t *value, struct error *error)
{
    if (json_is_null(value))
        return true;
    if (!json_is_string(value))
        return error_set(error, "header \"%.60s\" is no string", name);
    return add_header(explainer, subject, name,
                      (struct text){json_string_value(value), json_string_length(value)}, error);
}

static bool add_line(struct explainer *explainer, struct subject *subject, const json_t *line,
                     struct error *error)
{
    struct text value = {json_string_value(line), json_string_length(line)}, name;
    char copy[64];

    if (!value.bytes)
        return error_set(error, "a header line is no string");
    name = text_cut(&value, ':');
    if (!value.bytes)
        return error_set(error, "a header line has no colon");
    snprintf(copy, sizeof copy, "%.*s", (int)(name.length < 63 ? name.length : 63), name.bytes);
    return add_header(explainer, subject, copy, value, error);
}

static bool read_headers(struct explainer *explainer, json_t *headers, struct subject *out,
                         struct error *error)
{
    const char *name;
    json_t *value, *item;
    size_t i;

    if (!headers || json_is_null(headers))
        return true;
    if (json_is_array(headers)) {
        json_array_foreach(headers, i,
                           item) if (!add_line(explainer, out, item, error)) return false;
        return true;
    }
    if (!json_is_object(headers))
        return error_set(error, "\"headers\" is neither an object nor an array");
    json_object_foreach(headers, name, value)
    {
        if (!json_is_array(value) && !add_value(explainer, out, name, value, error))
            return false;
        json_array_foreach(value, i,
                           item) if (!add_value(explainer, out, name, item, error)) return false;
    }
    return true;
}

static bool read_peer(const json_t *request, struct subject *out, struct error *error)
{
    const json_t *ip = json_object_get(request, "ip");

    if (!ip)
        ip = json_object_get(request, "peer");
    if (!ip || json_is_null(ip))
        return true;
    if (!json_is_string(ip) ||
        !network_address((struct text){json_string_value(ip), json_string_length(ip)}, &out->peer))
        return error_set(error, "\"ip\" is no address");
    return true;
}

static bool read_subject(struct explainer *explainer, json_t *request, struct subject *out,
                         struct error *error)
{
    *out = (struct subject){.peer.ss_family = AF_UNSPEC};
    explainer->joined_used = 0;
    if (!json_is_object(request))
        return error_set(error, "not an object");
    if (!read_peer(request, out, error) ||
        !read_headers(explainer, json_object_get(request, "headers"), out, error))
        return false;
    if (out->peer.ss_family == AF_UNSPEC)
        return true;
    client_address(&explainer->trusted, (struct sockaddr *)&out->peer, out->forwarded,
                   out->forwarded_for, &out->address);
    out->visitor.address = (struct sockaddr *)&out->address;
    return true;
}

/* ---- answering ------------------------------------------------------------------------------- */

static void put_text(json_t *out, const char *key, struct text text)
{
    json_t *value = text.length ? json_stringn(text.bytes, text.length) : NULL;

    json_object_set_new(out, key, value ? value : json_null()); /* NULL too where it is no UTF-8 */
}

/* The reason may quote input that is no UTF-8. */
static void put_error(json_t *out, const char *reason)
{
    json_t *value = json_string(reason);

    json_object_set_new(out, "error", value ? value : json_string("not UTF-8"));
}

static void put_class(json_t *out, const char *key, const char *name, uint8_t number)
{
    json_object_set_new(out, key, number ? json_string(name) : json_null());
}

static void put_address(json_t *out, const struct sockaddr_storage *address)
{
    char text[INET6_ADDRSTRLEN];
    const void *bytes = address->ss_family == AF_INET
                            ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
                            : (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;

    if (address->ss_family == AF_UNSPEC || !inet_ntop(address->ss_family, bytes, text, sizeof text))
        json_object_set_new(out, "address", json_null());
    else
        json_object_set_new(out, "address", json_string(text));
}

static void put_click(json_t *out, const struct click *click)
{
    json_object_set_new(out, "verdict", json_string(verdict_name((enum verdict)click->verdict)));
    put_text(out, "rule", click->rule);
    put_class(out, "device", device_name(click->device), click->device);
    put_class(out, "os", os_name(click->os), click->os);
    put_class(out, "browser", browser_name(click->browser), click->browser);
    put_class(out, "app", app_name(click->app), click->app);
    put_text(out, "language", click->language);
    put_text(out, "referrer_host", click->referrer_host);
    put_class(out, "medium", medium_name(click->medium), click->medium);
    put_class(out, "platform", platform_name(click->platform), click->platform);
    put_text(out, "country", (struct text){click->country, click->country[0] ? 2 : 0});
    put_text(out, "region", click->region);
    put_text(out, "city", click->city);
    json_object_set_new(out, "asn", click->asn ? json_integer(click->asn) : json_null());
    json_object_set_new(out, "visitor_wanted", json_boolean(!(click->flags & CLICK_NO_VISITOR)));
}

/* What the stores would tell. */
static void put_unknown(json_t *out)
{
    static const char *const keys[] = {"link", "route", "destination", "status"};

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        json_object_set_new(out, keys[i], json_null());
}

static json_t *explain(struct explainer *explainer, const char *line, size_t length)
{
    json_error_t reason;
    struct error error;
    struct subject subject;
    json_t *request = json_loadb(line, length, 0, &reason), *out = json_object();

    assert(out);
    if (request && json_object_get(request, "id"))
        json_object_set(out, "id", json_object_get(request, "id"));
    if (!request) {
        error_set(&error, "no JSON: %.200s", reason.text);
        put_error(out, error.text);
    } else if (!read_subject(explainer, request, &subject, &error)) {
        put_error(out, error.text);
    } else {
        struct classify_scratch scratch;
        struct click click = {.verdict = VERDICT_HUMAN};

        classify(explainer->classifier, &subject.visitor, &scratch, &click);
        put_click(out, &click);
        put_address(out, &subject.address);
        put_unknown(out);
    }
    json_decref(request);
    return out;
}

static bool is_blank(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!strchr(" \t\r\n", line[i]))
            return false;
    return true;
}

static int explain_all(struct explainer *explainer)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;

    while ((length = getline(&line, &capacity, stdin)) >= 0) {
        json_t *out;

        if (is_blank(line, (size_t)length))
            continue;
        out = length > LINE_MAX_BYTES ? json_pack("{s:s}", "error", "the line is too long")
                                      : explain(explainer, line, (size_t)length);
        json_dumpf(out, stdout, JSON_COMPACT);
        json_decref(out);
        putchar('\n');
    }
    free(line);
    if (fflush(stdout) != 0 || ferror(stdout) || ferror(stdin)) {
        perror("kudos explain");
        return 1;
    }
    return 0;
}

/* ---- options --------------------------------------------------------------------------------- */

static int usage(void)
{
    fputs("usage: kudos explain [--geoip-city FILE] [--geoip-asn FILE] [--trusted NETWORKS]\n"
          "       [--untracked NETWORKS] [--bot-patterns FILE] [--datacenter-asns LIST]\n"
          "reads requests as JSON Lines: {\"ip\":…,\"method\":…,\"target\":…,\"headers\":{…}}\n",
          stderr);
    return 2;
}

static bool read_options(int argc, char **argv, struct settings *settings)
{
    static const struct option options[] = {{"geoip-city", required_argument, NULL, 'c'},
                                            {"geoip-asn", required_argument, NULL, 'a'},
                                            {"trusted", required_argument, NULL, 't'},
                                            {"untracked", required_argument, NULL, 'u'},
                                            {"bot-patterns", required_argument, NULL, 'b'},
                                            {"datacenter-asns", required_argument, NULL, 'd'},
                                            {NULL, 0, NULL, 0}};
    int option;

    optind = 1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        char *field = option == 'c'   ? settings->geoip_city
                      : option == 'a' ? settings->geoip_asn
                      : option == 'u' ? settings->untracked_networks
                      : option == 'b' ? settings->bot_patterns
                      : option == 'd' ? settings->datacenter_asns
                                      : settings->trusted_proxies;

        if (option == '?' || strlen(optarg) >= SETTING_TEXT_MAX)
            return false;
        snprintf(field, SETTING_TEXT_MAX, "%s", optarg);
    }
    return optind == argc;
}

int explain_command(int argc, char **argv, const struct settings *settings)
{
    static struct explainer explainer;
    struct settings own = *settings;
    const char *folder = getenv("TMPDIR");
    struct error error;
    int status;

    if (!read_options(argc, argv, &own))
        return usage();
    log_open("explain", LOG_LEVEL_WARN);
    /* The private copies of GeoIP files: data_dir may be the service's, or not exist. */
    snprintf(own.data_dir, sizeof own.data_dir, "%s", folder ? folder : "/tmp");
    if (!networks_parse(own.trusted_proxies, &explainer.trusted, &error) ||
        !(explainer.classifier = classifier_open(&own, &error))) {
        fprintf(stderr, "kudos explain: %s\n", error.text);
        return 2;
    }
    status = explain_all(&explainer);
    classifier_close(explainer.classifier);
    return status;
}
