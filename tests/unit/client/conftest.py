"""`loopback/` needs a real server on the loopback; unit tests have no I/O, so it is not collected from here."""

collect_ignore_glob = ["loopback/*"]
