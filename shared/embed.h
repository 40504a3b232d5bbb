#pragma once
/* Puts a file of the source tree into the binary, read at build time, so that the product is one
 * file and needs no data folder.
 *
 * EMBED(name, "path/from/repository/root") defines `name` (bytes, NUL-terminated so that text can
 * be used as a C string) and `name##_end` (the terminating NUL). */

#define EMBED(name, path)                                 \
    __asm__(".section .rodata\n"                          \
            ".global " #name "\n.balign 16\n" #name ":\n" \
            ".incbin \"" path "\"\n"                      \
            ".global " #name "_end\n" #name "_end:\n"     \
            ".byte 0\n.previous\n");                      \
    extern const char name[];                             \
    extern const char name##_end[]

#define EMBED_SIZE(name) ((size_t)(name##_end - name))
