/* Weak stand-ins so that the binary links while rooms are being built; goes when the last one is. */
#include <stdio.h>

#include "server/commands.h"

#define PENDING(name)                                                                      \
    __attribute__((weak)) int name(int argc, char **argv, const struct settings *settings) \
    {                                                                                      \
        (void)argc;                                                                        \
        (void)argv;                                                                        \
        (void)settings;                                                                    \
        fputs("kudos: " #name " has not landed yet\n", stderr);                            \
        return 2;                                                                          \
    }

PENDING(migrate_command)
PENDING(verify_command)
