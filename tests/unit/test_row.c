/* Rows of binary COPY: what PostgreSQL sends becomes a link; what does not look like it is refused,
 * and what cannot be served says why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/links/row.h"

#define MESSAGE_MAX 16384

/* A message as it is being written. */
static struct {
    char bytes[MESSAGE_MAX];
    size_t length;
} message;

static void put_number(uint64_t value, size_t size)
{
    for (size_t i = size; i > 0; i--)
        message.bytes[message.length++] = (char)(value >> (8 * (i - 1)));
}

static void put_integer(uint64_t value, size_t size)
{
    put_number(size, 4);
    put_number(value, size);
}

static void put_text(const char *text)
{
    put_number(strlen(text), 4);
    memcpy(message.bytes + message.length, text, strlen(text));
    message.length += strlen(text);
}

static void put_null(void)
{
    put_number(UINT32_MAX, 4);
}

static void begin(unsigned fields)
{
    message.length = 0;
    put_number(fields, 2);
}

static void put_text_or_null(const char *text)
{
    if (text)
        put_text(text);
    else
        put_null();
}

static void put_json(const char *text)
{
    if (!text) {
        put_null();
        return;
    }
    put_number(strlen(text) + 1, 4);
    message.bytes[message.length++] = 1;
    memcpy(message.bytes + message.length, text, strlen(text));
    message.length += strlen(text);
}

/* The fields of a link that a test may want to differ. */
struct sample {
    uint64_t id;
    uint16_t status;
    const char *state;
    int64_t expires_at; /* as PostgreSQL counts */
    const char *slug;
    const char *destination;
    const char *fallback;                   /* NULL: null */
    const char *rules, *utm, *campaign_utm; /* JSON; NULL: null */
    const char *handle, *name, *profile, *code;
    bool inherits; /* redirect_status and click_id are null */
    bool used_up;
};

static const struct sample good = {.id = 9,
                                   .status = 307,
                                   .state = "active",
                                   .slug = "Spring",
                                   .destination = "https://Example.com/a?b#c",
                                   .fallback = "https://example.com/over"};

static void put_link(const struct sample *sample)
{
    begin(26);
    put_integer(sample->id, 8);
    put_integer(2, 8);
    put_integer(3, 8);
    put_integer(4, 8);
    put_null(); /* influencer_id */
    put_integer(777, 8);
    if (sample->inherits)
        put_null();
    else
        put_integer(sample->status, 2);
    put_integer(1, 1);
    if (sample->inherits)
        put_null();
    else
        put_integer(0, 1);
    put_integer(sample->used_up, 1);
    put_text(sample->state);
    put_null(); /* starts_at */
    put_integer((uint64_t)sample->expires_at, 8);
    put_text(sample->slug);
    put_text(sample->slug);
    put_text(sample->destination);
    put_text_or_null(sample->fallback);
    put_json(sample->rules);
    put_json(sample->utm);
    put_json(sample->campaign_utm);
    put_text("spring");
    put_text("Spring launch");
    put_text_or_null(sample->handle);
    put_text_or_null(sample->name);
    put_text_or_null(sample->profile);
    put_text_or_null(sample->code);
}

static struct text written(void)
{
    return (struct text){message.bytes, message.length};
}

static struct link_row read_sample(const struct sample *sample)
{
    struct link_row row = {0};
    struct error error = {""};

    put_link(sample);
    if (!row_link(written(), NULL, &row, &error))
        fail_msg("%s", error.text);
    return row;
}

static void assert_text(struct text text, const char *wanted)
{
    assert_int_equal(text.length, strlen(wanted));
    if (text.length > 0)
        assert_memory_equal(text.bytes, wanted, text.length);
}

