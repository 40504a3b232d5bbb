/* Postbacks as bytes: what is made of a query and a body, what is refused, and that no input costs
 * memory of the heap or leaves jansson's allocator behind. */
#include "server/conversions/postback.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>

#include "server/conversions/click_id.h"
#include "server/conversions/postback_names.h"
#include "server/conversions/told.h"

#define NOW_US 1795299300123456

static const unsigned char secret[CLICK_ID_SECRET_BYTES] = "0123456789abcdef";
static struct postback out;

static bool read_both(const char *query, const char *body, size_t length)
{
    struct postback_input input = {.path = CONVERSION_POSTBACK,
                                   .query = {query, strlen(query)},
                                   .body = {body, body ? length : 0},
                                   .click_id_param = "my_click",
                                   .secret = secret,
                                   .workspace = 3,
                                   .now_us = NOW_US};

    return postback_read(&input, &out);
}

static bool read_query(const char *query)
{
    return read_both(query, NULL, 0);
}

static bool read_body(const char *body)
{
    return read_both("", body, strlen(body));
}

/* A member of what was told; NULL if it is not there. Texts only. */
static const char *told(const char *name)
{
    static char text[1024];
    json_t *root = json_loadb(out.told, out.conversion.told.length, 0, NULL);
    json_t *value = json_object_get(root, name);

    assert_non_null(root);
    if (json_is_integer(value))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
    else if (value)
        snprintf(text, sizeof text, "%s",
                 json_is_string(value) ? json_string_value(value) : "something");
    json_decref(root);
    return value ? text : NULL;
}

static void a_query_becomes_an_event(void **state)
{
    const struct click_id id = {.origin = 5, .seq = 6, .link = 7, .time_us = NOW_US / 1000 * 1000};
    char query[512] = "orderId=A%201&amount=49.9&cur=x&currency=eur&code=&my_click=";
    struct conversion *conversion = &out.conversion;

    (void)state;
    click_id_encode(&id, secret, query + strlen(query));
    strcat(query, "&Coupon=%C3%A9+b");
    assert_true(read_query(query));
    assert_int_equal(conversion->time_us, NOW_US);
    assert_int_equal(conversion->workspace, 3);
    assert_int_equal(conversion->path, CONVERSION_POSTBACK);
    assert_false(conversion->verified);
    assert_string_equal(told("event"), "sale");
    assert_string_equal(told("order_id"), "A 1");
    assert_string_equal(told("key"), "A 1");
    assert_string_equal(told("amount_minor"), "4990");
    assert_string_equal(told("currency"), "EUR");
    assert_string_equal(told("code"), "\xC3\xA9 b");
    assert_string_equal(told("click_link_id"), "7");
    assert_string_equal(told("path"), "postback");
    assert_null(told("click_problem"));
    assert_null(told("occurred_at"));
    assert_string_equal(out.ignored, "cur");
}

static void forms_and_json_say_the_same(void **state)
{
    static const char *const bodies[] = {
        "order=5&payout=1.5&currency=EUR&time=1795299000",
        "{\"order\": 5, \"payout\": \"1.5\", \"currency\": \"EUR\", \"time\": 1795299000}"};

    (void)state;
    for (int i = 0; i < 2; i++) {
        assert_true(read_body(bodies[i]));
        assert_string_equal(told("order_id"), "5");
        assert_string_equal(told("amount_minor"), "150");
        assert_string_equal(told("occurred_at"), "2026-11-21T22:10:00.000000Z");
    }
    /* The payout is not the amount where there is one. */
    assert_true(read_body("order=5&payout=1.5&amount=20&currency=EUR"));
    assert_string_equal(told("amount_minor"), "2000");
    assert_true(read_both("order=5&currency=EUR", "amount_minor=7&order_id=5", 25));
    assert_string_equal(told("amount_minor"), "7");
}

