/* Rows of PostgreSQL's binary COPY; see row.h. The format is that of the PostgreSQL manual (COPY,
 * File Formats): a tuple is a count of fields and for each its length (-1: null) and bytes, numbers
 * big-endian; times are microseconds since 2000-01-01. Every read is checked against the end. */
#include "server/links/row.h"

#include <assert.h>
#include <string.h>

#define HEADER_BYTES   19 /* signature, flags, length of the (empty) extension */
#define EPOCH_2000_US  INT64_C(946684800000000)
#define LINK_FIELDS    16
#define LINK_ID_FIELDS 3
#define DOMAIN_FIELDS  5

static const char SIGNATURE[] = "PGCOPY\n\377\r\n"; /* and its NUL */

/* A tuple being read. A field that is missing or of another size makes it bad for good. */
struct reader {
    const char *at;
    const char *end;
    bool bad;
};

static uint64_t take_number(struct reader *reader, size_t size)
{
    uint64_t value = 0;

    if (reader->bad || (size_t)(reader->end - reader->at) < size) {
        reader->bad = true;
        return 0;
    }
    for (size_t i = 0; i < size; i++)
        value = value << 8 | (unsigned char)*reader->at++;
    return value;
}

/* A field's bytes; NULL bytes for null. */
static struct text take_field(struct reader *reader)
{
    int32_t length = (int32_t)take_number(reader, 4);
    struct text field = {NULL, 0};

    if (reader->bad || length == -1)
        return field;
    if (length < 0 || length > reader->end - reader->at) {
        reader->bad = true;
        return field;
    }
    field = (struct text){reader->at, (size_t)length};
    reader->at += length;
    return field;
}

/* A number that is `size` bytes wide, or null: 0. */
static uint64_t take_integer(struct reader *reader, size_t size)
{
    struct text field = take_field(reader);
    struct reader inner = {field.bytes, field.bytes + field.length, false};

    if (!field.bytes)
        return 0;
    if (field.length != size) {
        reader->bad = true;
        return 0;
    }
    return take_number(&inner, size);
}

/* A time as struct link has it: null is 0, and no other time is. */
static int64_t take_time(struct reader *reader)
{
    struct text field = take_field(reader);
    struct reader inner = {field.bytes, field.bytes + field.length, false};
    int64_t time;

    if (!field.bytes)
        return 0;
    time = (int64_t)take_number(&inner, 8);
    reader->bad = reader->bad || inner.bad;
    if (time == INT64_MAX || time == INT64_MIN) /* infinity, -infinity */
        return time == INT64_MAX ? INT64_MAX : 1;
    time += EPOCH_2000_US;
    return time > 0 ? time : 1;
}

static struct reader reader_of(struct text tuple, unsigned fields)
{
    struct reader reader = {tuple.bytes, tuple.bytes + tuple.length, false};

    reader.bad = take_number(&reader, 2) != fields;
    return reader;
}

static bool finish(const struct reader *reader, const char *table, struct error *error)
{
    if (reader->bad || reader->at != reader->end)
        return error_set(error, "a row of %s does not look as it should", table);
    return true;
}

bool row_tuple(const char *message, size_t length, struct text *tuple, struct error *error)
{
    if (length >= HEADER_BYTES && memcmp(message, SIGNATURE, sizeof SIGNATURE) == 0) {
        message += HEADER_BYTES;
        length -= HEADER_BYTES;
    }
    if (length < 2)
        return error_set(error, "PostgreSQL sent a row without fields");
    *tuple = (struct text){message, length};
    if (length == 2 && memcmp(message, "\377\377", 2) == 0)
        *tuple = (struct text){NULL, 0};
    return true;
}

/* What a row becomes ----------------------------------------------------------------------------- */

static bool set_state(struct link_row *row, struct text label)
{
    static const struct {
        struct text label;
        enum link_state state;
    } states[] = {{{"active", 6}, LINK_ACTIVE},
                  {{"disabled", 8}, LINK_DISABLED},
                  {{"archived", 8}, LINK_ARCHIVED}};

    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (label.length == states[i].label.length &&
            memcmp(label.bytes, states[i].label.bytes, label.length) == 0) {
            row->link.state = (uint8_t)states[i].state;
            return true;
        }
    }
    error_set(&row->problem, "unknown state %.*s", (int)label.length, label.bytes);
    return false;
}

