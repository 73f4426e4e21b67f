"""One connection to the stream server, kept alive."""
