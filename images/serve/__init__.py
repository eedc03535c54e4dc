"""The search server: answers queries with the release that the journal routes to. Read `watcher`, then `app`."""