/* Stored destinations are normalised already; whoever wrote past the API may have stored anything,
 * and a line break in a Location header would be an answer of somebody else's making. */
static bool set_destinations(struct link_row *row, struct text destination, struct text fallback)
{
    struct link *link = &row->link;

    if (!destination_parse(destination.bytes, destination.length, &row->destination,
                           &row->problem)) {
        error_prefix(&row->problem, "destination");
        return false;
    }
    link->destination = (struct text){row->destination.url, row->destination.length};
    link->fragment_offset = (uint32_t)row->destination.fragment_offset;
    link->flags |= row->destination.has_query ? LINK_HAS_QUERY : 0;
    link->fallback = (struct text){NULL, 0};
    if (!fallback.bytes)
        return true;
    if (!destination_parse(fallback.bytes, fallback.length, &row->fallback, &row->problem)) {
        error_prefix(&row->problem, "fallback");
        return false;
    }
    link->fallback = (struct text){row->fallback.url, row->fallback.length};
    return true;
}

static bool check_link(struct link_row *row)
{
    const struct link *link = &row->link;
    unsigned status = link->redirect_status;

    if ((int64_t)link->id <= 0 || (int64_t)link->domain <= 0)
        error_set(&row->problem, "id or domain_id is not above 0");
    else if (link->slug.length == 0 || link->slug.length > LINK_SLUG_MAX ||
             row->slug_key.length == 0 || row->slug_key.length > LINK_SLUG_MAX)
        error_set(&row->problem, "slug is empty or longer than %d bytes", LINK_SLUG_MAX);
    else if (status != 301 && status != 302 && status != 307 && status != 308)
        error_set(&row->problem, "redirect_status %u", status);
    else
        return true;
    return false;
}

bool row_link(struct text tuple, struct link_row *out, struct error *error)
{
    struct reader reader = reader_of(tuple, LINK_FIELDS);
    struct text state, destination, fallback;
    bool good;

    out->link = (struct link){0};
    out->link.id = take_integer(&reader, 8);
    out->link.workspace = take_integer(&reader, 8);
    out->link.domain = take_integer(&reader, 8);
    out->link.campaign = take_integer(&reader, 8);
    out->link.influencer = take_integer(&reader, 8);
    out->link.changed = take_integer(&reader, 8);
    out->link.redirect_status = (uint16_t)take_integer(&reader, 2);
    out->link.flags |= take_integer(&reader, 1) ? LINK_PASS_QUERY : 0;
    out->link.flags |= take_integer(&reader, 1) ? 0 : LINK_NO_CLICK_ID;
    state = take_field(&reader);
    out->link.starts_at_us = take_time(&reader);
    out->link.expires_at_us = take_time(&reader);
    out->link.slug = take_field(&reader);
    out->slug_key = take_field(&reader);
    destination = take_field(&reader);
    fallback = take_field(&reader);
    if (!finish(&reader, "kudos.links", error))
        return false;
    good = check_link(out) && set_state(out, state) && set_destinations(out, destination, fallback);
    out->has_problem = !good;
    assert(good || out->problem.text[0] != '\0');
    return true;
}

bool row_link_id(struct text tuple, struct link_id_row *out, struct error *error)
{
    struct reader reader = reader_of(tuple, LINK_ID_FIELDS);

    out->id = take_integer(&reader, 8);
    out->domain = take_integer(&reader, 8);
    out->slug_key = take_field(&reader);
    return finish(&reader, "kudos.links", error);
}

bool row_domain(struct text tuple, struct domain_row *out, struct error *error)
{
    struct reader reader = reader_of(tuple, DOMAIN_FIELDS);

    out->domain = (struct domain){.click_id = true, .redirect_status = 302};
    out->domain.id = take_integer(&reader, 8);
    out->domain.workspace = take_integer(&reader, 8);
    out->domain.case_sensitive = take_integer(&reader, 1) != 0;
    out->domain.is_default = take_integer(&reader, 1) != 0;
    out->domain.host = take_field(&reader);
    if (!finish(&reader, "kudos.domains", error))
        return false;
    out->has_problem = out->domain.host.length == 0 || out->domain.host.length > LINK_HOST_MAX ||
                       (int64_t)out->domain.id <= 0;
    if (out->has_problem)
        error_set(&out->problem, "id or host out of range");
    return true;
}
