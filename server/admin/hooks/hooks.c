/* See hooks.h. Each request is answered before its callback returns: path, source, signature, body,
 * journal, answer. The signature is looked at before anything is parsed; an unknown source costs the
 * same HMAC, under a secret that nobody has.
 *
 * What a hook tells is committed to the journal at once and as a whole: if any of it did not get
 * there (a full disk) the answer is 503, the shop tells all of it again, and what was there already is
 * the same conversion.
 *
 * A body with a good signature that cannot be read is answered 2xx, and kept as a problem in the inbox:
 * shops take a webhook away that fails again and again, and telling the same once more would not mend
 * it. The journal is made when first needed: most machines get no hooks. */
#include "server/admin/hooks/hooks.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/admin/hooks/hook_sources.h"
#include "server/admin/request/input.h"
#include "server/admin/request/intake.h"
#include "server/admin/request/request.h"
#include "server/clicks/event.h"
#include "server/clicks/journal.h"
#include "server/conversions/report.h"
#include "server/conversions/told.h"
#include "server/metrics.h"
#include "server/role.h"
#include "shared/clock.h"
#include "shared/crash.h"
#include "shared/log.h"
#include "shared/timestamp.h"

#define HOOKS_HEAD_MAX     16384
#define HOOKS_IDLE_S       30
#define HOOKS_JOURNAL_SLOT 1000 /* no worker has it: there are at most 256 */
#define HOOKS_RETRY_S      "5"
#define HOOKS_PREFIX       "/-/hooks/"

static_assert(HOOK_REPORTS_MAX <= JOURNAL_ROUND_MAX, "a hook is one round of the journal");

struct hooks {
    struct admin *admin;
    struct evhttp *http;
    struct evhttp_bound_socket *socket;
    struct hook_sources *sources;
    struct journal *journal; /* NULL: not needed yet, or it cannot be made */
};

/* One hook while it is answered. */
struct delivery {
    struct hooks *hooks;
    struct request *request;
    enum hook_shop shop;
    uint64_t source_id;
    const struct hook_source *source; /* NULL: unknown */
    struct text body;
    int64_t now_us;
    const char *topic; /* NULL: none */
};

/* --- what is asked --- */

/* "/-/hooks/shopify/17". False for any other path. */
static bool read_path(const char *path, struct delivery *delivery)
{
    if (!path || strncmp(path, HOOKS_PREFIX, strlen(HOOKS_PREFIX)) != 0)
        return false;
    path += strlen(HOOKS_PREFIX);
    for (int shop = 0; shop < HOOK_SHOPS; shop++) {
        size_t length = strlen(hook_shop_names[shop]);

        if (strncmp(path, hook_shop_names[shop], length) == 0 && path[length] == '/') {
            delivery->shop = (enum hook_shop)shop;
            return input_to_id(path + length + 1, &delivery->source_id);
        }
    }
    return false;
}

/* The field's value; "" if it is not there, or there more than once. */
static const char *one_header(struct request *request, const char *name)
{
    struct evkeyvalq *headers = evhttp_request_get_input_headers(request->http);
    const char *value = "";
    struct evkeyval *header;
    int found = 0;

    for (header = headers->tqh_first; header; header = header->next.tqe_next) {
        if (strcasecmp(header->key, name) == 0) {
            value = header->value;
            found++;
        }
    }
    return found == 1 ? value : "";
}

static bool is_signed(struct delivery *delivery)
{
    static const char *const fields[HOOK_SHOPS] = {"X-Shopify-Hmac-SHA256", "Stripe-Signature",
                                                   "X-WC-Webhook-Signature"};
    const char *value = one_header(delivery->request, fields[delivery->shop]);
    const struct text header = {value, strlen(value)};
    unsigned char noise[32];
    const struct text nobodys = {(const char *)noise, sizeof noise};
    struct hook_secrets secrets = {&nobodys, 1};
    bool good;

    randombytes_buf(noise, sizeof noise);
    if (delivery->source && delivery->source->all_secrets > 0)
        secrets = hook_source_secrets(delivery->source, delivery->now_us);
    good = delivery->shop == HOOK_STRIPE ? hook_signature_stripe(&secrets, header, delivery->body,
                                                                 delivery->now_us / US_PER_SECOND)
                                         : hook_signature_base64(&secrets, header, delivery->body);
    return good && delivery->source;
}

static const char *topic_of(struct delivery *delivery)
{
    static const char *const fields[HOOK_SHOPS] = {"X-Shopify-Topic", NULL, "X-WC-Webhook-Topic"};
    const char *field = fields[delivery->shop];

    return field ? one_header(delivery->request, field) : NULL;
}

/* --- the journal --- */

static bool open_journal(struct hooks *hooks)
{
    const struct settings *settings = hooks->admin->settings;
    struct error error;

    if (hooks->journal)
        return true;
    hooks->journal = journal_open(settings->data_dir, HOOKS_JOURNAL_SLOT, 0,
                                  (uint64_t)settings->journal_segment_bytes, &error);
    if (!hooks->journal)
        log_error("hooks_journal_failed", "error=%s", error.text);
    return hooks->journal != NULL;
}

