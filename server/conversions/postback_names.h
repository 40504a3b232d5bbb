#pragma once
/* What postbacks call things. Networks, shops and trackers each have their own names and words for
 * the same; here they become members of a report (report.h). The tables are in
 * server/conversions/README.md, too; a test compares. */
#include "shared/text.h"

/* Members of a report first, then what is not part of one. */
enum postback_member {
    MEMBER_EVENT,
    MEMBER_ORDER,
    MEMBER_REFUND,
    MEMBER_EXTERNAL,
    MEMBER_CLICK,
    MEMBER_CODE,
    MEMBER_CUSTOMER,
    MEMBER_CURRENCY,
    MEMBER_AMOUNT,
    MEMBER_MINOR,
    MEMBER_OCCURRED,
    MEMBER_CLICKS,   /* a list */
    MEMBER_ITEMS,    /* an array; only in JSON */
    MEMBER_METADATA, /* an object; only in JSON */
    MEMBER_PAYOUT,   /* the amount, where there is no other */
    MEMBER_STATUS,
    MEMBER_TOKEN,
    MEMBER_SOURCE,
    MEMBER_SIGNATURE,
    MEMBER_UNKNOWN,
};
#define MEMBER_COUNT MEMBER_UNKNOWN

/* The member that a parameter's name means; letter case, '_' and '-' do not matter.
 * `click_id_param` is the setting. */
enum postback_member postback_member_of(struct text name, const char *click_id_param);

/* "order_id", … */
const char *postback_member_name(enum postback_member member);

/* What a status says about the sale. */
enum postback_status {
    STATUS_APPROVED, /* it is one */
    STATUS_PENDING,  /* it may become one: shown, and credited no money */
    STATUS_REJECTED, /* it is none after all: its amount is taken back */
    STATUS_UNKNOWN,
};
enum postback_status postback_status_of(struct text word);

/* The event that a word means ("purchase" is a sale), or the word as it is. */
struct text postback_event_of(struct text word);