static void what_is_wrong_is_said(void **state)
{
    static const char *const cases[][2] = {
        {"", "order_id: is required"},
        {"order_id=A&order_id=B", "order_id: is given twice"},
        {"order_id=%00", "order_id: must"},
        {"order_id=A%0A", "order_id: must not"},
        {"order_id=%C0%AF", "order_id: must be UTF-8"},
        {"order_id=A&amount=1", "currency: is required"},
        {"order_id=A&amount_minor=99999999999999999999&currency=EUR", "amount_minor: must"},
        {"order_id=A&amount_minor=-1&currency=EUR", "amount_minor: must"},
        {"order_id=A&status=odd", "status: must"},
        {"order_id=A&event=lead&status=rejected", "status: only a sale"},
        {"click_id=A&status=rejected&amount=1&currency=EUR", "order_id: is required to reject"},
        {"order_id=A&source=-1", "source: must"},
        {"order_id=A&source=99999999999999999999", "source: must"},
        {"order_id=A&token=%FF", "token: must be UTF-8"},
        {"order_id=A&signature=00", "signature: must be 64"},
        {"order_id=A&event=a%20b", "event: must be a word"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_false(read_query(cases[i][0]));
        assert_memory_equal(out.problem, cases[i][1], strlen(cases[i][1]));
    }
    assert_false(read_body("{\"order_id\": [1]}"));
    assert_false(read_body("{\"order_id\": \"A\", \"status\": [1]}"));
    assert_false(read_body("{\"order_id\": [1], \"status\": \"rejected\", \"amount\": \"1\","
                           " \"currency\": \"EUR\"}"));
    assert_false(read_body("{\"order_id\": \"A\", \"source\": {}}"));
    assert_false(read_body("{\"order_id\": \"A\", \"token\": 5}"));
    assert_false(read_body("{\"order_id\": \"A\", \"event\": 5}"));
}

static void a_rejection_is_one_refund(void **state)
{
    (void)state;
    assert_true(read_query("order_id=A&status=Charge-Back&amount=5&currency=EUR&payout=1"));
    assert_string_equal(told("event"), "refund");
    assert_string_equal(told("key"), "rejected:A");
    assert_string_equal(told("amount_minor"), "-500");
    assert_true(read_query("order_id=A&status=pending"));
    assert_string_equal(told("pending"), "something");
    assert_true(read_query("order_id=A&status=paid"));
    assert_null(told("pending"));
}

/* What is signed: the query up to the signature; and the body behind a line feed. */
static void signatures_are_taken_down(void **state)
{
    static const char zero[EVENT_HASH_BYTES];
    char query[256] = "source=9&order_id=A&signature=";
    unsigned char digest[EVENT_HASH_BYTES];

    (void)state;
    strcat(query, "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100");
    assert_true(read_query(query));
    assert_int_equal(out.conversion.source, 9);
    crypto_hash_sha256(digest, (const unsigned char *)"source=9&order_id=A", 19);
    assert_memory_equal(out.conversion.digest, digest, sizeof digest);
    assert_memory_equal(out.conversion.signature, "\x00\x11\x22\x33\x44\x55\x66\x77", 8);
    assert_true(read_both(query, "code=X", 6));
    crypto_hash_sha256(digest, (const unsigned char *)"source=9&order_id=A\ncode=X", 26);
    assert_memory_equal(out.conversion.digest, digest, sizeof digest);
    assert_memory_equal(out.conversion.token_hash, zero, sizeof zero);
    strcat(query, "&code=X");
    assert_false(read_query(query));
    assert_string_equal(out.problem, "signature: must be the last parameter of the query");
    assert_true(read_query("token=t0k3n&order_id=A"));
    crypto_hash_sha256(digest, (const unsigned char *)"t0k3n", 5);
    assert_memory_equal(out.conversion.token_hash, digest, sizeof digest);
    assert_memory_equal(out.conversion.digest, zero, sizeof zero);
}

/* As much JSON as a body takes, in every shape: read or refused, and jansson's memory is its own
 * again after it. */
static void no_shape_is_too_much(void **state)
{
    static const char *const pieces[][3] = {
        {"{\"items\":[", "[],", "[]]}"},
        {"{\"metadata\":{\"a\":[", "{},", "{}]}}"},
        {"{\"order_id\":\"A\",\"items\":[", "1,", "1]}"},
        {"{\"order_id\":\"A\",\"metadata\":{\"a\":", "[", "1"},
        {"{\"order_id\":\"", "\\u00e9", "\"}"},
        {"{\"order_id\":\"A\",\"metadata\":{\"x\":\"", "\\\\", "\"}}"},
    };
    static char body[POSTBACK_BODY_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        size_t length = strlen(pieces[i][0]), step = strlen(pieces[i][1]);
        json_t *own;

        memcpy(body, pieces[i][0], length);
        while (length + step + strlen(pieces[i][2]) <= POSTBACK_BODY_MAX) {
            memcpy(body + length, pieces[i][1], step);
            length += step;
        }
        strcpy(body + length, pieces[i][2]);
        if (read_both("", body, strlen(body)))
            assert_true(out.conversion.told.length > 0);
        else
            assert_true(out.problem[0] != '\0');
        own = json_string("from the heap");
        assert_non_null(own);
        json_decref(own);
    }
}

/* What does not fit loses its items, then its metadata, and says so; the sale stays. */
static void what_is_too_long_is_left_out(void **state)
{
    static char text[EVENT_TOLD_MAX], written[EVENT_TOLD_MAX];
    json_t *report = json_pack("{s:s, s:{s:i}}", "key", "A", "metadata", "a", 1);
    size_t length;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    json_object_set_new(report, "items", json_pack("[s]", text));
    length = told_write(report, written);
    assert_true(length > 0);
    assert_non_null(memmem(written, length, "\"left_out\":\"items\"", 18));
    assert_non_null(memmem(written, length, "\"a\":1", 5));
    json_object_set_new(report, "metadata", json_pack("{s:s}", "m", text));
    json_object_set_new(report, "items", json_pack("[s]", text));
    length = told_write(report, written);
    assert_true(length > 0 && length < 100);
    assert_non_null(memmem(written, length, "\"key\":\"A\"", 9));
    assert_non_null(memmem(written, length, "\"left_out\":\"metadata\"", 21));
    json_object_set_new(report, "code", json_string(text));
    assert_int_equal(told_write(report, written), 0);
    json_decref(report);
}

static void names(void **state)
{
    (void)state;
    assert_int_equal(postback_member_of(TEXT("click-ID"), "x"), MEMBER_CLICK);
    assert_int_equal(postback_member_of(TEXT("x"), "x"), MEMBER_CLICK);
    assert_int_equal(postback_member_of(TEXT(""), "x"), MEMBER_UNKNOWN);
    assert_int_equal(postback_member_of(TEXT("___"), "x"), MEMBER_UNKNOWN);
    assert_int_equal(postback_member_of(TEXT("orderid\0x"), "x"), MEMBER_UNKNOWN);
    assert_int_equal(postback_member_of(TEXT("orderidorderidorderidorderidorderid"), "x"),
                     MEMBER_UNKNOWN);
    for (enum postback_member member = 0; member < MEMBER_COUNT; member++) {
        const char *name = postback_member_name(member);

        assert_int_equal(postback_member_of((struct text){name, strlen(name)}, "x"), member);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_becomes_an_event),
        cmocka_unit_test(forms_and_json_say_the_same),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_rejection_is_one_refund),
        cmocka_unit_test(signatures_are_taken_down),
        cmocka_unit_test(no_shape_is_too_much),
        cmocka_unit_test(what_is_too_long_is_left_out),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