/* Gathers one report; false if there is no place for it. */
static bool gather(struct delivery *delivery, json_t *report)
{
    unsigned char payload[EVENT_PAYLOAD_MAX];
    char told[EVENT_TOLD_MAX];
    struct event event = {.kind = EVENT_CONVERSION};
    struct conversion *conversion = &event.conversion;
    size_t length = told_write(report, told);

    assert(length > 0); /* hook_read() bounds everything else */
    *conversion = (struct conversion){.time_us = delivery->now_us,
                                      .workspace = delivery->source->workspace,
                                      .source = delivery->source->id,
                                      .path = (uint8_t)(CONVERSION_SHOPIFY + (int)delivery->shop),
                                      .verified = true,
                                      .told = {told, length}};
    length = event_encode(&event, payload);
    sodium_memzero(told, sizeof told);
    return journal_append(delivery->hooks->journal, payload, length) != 0;
}

/* Journals all of them, or answers false. What did get there is told again with the rest. */
static bool keep(struct delivery *delivery, json_t *told)
{
    struct journal *journal;
    uint64_t first, origin;
    json_t *report;
    bool good = true;
    size_t i;

    if (!open_journal(delivery->hooks))
        return false;
    journal = delivery->hooks->journal;
    origin = journal_origin(journal);
    first = journal_next_seq(journal);
    json_array_foreach(told, i, report)
    {
        good = good && gather(delivery, report);
    }
    CRASH_POINT("hooks_before_commit");
    good = journal_commit(journal) >= first + json_array_size(told) - 1 && good && first != 0 &&
           journal_origin(journal) == origin;
    CRASH_POINT("hooks_after_commit");
    return good;
}

/* --- answers --- */

static void refuse_for_now(struct request *request, const char *kind, const char *why)
{
    metrics->hooks_deferred_total++;
    request_header(request, "Retry-After", HOOKS_RETRY_S);
    request_problem(request, 503, kind, "%s", why);
}

static void answer(struct delivery *delivery, const char *outcome, const char *why, size_t count)
{
    json_t *body = json_pack("{s:s, s:I}", "outcome", outcome, "conversions", (json_int_t)count);

    if (why)
        json_object_set_new(body, "why", json_string(why));
    request_answer(delivery->request, 200, body);
}

static void note_problem(void *owner, const char *pointer, const char *text)
{
    struct error *why = owner;

    error_set(why, "%s %s", pointer, text);
}

/* A shop whose clock is ahead has sold all the same: it happened now. */
static void drop_future(json_t *report, int64_t now_us)
{
    const char *text = json_string_value(json_object_get(report, "occurred_at"));
    int64_t time_us;

    if (text && (!timestamp_parse((struct text){text, strlen(text)}, &time_us) ||
                 time_us > now_us + REPORT_AHEAD_MAX_US))
        json_object_del(report, "occurred_at");
}

/* The reports in the form that PostgreSQL takes; NULL if one of them cannot be. */
static json_t *make_all(struct delivery *delivery, const json_t *reports, struct error *why)
{
    const struct report_source source = {.path = hook_shop_names[delivery->shop],
                                         .verified = true,
                                         .secret = delivery->hooks->admin->context->secret,
                                         .now_us = delivery->now_us};
    json_t *told = json_array(), *each;
    size_t i;

    json_array_foreach(reports, i, each)
    {
        json_t *made;

        drop_future(each, delivery->now_us);
        made = report_make(each, &source, note_problem, why);

        if (!made) {
            json_decref(told);
            return NULL;
        }
        json_array_append_new(told, made);
    }
    return told;
}

/* Keeps that a hook could not be read, with what is known of it. */
static json_t *make_problem(struct delivery *delivery, const struct error *why)
{
    return json_pack("[{s:s, s:b, s:s, s:s}]", "path", hook_shop_names[delivery->shop], "verified",
                     true, "problem", why->text, "topic", delivery->topic ? delivery->topic : "");
}

/* Keeps `told` (taken over) and answers. */
static void take(struct delivery *delivery, json_t *told, const struct error *problem)
{
    size_t count = json_array_size(told);
    bool kept = keep(delivery, told);

    json_decref(told);
    if (!kept) {
        refuse_for_now(delivery->request, "journal-away",
                       "it cannot be kept at the moment; send it again");
    } else if (problem) {
        metrics->hooks_problems_total++;
        log_warn("hook_problem", "source=%" PRIu64 " problem=%s", delivery->source_id,
                 problem->text);
        answer(delivery, "unreadable", problem->text, 0);
    } else {
        metrics->hooks_conversions_total += (int64_t)count;
        answer(delivery, "taken", NULL, count);
    }
}

