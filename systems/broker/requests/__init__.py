"""The data plane's requests: one file for each message a client or follower sends."""
