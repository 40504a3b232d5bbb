/* `kudos explain`: what would be decided about a request, and why. Reads JSON Lines on standard
 * input, {"ip": …, "method": …, "target": …, "headers": {"Name": "value" or ["value", …], …}}, and
 * prints one JSON object per line. "ip" is the peer: behind trusted proxies the visitor's address
 * is found as the service finds it, and shown as "address". "headers" may also be an array of
 * "Name: value" lines. "time" asks about another time than now. An "id" is repeated in the answer.
 *
 * It is a redirect process without sockets and journal: who it is, the link, the rule and the
 * destination are found by the functions that serve visitors (serve_find_link(), serve_decide()). It
 * needs no store, replica, secret or settings; what those would tell is null. A line that is no
 * request is answered with an "error". Nothing is written anywhere, and nothing is counted. */
#include <arpa/inet.h>
#include <assert.h>
#include <getopt.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/commands.h"
#include "server/redirect/explain_request.h"
#include "server/redirect/serve.h"
#include "server/redirect/test_link.h"
#include "server/redirect/visit.h"
#include "server/visitor/classes.h"
#include "server/visitor/client_address.h"
#include "shared/log.h"

#define LINE_MAX_BYTES 1048576

/* The parts of a redirect process that are there. */
struct explainer {
    struct role_context context;
    struct worker worker;
    bool knows_secret;
    struct explain_request request;
};

/* What is found out about one request. */
struct explanation {
    int status;      /* 0: not known */
    bool classified; /* the click's classes are filled in */
    bool has_link;
    struct domain domain;
    struct link link;
    struct decision decision;
    struct click click;
    struct classify_scratch scratch;
};

/* Finding out ------------------------------------------------------------------------------------- */

static void decide_link_of(struct explainer *explainer, const struct sockaddr *peer,
                           struct explanation *out)
{
    struct worker *worker = &explainer->worker;
    bool preview = worker->request.preview;

    out->has_link = serve_find_link(worker, &worker->request, &out->domain, &out->link);
    serve_decide(worker, peer, &out->domain, out->has_link ? &out->link : NULL, &out->scratch,
                 &out->decision, &out->click);
    out->classified = out->decision.needs_visitor;
    if (preview && out->decision.destination.length > 0) {
        out->decision.answer = ANSWER_PREVIEW;
        out->decision.query = (struct text){NULL, 0};
    }
    out->status = answer_status(out->decision.answer);
}

/* As serve_request() does with what was sent. */
static void decide(struct explainer *explainer, const struct sockaddr *peer,
                   struct explanation *out)
{
    struct worker *worker = &explainer->worker;
    enum route route = request_route(&worker->request);

    out->status = explainer->request.status;
    if (out->status || !explainer->request.has_target)
        return;
    if (route > ROUTE_ASSETLINKS) {
        decide_other(route, &out->decision);
        out->status = answer_status(out->decision.answer);
        return;
    }
    if (!worker->replica || !replica_complete(worker->replica) ||
        !serve_find_domain(worker, &worker->request, &out->domain))
        return;
    if (route <= ROUTE_PREVIEW) {
        decide_link_of(explainer, peer, out);
        return;
    }
    decide_domain(route, &out->domain, &out->decision);
    out->status = answer_status(out->decision.answer);
}

static void find_out(struct explainer *explainer, struct explanation *out)
{
    struct worker *worker = &explainer->worker;
    const struct explain_request *request = &explainer->request;
    const struct sockaddr *peer =
        request->peer.ss_family == AF_UNSPEC ? NULL : (const struct sockaddr *)&request->peer;

    worker->request = request->request;
    worker->round.wall_us = request->time_us ? request->time_us : clock_wall_us();
    out->status = 0;
    out->classified = out->has_link = false;
    memset(&out->decision, 0, sizeof out->decision);
    decide(explainer, peer, out);
    if (out->classified)
        return;
    memset(&out->click, 0, sizeof out->click);
    visit_classify(worker, peer, NULL, &out->scratch, &out->click);
}

/* Telling ----------------------------------------------------------------------------------------- */

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

/* A number, or null for 0. */
static void put_number(json_t *out, const char *key, uint64_t number)
{
    json_object_set_new(out, key, number ? json_integer((json_int_t)number) : json_null());
}

static void put_address(json_t *out, const struct explainer *explainer)
{
    const struct explain_request *request = &explainer->request;
    struct sockaddr_storage found = request->peer;
    char text[INET6_ADDRSTRLEN];
    const void *bytes;

    if (request->peer.ss_family != AF_UNSPEC)
        client_address(&explainer->worker.trusted, (const struct sockaddr *)&request->peer,
                       request->request.forwarded, request->request.forwarded_for, &found);
    bytes = found.ss_family == AF_INET
                ? (const void *)&((const struct sockaddr_in *)&found)->sin_addr
                : (const void *)&((const struct sockaddr_in6 *)&found)->sin6_addr;
    if (found.ss_family == AF_UNSPEC || !inet_ntop(found.ss_family, bytes, text, sizeof text))
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
    put_number(out, "asn", click->asn);
    json_object_set_new(out, "visitor_wanted", json_boolean(!(click->flags & CLICK_NO_VISITOR)));
}

/* Where it leads, without the click id that a click would be given. */
static void put_destination(json_t *out, const struct explainer *explainer,
                            const struct decision *decision)
{
    const struct reply_writer *replies = &explainer->worker.replies;
    const struct text id_name = {replies->name, replies->name_length};
    static char *url;
    static size_t room;
    size_t wanted = location_max(decision->query.length), length;
    struct location_mark mark;

    if (decision->destination.length == 0) {
        json_object_set_new(out, "destination", json_null());
        return;
    }
    if (wanted > room) {
        room = wanted;
        url = realloc(url, room);
        assert(url);
    }
    length = location_write(decision, &id_name, NULL, url, &mark);
    put_text(out, "destination", (struct text){url, length});
}

