/* Binary COPY rows; see copy.h. The order of fields here is that of copy_sql(), which is that of
 * the table, so that PostgreSQL need not reorder. */
#include "server/clicks/copy.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "server/visitor/classes.h"

#define COPY_FIELDS      27
#define COPY_TOLD_FIELDS 11
#define JSONB_VERSION    1

/* Microseconds from 1970 to 2000, where PostgreSQL's time begins. */
#define POSTGRES_EPOCH_US 946684800000000LL

static_assert(EVENT_RULE_MAX + EVENT_REFERRER_MAX + EVENT_LANGUAGE_MAX + EVENT_REGION_MAX +
                      EVENT_CITY_MAX + 7 * EVENT_CLASS_NAME_MAX + COPY_FIELDS * (4 + 8) + 2 <=
                  COPY_ROW_MAX,
              "a row fits, whatever its texts");

void copy_sql(const char *table, char out[COPY_SQL_MAX])
{
    int length = snprintf(
        out, COPY_SQL_MAX,
        "copy %s (origin, seq, time, link_id, domain_id, workspace_id, campaign_id, influencer_id,"
        " visitor, asn, verdict, device, medium, route, status, flags, variant, rule, os, browser,"
        " app, platform, referrer_host, language, country, region, city)"
        " from stdin (format binary)",
        table);

    assert(length > 0 && length < COPY_SQL_MAX);
}

void copy_header(unsigned char out[COPY_HEADER_BYTES])
{
    static const unsigned char header[COPY_HEADER_BYTES] = {'P',  'G',  'C',  'O',  'P', 'Y',
                                                            '\n', 0xff, '\r', '\n', 0};

    memcpy(out, header, sizeof header);
}

void copy_trailer(unsigned char out[COPY_TRAILER_BYTES])
{
    memset(out, 0xff, COPY_TRAILER_BYTES);
}

int64_t copy_time_us(int64_t time_us, int64_t now_us)
{
    /* now_us - time_us could overflow for a damaged time; the sum cannot. */
    return time_us > now_us + COPY_AHEAD_MAX_US ? now_us : time_us;
}

static unsigned char *put_null(unsigned char *out)
{
    memset(out, 0xff, 4);
    return out + 4;
}

static unsigned char *put_length(unsigned char *out, size_t length)
{
    uint32_t big = htobe32((uint32_t)length);

    memcpy(out, &big, sizeof big);
    return out + sizeof big;
}

static unsigned char *put_int64(unsigned char *out, uint64_t value)
{
    uint64_t big = htobe64(value);

    out = put_length(out, sizeof big);
    memcpy(out, &big, sizeof big);
    return out + sizeof big;
}

/* 0 stands for none. */
static unsigned char *put_id(unsigned char *out, uint64_t value)
{
    return value ? put_int64(out, value) : put_null(out);
}

static unsigned char *put_int32(unsigned char *out, uint32_t value)
{
    uint32_t big = htobe32(value);

    out = put_length(out, sizeof big);
    memcpy(out, &big, sizeof big);
    return out + sizeof big;
}

static unsigned char *put_int16(unsigned char *out, uint16_t value)
{
    uint16_t big = htobe16(value);

    out = put_length(out, sizeof big);
    memcpy(out, &big, sizeof big);
    return out + sizeof big;
}

static unsigned char *put_text(unsigned char *out, const char *bytes, size_t length)
{
    if (length == 0)
        return put_null(out);
    out = put_length(out, length);
    memcpy(out, bytes, length);
    return out + length;
}

static unsigned char *put_name(unsigned char *out, const char *name)
{
    return put_text(out, name, strlen(name));
}

/* A class by its name; null when it is unknown, also to this release. */
static unsigned char *put_class(unsigned char *out, uint8_t number, const char *(*name)(uint8_t))
{
    const char *text = number == CLASS_UNKNOWN ? NULL : name(number);

    return text && strcmp(text, "unknown") != 0 ? put_name(out, text) : put_null(out);
}

static unsigned char *put_time(unsigned char *out, int64_t time_us)
{
    /* The smallest number would mean -infinity; what is near it is refused as out of range. */
    if (time_us < INT64_MIN + 1 + POSTGRES_EPOCH_US)
        time_us = INT64_MIN + 1 + POSTGRES_EPOCH_US;
    return put_int64(out, (uint64_t)(time_us - POSTGRES_EPOCH_US));
}

