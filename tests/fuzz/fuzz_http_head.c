/* Fuzzes the request head parser: any bytes, whole and cut in two, must come to the same end, and
 * every span must lie within the head. `make fuzz` runs it; the unit test of the parser replays
 * what is in tests/fuzz/fuzz_http_head/. */
#include "shared/http_head.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_span(struct text span, const char *bytes, int length)
{
    if (span.length == 0)
        return;
    assert(span.bytes >= bytes && span.bytes + span.length <= bytes + length);
}

static void check_head(struct http_head *head, const char *bytes, int length)
{
    struct text name, value;
    unsigned fields = 0;

    check_span(head->target, bytes, length);
    check_span(head->host, bytes, length);
    check_span(head->path, bytes, length);
    check_span(head->query, bytes, length);
    for (int i = 0; i < HTTP_NAME_OTHER; i++)
        check_span(head->known[i], bytes, length);
    while (http_next_field(&head->fields, &name, &value)) {
        check_span(name, bytes, length);
        check_span(value, bytes, length);
        assert(name.length > 0 && !memchr(value.bytes, '\n', value.length));
        fields++;
    }
    assert(fields == head->field_count);
    assert(memcmp(bytes + length - 2, "\r\n", 2) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http_limits limits = {2048, 512, 16};
    struct http_head whole, cut;
    char *bytes = malloc(size + 1); /* exact, so that the sanitizer sees a read past the end */
    size_t at = size > 0 ? data[0] % size : 0;
    int first, result, again;

    assert(bytes);
    bytes = realloc(bytes, size ? size : 1);
    memcpy(bytes, data, size);
    result = http_head_parse(bytes, size, 0, &limits, &whole);
    first = http_head_parse(bytes, at, 0, &limits, &cut);
    again = http_head_parse(bytes, size, first == HTTP_HEAD_PARTIAL ? at : 0, &limits, &cut);
    /* A fault in an unfinished line may be told later, but nothing else may differ. */
    assert(again == result || (again == HTTP_HEAD_PARTIAL && result == HTTP_HEAD_BAD));
    assert(first == HTTP_HEAD_PARTIAL || first == result);
    if (result == HTTP_HEAD_BAD)
        assert(whole.status == 400 || whole.status == 414 || whole.status == 431);
    if (result > 0)
        check_head(&whole, bytes, result);
    free(bytes);
    return 0;
}
