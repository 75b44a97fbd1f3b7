/* Router and mesh: sources and their penalties; see sources.h. */

#include <string.h>

#include "common/proc/proc.h"
#include "common/proc/sources.h"
#include "common/rpc/penalty.h"
#include "common/rpc/rpc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"

static struct {
	struct rpc_penalties *penalties;
	int apps; /* the listener is the router's */
} sources;

/* Both listeners have their series in the order of the kinds. */
_Static_assert(METRIC_RPC_ABUSE_APP_PENALTY - METRIC_RPC_ABUSE_APP_RESET ==
		   RPC_ABUSE_PENALTY,
    "a series for each kind");
_Static_assert(METRIC_RPC_ABUSE_MESH_PENALTY - METRIC_RPC_ABUSE_MESH_RESET ==
		   RPC_ABUSE_PENALTY,
    "a series for each kind");
_Static_assert(RPC_ABUSE_PENALTY == RPC_ABUSE_KINDS - 1, "the last kind");

static void
sources_told(const char *source, int64_t time)
{
	log_warn("source_kept_out", "from=\"%s\" listener=%s seconds=%lld",
	    source, sources.apps ? "app" : "mesh",
	    (long long)((time + CLOCK_SECOND - 1) / CLOCK_SECOND));
}

void
sources_configured(void)
{
	const struct config *config = proc_config();
	const struct config_penalty *penalty = &config->penalty;
	struct rpc_penalty_options options;
	int count;

	if (sources.penalties == NULL)
		return;
	memset(&options, 0, sizeof(options));
	options.cost[RPC_OFFENCE_HANDSHAKE] = penalty->handshake;
	options.cost[RPC_OFFENCE_AUTHENTICATION] = penalty->authentication;
	options.cost[RPC_OFFENCE_ABUSE] = penalty->abuse;
	options.threshold = penalty->threshold;
	options.longest = penalty->longest;
	options.sources = penalty->sources;
	options.handshakes = config->limits.handshakes;
	options.handshakes_source = config->limits.handshakes_source;
	options.verifications = config->limits.verifications;
	options.verifications_source = config->limits.verifications_source;
	/* The parent has read it before; "none" is none. */
	count = rpc_prefixes_read(penalty->exempt, options.exempt);
	options.exempt_count = count > 0 ? (size_t)count : 0;
	options.told = sources_told;
	rpc_penalties_configure(sources.penalties, &options);
}

struct rpc_penalties *
sources_penalties(enum process self)
{
	sources.apps = self == PROCESS_ROUTER;
	if (sources.penalties == NULL &&
	    (sources.penalties = rpc_penalties_new()) != NULL)
		sources_configured();
	return (sources.penalties);
}

uint64_t
sources_show(uint64_t id)
{
	struct ipc *control = proc_ipc(PROCESS_CONTROL);
	struct rpc_penalty_row row;
	struct ipc_row_penalty out;
	uint64_t count = 0;
	size_t cursor = 0;

	if (control == NULL || sources.penalties == NULL)
		return (0);
	while (rpc_penalties_next(
	    sources.penalties, clock_monotonic(), &cursor, &row)) {
		memset(&out, 0, sizeof(out));
		out.id = id;
		(void)strlcpy(out.source, row.source, sizeof(out.source));
		out.left = row.left;
		out.offences = row.offences;
		out.refused = row.refused;
		out.kept_out = row.out != 0;
		out.apps = (uint32_t)sources.apps;
		ipc_send(control, IPC_ROW_PENALTY, &out, NULL, 0);
		count++;
	}
	return (count);
}

void
sources_metrics(const struct rpc_counters *counters)
{
	enum metric first = sources.apps ? METRIC_RPC_ABUSE_APP_RESET
					 : METRIC_RPC_ABUSE_MESH_RESET;
	size_t i;

	if (sources.penalties == NULL)
		return;
	for (i = 0; i < RPC_ABUSE_KINDS; i++)
		metric_set((enum metric)(first + i), counters->abuses[i]);
	metric_set(
	    sources.apps ? METRIC_SOURCES_OUT_APP : METRIC_SOURCES_OUT_MESH,
	    rpc_penalties_count(sources.penalties, clock_monotonic()));
}
