/* The verdict. Rules are tried in this order, and the first that applies is stored with the click:
 *
 *   internal      the address is in untracked_networks: own staff, own monitoring
 *   prefetch      Sec-Purpose, Purpose, X-Purpose or X-Moz say that nobody looks yet
 *   bot, preview, invalid   by the user agent and its hints (agent.c)
 *   datacenter    a browser's user agent, but from a network of servers (datacenter_asns)
 *   human         the rest
 *
 * A missing Accept or Accept-Language, and an address that is reserved or unknown, prove nothing:
 * apps and proxies do both.
 *
 * Nothing is dropped here or later: what is not human is stored, flagged, and left out of billable
 * counts. */
#include "server/visitor/bot.h"

#include <string.h>

#include "shared/text.h"

static void set_verdict(struct click *out, enum verdict verdict, const char *rule)
{
    out->verdict = (uint8_t)verdict;
    out->rule = (struct text){rule, strlen(rule)};
}

void bot_judge(const struct visitor_request *request, const struct bot_evidence *evidence,
               struct click *out)
{
    if (evidence->untracked)
        set_verdict(out, VERDICT_INTERNAL, "untracked network");
    else if (text_contains_nocase(request->sec_purpose, "prefetch"))
        set_verdict(out, VERDICT_PREFETCH, "Sec-Purpose");
    else if (text_contains_nocase(request->purpose, "prefetch") ||
             text_contains_nocase(request->purpose, "preview"))
        set_verdict(out, VERDICT_PREFETCH, "Purpose");
    else if (evidence->agent.verdict == VERDICT_HUMAN && evidence->datacenter)
        set_verdict(out, VERDICT_DATACENTER, "network of servers");
    else
        set_verdict(out, (enum verdict)evidence->agent.verdict, evidence->agent.rule);
}
