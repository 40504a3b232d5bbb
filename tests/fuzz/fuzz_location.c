/* Query merge: a destination as a marketer writes it, the click id's parameter and a request's query,
 * split at newlines. The Location leads to the destination's host, begins with the destination, is
 * printable, no longer than was promised, and loses its click id without a trace. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/links/target.h"
#include "server/redirect/location.h"

#define ID "0123456789012345678901234567890123456789012345678901234567890123"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct text next(struct text *rest)
{
    return rest->bytes ? text_cut(rest, '\n') : *rest;
}

/* What the parser of requests lets through. */
static bool is_query(struct text query)
{
    for (size_t i = 0; i < query.length; i++)
        if ((unsigned char)query.bytes[i] <= ' ' || query.bytes[i] == 0x7F)
            return false;
    return query.length <= 8192;
}

static void check(const struct target *target, const struct decision *decision,
                  const struct text *name)
{
    size_t room = location_max(decision->query.length);
    char *with = malloc(room), *without = malloc(room);
    struct location_mark mark, none;
    size_t length, bare;

    assert(with && without);
    length = location_write(decision, name, ID, with, &mark);
    bare = location_write(decision, name, NULL, without, &none);
    assert(length <= room && none.length == 0);
    for (size_t i = 0; i < length; i++)
        assert(with[i] > ' ' && with[i] < 0x7F);
    assert(memcmp(with, target->url, target->host_offset + target->host_length) == 0);
    assert(strchr("/?#:", with[target->host_offset + target->host_length]));
    if (!target->is_template)
        assert(memcmp(with, target->url, target->fragment_offset) == 0);
    if (mark.length > 0) {
        length = location_strip(&mark, with, length);
        assert(length == bare && memcmp(with, without, bare) == 0);
    } else {
        assert(decision->id == ID_NONE);
    }
    free(with);
    free(without);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct target target;
    static const char place[] = "{click_id}";
    struct text rest = {(const char *)data, size}, url = next(&rest), param = next(&rest);
    struct decision decision = {.answer = ANSWER_FOUND, .country = {'D', 'E'}};
    char encoded[LOCATION_NAME_MAX];
    struct text name = {encoded, 0};
    struct error error;

    if (size > 0 && memmem(data, size, ID, 10)) /* nobody can know an id beforehand */
        return 0;
    if (param.length == 0 || param.length > LOCATION_NAME_MAX / 3 || !is_query(rest) ||
        !target_compile(url, NULL, &target, &error))
        return 0;
    name.length = location_encode_name(param.bytes, param.length, encoded);
    decision.destination = (struct text){target.url, target.length};
    decision.fragment_offset = target.fragment_offset;
    decision.has_query = target.has_query;
    decision.is_template = target.is_template;
    decision.query = rest;
    decision.id = target.is_template && strstr(target.url, place) ? ID_IN_PLACE : ID_PARAMETER;
    check(&target, &decision, &name);
    return 0;
}
