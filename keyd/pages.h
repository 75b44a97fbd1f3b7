/*
 * keyd only. Berkeley DB takes it that a page of its database is written
 * whole or not at all. A disk that loses power keeps no such promise: it
 * knows sectors. So no page is written in place before a copy of it is safe
 * in a file beside the database.
 *
 * Pages that Berkeley DB writes are held back in memory. When it wants the
 * database synced (at a checkpoint) or there are many, all go to the side
 * file with a checksum, which is synced, then in place, which is synced. A
 * start that finds a whole side file puts those pages in place once more.
 */
#ifndef KEYD_PAGES_H
#define KEYD_PAGES_H

#define PAGES_DATABASE "records.db" /* the file this is done for */
#define PAGES_SIDE     "pages"

/* Give Berkeley DB, in this process, the calls that do so. 0 or -1. */
int pages_hook(void);

/* Before the database in folder is opened: finish what was cut off. 0, or -1
 * with errno. */
int pages_recover(int folder);

#endif
