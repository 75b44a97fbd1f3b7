# A house around a real keyd: death, loss of power, rollback, cost.
HOUSE :=	$(BUILD)/regress/house
HOUSE_PROGRAMS := $(addprefix $(HOUSE)/,sweep power churn rollback proof turns bench)
HOUSE_COMMON :=	$(addprefix $(HOUSE)/,house.o house_run.o life.o watch.o image.o)

$(HOUSE_PROGRAMS): $(HOUSE)/%: $(HOUSE)/%.o $(HOUSE_COMMON) \
    $(BUILD)/libdaemon.a $(BUILD)/libcommon.a
	$(LINK) $^ $(LDLIBS)

# Preloaded into keyd.
$(HOUSE)/calls.so: regress/house/calls.c regress/house/calls.h
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -I. -std=c11 -O2 -Wall -Wextra -Werror -shared \
	    -fPIC -o $@ $< -ldl

# hermesd for the benchmark: its counters can be had without the store.
$(HOUSE)/hermesd_bench: $(call obj,$(DAEMON_MAIN)) $(HOUSE)/volatile.o \
    $(BUILD)/libdaemon.a $(BUILD)/libcommon.a
	$(LINK) -Wl,--wrap=store_put $^ $(LDLIBS)

house-bin: $(HOUSE_PROGRAMS) $(HOUSE)/calls.so $(HOUSE)/hermesd_bench

.PHONY: house-bin
