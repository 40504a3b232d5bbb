/* Rows of PostgreSQL's binary COPY; see row.h. The format is that of the PostgreSQL manual (COPY,
 * File Formats): a tuple is a count of fields and for each its length (-1: null) and bytes, numbers
 * big-endian; times are microseconds since 2000-01-01; jsonb is a 1 and its text. Every read is
 * checked against the end. */
#include "server/links/row.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

#define HEADER_BYTES   19 /* signature, flags, length of the (empty) extension */
#define EPOCH_2000_US  INT64_C(946684800000000)
#define LINK_FIELDS    26
#define LINK_ID_FIELDS 3
#define DOMAIN_FIELDS  12

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

/* The text of a jsonb; NULL bytes for null. */
static struct text take_json(struct reader *reader)
{
    struct text field = take_field(reader);

    if (!field.bytes)
        return field;
    if (field.length < 2 || field.bytes[0] != 1)
        reader->bad = true;
    return (struct text){field.bytes + 1, field.length - 1};
}

/* A boolean, or `missing` for null. */
static int take_boolean(struct reader *reader, int missing)
{
    struct text field = take_field(reader);

    if (!field.bytes)
        return missing;
    reader->bad = reader->bad || field.length != 1;
    return field.length == 1 && field.bytes[0] != 0;
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

static void add_note(bool *has_note, struct error *note, const char *what, const char *reason)
{
    if (!*has_note)
        error_set(note, "%s: %s", what, reason);
    *has_note = true;
}

/* UTM parameters, as JSON: what the link says overrides what its campaign says, null takes out. */
static void read_utm(struct link_row *row, struct text json, struct target_values *values)
{
    json_t *object = json_loadb(json.bytes, json.length, 0, NULL);

    for (int i = 0; object && i < TARGET_UTM_COUNT; i++) {
        const char *name = target_utm_names[i] + strlen("utm_");
        const json_t *value = json_object_get(object, name);
        size_t length = json_string_length(value);

        if (!value)
            continue;
        length = length < TARGET_UTM_MAX ? length : TARGET_UTM_MAX;
        memcpy(row->utm[i], length ? json_string_value(value) : "", length);
        values->utm[i] = (struct text){row->utm[i], length};
    }
    json_decref(object);
}

/* Stored destinations are normalised already; whoever wrote past the API may have stored anything,
 * and a line break in a Location header would be an answer of somebody else's making. What is too
 * long once everything is filled in is served with nothing filled in. */
static bool compile_target(struct link_row *row, const char *what, struct text url,
                           const struct target_values *values, struct target *out)
{
    static const struct target_values nothing;
    struct error error;

    if (target_compile(url, values, out, &error))
        return true;
    if (!target_compile(url, &nothing, out, &row->problem))
        return error_prefix(&row->problem, "%s", what);
    add_note(&row->has_note, &row->note, what, error.text);
    return true;
}

/* What a link is compiled from besides its own columns. */
struct link_source {
    struct text destination, fallback, rules, utm, campaign_utm, influencer_name, influencer_url;
    struct text handle;
    struct target_values values;
};

static bool set_destinations(struct link_row *row, struct link_source *source)
{
    struct link *link = &row->link;

    if (!compile_target(row, "destination", source->destination, &source->values,
                        &row->destination))
        return false;
    link->destination = (struct text){row->destination.url, row->destination.length};
    link->fragment_offset = (uint32_t)row->destination.fragment_offset;
    link->flags |= row->destination.has_query ? LINK_HAS_QUERY : 0;
    link->flags |= row->destination.is_template ? LINK_TEMPLATE : 0;
    if (!source->fallback.bytes)
        return true;
    memset(source->values.utm, 0, sizeof source->values.utm); /* nobody's traffic any more */
    if (!compile_target(row, "fallback", source->fallback, &source->values, &row->fallback))
        return false;
    link->fallback = (struct text){row->fallback.url, row->fallback.length};
    link->flags |= row->fallback.is_template ? LINK_FALLBACK_TEMPLATE : 0;
    return true;
}

/* A link whose rules do not compile goes on leading to its destination. */
static void set_rules(struct link_row *row, const struct link_source *source)
{
    struct rules_problem problem;
    int length;

    if (!source->rules.bytes)
        return;
    length = rules_compile(source->rules, &source->values, NULL, NULL, row->rules, &problem);
    if (length >= 0) {
        row->link.rules = (struct text){(const char *)row->rules, (size_t)length};
        return;
    }
    error_prefix(&problem.error, "%s", problem.pointer);
    add_note(&row->has_note, &row->note, "rules", problem.error.text);
}

/* The profile is shown as a link on a page of ours: nothing but http and https. */
static void set_names(struct link_row *row, const struct link_source *source)
{
    struct link *link = &row->link;
    struct error error;
    struct text url = source->influencer_url;

    link->influencer_name =
        source->influencer_name.length ? source->influencer_name : source->handle;
    if (link->campaign_name.length > LINK_NAME_MAX)
        link->campaign_name = (struct text){NULL, 0};
    if (link->influencer_name.length > LINK_NAME_MAX)
        link->influencer_name = (struct text){NULL, 0};
    if (!url.bytes)
        return;
    if (!destination_parse(url.bytes, url.length, &row->profile, &error))
        add_note(&row->has_note, &row->note, "profile of the influencer", error.text);
    else if (row->profile.length <= LINK_PROFILE_MAX)
        link->influencer_url = (struct text){row->profile.url, row->profile.length};
}

static bool compile_link(struct link_row *row, struct link_source *source)
{
    if (source->campaign_utm.bytes)
        read_utm(row, source->campaign_utm, &source->values);
    if (source->utm.bytes)
        read_utm(row, source->utm, &source->values);
    source->values.handle = source->handle;
    source->values.slug = row->link.slug;
    set_rules(row, source);
    set_names(row, source);
    return set_destinations(row, source);
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
    else if (status != 0 && status != 301 && status != 302 && status != 307 && status != 308)
        error_set(&row->problem, "redirect_status %u", status);
    else
        return true;
    return false;
}

static void take_flags(struct reader *reader, struct link *link)
{
    int click_id;

    link->redirect_status = (uint16_t)take_integer(reader, 2);
    link->flags |= take_boolean(reader, 0) ? LINK_PASS_QUERY : 0;
    click_id = take_boolean(reader, -1);
    link->flags |= click_id < 0 ? LINK_CLICK_ID_INHERITED : click_id == 0 ? LINK_NO_CLICK_ID : 0;
    link->flags |= take_boolean(reader, 0) ? LINK_USED_UP : 0;
}

static void take_source(struct reader *reader, struct link_row *row, struct link_source *source)
{
    source->destination = take_field(reader);
    source->fallback = take_field(reader);
    source->rules = take_json(reader);
    source->utm = take_json(reader);
    source->campaign_utm = take_json(reader);
    source->values.campaign = take_field(reader);
    row->link.campaign_name = take_field(reader);
    source->handle = take_field(reader);
    source->influencer_name = take_field(reader);
    source->influencer_url = take_field(reader);
    source->values.code = take_field(reader);
}

/* What the row itself leaves out. */
static void take_relations(const struct relations *relations, struct link_row *row,
                           struct link_source *source)
{
    struct relation campaign, influencer;

    relations_find(relations, RELATION_CAMPAIGN, row->link.campaign, &campaign);
    relations_find(relations, RELATION_INFLUENCER, row->link.influencer, &influencer);
    source->campaign_utm = campaign.of[0];
    source->values.campaign = campaign.of[1];
    row->link.campaign_name = campaign.of[2];
    source->handle = influencer.of[0];
    source->influencer_name = influencer.of[1];
    source->influencer_url = influencer.of[2];
}

bool row_link(struct text tuple, const struct relations *relations, struct link_row *out,
              struct error *error)
{
    struct reader reader = reader_of(tuple, LINK_FIELDS);
    struct link_source source = {.values = {.handle = {NULL, 0}}};
    struct text state;
    bool good;

    out->link = (struct link){0};
    out->has_note = false;
    out->link.id = take_integer(&reader, 8);
    out->link.workspace = take_integer(&reader, 8);
    out->link.domain = take_integer(&reader, 8);
    out->link.campaign = take_integer(&reader, 8);
    out->link.influencer = take_integer(&reader, 8);
    out->link.changed = take_integer(&reader, 8);
    take_flags(&reader, &out->link);
    state = take_field(&reader);
    out->link.starts_at_us = take_time(&reader);
    out->link.expires_at_us = take_time(&reader);
    out->link.slug = take_field(&reader);
    out->slug_key = take_field(&reader);
    take_source(&reader, out, &source);
    if (!finish(&reader, "kudos.links", error))
        return false;
    if (relations)
        take_relations(relations, out, &source);
    good = check_link(out) && set_state(out, state) && compile_link(out, &source);
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

/* A URL that is none is left out: the domain's links go on. */
static struct text domain_url(struct domain_row *row, const char *what, struct text url,
                              struct destination *out)
{
    struct error error;

    if (!url.bytes)
        return (struct text){NULL, 0};
    if (destination_parse(url.bytes, url.length, out, &error))
        return (struct text){out->url, out->length};
    add_note(&row->has_note, &row->note, what, error.text);
    return (struct text){NULL, 0};
}

static struct text domain_json(struct domain_row *row, const char *what, struct text json)
{
    if (json.length <= DOMAIN_JSON_MAX)
        return json;
    add_note(&row->has_note, &row->note, what, "too long");
    return (struct text){NULL, 0};
}

bool row_domain(struct text tuple, struct domain_row *out, struct error *error)
{
    struct reader reader = reader_of(tuple, DOMAIN_FIELDS);
    struct domain *domain = &out->domain;

    *domain = (struct domain){0};
    out->has_note = false;
    domain->id = take_integer(&reader, 8);
    domain->workspace = take_integer(&reader, 8);
    domain->case_sensitive = take_boolean(&reader, 0);
    domain->is_default = take_boolean(&reader, 0);
    domain->click_id = take_boolean(&reader, 1);
    domain->redirect_status = (uint16_t)take_integer(&reader, 2);
    domain->host = take_field(&reader);
    domain->root_destination = domain_url(out, "root_destination", take_field(&reader), &out->root);
    domain->not_found_destination =
        domain_url(out, "not_found_destination", take_field(&reader), &out->not_found);
    domain->fallback = domain_url(out, "fallback", take_field(&reader), &out->fallback);
    domain->app_site_association = domain_json(out, "app_site_association", take_field(&reader));
    domain->assetlinks = domain_json(out, "assetlinks", take_field(&reader));
    if (!finish(&reader, "kudos.domains", error))
        return false;
    out->has_problem =
        domain->host.length == 0 || domain->host.length > LINK_HOST_MAX || (int64_t)domain->id <= 0;
    if (out->has_problem)
        error_set(&out->problem, "id or host out of range");
    return true;
}

bool row_relation(struct text tuple, uint64_t *id, struct relation *out, struct error *error)
{
    struct reader reader = reader_of(tuple, 1 + RELATION_TEXTS);

    *id = take_integer(&reader, 8);
    for (int i = 0; i < RELATION_TEXTS; i++)
        out->of[i] = take_field(&reader);
    return finish(&reader, "what links belong to", error);
}