static void whole_link(void **state)
{
    static struct link_row row;
    struct error error = {""};

    (void)state;
    put_link(&good);
    assert_true(row_link(written(), NULL, &row, &error));
    assert_false(row.has_problem);
    assert_int_equal(row.link.id, 9);
    assert_int_equal(row.link.workspace, 2);
    assert_int_equal(row.link.domain, 3);
    assert_int_equal(row.link.campaign, 4);
    assert_int_equal(row.link.influencer, 0);
    assert_int_equal(row.link.changed, 777);
    assert_int_equal(row.link.redirect_status, 307);
    assert_int_equal(row.link.flags, LINK_PASS_QUERY | LINK_NO_CLICK_ID | LINK_HAS_QUERY);
    assert_int_equal(row.link.state, LINK_ACTIVE);
    assert_int_equal(row.link.starts_at_us, 0);
    assert_int_equal(row.link.expires_at_us, 946684800000000); /* 2000-01-01 */
    assert_text(row.link.slug, "Spring");
    assert_text(row.slug_key, "Spring");
    assert_text(row.link.destination, "https://example.com/a?b#c");
    assert_int_equal(row.link.fragment_offset, 23);
    assert_text(row.link.fallback, "https://example.com/over");
}

static void compiled_link(void **state)
{
    static struct link_row row;
    struct sample sample = good;
    struct rules_choice choice;
    struct click click = {.time_us = 1};
    struct rules_visitor visitor = {.click = &click};
    struct error error = {""};

    (void)state;
    sample.inherits = sample.used_up = true;
    sample.destination = "https://example.com/{handle}?c={country}#{slug}";
    sample.fallback = "https://example.com/over/{code}?id={click_id}";
    sample.rules = "[{\"if\": {}, \"then\": {\"destination\": \"https://r.example/{campaign}\"}}]";
    sample.campaign_utm = "{\"source\": \"{handle}\", \"medium\": \"social\", \"term\": \"t\"}";
    sample.utm = "{\"medium\": null, \"term\": \"a b\"}";
    sample.handle = "Ana/1";
    sample.code = "ANA20";
    sample.profile = "https://social.example/ana";
    put_link(&sample);
    assert_true(row_link(written(), NULL, &row, &error));
    assert_false(row.has_problem);
    assert_false(row.has_note);
    assert_int_equal(row.link.redirect_status, 0);
    assert_int_equal(row.link.flags, LINK_PASS_QUERY | LINK_CLICK_ID_INHERITED | LINK_HAS_QUERY |
                                         LINK_TEMPLATE | LINK_FALLBACK_TEMPLATE | LINK_USED_UP);
    assert_text(row.link.destination,
                "https://example.com/Ana%2F1?c={country}&utm_source=Ana%2F1&utm_term=a%20b#Spring");
    assert_int_equal(row.link.destination.bytes[row.link.fragment_offset], '#');
    assert_text(row.link.fallback, "https://example.com/over/ANA20?id={click_id}");
    assert_text(row.link.campaign_name, "Spring launch");
    assert_text(row.link.influencer_name, "Ana/1"); /* no name: the handle */
    assert_text(row.link.influencer_url, "https://social.example/ana");
    rules_choose(row.link.rules, &visitor, &choice);
    assert_int_equal(choice.action, RULES_REDIRECT);
    assert_text(choice.destination, "https://r.example/spring?utm_source=Ana%2F1&utm_term=a%20b");
    sample.name = "Ana Berg";
    put_link(&sample);
    assert_true(row_link(written(), NULL, &row, &error));
    assert_text(row.link.influencer_name, "Ana Berg");
}

/* What only SQL can have stored costs that part, not the link. */
static void links_served_without_a_part(void **state)
{
    static struct link_row row;
    static char handle[LINK_DESTINATION_MAX], destination[LINK_DESTINATION_MAX - 200];
    struct sample sample = good;
    struct error error = {""};

    (void)state;
    sample.rules = "[{\"if\": {\"device\": [\"toaster\"]}, \"then\": {\"block\": 404}}]";
    sample.utm = "{\"source\": 7, \"other\": \"x\"}";
    sample.profile = "javascript:alert(1)";
    put_link(&sample);
    assert_true(row_link(written(), NULL, &row, &error));
    assert_false(row.has_problem);
    assert_true(row.has_note);
    assert_non_null(strstr(row.note.text, "rules: /0/if/device/0"));
    assert_int_equal(row.link.rules.length, 0);
    assert_int_equal(row.link.influencer_url.length, 0);
    assert_text(row.link.destination, "https://example.com/a?b#c");
    sample = good;
    memset(handle, '/', 250); /* three bytes each, once encoded */
    memset(destination, 'd', sizeof destination - 1);
    memcpy(destination, "https://example.com/{handle}", 28);
    sample.handle = handle;
    sample.destination = destination;
    put_link(&sample);
    assert_true(row_link(written(), NULL, &row, &error));
    assert_false(row.has_problem);
    assert_true(row.has_note);
    assert_int_equal(row.link.destination.length, strlen(destination) - strlen("{handle}"));
}

