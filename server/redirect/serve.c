/* See serve.h. */
#include "server/redirect/serve.h"

#include <assert.h>
#include <string.h>

#include "server/clicks/event.h"
#include "server/conversions/click_id.h"
#include "server/links/slug.h"
#include "server/metrics.h"
#include "server/redirect/tell.h"
#include "server/redirect/visit.h"

/* Appends a reply to those of this connection; `click` is the one that it belongs to, or NULL. */
static void gather(struct connection *connection, const struct decision *decision,
                   enum reply_connection said, bool with_body, const char *click_id,
                   struct round_click *click)
{
    struct worker *worker = connection->worker;
    struct round *round = &worker->round;
    struct location_mark mark;

    if (connection->out_length == 0) {
        assert(round->connection_count < ROUND_CONNECTIONS_MAX);
        round->connections[round->connection_count++] = connection;
        connection->out_at = round->used;
    }
    assert(connection->out_at + connection->out_length == round->used);
    if (click) {
        size_t at = round->used;

        round->used += reply_write(&worker->replies, decision, said, with_body, click_id,
                                   round->bytes + at, &mark);
        click->mark = mark;
        click->mark.at += at;
    } else {
        round->used += reply_write(&worker->replies, decision, said, with_body, NULL,
                                   round->bytes + round->used, &mark);
    }
    assert(round->used <= round->size);
    connection->out_length = round->used - connection->out_at;
    connection->answers++;
    metrics->requests_total[metrics_status_index(answer_status(decision->answer))]++;
}

size_t serve_answer(struct connection *connection, const struct decision *decision,
                    enum reply_connection said, bool with_body)
{
    size_t before = connection->out_length;

    gather(connection, decision, said, with_body, NULL, NULL);
    return connection->out_length - before;
}

static void count_limit(int status, const struct worker *worker)
{
    if (status == 414)
        metrics->limit_target_total++;
    else if (status == 431 && worker->head.field_count == worker->limits.fields)
        metrics->limit_fields_total++;
    else if (status == 431)
        metrics->limit_head_total++;
}

static void refuse(struct connection *connection, enum answer answer, bool with_body)
{
    struct decision decision = {.answer = answer};

    connection->closing = true;
    gather(connection, &decision, REPLY_CLOSE, with_body, NULL, NULL);
}

void serve_refusal(struct connection *connection, enum answer answer)
{
    const struct buffer *input = connection->input;
    bool is_head = input && input->end - input->start >= 5 &&
                   memcmp(input->bytes + input->start, "HEAD ", 5) == 0;

    refuse(connection, answer, !is_head);
}

bool serve_find_domain(struct worker *worker, const struct request *request, struct domain *out)
{
    return replica_find_domain(worker->replica, request->host, request->host_length, out) ||
           replica_default_domain(worker->replica, out);
}

bool serve_find_link(struct worker *worker, const struct request *request,
                     const struct domain *domain, struct link *out)
{
    char slug[LINK_SLUG_MAX];
    size_t length =
        slug_from_path(request->path.bytes, request->path.length, !domain->case_sensitive, slug);

    return length > 0 && replica_find_link(worker->replica, domain->id, slug, length, out);
}

/* Puts the click into the journal's round. Returns its place among the round's clicks, with its id
 * in `out` if the decision wants one; NULL if the journal does not take it: it is answered all the
 * same. */
static struct round_click *record_click(struct connection *connection, const struct event *event,
                                        const struct decision *decision, char out[CLICK_ID_LENGTH])
{
    struct worker *worker = connection->worker;
    struct round *round = &worker->round;
    unsigned char payload[EVENT_PAYLOAD_MAX];
    struct round_click *click;
    struct click_id id;

    metrics->clicks_total++;
    id.seq = journal_append(worker->journal, payload, event_encode(event, payload));
    if (id.seq == 0) {
        round->lost++;
        return NULL;
    }
    assert(round->click_count < JOURNAL_ROUND_MAX);
    click = &round->clicks[round->click_count++];
    click->seq = id.seq;
    click->connection = connection;
    click->told = false;
    if (decision->id != ID_NONE) {
        id.origin = journal_origin(worker->journal);
        id.link = event->click.link;
        id.time_us = event->click.time_us;
        click_id_encode(&id, worker->context->secret, out);
    }
    return click;
}

void serve_decide(struct worker *worker, const struct sockaddr *peer, const struct domain *domain,
                  const struct link *link, struct classify_scratch *scratch,
                  struct decision *decision, struct click *click)
{
    const struct request *request = &worker->request;
    struct decision_policy policy = {.refuse_prefetch = worker->refuse_prefetch};

