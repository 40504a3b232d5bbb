# Kudos build. `make` builds build/kudos; `make run` and `make test` do everything from a bare
# Debian 12. SANITIZER=address,undefined builds and tests with these sanitizers in a folder of
# their own. Every target can be repeated; nothing outside build/ and .run/ is written.

comma     := ,
SANITIZER ?=
OUT       := build$(if $(SANITIZER),/$(subst $(comma),-,$(SANITIZER)))
PREFIX    ?= /usr/local
DESTDIR   ?=
PYTHON    ?= /usr/bin/python3
CC        ?= gcc

VERSION   := $(shell cat VERSION)
LIBRARIES := libevent_core libevent_extra hiredis libmaxminddb lmdb jansson libconfuse libsodium zlib libpq \
             libpcre2-8 libidn2
# pkg-config is installed by deploy/install-deps; `make run` on a bare machine gets there first.
PKG_CFLAGS = $(shell pkg-config --cflags $(LIBRARIES))
PKG_LIBS   = $(shell pkg-config --libs $(LIBRARIES))

WARNINGS  := -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wstrict-prototypes \
             -Wmissing-prototypes -Wundef -Werror -Wno-format-zero-length $(if $(findstring clang,$(CC)),,-Wno-format-truncation)
HARDENING := -fstack-protector-strong -fPIE $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
FORTIFY   := $(if $(SANITIZER),,-D_FORTIFY_SOURCE=2)
SANITIZE  := $(if $(SANITIZER),-fsanitize=$(SANITIZER) -fno-omit-frame-pointer -fno-sanitize-recover=all)
CFLAGS    ?= -O2 -g
ALL_CFLAGS  = -std=gnu11 $(CFLAGS) $(WARNINGS) $(HARDENING) $(FORTIFY) $(SANITIZE) \
              -I. -D_GNU_SOURCE -DKUDOS_VERSION='"$(VERSION)"' $(PKG_CFLAGS) -MMD -MP
ALL_LDFLAGS = $(LDFLAGS) -pie -Wl,-z,relro,-z,now $(SANITIZE)

SOURCES   := $(sort $(wildcard shared/*.c server/*.c server/*/*.c))
LIBRARY   := $(filter-out server/main.c,$(SOURCES))
UNIT      := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))
FUZZ      := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
DATA      := $(wildcard server/schema/*.sql server/clicks/*.lua server/visitor/*.json server/visitor/*.txt server/links/*.txt)
C_FILES   := $(sort $(wildcard shared/*.[ch] server/*.[ch] server/*/*.[ch] tests/*/*.[ch]))

# V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1) $@")

.DELETE_ON_ERROR:
.PHONY: all clean format format-check lint install

all: $(OUT)/kudos

# The product, and the same with crash points compiled in (tests/faults only).
$(OUT)/kudos: $(SOURCES:%.c=$(OUT)/obj/%.o)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lm

$(OUT)/kudos-faults: $(SOURCES:%.c=$(OUT)/faults/%.o)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lm

$(OUT)/obj/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(OUT)/faults/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -DKUDOS_CRASH_POINTS -c -o $@ $<

# Files embedded with .incbin (shared/embed.h) are invisible to -MMD.
EMBEDDERS := $(shell grep -lw EMBED $(SOURCES) /dev/null)
$(EMBEDDERS:%.c=$(OUT)/obj/%.o) $(EMBEDDERS:%.c=$(OUT)/faults/%.o): $(DATA)

$(OUT)/unit/%: tests/unit/%.c $(LIBRARY:%.c=$(OUT)/obj/%.o)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(shell pkg-config --cflags cmocka) $(ALL_LDFLAGS) -o $@ $< \
	    $(filter %.o,$^) $(PKG_LIBS) $(shell pkg-config --libs cmocka) -lm

.PHONY: unit
unit: $(UNIT)
	@for t in $(UNIT); do echo "== $$t"; $$t || exit 1; done

# The model of ship, Redis, flush and recovery: intact, and with each rule taken out in turn. It
# shares no code with the product and needs no library.
MODEL := $(patsubst %.c,$(OUT)/obj/%.o,$(sort $(wildcard tests/model/*.c)))

$(OUT)/model-check: $(MODEL)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^

.PHONY: model
model: $(OUT)/model-check
	$(OUT)/model-check

format:
	clang-format -i $(C_FILES)

format-check:
	clang-format --dry-run --Werror $(C_FILES)

lint:
	clang-tidy --quiet --warnings-as-errors='*' $(SOURCES) -- -std=gnu11 -I. -D_GNU_SOURCE \
	    -DKUDOS_VERSION='"$(VERSION)"' $(PKG_CFLAGS)

install: $(OUT)/kudos
	install -D -m 0755 $(OUT)/kudos $(DESTDIR)$(PREFIX)/bin/kudos

clean:
	rm -rf build

-include $(SOURCES:%.c=$(OUT)/obj/%.d) $(SOURCES:%.c=$(OUT)/faults/%.d) $(UNIT:%=%.d) $(MODEL:%.o=%.d)
