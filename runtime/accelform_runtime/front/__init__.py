"""The native front of a server, written in Go (runtime/front): where its program is, and how it is built."""
