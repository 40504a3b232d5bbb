/* Conversions in the rounds of a redirect process: bodies, full disks, full rounds. */
#include "tests/unit/serve_worker.h"

#define POST(path, length) \
    "POST /-/" path " HTTP/1.1\r\nHost: h\r\nContent-Length: " length "\r\n\r\n"

/* A body that comes in pieces without a line end is one request, and what follows another. */
static void takes_a_body_in_pieces(void **state)
{
    static const char text[] = POST("postback", "10") "order_id=A";
    int64_t records = metrics->journal_records_total;

    (void)state;
    heal_journal();
    connect_and_send("P");
    for (size_t i = 1; i < sizeof text - 2; i++) {
        assert_int_equal(write(client, text + i, 1), 1);
        turn();
        assert_int_equal(in_state(CONNECTION_HEAD)->count, 1);
    }
    assert_int_equal(write(client, "A" GET("abc"), 1 + strlen(GET("abc"))), 1 + strlen(GET("abc")));
    turn();
    assert_non_null(strstr(received(), "\r\n\r\nok\nHTTP/1.1 302 "));
    assert_int_equal(metrics->journal_records_total, records + 2);
    assert_int_equal(in_state(CONNECTION_IDLE)->count, 1);
    assert_int_equal(worker->buffers.taken_bytes, 0);
    close(client);
    turn();
}

/* A body longer than all heads together: the buffer grows, and goes back. */
static void takes_a_long_body(void **state)
{
    static char text[20000];
    size_t head = (size_t)snprintf(text, sizeof text, POST("beacon", "16384")), sent = 0;

    (void)state;
    memset(text + head, 'x', POSTBACK_BODY_MAX);
    memcpy(text + head, "{\"order_id\":\"A\",\"t\":\"", 21);
    memcpy(text + head + POSTBACK_BODY_MAX - 2, "\"}", 2);
    connect_and_send("");
    for (int i = 0; i < 10000 && sent < head + POSTBACK_BODY_MAX; i++) {
        ssize_t written = write(client, text + sent, head + POSTBACK_BODY_MAX - sent);

        sent += written > 0 ? (size_t)written : 0;
        turn();
    }
    turn();
    assert_non_null(strstr(received(), "HTTP/1.1 204 "));
    assert_int_equal(worker->buffers.taken_bytes, 0);
    close(client);
    turn();
}

/* A body that never comes to its end is answered when its time is over. */
static void waits_for_a_body_no_longer_than_for_a_head(void **state)
{
    (void)state;
    connect_and_send(POST("postback", "10") "order");
    worker_finish_round(worker);
    worker_begin_round(worker);
    worker->round.mono_us += context.settings.head_timeout_ms * US_PER_MS + 1;
    connections_expire(worker);
    worker_finish_round(worker);
    assert_int_equal(count(received(), "HTTP/1.1 408 "), 1);
    close(client);
    turn();
    turn();
    assert_int_equal(worker->connection_count, 0);
}

/* The disk takes nothing, or a part: a conversion that is not stored is a 503, in its place among
 * the answers; what is stored is told once. */
static void says_which_conversions_were_not_stored(void **state)
{
    static const char told[] = "GET /-/postback?order_id=A&sub1=x HTTP/1.1\r\nHost: h\r\n\r\n";
    int64_t counted = metrics->conversions_told_total, lost = metrics->clicks_lost_total;
    struct rlimit limit, small;
    char text[2048] = "";
    const char *reply;

    (void)state;
    heal_journal();
    strcat(strcat(strcat(text, GET("abc")), told), GET("abc"));
    strcat(strcat(text, "GET /-/pixel.gif?order_id=B HTTP/1.1\r\nHost: h\r\n\r\n"), GET("abc"));
    strcat(text, POST("beacon", "16") "{\"order_id\":\"C\"}");
    connect_and_send(text);
    assert_int_equal(worker->round.click_count, 6);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 1;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    worker_finish_round(worker);
    reply = received();
    assert_int_equal(count(reply, "HTTP/1.1 503 "), 3);
    assert_int_equal(count(reply, "Retry-After: 5\r\nContent-Length: 0\r\n\r\n"), 3);
    assert_int_equal(count(reply, "HTTP/1.1 302 "), 3);
    assert_int_equal(count(reply, "\r\n\r\nHTTP/1.1 "), 5);
    assert_null(strstr(reply, "GIF89a"));
    assert_null(strstr(reply, "ok"));
    assert_int_equal(metrics->conversions_told_total, counted);
    assert_int_equal(metrics->clicks_lost_total, lost + 3);
    /* While it is degraded they are refused at once. */
    assert_int_equal(write(client, told, strlen(told)), strlen(told));
    turn();
    assert_int_equal(count(received(), "HTTP/1.1 503 "), 1);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    close(client);
    turn();
    heal_journal();
    connect_and_send(told);
    worker_finish_round(worker);
    assert_non_null(strstr(received(), "ok; these are not known here: sub1\n"));
    assert_int_equal(metrics->conversions_told_total, counted + 1);
    close(client);
    turn();
}

/* Large reports fill the journal's buffer long before it has a thousand records: clicks wait for the
 * next round rather than go without an id. */
static void large_reports_push_out_no_click(void **state)
{
    enum { CLIENTS = 30, BODY = 16000 };
    static const char start[] = "{\"order_id\":\"A\",\"items\":[\"", end[] = "\"]}";
    static char text[BODY + 1000];
    int64_t lost = metrics->clicks_lost_total, deferred = 0;
    int clients[CLIENTS], answers = 0;
    size_t head = (size_t)snprintf(text, sizeof text, POST("beacon", "16000"));

    (void)state;
    memset(text + head, 'x', BODY);
    memcpy(text + head, start, sizeof start - 1);
    memcpy(text + head + BODY - sizeof end + 1, end, sizeof end - 1);
    for (int i = 0; i < CLIENTS; i++) { /* all but the last byte of each */
        connect_and_send("");
        clients[i] = client;
        for (size_t sent = 0; sent < head + BODY - 1;) {
            ssize_t written = write(client, text + sent, head + BODY - 1 - sent);

            sent += written > 0 ? (size_t)written : 0;
            turn();
        }
    }
    turn();
    assert_int_equal(in_state(CONNECTION_HEAD)->count, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(write(clients[i], "}" GET("abc"), sizeof GET("abc")), sizeof GET("abc"));
    for (int round = 0; round < 200 && answers < 2 * CLIENTS; round++) {
        turn();
        deferred += in_state(CONNECTION_PENDING)->count;
        for (int i = 0; i < CLIENTS; i++) {
            const char *reply;

            client = clients[i];
            reply = received();
            answers += count(reply, "HTTP/1.1 204 ") + count(reply, "kudos_id=");
        }
    }
    assert_int_equal(answers, 2 * CLIENTS);
    assert_true(deferred > 0);
    assert_int_equal(metrics->clicks_lost_total, lost);
    for (int i = 0; i < CLIENTS; i++)
        close(clients[i]);
    turn();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_body_in_pieces),
        cmocka_unit_test(takes_a_long_body),
        cmocka_unit_test(waits_for_a_body_no_longer_than_for_a_head),
        cmocka_unit_test(says_which_conversions_were_not_stored),
        cmocka_unit_test(large_reports_push_out_no_click),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