static void times(void **state)
{
    struct sample sample = good;

    (void)state;
    sample.expires_at = INT64_MAX; /* infinity */
    assert_true(read_sample(&sample).link.expires_at_us == INT64_MAX);
    sample.expires_at = INT64_MIN; /* -infinity: long over, but not "none" */
    assert_true(read_sample(&sample).link.expires_at_us == 1);
    sample.expires_at = -946684800000000; /* 1970-01-01 */
    assert_true(read_sample(&sample).link.expires_at_us == 1);
    sample.expires_at = -946684800000000 - 5;
    assert_true(read_sample(&sample).link.expires_at_us == 1);
    sample.expires_at = 1;
    assert_true(read_sample(&sample).link.expires_at_us == 946684800000001);
}

static void rows_that_cannot_be_served(void **state)
{
    static char long_slug[LINK_SLUG_MAX + 2];
    const struct {
        struct sample sample;
        const char *problem;
    } cases[] = {
        {{.id = 0,
          .status = 302,
          .state = "active",
          .slug = "s",
          .destination = "https://example.com/",
          .fallback = NULL},
         "id"},
        {{.id = UINT64_MAX,
          .status = 302,
          .state = "active",
          .slug = "s",
          .destination = "https://example.com/",
          .fallback = NULL},
         "id"},
        {{.id = 1,
          .status = 200,
          .state = "active",
          .slug = "s",
          .destination = "https://example.com/",
          .fallback = NULL},
         "redirect_status 200"},
        {{.id = 1,
          .status = 302,
          .state = "asleep",
          .slug = "s",
          .destination = "https://example.com/",
          .fallback = NULL},
         "unknown state asleep"},
        {{.id = 1,
          .status = 302,
          .state = "active",
          .slug = "",
          .destination = "https://example.com/",
          .fallback = NULL},
         "slug"},
        {{.id = 1,
          .status = 302,
          .state = "active",
          .slug = long_slug,
          .destination = "https://example.com/",
          .fallback = NULL},
         "slug"},
        {{.id = 1,
          .status = 302,
          .state = "active",
          .slug = "s",
          .destination = "https://example.com/\r\nX: y",
          .fallback = NULL},
         "destination: "},
        {{.id = 1,
          .status = 302,
          .state = "active",
          .slug = "s",
          .destination = "",
          .fallback = NULL},
         "destination: "},
        {{.id = 1,
          .status = 302,
          .state = "active",
          .slug = "s",
          .destination = "https://example.com/",
          .fallback = "javascript:1"},
         "fallback: "},
    };

    (void)state;
    memset(long_slug, 's', LINK_SLUG_MAX + 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct link_row row = read_sample(&cases[i].sample);

        assert_true(row.has_problem);
        if (!strstr(row.problem.text, cases[i].problem))
            fail_msg("%s: %s", cases[i].problem, row.problem.text);
        assert_true(row.link.id == cases[i].sample.id);
    }
    assert_false(read_sample(&good).has_problem);
}

/* In an allocation of exactly its size, so that sanitizers see a read past the end. */
static bool read_exactly(const char *bytes, size_t length)
{
    static struct link_row row;
    struct error error = {""};
    char *copy = malloc(length + !length);
    bool read;

    assert_non_null(copy);
    memcpy(copy, bytes, length);
    read = row_link((struct text){copy, length}, NULL, &row, &error);
    free(copy);
    return read;
}

