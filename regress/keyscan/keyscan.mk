# The keyscan test: a build of its own whose keyd keeps a journal of its keys,
# and a searcher of memory. Nothing of it is in the other builds.
$(BUILD)/regress/keyscan/scan: $(BUILD)/regress/keyscan/scan.o
	$(LINK) $^ -lsodium

keyscan-bin: all $(BUILD)/regress/keyscan/scan

keyscan-build:
	$(MAKE) -j2 BUILD=$(BUILD)/keyscan \
	    EXTRA_CFLAGS="$(EXTRA_CFLAGS) -DHERMES_KEYSCAN" keyscan-bin

# Alone: make keyscan (root).
keyscan: deps all keyscan-build
	BUILD=$(BUILD) sh regress/run.sh regress/keyscan

.PHONY: keyscan keyscan-bin keyscan-build
