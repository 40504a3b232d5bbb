/* The link record, see link.h. A record is one packed little-endian header and three texts behind
 * it: slug, destination, fallback. It is written by sync and read by redirect and admin on the same
 * machine; a record that does not add up decodes to nothing, so that a damaged replica gives misses
 * and never a read past its end. */
#include "server/links/link.h"

#include <assert.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are copied as they are");

struct header {
    uint8_t version;
    uint8_t state;
    uint16_t redirect_status;
    uint32_t flags;
    uint64_t id;
    uint64_t workspace;
    uint64_t domain;
    uint64_t campaign;
    uint64_t influencer;
    uint64_t changed;
    int64_t starts_at_us;
    int64_t expires_at_us;
    uint32_t fragment_offset;
    uint16_t slug_length;
    uint16_t destination_length;
    uint16_t fallback_length;
    uint16_t reserved[3];
};

static_assert(sizeof(struct header) == 88, "the header has no hidden padding");
static_assert(sizeof(struct header) + LINK_SLUG_MAX + 2 * LINK_DESTINATION_MAX <= LINK_RECORD_MAX,
              "every link fits");

static unsigned char *put_text(unsigned char *out, struct text text)
{
    if (text.length > 0)
        memcpy(out, text.bytes, text.length);
    return out + text.length;
}

size_t link_encode(const struct link *link, unsigned char out[LINK_RECORD_MAX])
{
    struct header header = {
        .version = LINK_RECORD_VERSION,
        .state = link->state,
        .redirect_status = link->redirect_status,
        .flags = link->flags,
        .id = link->id,
        .workspace = link->workspace,
        .domain = link->domain,
        .campaign = link->campaign,
        .influencer = link->influencer,
        .changed = link->changed,
        .starts_at_us = link->starts_at_us,
        .expires_at_us = link->expires_at_us,
        .fragment_offset = link->fragment_offset,
        .slug_length = (uint16_t)link->slug.length,
        .destination_length = (uint16_t)link->destination.length,
        .fallback_length = (uint16_t)link->fallback.length,
    };
    unsigned char *end = out + sizeof header;

    assert(link->slug.length <= LINK_SLUG_MAX);
    assert(link->destination.length <= LINK_DESTINATION_MAX);
    assert(link->fallback.length <= LINK_DESTINATION_MAX);
    assert(link->fragment_offset <= link->destination.length);
    memcpy(out, &header, sizeof header);
    end = put_text(end, link->slug);
    end = put_text(end, link->destination);
    end = put_text(end, link->fallback);
    return (size_t)(end - out);
}

static struct text take_text(const unsigned char **from, size_t length)
{
    struct text text = {(const char *)*from, length};

    *from += length;
    return text;
}

bool link_decode(const unsigned char *bytes, size_t length, struct link *out)
{
    struct header header;
    const unsigned char *texts = bytes + sizeof header;

    if (length < sizeof header)
        return false;
    memcpy(&header, bytes, sizeof header);
    if (header.version != LINK_RECORD_VERSION || header.state > LINK_ARCHIVED ||
        header.slug_length > LINK_SLUG_MAX || header.destination_length > LINK_DESTINATION_MAX ||
        header.fallback_length > LINK_DESTINATION_MAX ||
        header.fragment_offset > header.destination_length)
        return false;
    if (length !=
        sizeof header + header.slug_length + header.destination_length + header.fallback_length)
        return false;
    *out = (struct link){
        .id = header.id,
        .workspace = header.workspace,
        .domain = header.domain,
        .campaign = header.campaign,
        .influencer = header.influencer,
        .changed = header.changed,
        .starts_at_us = header.starts_at_us,
        .expires_at_us = header.expires_at_us,
        .flags = header.flags,
        .fragment_offset = header.fragment_offset,
        .redirect_status = header.redirect_status,
        .state = header.state,
    };
    out->slug = take_text(&texts, header.slug_length);
    out->destination = take_text(&texts, header.destination_length);
    out->fallback = take_text(&texts, header.fallback_length);
    assert(texts == bytes + length);
    return true;
}