static unsigned char *put_numbers(unsigned char *out, const struct click *click, uint32_t flags)
{
    out = put_int64(out, click->link);
    out = put_int64(out, click->domain);
    out = put_int64(out, click->workspace);
    out = put_id(out, click->campaign);
    out = put_id(out, click->influencer);
    out = put_id(out, click->visitor);
    out = put_id(out, click->asn);
    out = put_name(out, verdict_name((enum verdict)click->verdict));
    out = put_class(out, click->device, device_name);
    out = put_class(out, click->medium, medium_name);
    out = click->route ? put_int32(out, click->route) : put_null(out);
    out = put_int16(out, click->status);
    out = put_int16(out, (uint16_t)flags);
    return click->variant ? put_int16(out, click->variant) : put_null(out);
}

static unsigned char *put_texts(unsigned char *out, const struct click *click)
{
    out = put_text(out, click->rule.bytes, click->rule.length);
    out = put_class(out, click->os, os_name);
    out = put_class(out, click->browser, browser_name);
    out = put_class(out, click->app, app_name);
    out = put_class(out, click->platform, platform_name);
    out = put_text(out, click->referrer_host.bytes, click->referrer_host.length);
    out = put_text(out, click->language.bytes, click->language.length);
    out = put_text(out, click->country, click->country[0] ? sizeof click->country : 0);
    out = put_text(out, click->region.bytes, click->region.length);
    return put_text(out, click->city.bytes, click->city.length);
}

size_t copy_row(uint64_t origin, uint64_t seq, const struct click *click, int64_t now_us,
                unsigned char out[COPY_ROW_MAX])
{
    int64_t time_us = copy_time_us(click->time_us, now_us);
    uint32_t flags = click->flags | (time_us == click->time_us ? 0 : CLICK_CLAMPED);
    uint16_t fields = htobe16(COPY_FIELDS);
    unsigned char *end = out;

    assert(origin != 0 && seq != 0);
    memcpy(end, &fields, sizeof fields);
    end = put_int64(end + sizeof fields, origin);
    end = put_int64(end, seq);
    end = put_time(end, time_us);
    end = put_numbers(end, click, flags);
    end = put_texts(end, click);
    assert(end - out <= COPY_ROW_MAX);
    return (size_t)(end - out);
}

void copy_told_sql(char out[COPY_SQL_MAX])
{
    snprintf(out, COPY_SQL_MAX,
             "copy kudos.conversion_inbox (origin, seq, received_at, workspace_id, source_id, path,"
             " verified, token_hash, digest, signature, told) from stdin (format binary)");
}

static unsigned char *put_hash(unsigned char *out, const unsigned char hash[EVENT_HASH_BYTES])
{
    static const unsigned char none[EVENT_HASH_BYTES];

    if (memcmp(hash, none, EVENT_HASH_BYTES) == 0)
        return put_null(out);
    return put_text(out, (const char *)hash, EVENT_HASH_BYTES);
}

size_t copy_told_row(uint64_t origin, uint64_t seq, const struct conversion *conversion,
                     int64_t now_us, unsigned char out[COPY_TOLD_ROW_MAX])
{
    const struct text *told = &conversion->told;
    uint16_t fields = htobe16(COPY_TOLD_FIELDS);
    unsigned char *end = out;

    assert(origin != 0 && seq != 0 && told->length <= EVENT_TOLD_MAX);
    memcpy(end, &fields, sizeof fields);
    end = put_int64(end + sizeof fields, origin);
    end = put_int64(end, seq);
    end = put_time(end, copy_time_us(conversion->time_us, now_us));
    end = put_id(end, conversion->workspace);
    end = put_id(end, conversion->source);
    end = put_name(end, conversion_path_name(conversion->path));
    end = put_length(end, 1);
    *end++ = conversion->verified;
    end = put_hash(end, conversion->token_hash);
    end = put_hash(end, conversion->digest);
    end = put_hash(end, conversion->signature);
    end = put_length(end, 1 + told->length);
    *end++ = JSONB_VERSION;
    memcpy(end, told->bytes, told->length);
    end += told->length;
    assert(end - out <= COPY_TOLD_ROW_MAX);
    return (size_t)(end - out);
}
