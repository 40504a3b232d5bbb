/* Destination templates: a URL and the values that are filled in, split at newlines. What is accepted
 * is printable, keeps its host whatever the values are, and is accepted again as it is. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "server/links/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct text next(struct text *rest)
{
    return rest->bytes ? text_cut(rest, '\n') : *rest;
}

static void check(const struct target *target)
{
    assert(target->length == strlen(target->url) && target->length <= LINK_DESTINATION_MAX);
    assert(strncmp(target->url, "http://", 7) == 0 || strncmp(target->url, "https://", 8) == 0);
    assert(strcspn(target->url, "#") == target->fragment_offset);
    assert((memchr(target->url, '?', target->fragment_offset) != NULL) == target->has_query);
    for (size_t i = 0; i < target->length; i++)
        assert(target->url[i] > ' ' && target->url[i] < 0x7F);
    for (size_t i = 0; i <= target->length; i++)
        assert(i + target_placeholder(target, i) <= target->length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct target stored, filled, again;
    struct text rest = {(const char *)data, size}, url = next(&rest), host, other;
    struct target_values values = {.handle = next(&rest), .code = next(&rest)};
    struct error error;

    values.campaign = values.slug = next(&rest);
    for (int i = 0; i < TARGET_UTM_COUNT; i++)
        values.utm[i] = next(&rest);
    if (!target_compile(url, NULL, &stored, &error)) {
        assert(error.text[0] != '\0');
        return 0;
    }
    check(&stored);
    assert(target_compile((struct text){stored.url, stored.length}, NULL, &again, &error));
    assert(strcmp(stored.url, again.url) == 0);
    if (!target_compile((struct text){stored.url, stored.length}, &values, &filled, &error))
        return 0; /* too long once everything is filled in */
    check(&filled);
    host = target_authority(&stored);
    other = target_authority(&filled);
    assert(text_same(host, other));
    return 0;
}