    decide_link(request, domain, link, worker->round.wall_us, decision, click);
    if (!decision->needs_visitor)
        return;
    assert(link); /* who it is matters only where there is a link */
    visit_classify(worker, peer, link, scratch, click);
    if (link->rules.length > 0)
        policy.draw = visit_draw(worker, click);
    decide_visitor(request, link, &policy, decision, click);
}

static void serve_link(struct connection *connection, const struct domain *domain,
                       const struct link *link, enum reply_connection said)
{
    struct event event = {.kind = EVENT_CLICK};
    struct classify_scratch scratch;
    struct round_click *click = NULL;
    struct decision decision;
    char id[CLICK_ID_LENGTH];

    serve_decide(connection->worker, &connection->peer.any, domain, link, &scratch, &decision,
                 &event.click);
    if (decision.click)
        click = record_click(connection, &event, &decision, id);
    gather(connection, &decision, said, connection->worker->request.method == HTTP_GET,
           click && decision.id != ID_NONE ? id : NULL, click);
}

/* Where a link leads, for who wants to know before following it. Nothing is recorded. */
static void serve_preview(struct connection *connection, const struct domain *domain,
                          const struct link *link, enum reply_connection said)
{
    static const struct text no_name = {"", 0};
    struct worker *worker = connection->worker;
    char destination[LINK_DESTINATION_MAX];
    struct preview preview = {.host = domain->host, .link = link};
    struct classify_scratch scratch;
    struct location_mark mark;
    struct decision decision;
    struct click click;

    serve_decide(worker, &connection->peer.any, domain, link, &scratch, &decision, &click);
    if (decision.destination.length > 0) {
        decision.query = (struct text){NULL, 0};
        preview.destination = (struct text){
            destination, location_write(&decision, &no_name, NULL, destination, &mark)};
        preview.is_late = decision.late != LATE_NOT;
        decision.answer = ANSWER_PREVIEW;
        decision.body = (struct text){worker->page, preview_write(&preview, worker->page)};
    }
    gather(connection, &decision, said, worker->request.method == HTTP_GET, NULL, NULL);
}

/* What needs the replica: links, and what domains answer themselves. */
static void serve_domain(struct connection *connection, enum route route,
                         enum reply_connection said)
{
    struct worker *worker = connection->worker;
    const struct request *request = &worker->request;
    bool loaded = replica_complete(worker->replica);
    struct decision decision = {.answer = loaded ? ANSWER_NOT_FOUND : ANSWER_UNAVAILABLE};
    struct domain domain;
    struct link link;

    if (loaded && serve_find_domain(worker, request, &domain)) {
        bool found = route <= ROUTE_PREVIEW && serve_find_link(worker, request, &domain, &link);

        if (route == ROUTE_LINK) {
            serve_link(connection, &domain, found ? &link : NULL, said);
            return;
        }
        if (route == ROUTE_PREVIEW) {
            serve_preview(connection, &domain, found ? &link : NULL, said);
            return;
        }
        decide_domain(route, &domain, &decision);
    }
    gather(connection, &decision, said, request->method == HTTP_GET, NULL, NULL);
}

enum reply_connection serve_said(const struct connection *connection)
{
    if (connection->closing)
        return REPLY_CLOSE;
    return connection->worker->head.minor_version == 0 ? REPLY_KEEP_ALIVE : REPLY_STAYS;
}

int serve_request(struct connection *connection, const char *bytes, size_t length, size_t seen)
{
    struct worker *worker = connection->worker;
    struct http_head *head = &worker->head;
    int taken = http_head_parse(bytes, length, seen, &worker->limits, head);
    enum reply_connection said;
    struct decision decision;
    enum route route;

    if (taken == HTTP_HEAD_PARTIAL)
        return taken;
    if (taken == HTTP_HEAD_BAD) {
        count_limit(head->status, worker);
        refuse(connection, answer_to_bad_head(head->status), head->method != HTTP_HEAD);
        connection->lingering = true;
        return (int)length;
    }
    request_read(head, &worker->request);
    route = request_route(&worker->request);
    if (route >= ROUTE_POSTBACK)
        return tell_serve(connection, route, bytes, length, taken);
    connection->lingering = http_has_body(head) || head->form == HTTP_AUTHORITY;
    connection->closing = connection->lingering || !head->keep_alive || worker->stopping;
    said = serve_said(connection);
    if (route <= ROUTE_ASSETLINKS) {
        serve_domain(connection, route, said);
    } else {
        decide_other(route, &decision);
        gather(connection, &decision, said, head->method != HTTP_HEAD, NULL, NULL);
    }
    return taken;
}
