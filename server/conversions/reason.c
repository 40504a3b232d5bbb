/* See reason.h. The words are those of server/schema's functions; a test looks for one that has no
 * sentence. */
#include "server/conversions/reason.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *reason, *sentence;
} sentences[] = {
    /* of what won */
    {"only_link", "The click led to it, and no code that counts was used."},
    {"only_code", "The code was used, and no click that counts led to it."},
    {"code_first", "The campaign prefers codes to clicks."},
    {"link_first", "The campaign prefers clicks to codes."},
    {"last_touch", "The campaign credits the last touch, and a code is used at the end."},
    {"first_touch", "The campaign credits the first touch, and the click came before the code."},
    {"split", "The campaign divides between click and code."},
    {"refund_of_credited_order", "It takes back what its order gave, in the same parts."},
    /* of what lost to something else */
    {"outranked_code_first", "The campaign prefers codes to clicks."},
    {"outranked_link_first", "The campaign prefers clicks to codes."},
    {"outranked_last_touch", "The campaign credits the last touch, and this was not it."},
    {"outranked_first_touch", "The campaign credits the first touch, and this was not it."},
    /* of what could not win */
    {"bad_signature", "The click id was not made by this service, or was changed."},
    {"unknown_click", "The click id names no link of this workspace."},
    {"click_after_conversion", "The click came after it."},
    {"outside_window", "The click was longer ago than the campaign's window."},
    {"non_human_click", "The click was not a person's: see its verdict."},
    {"link_of_nobody", "The link belongs to no campaign and no influencer."},
    {"unknown_code", "No such code has been entered."},
    {"code_disabled", "The code was switched off by then."},
    {"code_not_started", "The code was not valid yet."},
    {"code_expired", "The code was not valid any more."},
    {"code_used_up", "The code had been used as often as it may be."},
    {"code_of_nobody", "The code belongs to no campaign and no influencer."},
    {"self_referral", "The customer is the influencer."},
    {"duplicate", "It was told with its order, too, which is the one that counts."},
    /* of the whole */
    {"no_click_and_no_code", "It came with no click id and no code."},
    {"not_signed",
     "Whoever told it did not prove who they are; a signed path has to tell it, too."},
    {"unknown_order", "The order that it takes back is not known (yet)."},
    {"order_not_credited", "The order that it takes back was credited to nobody."},
};

const char *reason_sentence(const char *reason)
{
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++) {
        if (strcmp(sentences[i].reason, reason) == 0)
            return sentences[i].sentence;
    }
    return NULL;
}
