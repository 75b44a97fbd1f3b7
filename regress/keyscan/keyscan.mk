# The keyscan test: a build of its own whose keyd keeps a journal of its keys,
# and a searcher of memory. Nothing of it is in the other builds.
$(BUILD)/regress/keyscan/scan: $(BUILD)/regress/keyscan/scan.o
	$(LINK) $^ -lsodium

keyscan-bin: all $(BUILD)/regress/keyscan/scan \
    $(BUILD)/regress/cluster/load

keyscan-build:
	$(MAKE) -j2 BUILD=$(BUILD)/keyscan \
	    EXTRA_CFLAGS="$(EXTRA_CFLAGS) -DHERMES_KEYSCAN" keyscan-bin

# Alone: make keyscan (root).
keyscan: deps all keyscan-build
	BUILD=$(BUILD) sh regress/run.sh regress/keyscan

# Everything in motion on five nodes: make soak MINUTES=30 (root). With
# SOAK_MOVES=25 apps move and chats end more often than nodes are killed.
MINUTES ?=	1
soak: deps all keyscan-build
	BUILD=$(BUILD) SOAK_MINUTES=$(MINUTES) $(PYTHON) -m pytest -q -s \
	    -p no:cacheprovider regress/keyscan/test_soak.py

.PHONY: soak keyscan keyscan-bin keyscan-build
