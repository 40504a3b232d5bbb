/* See serve.h. */
#include "server/redirect/serve.h"

#include <assert.h>
#include <string.h>

#include "server/clicks/event.h"
#include "server/conversions/click_id.h"
#include "server/links/slug.h"
#include "server/metrics.h"
#include "server/visitor/client_address.h"

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
        click->at = at + mark.at;
        click->length = mark.length;
    } else {
        round->used += reply_write(&worker->replies, decision, said, with_body, NULL,
                                   round->bytes + round->used, &mark);
    }
    assert(round->used <= round->size);
    connection->out_length = round->used - connection->out_at;
    connection->answers++;
    metrics->requests_total[metrics_status_index(answer_status(decision->answer))]++;
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

/* The domain of the request's Host, or else the default one. */
static bool find_domain(struct worker *worker, struct domain *out)
{
    const struct request *request = &worker->request;

    return replica_find_domain(worker->replica, request->host, request->host_length, out) ||
           replica_default_domain(worker->replica, out);
}

/* The link that the path names there. */
static bool find_link(struct worker *worker, const struct domain *domain, struct link *out)
{
    const struct text *path = &worker->request.path;
    char slug[LINK_SLUG_MAX];
    size_t length = slug_from_path(path->bytes, path->length, !domain->case_sensitive, slug);

    return length > 0 && replica_find_link(worker->replica, domain->id, slug, length, out);
}

/* Puts the click into the journal's round. Returns its place among the round's clicks with its id in
 * `out`, or NULL if the journal does not take it: it is answered all the same. */
static struct round_click *record_click(struct connection *connection, struct event *event,
                                        const struct decision *decision, char out[CLICK_ID_LENGTH])
{
    struct worker *worker = connection->worker;
    struct round *round = &worker->round;
    struct visitor_request *visitor = &worker->request.visitor;
    unsigned char payload[EVENT_PAYLOAD_MAX];
    struct classify_scratch scratch;
    struct sockaddr_storage client;
    struct round_click *click;
    struct click_id id;

    metrics->clicks_total++;
    visitor->address = &connection->peer.any;
    if (worker->trusted.count > 0) {
        client_address(&worker->trusted, visitor->address, worker->request.forwarded,
                       worker->request.forwarded_for, &client);
        visitor->address = (struct sockaddr *)&client;
    }
    classify(worker->classifier, visitor, &scratch, &event->click);
    decide_verdict(decision, &event->click);
    id.seq = journal_append(worker->journal, payload, event_encode(event, payload));
    if (id.seq == 0) {
        round->lost++;
        return NULL;
    }
    assert(round->click_count < JOURNAL_ROUND_MAX);
    click = &round->clicks[round->click_count++];
    click->seq = id.seq;
    click->connection = connection;
    if (decision->click_id) {
        id.origin = journal_origin(worker->journal);
        id.link = event->click.link;
        id.time_us = event->click.time_us;
        click_id_encode(&id, worker->context->secret, out);
    }
    return click;
}

/* Answers what the replica decides about: links, and what stands at "/". */
static void serve_replica(struct connection *connection, enum route route,
                          enum reply_connection said)
{
    struct worker *worker = connection->worker;
    const struct request *request = &worker->request;
    struct event event;
    struct round_click *click = NULL;
    struct decision decision;
    char id[CLICK_ID_LENGTH];
    struct domain domain;
    struct link link;
    bool has_domain = find_domain(worker, &domain), has_link;

    if (route == ROUTE_ROOT) {
        decide_root(has_domain ? &domain : NULL, &decision);
    } else if (!replica_complete(worker->replica)) {
        decision = (struct decision){.answer = ANSWER_UNAVAILABLE};
    } else {
        has_link = has_domain && find_link(worker, &domain, &link);
        event.kind = EVENT_CLICK;
        decide_link(request, has_domain ? &domain : NULL, has_link ? &link : NULL,
                    worker->round.wall_us, &decision, &event.click);
        if (decision.click)
            click = record_click(connection, &event, &decision, id);
    }
    gather(connection, &decision, said, request->method == HTTP_GET,
           click && decision.click_id ? id : NULL, click);
}

static enum reply_connection said_of(const struct connection *connection,
                                     const struct http_head *head)
{
    if (connection->closing)
        return REPLY_CLOSE;
    return head->minor_version == 0 ? REPLY_KEEP_ALIVE : REPLY_STAYS;
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
    connection->lingering = http_has_body(head) || head->form == HTTP_AUTHORITY;
    connection->closing = connection->lingering || !head->keep_alive || worker->stopping;
    said = said_of(connection, head);
    request_read(head, &worker->request);
    route = request_route(&worker->request);
    if (route == ROUTE_LINK || route == ROUTE_ROOT) {
        serve_replica(connection, route, said);
    } else {
        decide_other(route, &decision);
        gather(connection, &decision, said, head->method != HTTP_HEAD, NULL, NULL);
    }
    return taken;
}