static void put_decision(json_t *out, const struct explainer *explainer,
                         const struct explanation *found)
{
    static const char *const places[] = {
        [ID_NONE] = NULL, [ID_PARAMETER] = "parameter", [ID_IN_PLACE] = "in place"};
    const struct decision *decision = &found->decision;
    const struct click *click = &found->click;
    const char *place = places[decision->id];
    bool chosen = found->classified && click->variant;

    put_number(out, "link", found->has_link ? found->link.id : 0);
    put_text(out, "slug", found->has_link ? found->link.slug : TEXT(""));
    put_number(out, "route", found->classified ? click->route : 0);
    put_number(out, "variant", chosen ? click->variant : 0);
    json_object_set_new(out, "sticky",
                        chosen ? json_boolean(click->visitor && explainer->knows_secret)
                               : json_null());
    put_destination(out, explainer, decision);
    put_number(out, "status", (uint64_t)found->status);
    json_object_set_new(out, "click_id", place ? json_string(place) : json_null());
    json_object_set_new(out, "recorded",
                        found->status ? json_boolean(decision->click) : json_null());
}

static void put_all(struct explainer *explainer, json_t *out)
{
    struct worker *worker = &explainer->worker;
    struct explanation found;

    if (worker->replica) {
        replica_maintain(worker->replica, clock_mono_us());
        replica_begin(worker->replica);
        worker->round.open = true;
        worker->round.wall_us = clock_wall_us();
        visit_follow_day(worker);
    }
    find_out(explainer, &found);
    put_click(out, &found.click);
    put_address(out, explainer);
    put_decision(out, explainer, &found);
    worker->round.open = false;
    if (worker->replica)
        replica_end(worker->replica);
}

static json_t *explain(struct explainer *explainer, const char *line, size_t length)
{
    json_error_t reason;
    struct error error;
    json_t *request = json_loadb(line, length, 0, &reason), *out = json_object();

    assert(out);
    if (request && json_object_get(request, "id"))
        json_object_set(out, "id", json_object_get(request, "id"));
    if (!request) {
        error_set(&error, "no JSON: %.200s", reason.text);
        put_error(out, error.text);
    } else if (!explain_read(request, &explainer->worker.limits, &explainer->request, &error)) {
        put_error(out, error.text);
    } else {
        put_all(explainer, out);
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

/* Options ----------------------------------------------------------------------------------------- */

static int usage(void)
{
    fputs("usage: kudos explain [--data-dir DIR] [--geoip-city FILE] [--geoip-asn FILE]\n"
          "       [--trusted NETWORKS] [--untracked NETWORKS] [--bot-patterns FILE]\n"
          "       [--datacenter-asns LIST]\n"
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
                                            {"data-dir", required_argument, NULL, 'r'},
                                            {NULL, 0, NULL, 0}};
    int option;

    optind = 1;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        char *field = option == 'c'   ? settings->geoip_city
                      : option == 'a' ? settings->geoip_asn
                      : option == 'u' ? settings->untracked_networks
                      : option == 'b' ? settings->bot_patterns
                      : option == 'd' ? settings->datacenter_asns
                      : option == 'r' ? settings->data_dir
                                      : settings->trusted_proxies;

        if (option == '?' || strlen(optarg) >= SETTING_TEXT_MAX)
            return false;
        snprintf(field, SETTING_TEXT_MAX, "%s", optarg);
    }
    return optind == argc;
}

/* Fills `explainer`, whose settings are set. */
static bool open_all(struct explainer *explainer, struct error *error)
{
    struct settings *settings = &explainer->context.settings;
    struct worker *worker = &explainer->worker;
    const char *folder = getenv("TMPDIR");
    struct error reason;

    worker->context = &explainer->context;
    worker->limits = (struct http_limits){EXPLAIN_HEAD_MAX, (size_t)settings->target_bytes_max,
                                          (unsigned)settings->header_fields_max};
    worker->refuse_prefetch = strcmp(settings->prefetch, "refuse") == 0;
    explainer->knows_secret = test_link_load_secret(settings, explainer->context.secret, &reason);
    visit_open(worker);
    reply_open(&worker->replies, settings->click_id_param);
    worker->replica = replica_open(settings->data_dir, error);
    if (!worker->replica)
        return false;
    /* The private copies of GeoIP files: data_dir may be the service's, or not exist. */
    snprintf(settings->data_dir, sizeof settings->data_dir, "%s", folder ? folder : "/tmp");
    if (!networks_parse(settings->trusted_proxies, &worker->trusted, error))
        return error_prefix(error, "trusted_proxies");
    worker->classifier = classifier_open(settings, error);
    return worker->classifier != NULL;
}

int explain_command(int argc, char **argv, const struct settings *settings)
{
    static struct explainer explainer; /* large, and zeroed */
    struct error error;
    int status = 2;

    explainer.context.settings = *settings;
    if (!read_options(argc, argv, &explainer.context.settings))
        return usage();
    log_open("explain", LOG_LEVEL_WARN);
    if (open_all(&explainer, &error))
        status = explain_all(&explainer);
    else
        fprintf(stderr, "kudos explain: %s\n", error.text);
    classifier_close(explainer.worker.classifier);
    replica_close(explainer.worker.replica);
    return status;
}
