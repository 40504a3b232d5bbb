/* See classes.h. */
#include "server/visitor/classes.h"

#include <assert.h>

#define COUNT(names) (sizeof(names) / sizeof(names)[0])

static const char *const devices[] = {
    [CLASS_UNKNOWN] = "unknown",
    [DEVICE_SMARTPHONE] = "smartphone",
    [DEVICE_TABLET] = "tablet",
    [DEVICE_DESKTOP] = "desktop",
    [DEVICE_TV] = "tv",
    [DEVICE_CONSOLE] = "console",
    [DEVICE_WEARABLE] = "wearable",
    [DEVICE_CAR] = "car",
    [DEVICE_BOT] = "bot",
};

static const char *const systems[] = {
    [CLASS_UNKNOWN] = "unknown",
    [OS_ANDROID] = "Android",
    [OS_IOS] = "iOS",
    [OS_WINDOWS] = "Windows",
    [OS_MACOS] = "macOS",
    [OS_LINUX] = "Linux",
    [OS_CHROME] = "Chrome OS",
    [OS_KAIOS] = "KaiOS",
    [OS_TIZEN] = "Tizen",
    [OS_WEBOS] = "webOS",
    [OS_WINDOWS_PHONE] = "Windows Phone",
    [OS_HARMONY] = "HarmonyOS",
    [OS_BLACKBERRY] = "BlackBerry",
    [OS_SYMBIAN] = "Symbian",
    [OS_PLAYSTATION] = "PlayStation",
    [OS_NINTENDO] = "Nintendo",
    [OS_UNIX] = "Unix",
    [OS_PHONE] = "Feature phone",
    [OS_OTHER] = "Other",
};

static const char *const browsers[] = {
    [CLASS_UNKNOWN] = "unknown",
    [1] = "Chrome",
    [2] = "Safari",
    [3] = "Firefox",
    [4] = "Edge",
    [5] = "Opera",
    [6] = "Samsung Internet",
    [7] = "Internet Explorer",
    [8] = "UC Browser",
    [9] = "Yandex Browser",
    [10] = "Android Browser",
    [11] = "Android WebView",
    [12] = "Mi Browser",
    [13] = "Huawei Browser",
    [14] = "Vivaldi",
    [15] = "Brave",
    [16] = "DuckDuckGo",
    [17] = "QQ Browser",
    [18] = "Silk",
    [19] = "Whale",
    [20] = "vivo Browser",
    [21] = "OPPO Browser",
    [22] = "Baidu Browser",
    [23] = "Sogou Browser",
    [24] = "360 Browser",
    [25] = "Maxthon",
    [26] = "Puffin",
    [27] = "Quark",
    [28] = "Opera Mini",
    [29] = "iOS WebView",
    [30] = "Coc Coc",
    [31] = "Chromium",
    [32] = "NetFront",
    [33] = "BlackBerry Browser",
    [34] = "Nokia Browser",
    [35] = "KaiOS Browser",
    [36] = "Oculus Browser",
    [37] = "LG Browser",
    [38] = "Ecosia",
    [39] = "Aloha",
    [40] = "Phoenix",
};

