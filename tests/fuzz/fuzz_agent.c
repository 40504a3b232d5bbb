/* A user agent with hints, a referrer, a language and a query, split at newlines: never a crash, classes of
 * the tables, texts within their limits, and the same answer the second time. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/settings.h"
#include "server/visitor/classes.h"
#include "server/visitor/classify.h"
#include "shared/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct classifier *open_once(void)
{
    static struct classifier *classifier;
    static struct settings settings;
    struct error error;

    if (!classifier) {
        log_open("fuzz", LOG_LEVEL_ERROR);
        assert(settings_load(NULL, &settings, &error));
        classifier = classifier_open(&settings, &error);
        assert(classifier);
    }
    return classifier;
}

static void check(const struct click *click)
{
    assert(click->verdict < VERDICT_COUNT);
    assert(click->rule.length <= EVENT_RULE_MAX);
    assert(click->referrer_host.length <= EVENT_REFERRER_MAX);
    assert(click->language.length <= EVENT_LANGUAGE_MAX);
    assert(!click->device || strcmp(device_name(click->device), "unknown") != 0);
    assert(!click->os || strcmp(os_name(click->os), "unknown") != 0);
    assert(!click->browser || strcmp(browser_name(click->browser), "unknown") != 0);
    assert(!click->app || strcmp(app_name(click->app), "unknown") != 0);
    assert(click->medium && strcmp(medium_name(click->medium), "unknown") != 0);
    assert(!click->platform || strcmp(platform_name(click->platform), "unknown") != 0);
}

static struct text next(struct text *rest)
{
    return rest->bytes ? text_cut(rest, '\n') : *rest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct classifier *classifier = open_once();
    struct text rest = {(const char *)data, size};
    struct visitor_request request = {.address = NULL};
    struct classify_scratch scratch, again_scratch;
    struct click click, again;

    memset(&click, 0, sizeof click);
    memset(&again, 0, sizeof again);
    request.user_agent = next(&rest);
    request.referrer = next(&rest);
    request.accept_language = next(&rest);
    request.brands = next(&rest);
    request.mobile = next(&rest);
    request.platform = next(&rest);
    request.model = next(&rest);
    request.requested_with = next(&rest);
    request.query = next(&rest);
    classify(classifier, &request, &scratch, &click);
    check(&click);
    classify(classifier, &request, &again_scratch, &again);
    assert(click.verdict == again.verdict && click.device == again.device && click.os == again.os &&
           click.browser == again.browser && click.app == again.app &&
           click.medium == again.medium && click.platform == again.platform);
    return 0;
}
