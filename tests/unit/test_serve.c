/* Connections and rounds of a redirect process; see serve_worker.h. */
#include "tests/unit/serve_worker.h"

static void answers_when_the_round_ends(void **state)
{
    int64_t records = metrics->journal_records_total;
    struct click_id id;
    const char *reply, *at;

    (void)state;
    connect_and_send(GET("abc"));
    assert_string_equal(received(), ""); /* nothing leaves before the journal is written */
    assert_int_equal(metrics->journal_records_total, records);
    worker_finish_round(worker);
    assert_int_equal(metrics->journal_records_total, records + 1);
    reply = received();
    assert_int_equal(strncmp(reply, "HTTP/1.1 302 ", 13), 0);
    at = strstr(reply, "https://shop.example/p?a=1&kudos_id=");
    assert_non_null(at);
    at += strlen("https://shop.example/p?a=1&kudos_id=");
    assert_true(click_id_decode(at, CLICK_ID_LENGTH, context.secret, &id));
    assert_int_equal(id.link, 7);
    assert_true(id.origin == journal_origin(worker->journal));
    assert_int_equal(strncmp(at + CLICK_ID_LENGTH, "#top\r\n", 6), 0);
    assert_int_equal(in_state(CONNECTION_IDLE)->count, 1);
    close(client);
    turn();
    assert_int_equal(worker->connection_count, 0);
}

static void takes_a_head_in_pieces(void **state)
{
    static const char text[] = GET("abc");

    (void)state;
    connect_and_send("G");
    for (size_t i = 1; i < sizeof text - 1; i++) {
        assert_int_equal(in_state(CONNECTION_HEAD)->count, 1);
        assert_string_equal(received(), "");
        assert_int_equal(write(client, text + i, 1), 1);
        turn();
    }
    assert_int_equal(count(received(), "HTTP/1.1 302 "), 1);
    assert_int_equal(worker->buffers.taken_bytes, 0);
    close(client);
    turn();
}

static void answers_pipelines_in_order_and_in_rounds(void **state)
{
    char text[8192] = "";
    int answers = 0, rounds = 0;

    (void)state;
    for (int i = 0; i < 50; i++)
        strcat(text, i % 2 ? "HEAD /-/health HTTP/1.1\r\nHost: h\r\n\r\n" : GET("abc"));
    text[2040] = '\0'; /* ends in the middle of a request */
    connect_and_send(text);
    worker_finish_round(worker);
    do {
        const char *got = received();
        int found = count(got, "HTTP/1.1 302 "), health = count(got, "HTTP/1.1 200 ");

        assert_true(found + health <= PIPELINE_MAX);
        assert_in_range(found, health, health + 1);
        answers += found + health;
        rounds++;
        turn();
    } while (in_state(CONNECTION_PENDING)->count > 0);
    answers += count(received(), "HTTP/1.1 ");
    assert_int_equal(answers, count(text, "\r\n\r\n"));
    assert_true(rounds > 1);
    assert_int_equal(in_state(CONNECTION_HEAD)->count, 1);
    close(client);
    turn();
    assert_int_equal(worker->connection_count, 0);
    assert_int_equal(worker->buffers.taken_bytes, 0);
}

static void closes_after_a_body(void **state)
{
    (void)state;
    connect_and_send("POST /abc HTTP/1.1\r\nHost: h\r\nContent-Length: 30\r\n\r\n" GET("abc"));
    worker_finish_round(worker);
    assert_int_equal(count(received(), "HTTP/1.1 "), 1);
    assert_int_equal(in_state(CONNECTION_DRAINING)->count, 1);
    assert_true(is_closed()); /* its sending side */
    assert_int_equal(write(client, GET("abc"), 10), 10);
    turn();
    assert_int_equal(in_state(CONNECTION_DRAINING)->count, 1);
    close(client);
    turn();
    assert_int_equal(worker->connection_count, 0);
}

