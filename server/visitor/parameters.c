/* See parameters.h. Names are compared as they are written, but for case: whoever adds such a
 * parameter encodes none of its letters. */
#include "server/visitor/parameters.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/visitor/classes.h"
#include "shared/embed.h"

EMBED(visitor_parameters, "server/visitor/parameters.txt");

#define KNOWN_MAX    64
#define LOOKED_AT    64 /* parameters of one request */
#define PLATFORM_MAX 32

struct known_parameter {
    struct text name, value; /* value empty: any */
    struct origin origin;
};

struct parameters {
    size_t count;
    struct known_parameter known[KNOWN_MAX];
    uint64_t lengths; /* bit per length of a name that is on the list */
};

/* Reading the list ------------------------------------------------------------------------------- */

static struct text next_word(struct text *rest)
{
    struct text word = text_cut(rest, ' ');

    *rest = text_trim(*rest);
    return word;
}

static uint8_t platform_of(struct text name)
{
    char clear[PLATFORM_MAX];

    if (name.length >= sizeof clear)
        return CLASS_UNKNOWN;
    for (size_t i = 0; i < name.length; i++)
        clear[i] = name.bytes[i] == '_' ? ' ' : name.bytes[i];
    return platform_number((struct text){clear, name.length});
}

static bool add_line(struct parameters *parameters, struct text line, struct error *error)
{
    struct text rest = text_trim(line), medium = next_word(&rest), platform = next_word(&rest);
    struct known_parameter *known = &parameters->known[parameters->count];

    if (medium.length == 0 || medium.bytes[0] == '#')
        return true;
    assert(parameters->count < KNOWN_MAX);
    known->origin = (struct origin){medium_number(medium), platform_of(platform)};
    if (known->origin.medium == CLASS_UNKNOWN)
        return error_set(error, "no medium \"%.*s\"", (int)medium.length, medium.bytes);
    if (known->origin.platform == CLASS_UNKNOWN && !text_equals_nocase(platform, "-"))
        return error_set(error, "no platform \"%.*s\"", (int)platform.length, platform.bytes);
    known->value = rest;
    known->name = text_cut(&known->value, '=');
    if (known->name.length == 0 || known->name.length >= 64)
        return error_set(error, "not \"medium platform name\"");
    parameters->lengths |= UINT64_C(1) << known->name.length;
    parameters->count++;
    return true;
}

struct parameters *parameters_open(struct error *error)
{
    struct parameters *parameters = calloc(1, sizeof *parameters);
    struct text rest = {visitor_parameters, EMBED_SIZE(visitor_parameters)};

    assert(parameters);
    for (int number = 1; rest.bytes; number++) {
        if (add_line(parameters, text_cut(&rest, '\n'), error))
            continue;
        error_prefix(error, "parameters.txt:%d", number);
        parameters_close(parameters);
        return NULL;
    }
    return parameters;
}

void parameters_close(struct parameters *parameters)
{
    free(parameters);
}

/* Asking it -------------------------------------------------------------------------------------- */

static const struct origin *find(const struct parameters *parameters, struct text name,
                                 struct text value)
{
    if (name.length >= 64 || !(parameters->lengths >> name.length & 1))
        return NULL;
    for (size_t i = 0; i < parameters->count; i++) {
        const struct known_parameter *known = &parameters->known[i];

        if (text_same_nocase(known->name, name) &&
            (!known->value.length || text_same_nocase(known->value, value)))
            return &known->origin;
    }
    return NULL;
}

struct origin parameters_origin(const struct parameters *parameters, struct text query)
{
    struct origin found = {CLASS_UNKNOWN, CLASS_UNKNOWN};

    for (int i = 0; query.length && i < LOOKED_AT; i++) {
        struct text value = text_cut(&query, '&'), name = text_cut(&value, '=');
        const struct origin *origin = value.length ? find(parameters, name, value) : NULL;

        if (!origin)
            continue;
        if (found.medium == CLASS_UNKNOWN ||
            (origin->medium == MEDIUM_PAID && found.medium != MEDIUM_PAID))
            found = *origin;
        if (found.medium == origin->medium && found.platform == CLASS_UNKNOWN)
            found.platform = origin->platform;
    }
    return found;
}
