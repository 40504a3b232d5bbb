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
PROCESSORS := $(shell nproc)
ROUNDS    ?= 200
SEED      ?=
SECONDS   ?= 30
CORPUS    ?=
PARTS     ?=
TESTS      = OUT=$(OUT) $(PYTHON) tests/run

VERSION   := $(shell cat VERSION)
LIBRARIES := libevent_core libevent_extra hiredis libmaxminddb lmdb jansson libconfuse libsodium zlib libpq \
             libpcre2-8 libidn2 libqrencode
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

SOURCES   := $(sort $(wildcard shared/*.c server/*.c server/*/*.c server/*/*/*.c))
LIBRARY   := $(filter-out server/main.c,$(SOURCES))
LOADTEST  := $(sort $(wildcard loadtest/*.c))
UNIT      := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(sort $(wildcard tests/unit/test_*.c)))
FUZZ      := $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
DATA      := $(wildcard server/schema/*.sql server/clicks/*.lua server/visitor/*.json server/visitor/*.txt server/links/*.txt server/redirect/*.js loadtest/*.txt)
C_FILES   := $(sort $(wildcard shared/*.[ch] server/*.[ch] server/*/*.[ch] server/*/*/*.[ch] loadtest/*.[ch] loadtest/*/*.[ch] tests/*/*.[ch]))

# What a redirect runs through is optimised across files in the product; the objects can be linked
# without that too, for tests. LTO= turns it off.
LTO := $(if $(SANITIZER)$(findstring clang,$(CC)),,-flto=auto)
HOT := $(wildcard shared/*.c server/redirect/*.c server/conversions/click_id.c server/visitor/*.c \
         $(patsubst %,server/clicks/%.c,event crc32c journal) \
         $(patsubst %,server/links/%.c,link replica replica_memo slug))

# V=1 shows the commands.
Q := $(if $(V),,@)
say = $(if $(V),,@echo "  $(1) $@")

.DELETE_ON_ERROR:
.PHONY: all clean format format-check lint install

all: $(OUT)/kudos $(OUT)/kudos-loadtest

# The product, and the same with crash points compiled in (tests/faults only).
$(HOT:%.c=$(OUT)/obj/%.o): ALL_CFLAGS += $(if $(LTO),$(LTO) -ffat-lto-objects)
$(OUT)/kudos: $(SOURCES:%.c=$(OUT)/obj/%.o)
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(LTO) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lm

$(OUT)/kudos-faults: $(SOURCES:%.c=$(OUT)/faults/%.o)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lm

# The load generator takes what it needs of the library.
$(OUT)/kudos-loadtest: $(LOADTEST:%.c=$(OUT)/obj/%.o) $(OUT)/libkudos.a
	$(call say,LINK)
	$(Q)$(CC) $(CFLAGS) $(ALL_LDFLAGS) -fno-lto -o $@ $^ $(PKG_LIBS) -lm

$(OUT)/obj/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(OUT)/faults/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) -DKUDOS_CRASH_POINTS -c -o $@ $<

# Files embedded with .incbin (shared/embed.h) are invisible to -MMD.
EMBEDDERS := $(shell grep -lw EMBED $(SOURCES) $(LOADTEST) /dev/null)
$(EMBEDDERS:%.c=$(OUT)/obj/%.o) $(EMBEDDERS:%.c=$(OUT)/faults/%.o): $(DATA)

# For tests and benchmarks: each links only what it needs.
%.a:
	@rm -f $@
	$(Q)ar rcs $@ $^

$(OUT)/libkudos.a: $(LIBRARY:%.c=$(OUT)/obj/%.o)
$(OUT)/libloadtest.a: $(patsubst %.c,$(OUT)/obj/%.o,$(filter-out loadtest/main.c,$(LOADTEST)))
build/fuzz/libkudos.a: $(LIBRARY:%.c=build/fuzz/obj/%.o)

$(OUT)/unit/%: tests/unit/%.c $(OUT)/libloadtest.a $(OUT)/libkudos.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(shell pkg-config --cflags cmocka) $(ALL_LDFLAGS) -fno-lto -o $@ $< \
	    $(OUT)/libloadtest.a $(OUT)/libkudos.a $(PKG_LIBS) $(shell pkg-config --libs cmocka) -lm

# Everything from a bare machine. These call make again, since what they install decides how.
.PHONY: run test
run:
	@deploy/install-deps build run
	@$(MAKE) --no-print-directory -j$(PROCESSORS) all
	@deploy/run .run

test:
	@deploy/install-deps build run test
	@$(MAKE) --no-print-directory -j$(PROCESSORS) all $(OUT)/kudos-faults $(UNIT)
	@$(TESTS) unit flow short

# One suite each; what they need must be installed (deploy/install-deps build run test).
.PHONY: unit test-flow faults conformance bench
unit: $(UNIT)
	@for t in $(UNIT); do echo "== $$t"; $$t || exit 1; done

test-flow: all
	@$(TESTS) flow

# ROUNDS: kills of the random run; SEED repeats one.
faults: $(OUT)/kudos $(OUT)/kudos-faults
	@ROUNDS=$(ROUNDS) SEED=$(SEED) $(TESTS) faults

# Unit and flow tests of the product built with SANITIZER. Leaks count too.
.PHONY: sanitized
sanitized: all $(UNIT)
	@test -n "$(SANITIZER)" || { echo "use: make SANITIZER=address,undefined sanitized" >&2; exit 2; }
	@KUDOS_TEST_SANITIZED=1 KUDOS_BIN=$(abspath $(OUT)/kudos) $(TESTS) unit flow

conformance: $(OUT)/kudos $(OUT)/unit/test_proxy_protocol $(OUT)/unit/test_structured
	@test -n "$(CORPUS)" || { echo "use: make conformance CORPUS=FOLDER" >&2; exit 2; }
	@CORPUS=$(abspath $(CORPUS)) $(TESTS) conformance

# PARTS: compare, flush, drain, links.
bench: all $(OUT)/bench_floor
	@deploy/install-deps bench
	@$(PYTHON) tests/bench/bench.py $(PARTS)

$(OUT)/bench_floor: tests/bench/floor.c $(OUT)/libkudos.a
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fno-lto -o $@ $< $(OUT)/libkudos.a $(PKG_LIBS) -lm

# What each step of a redirect costs by itself, and its instructions beside the stored baseline;
# UPDATE=1 stores new ones.
.PHONY: bench-micro
bench-micro: $(OUT)/bench_micro
	@deploy/install-deps bench
	@$(PYTHON) loadtest/micro/micro.py $< $(if $(UPDATE),--update)

$(OUT)/bench_micro: loadtest/micro/micro.c $(OUT)/libloadtest.a $(OUT)/libkudos.a
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -fno-lto -o $@ $< $(OUT)/libloadtest.a $(OUT)/libkudos.a \
	    $(PKG_LIBS) -lm

# The control plane: creates, rosters, bulk calls, lists. BENCH_LIST=10000000 for a very long list.
.PHONY: bench-admin
bench-admin: $(OUT)/kudos
	@deploy/install-deps bench
	@$(PYTHON) tests/bench/bench_admin.py

# How many reports of conversions are recorded a second, by flush and by POST /v1/conversions.
.PHONY: bench-conversions
bench-conversions: $(OUT)/kudos
	@deploy/install-deps bench
	@$(PYTHON) tests/bench/bench_conversions.py

# What each report costs for one campaign over 90 days; BENCH_CLICKS=100000000 for the size of the goal.
.PHONY: bench-reports
bench-reports: $(OUT)/kudos
	@deploy/install-deps bench
	@$(PYTHON) tests/bench/bench_reports.py

# What classifying a request costs, over the user agents of the corpora folder.
.PHONY: bench-visitor
bench-visitor: $(OUT)/bench_visitor
	@test -n "$(CORPUS)" || { echo "use: make bench-visitor CORPUS=FOLDER" >&2; exit 2; }
	@$< $(abspath $(CORPUS)) $(wildcard $(abspath $(CORPUS))/mmdb/GeoLite2-City-Test.mmdb)

$(OUT)/bench_visitor: tests/bench/bench_visitor.c $(OUT)/libkudos.a
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $< $(OUT)/libkudos.a $(PKG_LIBS) -lm

# Each fuzz target for SECONDS, from the regressions in tests/fuzz/NAME/ and what earlier runs found.
.PHONY: fuzz $(FUZZ)
fuzz: $(FUZZ)

$(FUZZ): %: build/fuzz/%
	@mkdir -p build/fuzz/corpus/$@
	$< -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 \
	    -artifact_prefix=build/fuzz/$@- build/fuzz/corpus/$@ $(wildcard tests/fuzz/$@)

FUZZ_FLAGS = -std=gnu11 -O1 -g -I. -D_GNU_SOURCE -DKUDOS_VERSION='"$(VERSION)"' $(PKG_CFLAGS) -MMD -MP \
             -fno-omit-frame-pointer -fno-sanitize-recover=all

build/fuzz/obj/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link,address,undefined -c -o $@ $<

$(EMBEDDERS:%.c=build/fuzz/obj/%.o): $(DATA)

build/fuzz/%: tests/fuzz/%.c build/fuzz/libkudos.a
	$(call say,LINK)
	$(Q)clang $(FUZZ_FLAGS) -fsanitize=fuzzer,address,undefined -o $@ $^ $(PKG_LIBS) -lm

# The model of ship, Redis, flush and recovery: intact, and with each rule taken out in turn. It
# shares no code with the product and needs no library.
MODEL := $(patsubst %.c,$(OUT)/obj/%.o,$(sort $(wildcard tests/model/*.c)))

$(OUT)/model-check: $(MODEL)
	$(call say,LINK)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^

.PHONY: model
model: $(OUT)/model-check
	$(OUT)/model-check

# The sample is made from the table; tests/flow checks that it is current.
.PHONY: settings-sample
settings-sample: $(OUT)/kudos
	env -i $(OUT)/kudos settings > deploy/kudos.conf.sample

format:
	clang-format -i $(C_FILES)

format-check:
	clang-format --dry-run --Werror $(C_FILES)

# What .clang-tidy asks for; only what changed since the last time.
lint:
	@$(MAKE) --no-print-directory -k -j$(PROCESSORS) $(SOURCES:%.c=$(OUT)/lint/%) $(LOADTEST:%.c=$(OUT)/lint/%)

$(OUT)/lint/%: %.c $(OUT)/obj/%.o .clang-tidy
	@mkdir -p $(@D)
	$(call say,TIDY)
	$(Q)clang-tidy --quiet $< -- -std=gnu11 -I. -D_GNU_SOURCE -DKUDOS_VERSION='"$(VERSION)"' \
	    $(PKG_CFLAGS) 2>$@.log || { cat $@.log; false; }
	@touch $@

install: $(OUT)/kudos $(OUT)/kudos-loadtest
	install -D -m 0755 $(OUT)/kudos $(DESTDIR)$(PREFIX)/bin/kudos

clean:
	rm -rf build

-include $(LIBRARY:%.c=build/fuzz/obj/%.d) $(SOURCES:%.c=$(OUT)/obj/%.d) $(LOADTEST:%.c=$(OUT)/obj/%.d) $(SOURCES:%.c=$(OUT)/faults/%.d) $(UNIT:%=%.d) $(MODEL:%.o=%.d)
