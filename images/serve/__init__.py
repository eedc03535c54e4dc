"""The search server: answers queries with the release that the journal routes to. Start reading with `watcher`, then `app`."""