/* Apps and platforms. */
static const char *const platforms[] = {
    [CLASS_UNKNOWN] = "unknown",
    [1] = "Instagram",
    [2] = "TikTok",
    [3] = "Facebook",
    [4] = "YouTube",
    [5] = "Snapchat",
    [6] = "X",
    [7] = "Pinterest",
    [8] = "LinkedIn",
    [9] = "Reddit",
    [10] = "Threads",
    [11] = "WhatsApp",
    [12] = "Telegram",
    [13] = "WeChat",
    [14] = "QQ",
    [15] = "LINE",
    [16] = "KakaoTalk",
    [17] = "Weibo",
    [18] = "Xiaohongshu",
    [19] = "Douyin",
    [20] = "Bilibili",
    [21] = "Messenger",
    [22] = "Discord",
    [23] = "Twitch",
    [24] = "Tumblr",
    [25] = "Bluesky",
    [26] = "Mastodon",
    [27] = "VK",
    [28] = "Odnoklassniki",
    [29] = "Quora",
    [30] = "Slack",
    [31] = "Microsoft Teams",
    [32] = "Google",
    [33] = "Bing",
    [34] = "Yahoo",
    [35] = "DuckDuckGo",
    [36] = "Yandex",
    [37] = "Baidu",
    [38] = "Naver",
    [39] = "Ecosia",
    [40] = "Gmail",
    [41] = "Outlook",
    [42] = "Proton Mail",
    [43] = "ChatGPT",
    [44] = "Gemini",
    [45] = "Claude",
    [46] = "Perplexity",
    [47] = "Copilot",
    [48] = "DeepSeek",
    [49] = "Grok",
    [50] = "Mistral",
    [51] = "Character.AI",
    [52] = "Meta AI",
    [53] = "Linktree",
    [54] = "Lnk.Bio",
    [55] = "Beacons",
    [56] = "Kuaishou",
    [57] = "Zalo",
    [58] = "Viber",
    [59] = "ShareChat",
    [60] = "Likee",
    [61] = "Kwai",
    [62] = "Vimeo",
    [63] = "Dailymotion",
    [64] = "Substack",
    [65] = "Medium",
    [66] = "Patreon",
    [67] = "Hacker News",
    [68] = "Stack Overflow",
    [69] = "GitHub",
    [70] = "Zhihu",
    [71] = "Douban",
    [72] = "Toutiao",
    [73] = "Alipay",
    [74] = "DingTalk",
    [75] = "Taobao",
    [76] = "Xing",
    [77] = "Workplace",
    [78] = "Nextdoor",
    [79] = "Flipboard",
    [80] = "Pocket",
    [81] = "Google Search App",
    [82] = "Sogou",
    [83] = "360 Search",
    [84] = "Ask",
    [85] = "AOL",
    [86] = "Qwant",
    [87] = "Startpage",
    [88] = "Brave Search",
    [89] = "Seznam",
    [90] = "Google Ads",
    [91] = "Lemon8",
    [92] = "BeReal",
    [93] = "Truth Social",
    [94] = "Rumble",
    [95] = "Kick",
    [96] = "Lark",
    [97] = "Signal",
    [98] = "Snaptube",
    [99] = "imo",
};

static const char *const media[] = {
    [CLASS_UNKNOWN] = "unknown", [MEDIUM_DIRECT] = "direct",     [MEDIUM_SOCIAL] = "social",
    [MEDIUM_SEARCH] = "search",  [MEDIUM_EMAIL] = "email",       [MEDIUM_CHATBOT] = "chatbot",
    [MEDIUM_PAID] = "paid",      [MEDIUM_INTERNAL] = "internal", [MEDIUM_OTHER] = "other",
};

static_assert(COUNT(platforms) <= UINT8_MAX && COUNT(browsers) <= UINT8_MAX, "one byte each");

static const char *name_of(const char *const *names, size_t count, uint8_t number)
{
    return number < count && names[number] ? names[number] : names[CLASS_UNKNOWN];
}

static uint8_t number_of(const char *const *names, size_t count, struct text name)
{
    for (size_t i = CLASS_UNKNOWN + 1; i < count; i++)
        if (names[i] && text_equals_nocase(name, names[i]))
            return (uint8_t)i;
    return CLASS_UNKNOWN;
}

#define CLASS(class, names)                          \
    const char *class##_name(uint8_t number)         \
    {                                                \
        return name_of(names, COUNT(names), number); \
    }                                                \
    uint8_t class##_number(struct text name)         \
    {                                                \
        return number_of(names, COUNT(names), name); \
    }

CLASS(device, devices)
CLASS(os, systems)
CLASS(browser, browsers)
CLASS(app, platforms)
CLASS(medium, media)
CLASS(platform, platforms)
