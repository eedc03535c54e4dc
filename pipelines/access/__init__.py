"""Who may call a server: keys and tokens with scopes, and the pseudonyms under which users are logged. Start with `keys`."""
