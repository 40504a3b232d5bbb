/* The link record, see link.h. A record is one packed little-endian header and its texts behind
 * it, in the order of struct link. It is written by sync and read by redirect and admin on the same
 * machine; a record that does not add up decodes to nothing, so that a damaged replica gives misses
 * and never a read past its end. */
#include "server/links/link.h"

#include <assert.h>
#include <string.h>

#include "server/links/record.h"

#define TEXT_COUNT 7

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
    uint16_t lengths[TEXT_COUNT];
    uint16_t reserved[3];
};

static const size_t maxima[TEXT_COUNT] = {
    LINK_SLUG_MAX, LINK_DESTINATION_MAX, LINK_DESTINATION_MAX, LINK_RULES_MAX,
    LINK_NAME_MAX, LINK_NAME_MAX,        LINK_PROFILE_MAX};

static_assert(sizeof(struct header) == 96, "the header has no hidden padding");
static_assert(sizeof(struct header) + LINK_SLUG_MAX + 2 * LINK_DESTINATION_MAX + LINK_RULES_MAX +
                      2 * LINK_NAME_MAX + LINK_PROFILE_MAX <=
                  LINK_RECORD_MAX,
              "every link fits");

/* The texts in the order of the record. */
static void texts_of(struct link *link, struct text *out[TEXT_COUNT])
{
    struct text *texts[TEXT_COUNT] = {
        &link->slug,          &link->destination,     &link->fallback,      &link->rules,
        &link->campaign_name, &link->influencer_name, &link->influencer_url};

    memcpy(out, texts, sizeof texts);
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
    };
    struct link copy = *link;
    struct text *texts[TEXT_COUNT];
    size_t length = sizeof header;

    assert(link->fragment_offset <= link->destination.length);
    texts_of(&copy, texts);
    length = record_put_texts(out, length, texts, maxima, TEXT_COUNT, header.lengths);
    memcpy(out, &header, sizeof header);
    return length;
}

bool link_decode(const unsigned char *bytes, size_t length, struct link *out)
{
    struct header header;
    struct text *texts[TEXT_COUNT];

    if (length < sizeof header)
        return false;
    memcpy(&header, bytes, sizeof header);
    if (header.version != LINK_RECORD_VERSION || header.state > LINK_ARCHIVED)
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
    texts_of(out, texts);
    return record_take_texts(bytes, length, sizeof header, header.lengths, maxima, TEXT_COUNT,
                             texts) &&
           out->fragment_offset <= out->destination.length;
}
