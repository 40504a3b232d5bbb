/* Webhooks: whatever header and body come, a signature is good only if a secret made it, and what is
 * told has what report_make() asks for. Input: shop, header, line break, topic, line break, body. */
#include <assert.h>
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "server/conversions/click_id.h"
#include "server/conversions/hook.h"
#include "server/conversions/hook_signature.h"
#include "server/conversions/report.h"

static void show(void *owner, const char *pointer, const char *text)
{
    fprintf(stderr, "%s %s\n", pointer, text);
    ++*(int *)owner;
}

static void check_signature(struct text header, struct text body)
{
    const struct text secret = TEXT("\x01no fuzzer guesses this\xff");
    const struct hook_secrets one = {&secret, 1};

    assert(!hook_signature_base64(&one, header, body));
    assert(!hook_signature_stripe(&one, header, body, 1700000000));
}

static void check_body(enum hook_shop shop, const char *topic, struct text body)
{
    static const unsigned char secret[CLICK_ID_SECRET_BYTES] = {1};
    const struct hook hook = {.shop = shop, .topic = topic, .click_param = "kudos_id"};
    const struct report_source source = {
        .path = hook_shop_names[shop], .verified = true, .secret = secret, .now_us = INT64_MAX / 2};
    struct error why;
    json_t *reports, *report;
    int problems = 0;
    size_t i;
    bool is_told = hook_read(&hook, body, &reports, &why) == HOOK_TOLD;

    assert(is_told == (json_array_size(reports) > 0) &&
           json_array_size(reports) <= HOOK_REPORTS_MAX);
    json_array_foreach(reports, i, report)
    {
        json_t *made = report_make(report, &source, show, &problems);

        assert(made && problems == 0);
        json_decref(made);
    }
    json_decref(reports);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text rest = {(const char *)data + 1, size - 1}, header, topic;
    char name[HOOK_TOPIC_MAX];

    if (size < 1)
        return 0;
    header = text_cut(&rest, '\n');
    topic = text_cut(&rest, '\n');
    if (!rest.bytes)
        rest = TEXT("");
    check_signature(header, rest);
    snprintf(name, sizeof name, "%.*s", (int)topic.length, topic.bytes ? topic.bytes : "");
    check_body((enum hook_shop)(data[0] % HOOK_SHOPS), name, rest);
    return 0;
}