static void refuses_and_says_why(void **state)
{
    static const char *const cases[][2] = {
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
        {"GET /abc HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "HTTP/1.1 302 "},
        {"GET /abc HTTP/1.0\r\n\r\n", "HTTP/1.1 302 "},
        {"DELETE /abc HTTP/1.0\r\n\r\n", "HTTP/1.1 405 "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *reply;

        connect_and_send(cases[i][0]);
        worker_finish_round(worker);
        reply = received();
        assert_int_equal(strncmp(reply, cases[i][1], strlen(cases[i][1])), 0);
        assert_non_null(strstr(reply, "\r\nConnection: close\r\n"));
        assert_true(is_closed());
        close(client);
        turn();
        assert_int_equal(worker->connection_count, 0);
    }
}

static void answers_half_a_request_at_its_end(void **state)
{
    (void)state;
    connect_and_send("GET /abc HTTP/1.1\r\nHo");
    worker_finish_round(worker);
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    turn();
    assert_int_equal(strncmp(received(), "HTTP/1.1 400 ", 13), 0);
    assert_int_equal(worker->connection_count, 0);
    close(client);
}

static void keeps_what_a_slow_reader_leaves(void **state)
{
    char text[2048] = "";
    int answers = 0, small = 1;

    (void)state;
    connect_and_send("");
    /* A socket pair's buffer can be made so small that one round's answers do not fit. */
    assert_int_equal(in_state(CONNECTION_NEW)->count, 1);
    assert_int_equal(setsockopt(in_state(CONNECTION_NEW)->first->fd, SOL_SOCKET, SO_SNDBUF, &small,
                                sizeof small),
                     0);
    for (int i = 0; i < 15; i++)
        strcat(text, GET("abc"));
    assert_int_equal(write(client, text, strlen(text)), strlen(text));
    turn();
    assert_int_equal(in_state(CONNECTION_WRITING)->count, 1);
    for (int i = 0; i < 1000 && answers < 15; i++) {
        answers += count(received(), "\r\n\r\n");
        turn();
    }
    assert_int_equal(answers, 15);
    assert_int_equal(in_state(CONNECTION_IDLE)->count, 1);
    assert_int_equal(worker->buffers.taken_bytes, 0);
    close(client);
    turn();
}

/* The size of the journal's only segment. */
static off_t journal_bytes(void)
{
    char pattern[128];
    struct stat status;
    glob_t found;

    snprintf(pattern, sizeof pattern, "%s/journal/*/*.seg", folder);
    assert_int_equal(glob(pattern, 0, NULL, &found), 0);
    assert_int_equal(found.gl_pathc, 1);
    assert_int_equal(stat(found.gl_pathv[0], &status), 0);
    globfree(&found);
    return status.st_size;
}

/* The disk takes a part of the round: who is in it gets a click id, the others are sent on without
 * one, in well-formed replies, and are counted. */
static void strips_the_ids_of_what_was_not_stored(void **state)
{
    struct rlimit limit, small;
    int64_t lost = metrics->clicks_lost_total, stored = metrics->journal_records_total;
    const char *reply, *at;
    int with_id = 0;

    (void)state;
    connect_and_send(GET("abc") GET("abc") "HEAD /abc HTTP/1.1\r\nHost: h\r\n\r\n" GET("abc")
                         GET("abc"));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = (rlim_t)journal_bytes() + 180; /* some of the four clicks, not all */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    worker_finish_round(worker);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    reply = received();
    stored = metrics->journal_records_total - stored;
    lost = metrics->clicks_lost_total - lost;
    assert_int_equal(stored + lost, 4);
    assert_true(stored > 0 && lost > 0);
    assert_int_equal(count(reply, "HTTP/1.1 302 "), 5);
    assert_int_equal(count(reply, "#top\r\n\r\n"), 5);
    for (at = reply; (at = strstr(at, "Location: ")); at++) {
        if (strncmp(at, "Location: " DESTINATION "\r\n", sizeof DESTINATION + 11) != 0)
            with_id++;
    }
    assert_int_equal(with_id, stored);
    close(client);
    turn();
}

/* The same where the id stands in several places of the destination. */
static void strips_ids_in_place(void **state)
{
    struct rlimit limit, small;
    const char *reply;
    int64_t records;

    (void)state;
    heal_journal();
    connect_and_send(GET("tpl") GET("abc"));
    assert_int_equal(worker->round.click_count, 2); /* gathered, with their ids */
    records = metrics->journal_records_total;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 1; /* nothing at all */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    worker_finish_round(worker);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    reply = received();
    assert_int_equal(metrics->journal_records_total, records);
    assert_non_null(strstr(reply, "Location: https://t.example//#.\r\n\r\nHTTP/1.1 302 "));
    assert_non_null(strstr(reply, "Location: " DESTINATION "\r\n\r\n"));
    close(client);
    turn();
    heal_journal();
    connect_and_send(GET("tpl"));
    worker_finish_round(worker);
    reply = strstr(received(), "https://t.example/");
    assert_non_null(reply);
    assert_int_equal(strcspn(reply, "\r"),
                     sizeof "https://t.example//#." - 1 + 3 * CLICK_ID_LENGTH);
    close(client);
    turn();
}

/* How often 60 requests with this user agent and field go to a. */
static int count_a(const char *agent, const char *field)
{
    char text[512];
    int a = 0;

    snprintf(text, sizeof text, "GET /split HTTP/1.1\r\nHost: h\r\nUser-Agent: %s\r\n%s\r\n", agent,
             field);
    for (int i = 0; i < 60; i++) {
        const char *reply;

        connect_and_send(text);
        worker_finish_round(worker);
        reply = received();
        assert_int_equal(count(reply, "Location: https://a.example/\r\n") +
                             count(reply, "Location: https://b.example/\r\n"),
                         1);
        a += count(reply, "https://a.example/");
        close(client);
        turn();
    }
    return a;
}

static void a_visitor_stays_with_a_variant(void **state)
{
    int with_a = 0;

    (void)state;
    for (int i = 0; i < 40; i++) {
        char agent[32];
        int a;

        snprintf(agent, sizeof agent, "Mozilla/5.0 (%d)", i);
        a = count_a(agent, "");
        assert_true(a == 0 || a == 60);
        with_a += a == 60;
    }
    assert_in_range(with_a, 6, 34);
    assert_in_range(count_a("Mozilla/5.0", "Sec-GPC: 1\r\n"), 8, 52);
    assert_in_range(count_a("Mozilla/5.0", "DNT: 1\r\n"), 8, 52);
}

static void follows_the_days(void **state)
{
    unsigned char today;

    (void)state;
    worker_begin_round(worker);
    assert_true(worker->salt.is_known);
    today = worker->salt.bytes[0];
    worker->round.wall_us += 86400 * US_PER_SECOND;
    visit_follow_day(worker);
    assert_true(worker->salt.is_known && worker->salt.bytes[0] == today + 1);
    worker->round.wall_us += 5 * 86400 * US_PER_SECOND;
    visit_follow_day(worker);
    assert_false(worker->salt.is_known);
    worker_finish_round(worker);
    worker_begin_round(worker); /* the clock went back */
    assert_true(worker->salt.is_known && worker->salt.bytes[0] == today);
    worker_finish_round(worker);
}

/* The connections of this test come from 0.0.0.0. */
static void require_proxy_header(bool required)
{
    struct error error;

    strcpy(context.settings.proxy_protocol, required ? "required" : "off");
    assert_true(networks_parse(required ? "0.0.0.0" : "", &worker->trusted, &error));
}

/* Of a peer that has to say first whom it speaks for. */
static void reads_the_proxy_header(void **state)
{
    static const char text[] = "PROXY TCP4 203.0.113.7 10.0.0.1 1234 80\r\n" GET("abc");
    const struct connection *connection;

    (void)state;
    require_proxy_header(true);
    connect_and_send("P");
    for (size_t i = 1; i < sizeof text - 1; i++) {
        assert_int_equal(in_state(CONNECTION_IDLE)->count + in_state(CONNECTION_HEAD)->count, 1);
        assert_int_equal(write(client, text + i, 1), 1);
        turn();
    }
    assert_int_equal(count(received(), "HTTP/1.1 302 "), 1);
    connection = in_state(CONNECTION_IDLE)->first;
    assert_int_equal(connection->peer.any.sa_family, AF_INET);
    assert_int_equal(ntohl(connection->peer.ipv4.sin_addr.s_addr), 0xcb007107);
    assert_int_equal(write(client, GET("abc"), strlen(GET("abc"))), strlen(GET("abc")));
    turn(); /* only once for a connection */
    assert_int_equal(count(received(), "HTTP/1.1 302 "), 1);
    close(client);
    turn();

    connect_and_send("PROXY UNKNOWN\r\n" GET("abc") GET("abc"));
    worker_finish_round(worker);
    assert_int_equal(count(received(), "HTTP/1.1 302 "), 2);
    close(client);
    turn();
    require_proxy_header(false);
}

static void answers_nothing_without_the_proxy_header(void **state)
{
    int64_t refused = metrics->proxy_header_refused_total;

    (void)state;
    require_proxy_header(true);
    connect_and_send(GET("abc"));
    worker_finish_round(worker);
    assert_string_equal(received(), "");
    assert_true(is_closed());
    assert_int_equal(worker->connection_count, 0);
    assert_int_equal(metrics->proxy_header_refused_total, refused + 1);
    close(client);

    worker->trusted.count = 0;
    connect_and_send("PROXY UNKNOWN\r\n" GET("abc")); /* from nobody we know */
    worker_finish_round(worker);
    assert_string_equal(received(), "");
    assert_int_equal(metrics->proxy_header_refused_total, refused + 2);
    close(client);
    require_proxy_header(true);

    connect_and_send("PROXY TCP4 203.0.1"); /* half of one, and then the end */
    worker_finish_round(worker);
    assert_int_equal(in_state(CONNECTION_HEAD)->count, 1);
    assert_int_equal(shutdown(client, SHUT_WR), 0);
    turn();
    assert_string_equal(received(), "");
    assert_int_equal(worker->connection_count, 0);
    close(client);

    connect_and_send("PROXY TCP4 203.0.1"); /* half of one, and then nothing */
    worker_finish_round(worker);
    worker_begin_round(worker);
    worker->round.mono_us += context.settings.head_timeout_ms * US_PER_MS + 1;
    connections_expire(worker);
    worker_finish_round(worker);
    assert_string_equal(received(), "");
    assert_int_equal(worker->connection_count, 0);
    close(client);
    require_proxy_header(false);
}

static void sheds_the_longest_idle(void **state)
{
    int first, second;

    (void)state;
    connect_and_send(GET("abc"));
    first = client;
    connect_and_send(GET("abc"));
    second = client;
    assert_false(connections_shed(worker)); /* both are being answered */
    worker_finish_round(worker);
    assert_true(connections_shed(worker));
    client = first;
    received();
    assert_true(is_closed());
    client = second;
    received();
    assert_false(is_closed());
    close(first);
    close(second);
    turn();
    connections_free_retired(worker);
    assert_int_equal(worker->connection_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_when_the_round_ends),
        cmocka_unit_test(takes_a_head_in_pieces),
        cmocka_unit_test(answers_pipelines_in_order_and_in_rounds),
        cmocka_unit_test(closes_after_a_body),
        cmocka_unit_test(refuses_and_says_why),
        cmocka_unit_test(answers_half_a_request_at_its_end),
        cmocka_unit_test(keeps_what_a_slow_reader_leaves),
        cmocka_unit_test(a_visitor_stays_with_a_variant),
        cmocka_unit_test(follows_the_days),
        cmocka_unit_test(reads_the_proxy_header),
        cmocka_unit_test(answers_nothing_without_the_proxy_header),
        cmocka_unit_test(sheds_the_longest_idle),
        cmocka_unit_test(strips_the_ids_of_what_was_not_stored),
        cmocka_unit_test(strips_ids_in_place),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
