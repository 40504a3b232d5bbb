/* The payload format, version 1.
 *
 *   u8  version, u8 kind (enum event_kind), then
 *   click: i64 time_us; varint link, domain, workspace, campaign, influencer; u64 visitor; varint
 *          flags, asn, status, route; u8 verdict, device, os, browser, app, medium, platform,
 *          variant; 2 bytes country; texts rule, referrer_host, language, region, city
 *   lost:  u64 episode, count; i64 from_us, until_us
 *   gap:   u64 first, last; text reason
 *   conversion: i64 time_us; varint workspace, source; u8 path, marks (1 verified, 2 token,
 *          4 signature); where marked, 32 bytes token_hash, 32 + 32 bytes digest and signature;
 *          varint length, so many bytes of told
 *
 *   u64, i64  8 bytes, little-endian
 *   varint    7 bits a byte, lowest first, all but the last with the high bit; as short as possible
 *   text      u8 length, that many bytes of UTF-8 without NUL
 *
 * The encoding is canonical: a payload that event_decode() accepts is what event_encode() makes of
 * the decoded event. A usual click takes some 80 bytes, which is what the journal, Redis and its
 * append-only file pay for each. Pure: no memory, no clock, no state. */
#include "server/clicks/event.h"

#include <assert.h>
#include <string.h>

#define CLICK_TEXTS      5
#define VARINT_MAX       10
#define CLICK_FIXED      (2 + 2 * 8 + 9 * VARINT_MAX + 8 + 2) /* at most */
#define REPLACEMENT      "\xEF\xBF\xBD"                       /* U+FFFD */
#define REPLACEMENT_SIZE 3

static_assert(EVENT_REFERRER_MAX <= 255 && EVENT_CITY_MAX <= 255 && EVENT_REASON_MAX <= 255,
              "a text's length is one byte");
static_assert(CLICK_FIXED + CLICK_TEXTS + EVENT_REFERRER_MAX + EVENT_LANGUAGE_MAX + EVENT_CITY_MAX +
                      EVENT_REGION_MAX + EVENT_RULE_MAX <=
                  EVENT_PAYLOAD_MAX,
              "every event fits");
#define CONVERSION_FIXED (2 + 8 + 3 * VARINT_MAX + 2 + 3 * EVENT_HASH_BYTES)
static_assert(CONVERSION_FIXED + EVENT_TOLD_MAX <= EVENT_PAYLOAD_MAX, "every conversion fits");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied as they are");

const char *verdict_name(enum verdict verdict)
{
    static const char names[VERDICT_COUNT][EVENT_CLASS_NAME_MAX] = {
        "human", "bot", "preview", "prefetch", "datacenter", "invalid", "internal"};

    return (unsigned)verdict < VERDICT_COUNT ? names[verdict] : "unknown";
}

const char *conversion_path_name(uint8_t path)
{
    static const char names[CONVERSION_PATHS][EVENT_CLASS_NAME_MAX] = {
        "", "postback", "pixel", "beacon", "shopify", "stripe", "woocommerce"};

    return path > 0 && path < CONVERSION_PATHS ? names[path] : NULL;
}

/* Whether a run of 8 bytes is ASCII without NUL. */
static bool is_plain(const unsigned char *bytes)
{
    uint64_t word;

    memcpy(&word, bytes, sizeof word);
    return ((word | (word - 0x0101010101010101u)) & 0x8080808080808080u) == 0;
}

