"""edgerest: the server, from its command line to its SQL."""
