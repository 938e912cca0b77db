"""What doors share: tables of routes, parsing, errors, authentication, paging, long-polls. It knows no door's words."""