/* Bytes of the UTF-8 character at `bytes`; 0 if there is none (RFC 3629), or it is NUL. */
static size_t character_length(const unsigned char *bytes, size_t left)
{
    unsigned lead = bytes[0], low = 0x80, high = 0xBF;
    size_t length = 0;

    if (lead < 0x80)
        return lead != 0;
    if (lead >= 0xC2 && lead <= 0xDF)
        length = 2;
    else if (lead >= 0xE0 && lead <= 0xEF)
        length = 3;
    else if (lead >= 0xF0 && lead <= 0xF4)
        length = 4;
    if (length == 0 || length > left)
        return 0;
    if (lead == 0xE0)
        low = 0xA0; /* no overlong forms … */
    else if (lead == 0xED)
        high = 0x9F; /* … no surrogates … */
    else if (lead == 0xF0)
        low = 0x90;
    else if (lead == 0xF4)
        high = 0x8F; /* … nothing above U+10FFFF */
    if (bytes[1] < low || bytes[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if ((bytes[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

/* The length of the longest start of `bytes` that is UTF-8 without NUL. */
static size_t clean_length(const unsigned char *bytes, size_t length)
{
    size_t at = 0, step;

    while (at < length) {
        if (length - at >= 8 && is_plain(bytes + at))
            step = 8;
        else if (bytes[at] - 1u < 0x7F) /* the rest is mostly a few letters */
            step = 1;
        else
            step = character_length(bytes + at, length - at);
        if (step == 0)
            break;
        at += step;
    }
    return at;
}

/* Copies what is dirty, or too long; the slow and rare path of put_text(). */
static size_t repair_text(const unsigned char *bytes, size_t length, size_t max, unsigned char *out)
{
    size_t used = 0;

    for (size_t at = 0; at < length;) {
        size_t step = character_length(bytes + at, length - at);
        size_t size = step ? step : REPLACEMENT_SIZE;

        if (used + size > max)
            break;
        memcpy(out + used, step ? (const void *)(bytes + at) : REPLACEMENT, size);
        used += size;
        at += step ? step : 1;
    }
    return used;
}

static unsigned char *put_text(unsigned char *out, struct text text, size_t max)
{
    const unsigned char *bytes = (const unsigned char *)text.bytes;
    size_t length = text.length;

    assert(bytes || length == 0);
    if (length <= max && clean_length(bytes, length) == length) {
        if (length)
            memcpy(out + 1, bytes, length);
    } else {
        length = repair_text(bytes, length, max, out + 1);
    }
    assert(length <= max);
    *out = (unsigned char)length;
    return out + 1 + length;
}

static unsigned char *put_u64(unsigned char *out, uint64_t value)
{
    memcpy(out, &value, sizeof value);
    return out + sizeof value;
}

static unsigned char *put_varint(unsigned char *out, uint64_t value)
{
    while (value >= 0x80) {
        *out++ = (unsigned char)(value | 0x80);
        value >>= 7;
    }
    *out++ = (unsigned char)value;
    return out;
}

static bool is_country(const char country[2])
{
    return country[0] >= 'A' && country[0] <= 'Z' && country[1] >= 'A' && country[1] <= 'Z';
}

static unsigned char *put_click(unsigned char *out, const struct click *click)
{
    const unsigned char classes[8] = {click->verdict,  click->device, click->os,
                                      click->browser,  click->app,    click->medium,
                                      click->platform, click->variant};

    assert(click->verdict < VERDICT_COUNT);
    out = put_u64(out, (uint64_t)click->time_us);
    out = put_varint(out, click->link);
    out = put_varint(out, click->domain);
    out = put_varint(out, click->workspace);
    out = put_varint(out, click->campaign);
    out = put_varint(out, click->influencer);
    out = put_u64(out, click->visitor);
    out = put_varint(out, click->flags);
    out = put_varint(out, click->asn);
    out = put_varint(out, click->status);
    out = put_varint(out, click->route);
    memcpy(out, classes, sizeof classes);
    out += sizeof classes;
    memcpy(out, is_country(click->country) ? click->country : "\0", 2);
    out = put_text(out + 2, click->rule, EVENT_RULE_MAX);
    out = put_text(out, click->referrer_host, EVENT_REFERRER_MAX);
    out = put_text(out, click->language, EVENT_LANGUAGE_MAX);
    out = put_text(out, click->region, EVENT_REGION_MAX);
    return put_text(out, click->city, EVENT_CITY_MAX);
}

enum conversion_mark { MARK_VERIFIED = 1, MARK_TOKEN = 2, MARK_SIGNATURE = 4, MARKS = 7 };

static const unsigned char no_hash[EVENT_HASH_BYTES];

static bool is_hash(const unsigned char hash[EVENT_HASH_BYTES])
{
    return memcmp(hash, no_hash, EVENT_HASH_BYTES) != 0;
}

static unsigned char *put_hash(unsigned char *out, const unsigned char hash[EVENT_HASH_BYTES])
{
    memcpy(out, hash, EVENT_HASH_BYTES);
    return out + EVENT_HASH_BYTES;
}

static unsigned char *put_conversion(unsigned char *out, const struct conversion *conversion)
{
    const struct text *told = &conversion->told;
    bool token = is_hash(conversion->token_hash);
    bool signature = is_hash(conversion->digest) && is_hash(conversion->signature);

    assert(conversion_path_name(conversion->path));
    assert(told->length > 0 && told->length <= EVENT_TOLD_MAX);
    assert(clean_length((const unsigned char *)told->bytes, told->length) == told->length);
    out = put_u64(out, (uint64_t)conversion->time_us);
    out = put_varint(out, conversion->workspace);
    out = put_varint(out, conversion->source);
    *out++ = conversion->path;
    *out++ = (unsigned char)((conversion->verified ? MARK_VERIFIED : 0) | (token ? MARK_TOKEN : 0) |
                             (signature ? MARK_SIGNATURE : 0));
    if (token)
        out = put_hash(out, conversion->token_hash);
    if (signature)
        out = put_hash(put_hash(out, conversion->digest), conversion->signature);
    out = put_varint(out, told->length);
    memcpy(out, told->bytes, told->length);
    return out + told->length;
}

size_t event_encode(const struct event *event, unsigned char out[EVENT_PAYLOAD_MAX])
{
    unsigned char *end = out + 2;

    out[0] = EVENT_VERSION;
    out[1] = (unsigned char)event->kind;
    switch (event->kind) {
    case EVENT_CLICK: end = put_click(end, &event->click); break;
    case EVENT_LOST:
        end = put_u64(end, event->lost.episode);
        end = put_u64(end, event->lost.count);
        end = put_u64(end, (uint64_t)event->lost.from_us);
        end = put_u64(end, (uint64_t)event->lost.until_us);
        break;
    case EVENT_GAP:
        end = put_u64(end, event->gap.first);
        end = put_u64(end, event->gap.last);
        end = put_text(end, event->gap.reason, EVENT_REASON_MAX);
        break;
    case EVENT_CONVERSION: end = put_conversion(end, &event->conversion); break;
    }
    assert(end > out + 2 && end <= out + EVENT_PAYLOAD_MAX);
    return (size_t)(end - out);
}

/* What is left to decode. `bytes` becomes NULL once something did not fit; every later get_…()
 * then answers zero, so that only the end needs a check. */
struct source {
    const unsigned char *bytes;
    size_t left;
};

static void get_bytes(struct source *source, void *out, size_t size)
{
    if (!source->bytes || source->left < size) {
        source->bytes = NULL;
        memset(out, 0, size);
        return;
    }
    memcpy(out, source->bytes, size);
    source->bytes += size;
    source->left -= size;
}

static uint64_t get_u64(struct source *source)
{
    uint64_t value;

    get_bytes(source, &value, sizeof value);
    return value;
}

/* A varint of at most `max`, in its shortest form. */
static uint64_t get_varint(struct source *source, uint64_t max)
{
    uint64_t value = 0;
    unsigned char byte;

    for (unsigned shift = 0; shift < 7 * VARINT_MAX; shift += 7) {
        get_bytes(source, &byte, 1);
        if (shift == 63 && byte > 1)
            break; /* more than 64 bits */
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte & 0x80)
            continue;
        if ((byte == 0 && shift > 0) || value > max)
            break;
        return source->bytes ? value : 0;
    }
    source->bytes = NULL;
    return 0;
}

static struct text get_text(struct source *source, size_t max)
{
    struct text text = {NULL, 0};
    unsigned char length;

    get_bytes(source, &length, 1);
    if (!source->bytes || length > max || length > source->left ||
        clean_length(source->bytes, length) != length) {
        source->bytes = NULL;
        return text;
    }
    text.bytes = (const char *)source->bytes;
    text.length = length;
    source->bytes += length;
    source->left -= length;
    return text;
}

static void get_click(struct source *source, struct click *out)
{
    unsigned char classes[8];

    out->time_us = (int64_t)get_u64(source);
    out->link = get_varint(source, UINT64_MAX);
    out->domain = get_varint(source, UINT64_MAX);
    out->workspace = get_varint(source, UINT64_MAX);
    out->campaign = get_varint(source, UINT64_MAX);
    out->influencer = get_varint(source, UINT64_MAX);
    out->visitor = get_u64(source);
    out->flags = (uint32_t)get_varint(source, UINT32_MAX);
    out->asn = (uint32_t)get_varint(source, UINT32_MAX);
    out->status = (uint16_t)get_varint(source, UINT16_MAX);
    out->route = (uint16_t)get_varint(source, UINT16_MAX);
    get_bytes(source, classes, sizeof classes);
    out->verdict = classes[0];
    out->device = classes[1];
    out->os = classes[2];
    out->browser = classes[3];
    out->app = classes[4];
    out->medium = classes[5];
    out->platform = classes[6];
    out->variant = classes[7];
    get_bytes(source, out->country, 2);
    out->rule = get_text(source, EVENT_RULE_MAX);
    out->referrer_host = get_text(source, EVENT_REFERRER_MAX);
    out->language = get_text(source, EVENT_LANGUAGE_MAX);
    out->region = get_text(source, EVENT_REGION_MAX);
    out->city = get_text(source, EVENT_CITY_MAX);
    if (out->verdict >= VERDICT_COUNT ||
        (!is_country(out->country) && memcmp(out->country, "\0", 2) != 0))
        source->bytes = NULL;
}

static void get_lost(struct source *source, struct lost *out)
{
    out->episode = get_u64(source);
    out->count = get_u64(source);
    out->from_us = (int64_t)get_u64(source);
    out->until_us = (int64_t)get_u64(source);
}

static void get_gap(struct source *source, struct gap *out)
{
    out->first = get_u64(source);
    out->last = get_u64(source);
    out->reason = get_text(source, EVENT_REASON_MAX);
    if (out->first == 0 || out->last < out->first)
        source->bytes = NULL;
}

/* A hash that is marked as present, and so is not zero. */
static void get_hash(struct source *source, bool present, unsigned char out[EVENT_HASH_BYTES])
{
    memset(out, 0, EVENT_HASH_BYTES);
    if (!present)
        return;
    get_bytes(source, out, EVENT_HASH_BYTES);
    if (!is_hash(out))
        source->bytes = NULL;
}

static void get_conversion(struct source *source, struct conversion *out)
{
    unsigned char head[2];
    size_t length;

    out->time_us = (int64_t)get_u64(source);
    out->workspace = get_varint(source, UINT64_MAX);
    out->source = get_varint(source, UINT64_MAX);
    get_bytes(source, head, sizeof head);
    out->path = head[0];
    out->verified = head[1] & MARK_VERIFIED;
    get_hash(source, head[1] & MARK_TOKEN, out->token_hash);
    get_hash(source, head[1] & MARK_SIGNATURE, out->digest);
    get_hash(source, head[1] & MARK_SIGNATURE, out->signature);
    length = get_varint(source, EVENT_TOLD_MAX);
    if (!conversion_path_name(head[0]) || head[1] > MARKS || length == 0 || length > source->left ||
        !source->bytes || clean_length(source->bytes, length) != length) {
        source->bytes = NULL;
        return;
    }
    out->told = (struct text){(const char *)source->bytes, length};
    source->bytes += length;
    source->left -= length;
}

bool event_decode(const unsigned char *bytes, size_t length, struct event *out, struct error *error)
{
    struct source source = {bytes, length};
    unsigned char head[2];

    get_bytes(&source, head, sizeof head);
    if (source.bytes && head[0] != EVENT_VERSION)
        return error_set(error, "payload of unknown version %u", head[0]);
    out->kind = (enum event_kind)head[1];
    switch (head[1]) {
    case EVENT_CLICK: get_click(&source, &out->click); break;
    case EVENT_LOST: get_lost(&source, &out->lost); break;
    case EVENT_GAP: get_gap(&source, &out->gap); break;
    case EVENT_CONVERSION: get_conversion(&source, &out->conversion); break;
    default: return error_set(error, "payload of unknown kind %u", head[1]);
    }
    if (!source.bytes)
        return error_set(error, "malformed payload of kind %u (%zu bytes)", head[1], length);
    if (source.left)
        return error_set(error, "%zu bytes behind a payload of kind %u", source.left, head[1]);
    return true;
}