static void damaged_tuples(void **state)
{
    (void)state;
    put_link(&good);
    for (size_t cut = 0; cut < message.length; cut++)
        assert_false(read_exactly(message.bytes, cut));
    assert_true(read_exactly(message.bytes, message.length));
    assert_false(read_exactly(message.bytes, message.length + 1));
    for (size_t i = 0; i < message.length; i++) {
        char kept = message.bytes[i];

        for (int value = 0; value < 256; value += 5) {
            message.bytes[i] = (char)value;
            (void)read_exactly(message.bytes, message.length); /* whatever it says: no harm */
        }
        message.bytes[i] = kept;
    }
}

static void ids_and_domains(void **state)
{
    struct link_id_row id;
    static struct domain_row domain;
    struct error error = {""};

    (void)state;
    begin(3);
    put_integer(5, 8);
    put_integer(6, 8);
    put_text("key");
    assert_true(row_link_id(written(), &id, &error));
    assert_int_equal(id.id, 5);
    assert_int_equal(id.domain, 6);
    assert_text(id.slug_key, "key");
    assert_false(row_domain(written(), &domain, &error));
    begin(12);
    put_integer(5, 8);
    put_integer(6, 8);
    put_integer(1, 1);
    put_integer(0, 1);
    put_integer(0, 1);
    put_integer(308, 2);
    put_text("go.example");
    put_text("https://example.com");
    put_text("no URL");
    put_null();
    put_text("{\"applinks\": {}}");
    put_null();
    assert_true(row_domain(written(), &domain, &error));
    assert_false(domain.has_problem);
    assert_int_equal(domain.domain.id, 5);
    assert_int_equal(domain.domain.workspace, 6);
    assert_true(domain.domain.case_sensitive);
    assert_false(domain.domain.is_default);
    assert_text(domain.domain.host, "go.example");
    assert_false(domain.domain.click_id);
    assert_int_equal(domain.domain.redirect_status, 308);
    assert_text(domain.domain.root_destination, "https://example.com/");
    assert_text(domain.domain.not_found_destination, "");
    assert_true(domain.has_note);
    assert_non_null(strstr(domain.note.text, "not_found_destination: "));
    assert_text(domain.domain.fallback, "");
    assert_text(domain.domain.app_site_association, "{\"applinks\": {}}");
    assert_text(domain.domain.assetlinks, "");
    assert_false(row_link_id(written(), &id, &error));
}

static void messages(void **state)
{
    static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
    struct error error = {""};
    struct text tuple;
    char first[64];

    (void)state;
    assert_int_equal(sizeof header, 20); /* 19 bytes and C's own NUL */
    memcpy(first, header, 19);
    memcpy(first + 19, "\0\3abc", 5);
    assert_true(row_tuple(first, 24, &tuple, &error)); /* the first row comes with the header */
    assert_int_equal(tuple.length, 5);
    assert_memory_equal(tuple.bytes, "\0\3abc", 5);
    assert_true(row_tuple("\0\3abc", 5, &tuple, &error));
    assert_int_equal(tuple.length, 5);
    assert_true(row_tuple("\377\377", 2, &tuple, &error)); /* the end */
    assert_null(tuple.bytes);
    memcpy(first + 19, "\377\377", 2);
    assert_true(row_tuple(first, 21, &tuple, &error)); /* no rows at all */
    assert_null(tuple.bytes);
    assert_false(row_tuple("", 0, &tuple, &error));
    assert_false(row_tuple("\0", 1, &tuple, &error));
    assert_false(row_tuple(first, 19, &tuple, &error));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_link),
        cmocka_unit_test(compiled_link),
        cmocka_unit_test(links_served_without_a_part),
        cmocka_unit_test(times),
        cmocka_unit_test(rows_that_cannot_be_served),
        cmocka_unit_test(damaged_tuples),
        cmocka_unit_test(ids_and_domains),
        cmocka_unit_test(messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
