# Hermes. `make help` lists the targets.
CC ?=		cc
PYTHON ?=	/usr/bin/python3
PREFIX ?=	/usr/local
BUILD ?=	build
OBJCOPY ?=	objcopy
VERSION :=	0.1.0
# Where hermesctl's socket is, unless the configuration says otherwise.
RUNDIR ?=	$(if $(filter OpenBSD,$(shell uname -s)),/var/run,/run)

PKGS :=		libtls libssl libcrypto libsodium libevent libnghttp2 \
		libprotobuf-c libseccomp jansson libbsd-overlay
CPPFLAGS +=	-D_GNU_SOURCE -DHERMES_VERSION='"$(VERSION)"' \
		-DHERMES_RUNDIR='"$(RUNDIR)"' -I. -I$(BUILD) \
		$(shell pkg-config --cflags $(PKGS) 2>/dev/null)
WARN :=		-Wall -Wextra -Wshadow -Wstrict-prototypes \
		-Wmissing-prototypes -Wpointer-arith -Wwrite-strings -Werror
HARDEN ?=	-O2 -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE \
		$(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
CFLAGS ?=	-g
ALL_CFLAGS :=	-std=c11 $(WARN) $(HARDEN) $(CFLAGS) $(EXTRA_CFLAGS)
LDFLAGS +=	-pie -Wl,-z,relro,-z,now
LDLIBS :=	$(shell pkg-config --libs $(PKGS) 2>/dev/null) -ldb -lm

# Sources. A file belongs to a program by its folder and the start of its name.
PROTO :=	$(wildcard proto/*.proto)
PROTO_C :=	$(PROTO:proto/%.proto=$(BUILD)/proto/%.pb-c.c)
PROTO_H :=	$(PROTO_C:.c=.h)
DESCRIPTORS :=	$(BUILD)/proto/descriptors.h

COMMON :=	$(wildcard common/*/*.c)
CTL :=		$(wildcard control/hermesctl*.c control/ctl_*.c)
LIBHERMES :=	$(wildcard client/lib*.c)
CLIENT :=	$(wildcard client/hermes*.c client/cmd_*.c)
DAEMON_MAIN :=	control/hermesd.c
DAEMON :=	$(filter-out $(CTL) $(DAEMON_MAIN),$(wildcard control/*.c)) \
		$(wildcard keyd/*.c router/*.c mesh/*.c)
GRAMMAR :=	$(wildcard control/parse.y)

obj =		$(patsubst %.c,$(BUILD)/%.o,$(1))
COMMON_OBJ :=	$(call obj,$(COMMON)) $(PROTO_C:.c=.o)
DAEMON_OBJ :=	$(call obj,$(DAEMON)) $(GRAMMAR:%.y=$(BUILD)/%.tab.o)
UNIT :=		$(wildcard regress/unit/test_*.c)
UNIT_BIN :=	$(UNIT:%.c=$(BUILD)/%)
PROGRAMS :=	$(if $(wildcard $(DAEMON_MAIN)),$(BUILD)/hermesd) \
		$(if $(CTL),$(BUILD)/hermesctl) \
		$(if $(CLIENT),$(BUILD)/hermes) $(BUILD)/lib/libhermes.a

all: $(PROGRAMS)

help:
	@printf '%-14s%s\n' \
	    all 'the programs (the default)' \
	    demo 'two nodes, two apps, a rekey, a death, a resumption' \
	    check 'every test' \
	    sim 'the simulated mesh: SEEDS= SCENARIO= NODES=' \
	    sim-table 'its figures beside what the papers say' \
	    bench 'the figures of this machine: ONLY= JSON=' \
	    bench-abuse 'what a chat keeps of its rate under abuse' \
	    asan 'tests under AddressSanitizer and UBSan' \
	    coverage 'which lines the tests run' \
	    escape 'what can be done from inside each process (root)' \
	    keyscan 'keys in memory and on disk of running nodes (root)' \
	    fuzz 'search for inputs that break a parser: FUZZ= FUZZTIME=' \
	    starve 'every allocation fails in turn' \
	    soak 'five nodes at work and in trouble, whether they grow: MINUTES=' \
	    lint 'format, static analysis, both compilers' \
	    docker-check 'nodes in containers (root)' \
	    package 'the Debian packages' \
	    install 'below PREFIX, /usr/local; DESTDIR=' \
	    uninstall 'take it away again' \
	    deps 'install the Debian packages that are needed' \
	    clean 'remove what was built'

.SECONDARY:

# --- generated code -------------------------------------------------------
$(BUILD)/proto/%.pb-c.c $(BUILD)/proto/%.pb-c.h: proto/%.proto
	@mkdir -p $(@D)
	protoc-c --proto_path=proto --c_out=$(BUILD)/proto $<

$(BUILD)/proto/%.pb-c.o: $(BUILD)/proto/%.pb-c.c
	$(CC) $(CPPFLAGS) -std=c11 $(HARDEN) $(CFLAGS) $(EXTRA_CFLAGS) \
	    -w -c -o $@ $<

# The status page, put into the program.
PAGE :=		$(BUILD)/control/page_text.h
$(PAGE): $(wildcard control/page/*) etc/page.sh
	@mkdir -p $(@D)
	sh etc/page.sh control/page > $@.tmp && mv $@.tmp $@

# Serialized FileDescriptorProtos for server reflection.
$(DESCRIPTORS): $(PROTO) etc/descriptors.sh
	@mkdir -p $(@D)
	sh etc/descriptors.sh $(PROTO) > $@.tmp && mv $@.tmp $@

$(BUILD)/%.tab.c $(BUILD)/%.tab.h: %.y
	@mkdir -p $(@D)
	bison -Wall -Werror -d -o $(BUILD)/$*.tab.c $<

$(BUILD)/%.tab.o: $(BUILD)/%.tab.c
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -I$(dir $*) -c -o $@ $<

# --- objects --------------------------------------------------------------
$(BUILD)/%.o: %.c | $(PROTO_H) $(DESCRIPTORS) $(PAGE) $(GRAMMAR:%.y=$(BUILD)/%.tab.h)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

$(BUILD)/libcommon.a: $(COMMON_OBJ)
	@rm -f $@; ar rcs $@ $^
$(BUILD)/libdaemon.a: $(DAEMON_OBJ)
	@rm -f $@; ar rcs $@ $^
$(BUILD)/libctl.a: $(call obj,$(filter control/ctl_%.c,$(CTL)))
	@rm -f $@; ar rcs $@ $^
$(BUILD)/libhermes.a: $(call obj,$(LIBHERMES)) $(COMMON_OBJ)
	@rm -f $@; ar rcs $@ $^

# What an app links: one object that shows hermes_* and hides the rest.
$(BUILD)/lib/libhermes.a: $(call obj,$(LIBHERMES)) $(BUILD)/libcommon.a
	@mkdir -p $(@D); rm -f $@
	$(LD) -r -o $(@D)/hermes.o $^
	$(OBJCOPY) -w --keep-global-symbol='hermes_*' $(@D)/hermes.o
	ar rcs $@ $(@D)/hermes.o

LINK =		$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@

$(BUILD)/hermesd: $(call obj,$(DAEMON_MAIN)) $(BUILD)/libdaemon.a \
    $(BUILD)/libcommon.a
	$(LINK) $^ $(LDLIBS)
$(BUILD)/hermesctl: $(call obj,$(CTL)) $(BUILD)/libcommon.a
	$(LINK) $^ $(LDLIBS)
$(BUILD)/hermes: $(call obj,$(CLIENT)) $(BUILD)/libhermes.a
	$(LINK) $^ $(LDLIBS)

# --- tests ----------------------------------------------------------------
# A unit test is one program; it may use anything but a main().
$(BUILD)/regress/unit/test_%: $(BUILD)/regress/unit/test_%.o \
    $(BUILD)/libdaemon.a $(BUILD)/libctl.a $(BUILD)/libhermes.a
	$(LINK) $^ $(LDLIBS) $(shell pkg-config --libs check)
# keyd has names that libhermes has inside.
$(BUILD)/regress/unit/test_lib_chats: $(BUILD)/regress/unit/test_lib_chats.o \
    $(BUILD)/libhermes.a
	$(LINK) $^ $(LDLIBS) $(shell pkg-config --libs check)
# Which counts them.
$(BUILD)/regress/unit/test_lib_chats: LDFLAGS += -Wl,--wrap=crypto_generichash
# Whose calls for memory fail as it likes.
$(BUILD)/regress/unit/test_control_memory: \
    LDFLAGS += -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
# Whose nodes have the time that it likes.
$(BUILD)/regress/unit/test_mesh_budget: LDFLAGS += -Wl,--wrap=clock_monotonic

unit-bin: $(UNIT_BIN)

# The simulator runs the protocol cores of mesh/ and router/ on virtual time.
SIM :=		$(wildcard regress/sim/*.c)
# What it has of its own (a store in memory) comes before the libraries'.
SIM_WITH :=	$(BUILD)/regress/fuzz/fuzz.o $(BUILD)/regress/fuzz/fuzz_store.o
$(BUILD)/regress/sim/sim: $(call obj,$(SIM)) $(SIM_WITH) \
    $(BUILD)/libdaemon.a $(BUILD)/libcommon.a
	$(LINK) $^ $(LDLIBS)

# make sim SEEDS=100, SEEDS=7,9 or SEEDS=5-8; SCENARIO=churn NODES=60
sim: deps
	$(MAKE) -j2 $(BUILD)/regress/sim/sim
	BUILD=$(BUILD) $(BUILD)/regress/sim/sim $(if $(SEEDS),SEEDS=$(SEEDS)) \
	    $(if $(NODES),NODES=$(NODES)) $(if $(SCENARIO),SCENARIO=$(SCENARIO))
sim-table: deps
	$(MAKE) -j2 $(BUILD)/regress/sim/sim
	BUILD=$(BUILD) $(BUILD)/regress/sim/sim table

$(BUILD)/regress/bench/nats_bench: regress/bench/nats_bench.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< -lnats -lpthread

BENCH_BIN :=	$(BUILD)/regress/bench/hermes_bench \
		$(BUILD)/regress/bench/crowd_bench \
		$(BUILD)/regress/bench/stream_bench \
		$(BUILD)/regress/bench/trip_bench \
		$(BUILD)/regress/bench/find_bench \
		$(BUILD)/regress/bench/sink
$(BENCH_BIN): $(BUILD)/regress/bench/%: $(BUILD)/regress/bench/%.o \
    $(BUILD)/libhermes.a
	$(LINK) $^ $(LDLIBS)

$(BUILD)/regress/bench/stream_bench: $(BUILD)/keyd/aead.o
$(BUILD)/regress/bench/stream_bench $(BUILD)/regress/bench/trip_bench: \
    $(BUILD)/regress/bench/bare.o

# Load with accounting, the wires between network namespaces, a clock ahead.
FIELD :=	$(BUILD)/regress/cluster
CLUSTER_BIN :=	$(FIELD)/load $(FIELD)/wire $(FIELD)/clock.so $(FIELD)/faults.so
$(FIELD)/load $(FIELD)/wire: $(FIELD)/%: $(FIELD)/%.o $(BUILD)/libhermes.a
	$(LINK) $^ $(LDLIBS)
$(FIELD)/clock.so $(FIELD)/faults.so: $(FIELD)/%.so: regress/cluster/%.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=c11 -O2 -Wall -Wextra -Werror -shared -fPIC \
	    -o $@ $<

cluster-bin: $(CLUSTER_BIN) $(BUILD)/regress/bench/hermes_bench \
    $(BUILD)/regress/bench/nats_bench $(BUILD)/regress/bench/trip_bench

# The longest first: two run at a time.
SUITES :=	regress/house/run.sh regress/conform regress/package \
		regress/sim/run.sh regress/keyscan \
		$(wildcard regress/cluster/test_*.py) \
		$(wildcard regress/docs/test_*.py) regress/fuzz/run.sh \
		regress/model/run.sh regress/vectors $(UNIT_BIN)

# Packages first, then everything else in a make that can see them.
check: deps
	$(MAKE) -j2 all unit-bin cluster-bin $(if $(SIM),$(BUILD)/regress/sim/sim)
	$(MAKE) keyscan-build
	$(MAKE) -j2 house-bin
	$(MAKE) fuzz-replay
	BUILD=$(BUILD) sh regress/run.sh $(SUITES)

demo: deps
	$(MAKE) -j2 all
	BUILD=$(BUILD) sh regress/demo.sh

bench: deps
	$(MAKE) -j2 all $(BUILD)/regress/bench/nats_bench $(BENCH_BIN) \
	    $(FIELD)/wire house-bin
	BUILD=$(BUILD) $(PYTHON) regress/bench/bench.py $(if $(JSON),--json $(JSON)) \
	    $(ONLY:%=--only %)

# What a chat keeps of its rate while a client abuses its node.
bench-abuse: deps
	$(MAKE) -j2 all $(BENCH_BIN)
	BUILD=$(BUILD) $(PYTHON) regress/bench/abuse.py \
	    $(if $(JSON),--json $(JSON)) $(ONLY)

# The whole suite under AddressSanitizer and UndefinedBehaviorSanitizer. The
# daemons forbid ptrace, which a leak search needs, so only the unit tests
# look for leaks.
SANITIZE :=	-fsanitize=address,undefined -fno-sanitize-recover=undefined \
		-fno-omit-frame-pointer
asan: deps
	$(MAKE) -j2 BUILD=build-asan HARDEN=-O1 EXTRA_CFLAGS="$(SANITIZE)" \
	    asan-run
# A sanitizer needs more system calls and has flags of its own.
NOT_ASAN :=	$(addprefix regress/cluster/test_,escape.py faults.py hardening.py)
asan-run: all unit-bin cluster-bin
	BUILD=$(BUILD) ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16 \
	    sh regress/run.sh $(UNIT_BIN) \
	    $(filter-out $(NOT_ASAN),$(wildcard regress/cluster/test_*.py))

# Which lines the units, keyd's house, the fuzz corpora and a few suites of
# whole nodes run. keyd writes down what ran as its own user. Fails when a
# test does, and when keyd/ or a protocol core is below 90 %.
COVERAGE_ONLY :=	$(patsubst %,regress/cluster/test_%.py,admission backup \
			health kill rekey reload)
coverage: deps
	rm -rf build-coverage
	umask 0; $(MAKE) -j2 BUILD=build-coverage HARDEN=-O1 \
	    EXTRA_CFLAGS="--coverage -DHERMES_COVERAGE -Wl,-z,muldefs" \
	    coverage-run; ran=$$?; sh etc/coverage.sh build-coverage && exit $$ran
coverage-run: all unit-bin cluster-bin fuzz-bin house-bin
	COVERAGE=1 BUILD=$(BUILD) sh regress/run.sh regress/house/run.sh \
	    $(COVERAGE_ONLY) $(UNIT_BIN); bad=$$?; \
	for t in $(FUZZ_TARGETS); do \
	    $(FUZZ_DIR)/run_$$t regress/fuzz/corpus/$$t || bad=1; \
	done; exit $$bad

# The Debian packages, in $(BUILD)-package.
package: deps
	sh etc/package.sh $(BUILD)-package

# What comes of breaking out of each process, as a table (root).
escape: deps all
	BUILD=$(BUILD) $(PYTHON) -m pytest -q -s -p no:cacheprovider \
	    regress/cluster/test_escape.py

# Needs root; starts a Docker engine when none runs.
docker-check: deps
	@dpkg-query -W docker.io docker-compose debootstrap >/dev/null 2>&1 || \
	    DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
	    --no-install-recommends docker.io docker-compose debootstrap \
	    iptables
	$(MAKE) -j2 all
	BUILD=$(BUILD) $(PYTHON) docker/check.py

lint: deps
	sh etc/lint.sh

# --- installation ---------------------------------------------------------
# Where, by the Filesystem Hierarchy Standard; what, in etc/install.sh.
BINDIR ?=	$(PREFIX)/bin
SBINDIR ?=	$(PREFIX)/sbin
LIBDIR ?=	$(PREFIX)/lib
INCLUDEDIR ?=	$(PREFIX)/include
DATADIR ?=	$(PREFIX)/share
MANDIR ?=	$(DATADIR)/man
DOCDIR ?=	$(DATADIR)/doc/hermes
UNITDIR ?=	$(PREFIX)/lib/systemd/system
SYSUSERSDIR ?=	$(PREFIX)/lib/sysusers.d
TMPFILESDIR ?=	$(PREFIX)/lib/tmpfiles.d
BASHCOMPDIR ?=	$(DATADIR)/bash-completion/completions
ZSHCOMPDIR ?=	$(DATADIR)/zsh/site-functions
PLACES :=	BINDIR SBINDIR LIBDIR INCLUDEDIR DATADIR MANDIR DOCDIR \
		UNITDIR SYSUSERSDIR TMPFILESDIR BASHCOMPDIR ZSHCOMPDIR
INSTALLER =	BUILD='$(BUILD)' DESTDIR='$(DESTDIR)' VERSION='$(VERSION)' \
		$(foreach place,$(PLACES),$(place)='$($(place))') \
		sh etc/install.sh

install: all
	$(INSTALLER) install

uninstall:
	$(INSTALLER) uninstall

deps:
	sh etc/deps.sh

clean:
	rm -rf $(BUILD) $(BUILD)-package build-asan build-clang build-fuzz build-coverage

.PHONY: all help coverage coverage-run deps check sim sim-table demo bench bench-abuse asan asan-run escape lint install uninstall \
    clean unit-bin cluster-bin docker-check package

include regress/keyscan/keyscan.mk

include regress/fuzz/fuzz.mk
include regress/house/house.mk
