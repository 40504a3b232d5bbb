/* See target.h. Placeholders are hidden as words of letters and digits while the URL is parsed (they
 * survive every normalisation), and come back or are replaced afterwards. */
#include "server/links/target.h"

#include <assert.h>
#include <string.h>

#include "server/links/destination.h"
#include "shared/percent.h"

#define HIDDEN_PREFIX "kudosPlaceholder"
#define HIDDEN_LENGTH (sizeof HIDDEN_PREFIX) /* the prefix and one letter */
#define VALUE_MAX     TARGET_UTM_MAX

const char *const target_utm_names[TARGET_UTM_COUNT] = {"utm_source", "utm_medium", "utm_campaign",
                                                        "utm_content", "utm_term"};

/* By number: the letter behind HIDDEN_PREFIX is 'A' + number. */
static const char *const placeholders[] = {"handle", "code",    "campaign",
                                           "slug",   "country", "click_id"};
#define PLACEHOLDER_COUNT ((int)(sizeof placeholders / sizeof placeholders[0]))
#define FIRST_LATE        4 /* these are left for the redirect */

/* Text being built; `full` once something did not fit. */
struct builder {
    char *bytes;
    size_t length, size;
    bool full;
};

static void put(struct builder *builder, const char *bytes, size_t length)
{
    if (builder->full || length > builder->size - builder->length) {
        builder->full = true;
        return;
    }
    memcpy(builder->bytes + builder->length, bytes, length);
    builder->length += length;
}

static void put_encoded(struct builder *builder, struct text value)
{
    for (size_t i = 0; i < value.length && i < VALUE_MAX; i++) {
        char encoded[PERCENT_MAX];

        put(builder, encoded,
            (size_t)(percent_put(encoded, value.bytes[i], percent_unreserved) - encoded));
    }
}

/* The number of the placeholder that begins at `at` ('{'), or -1; `length` with its braces. */
static int placeholder_at(struct text at, size_t *length)
{
    for (int i = 0; i < PLACEHOLDER_COUNT; i++) {
        size_t name = strlen(placeholders[i]);

        *length = name + 2;
        if (at.length >= *length && at.bytes[name + 1] == '}' &&
            memcmp(at.bytes + 1, placeholders[i], name) == 0)
            return i;
    }
    return -1;
}

/* "{word}" that is none of ours is a slip of the pen more often than a wish. */
static bool is_unknown_placeholder(struct text at, size_t *length)
{
    size_t i = 1;

    while (i < at.length && ((at.bytes[i] >= 'a' && at.bytes[i] <= 'z') || at.bytes[i] == '_'))
        i++;
    *length = i + 1;
    return i > 1 && i < at.length && at.bytes[i] == '}';
}

static bool hide(struct text url, struct builder *out, struct error *error)
{
    for (size_t i = 0; i < url.length;) {
        struct text at = {url.bytes + i, url.length - i};
        char hidden[HIDDEN_LENGTH + 1] = HIDDEN_PREFIX;
        size_t length = 1;
        int number = at.bytes[0] == '{' ? placeholder_at(at, &length) : -1;

        if (number >= 0) {
            hidden[HIDDEN_LENGTH - 1] = (char)('A' + number);
            put(out, hidden, HIDDEN_LENGTH);
            i += length;
            continue;
        }
        if (at.bytes[0] == '{' && is_unknown_placeholder(at, &length))
            return error_set(error,
                             "%.*s is no placeholder; there are {handle}, {code}, {campaign}, "
                             "{slug}, {country} and {click_id} (write %%7B for a brace)",
                             (int)length, at.bytes);
        if (at.length >= HIDDEN_LENGTH && memcmp(at.bytes, HIDDEN_PREFIX, HIDDEN_LENGTH - 1) == 0)
            return error_set(error, "\"%s\" may not stand in a destination", HIDDEN_PREFIX);
        put(out, at.bytes, 1);
        i++;
    }
    return !out->full || error_set(error, "longer than %d bytes", LINK_DESTINATION_MAX);
}

static struct text value_of(const struct target_values *values, int number)
{
    const struct text all[FIRST_LATE] = {values->handle, values->code, values->campaign,
                                         values->slug};

    assert(number < FIRST_LATE);
    return all[number];
}

/* Brings placeholders back, or what stands for them. */
static void reveal(struct text hidden, const struct target_values *values, struct builder *out,
                   bool *is_template)
{
    for (size_t i = 0; i < hidden.length;) {
        const char *at = hidden.bytes + i;
        int number = -1;

        if (hidden.length - i >= HIDDEN_LENGTH && memcmp(at, HIDDEN_PREFIX, HIDDEN_LENGTH - 1) == 0)
            number = at[HIDDEN_LENGTH - 1] - 'A';
        if (number < 0 || number >= PLACEHOLDER_COUNT) {
            put(out, at, 1);
            i++;
            continue;
        }
        if (values && number < FIRST_LATE) {
            put_encoded(out, value_of(values, number));
        } else {
            put(out, "{", 1);
            put(out, placeholders[number], strlen(placeholders[number]));
            put(out, "}", 1);
            *is_template = true;
        }
        i += HIDDEN_LENGTH;
    }
}

