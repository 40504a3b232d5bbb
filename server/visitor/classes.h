#pragma once
/* The classes of a click and their names. A class travels as a number (struct click) and is stored
 * as its name; both are for ever: append, never renumber, never rename. 0 is "unknown" in each
 * table.
 *
 * Operating systems are families: iPadOS, watchOS and tvOS are iOS, Fire OS and Android TV are
 * Android; the device tells them apart. Apps and platforms share one table, so that an in-app
 * browser that sends no referrer still names the platform it belongs to. */
#include <stddef.h>
#include <stdint.h>

#include "shared/text.h"

#define CLASS_UNKNOWN 0

enum device {
    DEVICE_SMARTPHONE = 1, /* also phablets and feature phones */
    DEVICE_TABLET = 2,
    DEVICE_DESKTOP = 3,
    DEVICE_TV = 4, /* also boxes, sticks and projectors */
    DEVICE_CONSOLE = 5,
    DEVICE_WEARABLE = 6, /* watches and headsets */
    DEVICE_CAR = 7,
    DEVICE_BOT = 8,
};

enum os {
    OS_ANDROID = 1,
    OS_IOS = 2,
    OS_WINDOWS = 3,
    OS_MACOS = 4,
    OS_LINUX = 5,
    OS_CHROME = 6,
    OS_KAIOS = 7,
    OS_TIZEN = 8,
    OS_WEBOS = 9,
    OS_WINDOWS_PHONE = 10,
    OS_HARMONY = 11,
    OS_BLACKBERRY = 12,
    OS_SYMBIAN = 13,
    OS_PLAYSTATION = 14,
    OS_NINTENDO = 15,
    OS_UNIX = 16,
    OS_PHONE = 17, /* feature phones without a system of a name: Java ME, MRE, Mocor, Brew */
    OS_OTHER = 18,
};

enum medium {
    MEDIUM_DIRECT = 1, /* no referrer, or none that names a host */
    MEDIUM_SOCIAL = 2,
    MEDIUM_SEARCH = 3,
    MEDIUM_EMAIL = 4,
    MEDIUM_CHATBOT = 5,
    MEDIUM_PAID = 6,
    MEDIUM_INTERNAL = 7, /* the service's own domains */
    MEDIUM_OTHER = 8,    /* any other site */
};

/* Names; "unknown" for 0 and for numbers that this release does not know. */
const char *device_name(uint8_t device);
const char *os_name(uint8_t os);
const char *browser_name(uint8_t browser);
const char *app_name(uint8_t app);
const char *medium_name(uint8_t medium);
const char *platform_name(uint8_t platform);

/* Numbers of names, as data files and rules write them (case does not matter); 0 for others. */
uint8_t device_number(struct text name);
uint8_t os_number(struct text name);
uint8_t browser_number(struct text name);
uint8_t app_number(struct text name);
uint8_t medium_number(struct text name);
uint8_t platform_number(struct text name);