/* A hook whose signature is good. */
static void read_body(struct delivery *delivery)
{
    const struct hook hook = {.shop = delivery->shop,
                              .topic = delivery->topic,
                              .click_param = delivery->hooks->admin->settings->click_id_param};
    struct error why = {""};
    json_t *reports, *told;
    enum hook_outcome outcome = hook_read(&hook, delivery->body, &reports, &why);

    told = outcome == HOOK_TOLD ? make_all(delivery, reports, &why) : NULL;
    json_decref(reports);
    if (outcome == HOOK_IGNORED) {
        metrics->hooks_ignored_total++;
        answer(delivery, "ignored", why.text, 0);
    } else if (told) {
        take(delivery, told, NULL);
    } else {
        take(delivery, make_problem(delivery, &why), &why);
    }
}

/* WooCommerce tries the address when a webhook is saved, without a signature: "webhook_id=5". */
static bool is_ping(const struct delivery *delivery)
{
    static const char begin[] = "webhook_id=";
    size_t length = sizeof begin - 1;
    const struct text body = delivery->body;

    if (delivery->shop != HOOK_WOOCOMMERCE || body.length <= length || body.length > length + 20 ||
        memcmp(body.bytes, begin, length) != 0)
        return false;
    while (length < body.length && ascii_is_digit(body.bytes[length]))
        length++;
    return length == body.length;
}

static void check(struct delivery *delivery)
{
    struct hook_sources *sources = delivery->hooks->sources;
    struct request *request = delivery->request;
    const struct hook_source *source = hook_sources_find(sources, delivery->source_id);
    bool good;

    delivery->source = source && source->shop == delivery->shop ? source : NULL;
    good = is_signed(delivery);
    if (!hook_sources_known(sources)) {
        refuse_for_now(request, "store-away", "PostgreSQL has not been reachable yet");
    } else if (!delivery->source) {
        metrics->hooks_refused_total++;
        request_problem(request, 404, "not-found", "there is nothing here");
    } else if (is_ping(delivery)) {
        answer(delivery, "ignored", "a ping", 0);
    } else if (!good) {
        metrics->hooks_refused_total++;
        request_problem(request, 401, "bad-signature",
                        "the signature is missing, wrong or too old");
    } else {
        read_body(delivery);
    }
}

static void on_hook(struct evhttp_request *http, void *argument)
{
    struct hooks *hooks = argument;
    struct request *request = request_new(hooks->admin, http);
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(http);
    struct delivery delivery = {.hooks = hooks, .request = request, .now_us = clock_wall_us()};
    struct evbuffer *body;

    metrics->hooks_total++;
    if (!request || !intake_framing(request))
        return;
    if (!uri || !read_path(evhttp_uri_get_path(uri), &delivery)) {
        request_problem(request, 404, "not-found", "there is nothing here");
        return;
    }
    if (evhttp_request_get_command(http) != EVHTTP_REQ_POST) {
        request_header(request, "Allow", "POST");
        request_problem(request, 405, "method", "this path takes POST");
        return;
    }
    body = evhttp_request_get_input_buffer(http);
    delivery.body.length = evbuffer_get_length(body);
    delivery.body.bytes = delivery.body.length ? (const char *)evbuffer_pullup(body, -1) : "";
    delivery.topic = topic_of(&delivery);
    if (delivery.body.length > HOOK_BODY_MAX)
        request_problem(request, 413, "too-long", "a hook may have %d bytes", HOOK_BODY_MAX);
    else
        check(&delivery);
}

/* --- its life --- */

struct hooks *hooks_new(struct admin *admin, struct error *error)
{
    const struct timeval idle = {.tv_sec = HOOKS_IDLE_S};
    struct hooks *hooks = calloc(1, sizeof *hooks);

    if (!hooks) {
        error_set(error, "out of memory");
        return NULL;
    }
    hooks->admin = admin;
    hooks->sources = hook_sources_new(admin);
    hooks->http = evhttp_new(admin->base);
    assert(hooks->sources && hooks->http);
    evhttp_set_max_headers_size(hooks->http, HOOKS_HEAD_MAX);
    evhttp_set_max_body_size(hooks->http, HOOK_BODY_MAX + 65536);
    evhttp_set_timeout_tv(hooks->http, &idle);
    evhttp_set_flags(hooks->http, EVHTTP_SERVER_LINGERING_CLOSE);
    evhttp_set_default_content_type(hooks->http, NULL);
    evhttp_set_gencb(hooks->http, on_hook, hooks);
    hooks->socket = evhttp_accept_socket_with_handle(hooks->http, admin->context->hooks_fd);
    if (hooks->socket)
        return hooks;
    error_set(error, "cannot listen for hooks");
    hooks_free(hooks);
    return NULL;
}

void hooks_stop(struct hooks *hooks)
{
    if (hooks)
        evhttp_del_accept_socket(hooks->http, hooks->socket);
}

void hooks_free(struct hooks *hooks)
{
    if (!hooks)
        return;
    if (hooks->journal)
        journal_close(hooks->journal);
    hook_sources_free(hooks->sources);
    evhttp_free(hooks->http);
    free(hooks);
}

void hooks_on_source(struct hooks *hooks)
{
    if (hooks)
        hook_sources_refresh(hooks->sources);
}
