/* The verdict. Rules are tried in this order, and the first that applies is stored with the click:
 *
 *   prefetch      Sec-Purpose, Purpose, X-Purpose or X-Moz say that nobody looks yet
 *   invalid       no user agent
 *   bot, preview  by the user agent (agent.c)
 *   human         the rest
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

void bot_judge(const struct visitor_request *request, const struct agent *agent, struct click *out)
{
    if (text_contains_nocase(request->sec_purpose, "prefetch"))
        set_verdict(out, VERDICT_PREFETCH, "Sec-Purpose");
    else if (text_contains_nocase(request->purpose, "prefetch") ||
             text_contains_nocase(request->purpose, "preview"))
        set_verdict(out, VERDICT_PREFETCH, "Purpose");
    else
        set_verdict(out, (enum verdict)agent->verdict, agent->rule);
}
