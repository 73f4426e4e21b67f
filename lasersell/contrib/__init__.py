"""Where the stream meets other people's programs; each module says which extra it needs."""
