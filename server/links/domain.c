/* The domain record, see domain.h: a packed little-endian header and six texts behind it. */
#include "server/links/domain.h"

#include <assert.h>
#include <string.h>

#include "server/links/record.h"

#define TEXT_COUNT 6

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are copied as they are");

struct header {
    uint64_t id;
    uint64_t workspace;
    uint8_t case_sensitive;
    uint8_t is_default;
    uint8_t click_id;
    uint8_t reserved;
    uint16_t redirect_status;
    uint16_t lengths[TEXT_COUNT];
    uint16_t reserved2[3];
};

static const size_t maxima[TEXT_COUNT] = {DOMAIN_HOST_MAX,        DOMAIN_DESTINATION_MAX,
                                          DOMAIN_DESTINATION_MAX, DOMAIN_DESTINATION_MAX,
                                          DOMAIN_JSON_MAX,        DOMAIN_JSON_MAX};

static_assert(sizeof(struct header) == 40, "the header has no hidden padding");
static_assert(DOMAIN_JSON_MAX <= UINT16_MAX, "lengths have two bytes");
static_assert(sizeof(struct header) + DOMAIN_HOST_MAX + 3 * DOMAIN_DESTINATION_MAX +
                      2 * DOMAIN_JSON_MAX <=
                  DOMAIN_RECORD_MAX,
              "every domain fits");

/* The texts in the order of the record. */
static void texts_of(struct domain *domain, struct text *out[TEXT_COUNT])
{
    struct text *texts[TEXT_COUNT] = {
        &domain->host,     &domain->root_destination,     &domain->not_found_destination,
        &domain->fallback, &domain->app_site_association, &domain->assetlinks};

    memcpy(out, texts, sizeof texts);
}

size_t domain_encode(const struct domain *domain, unsigned char out[DOMAIN_RECORD_MAX])
{
    struct header header = {
        .id = domain->id,
        .workspace = domain->workspace,
        .case_sensitive = domain->case_sensitive,
        .is_default = domain->is_default,
        .click_id = domain->click_id,
        .redirect_status = domain->redirect_status,
    };
    struct domain copy = *domain;
    struct text *texts[TEXT_COUNT];
    size_t length = sizeof header;

    texts_of(&copy, texts);
    length = record_put_texts(out, length, texts, maxima, TEXT_COUNT, header.lengths);
    memcpy(out, &header, sizeof header);
    return length;
}

bool domain_decode(const unsigned char *bytes, size_t length, struct domain *out)
{
    struct header header;
    struct text *texts[TEXT_COUNT];

    if (length < sizeof header)
        return false;
    memcpy(&header, bytes, sizeof header);
    *out = (struct domain){
        .id = header.id,
        .workspace = header.workspace,
        .case_sensitive = header.case_sensitive != 0,
        .is_default = header.is_default != 0,
        .click_id = header.click_id != 0,
        .redirect_status = header.redirect_status,
    };
    texts_of(out, texts);
    return record_take_texts(bytes, length, sizeof header, header.lengths, maxima, TEXT_COUNT,
                             texts);
}