/* Whether the query (without '?') has a parameter of this name. */
static bool has_parameter(struct text query, const char *name)
{
    while (query.length) {
        struct text parameter = text_cut(&query, '&');
        struct text key = text_cut(&parameter, '=');

        if (key.length == strlen(name) && memcmp(key.bytes, name, key.length) == 0)
            return true;
    }
    return false;
}

/* A UTM value with its placeholders filled in, not yet encoded. */
static struct text fill_utm(struct text utm, const struct target_values *values, char *bytes,
                            size_t size)
{
    struct builder out = {.bytes = bytes, .size = size};

    for (size_t i = 0; i < utm.length;) {
        size_t length = 1;
        int number = utm.bytes[i] == '{'
                         ? placeholder_at((struct text){utm.bytes + i, utm.length - i}, &length)
                         : -1;

        if (number >= 0 && number < FIRST_LATE) {
            struct text value = value_of(values, number);

            put(&out, value.bytes ? value.bytes : "", value.length);
        } else {
            length = 1;
            put(&out, utm.bytes + i, 1);
        }
        i += length;
    }
    return (struct text){bytes, out.length};
}

static void add_utm(const struct target_values *values, struct text query, struct builder *out,
                    bool *has_query)
{
    for (int i = 0; i < TARGET_UTM_COUNT; i++) {
        char bytes[VALUE_MAX];
        struct text value = fill_utm(values->utm[i], values, bytes, sizeof bytes);

        if (value.length == 0 || has_parameter(query, target_utm_names[i]))
            continue;
        put(out, *has_query ? "&" : "?", 1);
        put(out, target_utm_names[i], strlen(target_utm_names[i]));
        put(out, "=", 1);
        put_encoded(out, value);
        *has_query = true;
    }
}

static struct text query_of(const struct destination *destination)
{
    const char *end = destination->url + destination->fragment_offset;
    const char *mark = memchr(destination->url, '?', destination->fragment_offset);

    return mark ? (struct text){mark + 1, (size_t)(end - mark - 1)} : (struct text){NULL, 0};
}

/* Hosts are put in lower case, which would make a placeholder of "{Country}": no braces at all. */
static bool host_is_fixed(const struct destination *destination)
{
    struct text host = {destination->url + destination->host_offset, destination->host_length};
    char lower[] = HIDDEN_PREFIX;

    for (char *c = lower; *c; c++)
        *c = ascii_lower(*c);
    return !text_contains_nocase(host, lower) && !memchr(host.bytes, '{', host.length);
}

bool target_compile(struct text url, const struct target_values *values, struct target *out,
                    struct error *error)
{
    static struct destination destination; /* large; one thread */
    char bytes[2 * LINK_DESTINATION_MAX];
    struct builder hidden = {.bytes = bytes, .size = sizeof bytes};
    struct builder built = {.bytes = out->url, .size = LINK_DESTINATION_MAX};
    struct text rest;

    if (url.length > LINK_DESTINATION_MAX)
        return error_set(error, "longer than %d bytes", LINK_DESTINATION_MAX);
    if (!hide(url, &hidden, error) ||
        !destination_parse(hidden.bytes, hidden.length, &destination, error))
        return false;
    if (!host_is_fixed(&destination))
        return error_set(error, "a placeholder may not stand in the host");
    out->is_template = false;
    out->has_query = destination.has_query;
    out->host_offset = destination.host_offset;
    out->host_length = destination.host_length;
    reveal((struct text){destination.url, destination.fragment_offset}, values, &built,
           &out->is_template);
    if (values)
        add_utm(values, query_of(&destination), &built, &out->has_query);
    out->fragment_offset = built.length;
    rest = (struct text){destination.url + destination.fragment_offset,
                         destination.length - destination.fragment_offset};
    reveal(rest, values, &built, &out->is_template);
    if (built.full)
        return error_set(error, "longer than %d bytes once everything is filled in",
                         LINK_DESTINATION_MAX);
    out->length = built.length;
    out->url[out->length] = '\0';
    return true;
}

struct text target_authority(const struct target *target)
{
    const char *host = target->url + target->host_offset;

    return (struct text){host, strcspn(host, "/?#")};
}

size_t target_placeholder(const struct target *target, size_t at)
{
    size_t length;
    struct text rest = {target->url + at, target->length - at};

    return at < target->length && target->url[at] == '{' &&
                   placeholder_at(rest, &length) >= FIRST_LATE
               ? length
               : 0;
}
