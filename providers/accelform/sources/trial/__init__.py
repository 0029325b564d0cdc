"""A trial run at preview: what a deployment would load and compute, loaded and compared with the file itself.

`ask` starts it in a process of its own and remembers what went well; `run` is that process; `answers` compares.
"""
