/* See datacenters.h. */
#include "server/visitor/datacenters.h"

#include <stdlib.h>
#include <string.h>

#include "shared/embed.h"
#include "shared/text.h"

EMBED(visitor_datacenters, "server/visitor/datacenters.txt");

static bool parse_asn(struct text word, uint32_t *out)
{
    uint64_t number = 0;

    if (word.length > 2 && text_equals_nocase((struct text){word.bytes, 2}, "as"))
        word = (struct text){word.bytes + 2, word.length - 2};
    for (size_t i = 0; i < word.length; i++) {
        if (!ascii_is_digit(word.bytes[i]) || number > UINT32_MAX)
            return false;
        number = number * 10 + (uint64_t)(word.bytes[i] - '0');
    }
    *out = (uint32_t)number;
    return number > 0 && number <= UINT32_MAX;
}

static bool add(struct datacenters *out, struct text word, struct error *error)
{
    if (out->count == DATACENTERS_MAX)
        return error_set(error, "more than %d networks", DATACENTERS_MAX);
    if (!parse_asn(word, &out->list[out->count]))
        return error_set(error, "\"%.*s\" is no AS number",
                         (int)(word.length < 40 ? word.length : 40), word.bytes);
    out->count++;
    return true;
}

static bool add_builtin(struct datacenters *out, struct error *error)
{
    struct text rest = {visitor_datacenters, EMBED_SIZE(visitor_datacenters)};

    while (rest.bytes) {
        struct text line = text_trim(text_cut(&rest, '\n'));

        if (line.length && line.bytes[0] != '#' && !add(out, text_cut(&line, ' '), error))
            return error_prefix(error, "datacenters.txt");
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    uint32_t one = *(const uint32_t *)a, other = *(const uint32_t *)b;

    return (one > other) - (one < other);
}

bool datacenters_parse(const char *text, struct datacenters *out, struct error *error)
{
    out->count = 0;
    while (*text) {
        struct text word = {text, strcspn(text, " ,\t")};

        if (word.length && !(text_equals_nocase(word, "builtin") ? add_builtin(out, error)
                                                                 : add(out, word, error)))
            return false;
        text += word.length + (text[word.length] != '\0');
    }
    qsort(out->list, out->count, sizeof out->list[0], compare);
    return true;
}

bool datacenters_contain(const struct datacenters *datacenters, uint32_t asn)
{
    return asn && bsearch(&asn, datacenters->list, datacenters->count, sizeof asn, compare);
}
