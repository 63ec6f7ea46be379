"""The MAX engine: the traced graph lowered to `max.graph`, compiled by Modular's graph compiler.

`prepare` rewrites the graph, `lowering` walks it by the tables of the other files, `compiler` runs
both in a process of its own (`worker`), `stages` gives the driver its build and package stages.
Only the public Python interface of the ``max`` package is used.
"""
