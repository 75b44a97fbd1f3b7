# Fuzz targets. Each is fuzz_NAME.c, what FUZZ_WITH_NAME adds to it, and with
# libFuzzer or with a main() that replays files (regress/fuzz/run.sh). What a
# target defines itself comes before the libraries' own.
FUZZ_TARGETS :=	keyd chats ipc sign frames chat mesh swim directory rpc config \
		records control backup e2e router peers names
FUZZ_WITH_keyd := house house_wire guard node store clock
FUZZ_WRAP_keyd := event_add crypto_sign_detached tls_sign_digest ratchet_seal
FUZZ_WITH_chats := node store clock
FUZZ_WRAP_chats := ratchet_seal
FUZZ_WITH_records := node store clock
FUZZ_WRAP_records := ratchet_seal
FUZZ_WITH_backup := store clock
FUZZ_WRAP_backup := crypto_pwhash
FUZZ_WRAP_config := fopen getaddrinfo
FUZZ_WRAP_names := evdns_getaddrinfo
FUZZ_WITH_router := clock timer
FUZZ_TIMERS := event_add event_del event_pending event_free
FUZZ_WRAP_router := $(FUZZ_TIMERS)
FUZZ_WITH_peers := clock timer apart
FUZZ_WRAP_peers := $(FUZZ_TIMERS)
FUZZ_OBJ_e2e := $(BUILD)/client/lib_e2e.o

FUZZ_DIR :=	$(BUILD)/regress/fuzz
FUZZ_BIN :=	$(FUZZ_TARGETS:%=$(FUZZ_DIR)/run_%)
FUZZ_ENGINE ?=	$(FUZZ_DIR)/fuzz_main.o
FUZZ_MAIN :=	$(filter %.o,$(FUZZ_ENGINE))

define fuzz_rule
$(FUZZ_DIR)/run_$(1): $(FUZZ_DIR)/fuzz_$(1).o $(FUZZ_DIR)/fuzz.o $(FUZZ_MAIN) \
    $(FUZZ_WITH_$(1):%=$(FUZZ_DIR)/fuzz_%.o) $(FUZZ_OBJ_$(1)) $(BUILD)/libdaemon.a \
    $(BUILD)/libcommon.a
	$$(LINK) $(filter-out %.o,$(FUZZ_ENGINE)) \
	    $(FUZZ_WRAP_$(1):%=-Wl,--wrap=%) $$^ $$(LDLIBS)
endef
$(foreach target,$(FUZZ_TARGETS),$(eval $(call fuzz_rule,$(target))))

fuzz-bin: $(FUZZ_BIN)

# The same with memory that runs out, for the code under test only.
STARVED :=	malloc calloc realloc reallocarray strdup strndup
$(FUZZ_DIR)/starved_%.a: $(BUILD)/lib%.a
	@mkdir -p $(@D)
	$(OBJCOPY) $(foreach f,$(STARVED),--redefine-sym $(f)=starve_$(f)) $< $@

STARVE_BIN :=	$(FUZZ_TARGETS:%=$(FUZZ_DIR)/starve_%)
starve-bin: $(STARVE_BIN)
$(STARVE_BIN): $(FUZZ_DIR)/starve_%: $(FUZZ_DIR)/run_% $(FUZZ_DIR)/starve.o \
    $(FUZZ_DIR)/starved_daemon.a $(FUZZ_DIR)/starved_common.a
	$(LINK) $(FUZZ_WRAP_$*:%=-Wl,--wrap=%) $(FUZZ_DIR)/fuzz_$*.o \
	    $(FUZZ_DIR)/fuzz.o $(FUZZ_DIR)/starve.o \
	    $(FUZZ_WITH_$*:%=$(FUZZ_DIR)/fuzz_%.o) $(FUZZ_OBJ_$*) \
	    $(FUZZ_DIR)/starved_daemon.a \
	    $(FUZZ_DIR)/starved_common.a $(LDLIBS)

# What make check replays: under the sanitizers, with any compiler.
fuzz-replay: $(FUZZ_DIR)/hostile
	$(MAKE) -j2 BUILD=$(BUILD)/fuzz HARDEN=-O1 \
	    EXTRA_CFLAGS="$(SANITIZE)" fuzz-bin starve-bin

# Every file of the corpora, with each allocation failing in turn.
starve: deps all fuzz-replay
	BUILD=$(BUILD) STARVE_FILES=1000000 sh regress/fuzz/run.sh

# Search for inputs that break something: make fuzz FUZZTIME=60 [FUZZ=target].
FUZZTIME ?=	60
fuzz: deps
	$(MAKE) -j2 BUILD=build-fuzz CC=clang HARDEN=-O1 \
	    FUZZ_ENGINE=-fsanitize=fuzzer \
	    EXTRA_CFLAGS="$(SANITIZE) -fsanitize=fuzzer-no-link" fuzz-bin
	FUZZTIME=$(FUZZTIME) sh regress/fuzz/search.sh \
	    $(or $(FUZZ),$(FUZZ_TARGETS))

.PHONY: fuzz starve starve-bin fuzz-bin fuzz-replay

# A real keyd among liars; run.sh runs it with the daemon as it is built.
HOSTILE_OBJ :=	$(FUZZ_DIR)/hostile.o $(call obj,$(wildcard \
		regress/house/house*.c regress/house/watch.c))
$(FUZZ_DIR)/hostile: $(HOSTILE_OBJ) $(BUILD)/libdaemon.a $(BUILD)/libcommon.a
	$(LINK) $^ $(LDLIBS)
