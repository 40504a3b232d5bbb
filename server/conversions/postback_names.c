/* See postback_names.h. Pure. */
#include "server/conversions/postback_names.h"

#include <assert.h>
#include <string.h>

#define WORD_MAX 32

struct word {
    const char *word; /* lower case, without '_' and '-' */
    int means;
};

static const struct word names[] = {
    {"event", MEMBER_EVENT},
    {"eventname", MEMBER_EVENT},
    {"goal", MEMBER_EVENT},
    {"orderid", MEMBER_ORDER},
    {"order", MEMBER_ORDER},
    {"orderref", MEMBER_ORDER},
    {"transactionid", MEMBER_ORDER},
    {"refundid", MEMBER_REFUND},
    {"externalid", MEMBER_EXTERNAL},
    {"eventid", MEMBER_EXTERNAL},
    {"conversionid", MEMBER_EXTERNAL},
    {"clickid", MEMBER_CLICK},
    {"cid", MEMBER_CLICK},
    {"txid", MEMBER_CLICK},
    {"subid", MEMBER_CLICK},
    {"kudosid", MEMBER_CLICK},
    {"clickids", MEMBER_CLICKS},
    {"code", MEMBER_CODE},
    {"coupon", MEMBER_CODE},
    {"couponcode", MEMBER_CODE},
    {"promocode", MEMBER_CODE},
    {"discountcode", MEMBER_CODE},
    {"voucher", MEMBER_CODE},
    {"customer", MEMBER_CUSTOMER},
    {"customerid", MEMBER_CUSTOMER},
    {"email", MEMBER_CUSTOMER},
    {"currency", MEMBER_CURRENCY},
    {"currencycode", MEMBER_CURRENCY},
    {"amount", MEMBER_AMOUNT},
    {"value", MEMBER_AMOUNT},
    {"revenue", MEMBER_AMOUNT},
    {"saleamount", MEMBER_AMOUNT},
    {"total", MEMBER_AMOUNT},
    {"amountminor", MEMBER_MINOR},
    {"amountcents", MEMBER_MINOR},
    {"payout", MEMBER_PAYOUT},
    {"occurredat", MEMBER_OCCURRED},
    {"timestamp", MEMBER_OCCURRED},
    {"time", MEMBER_OCCURRED},
    {"items", MEMBER_ITEMS},
    {"metadata", MEMBER_METADATA},
    {"status", MEMBER_STATUS},
    {"token", MEMBER_TOKEN},
    {"source", MEMBER_SOURCE},
    {"sourceid", MEMBER_SOURCE},
    {"signature", MEMBER_SIGNATURE},
};

static const struct word statuses[] = {
    {"approved", STATUS_APPROVED},   {"accepted", STATUS_APPROVED},  {"confirmed", STATUS_APPROVED},
    {"completed", STATUS_APPROVED},  {"complete", STATUS_APPROVED},  {"paid", STATUS_APPROVED},
    {"success", STATUS_APPROVED},    {"valid", STATUS_APPROVED},     {"pending", STATUS_PENDING},
    {"open", STATUS_PENDING},        {"hold", STATUS_PENDING},       {"onhold", STATUS_PENDING},
    {"new", STATUS_PENDING},         {"rejected", STATUS_REJECTED},  {"declined", STATUS_REJECTED},
    {"canceled", STATUS_REJECTED},   {"cancelled", STATUS_REJECTED}, {"reversed", STATUS_REJECTED},
    {"chargeback", STATUS_REJECTED}, {"void", STATUS_REJECTED},      {"invalid", STATUS_REJECTED},
};

static const struct {
    const char *word, *event;
} events[] = {
    {"purchase", "sale"},       {"order", "sale"},          {"conversion", "sale"},
    {"registration", "signup"}, {"register", "signup"},     {"sign_up", "signup"},
    {"signup", "signup"},       {"app_install", "install"},
};

/* Lower case, without '_' and '-'; false if it is too long to be known. */
static bool plain(struct text text, char out[WORD_MAX + 1])
{
    size_t length = 0;

    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] == '_' || text.bytes[i] == '-')
            continue;
        if (length == WORD_MAX)
            return false;
        out[length++] = ascii_lower(text.bytes[i]);
    }
    out[length] = '\0';
    return length > 0 && memchr(out, '\0', length) == NULL;
}

static int look_up(const struct word *words, size_t count, struct text text, int otherwise)
{
    char word[WORD_MAX + 1];

    if (!plain(text, word))
        return otherwise;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i].word, word) == 0)
            return words[i].means;
    }
    return otherwise;
}

enum postback_member postback_member_of(struct text name, const char *click_id_param)
{
    if (text_same(name, (struct text){click_id_param, strlen(click_id_param)}))
        return MEMBER_CLICK;
    return (enum postback_member)look_up(names, sizeof names / sizeof names[0], name,
                                         MEMBER_UNKNOWN);
}

const char *postback_member_name(enum postback_member member)
{
    static const char *const members[MEMBER_COUNT] = {
        "event",    "order_id", "refund_id",    "external_id", "click_id",  "code",  "customer",
        "currency", "amount",   "amount_minor", "occurred_at", "click_ids", "items", "metadata",
        "payout",   "status",   "token",        "source",      "signature"};

    assert((unsigned)member < MEMBER_COUNT);
    return members[member];
}

enum postback_status postback_status_of(struct text word)
{
    return (enum postback_status)look_up(statuses, sizeof statuses / sizeof statuses[0], word,
                                         STATUS_UNKNOWN);
}

struct text postback_event_of(struct text word)
{
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (text_equals_nocase(word, events[i].word))
            return (struct text){events[i].event, strlen(events[i].event)};
    }
    return word;
}
