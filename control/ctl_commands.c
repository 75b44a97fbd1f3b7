/*
 * hermesctl(8): the table of commands. The arguments are the usage as it is
 * shown, and what completion goes by: a word in capitals stands for a value,
 * after an option or a word in small letters for theirs.
 */

#include "control/ctl.h"

static const struct ctl_word log_words[] = {
	{ "brief", "", ctl_log_brief, NULL },
	{ "verbose", "", ctl_log_verbose, NULL },
	{ NULL, NULL, NULL, NULL },
};

static const struct ctl_word mesh_words[] = {
	{ "create", "", ctl_mesh_create, NULL },
	{ "join", "TICKET | -", ctl_join, NULL },
	{ "revoke", "NODE", ctl_mesh_revoke, NULL },
	{ NULL, NULL, NULL, NULL },
};

static const struct ctl_word ticket_words[] = {
	{ "list", "", ctl_show_tickets, NULL },
	{ "revoke", "TICKET-ID", ctl_ticket_revoke, NULL },
	{ NULL, NULL, NULL, NULL },
};

const struct ctl_word ctl_commands[] = {
	{ "backup", "FILE [--force] [--store-passphrase FILE]", ctl_backup,
	    NULL },
	{ "complete", "[--] [WORD ...]", ctl_complete, NULL },
	{ "drain", "", ctl_stop, NULL },
	{ "erase", "--now", ctl_erase, NULL },
	{ "init",
	    "[-n NAME] [-d FOLDER] [-l ADDRESS:PORT] [-m ADDRESS:PORT]\n"
	    "      [-a ADDRESS:PORT]",
	    ctl_init, NULL },
	{ "join", "TICKET | -", ctl_join, NULL },
	{ "log", "verbose | brief", NULL, log_words },
	{ "mesh", "create | join TICKET | revoke NODE", NULL, mesh_words },
	{ "monitor", "", ctl_monitor, NULL },
	{ "passphrase", "[--store-passphrase FILE]", ctl_passphrase_change,
	    NULL },
	{ "rekey", "{CHAT | chat CHAT | app APP | all} [--wait] | tls",
	    ctl_rekey, NULL },
	{ "reload", "", ctl_reload, NULL },
	{ "restore", "FILE [--force] [--store-passphrase FILE]", ctl_restore,
	    NULL },
	{ "show",
	    "[apps | certificate | chats | config | metrics | "
	    "nodes |\n      penalties | ratchets | sessions | summary | "
	    "tickets | "
	    "tielines] "
	    "[--full]",
	    ctl_show, ctl_show_words },
	{ "status", "", ctl_status, NULL },
	{ "stop", "", ctl_stop, NULL },
	{ "ticket", "[--ttl TIME] [--uses NUMBER] | list | revoke TICKET-ID",
	    ctl_ticket, ticket_words },
	{ "top", "[--interval TIME] [--count NUMBER]", ctl_top, NULL },
	{ "unlock", "", ctl_unlock, NULL },
	{ NULL, NULL, NULL, NULL },
};
