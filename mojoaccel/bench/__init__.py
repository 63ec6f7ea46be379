"""Benchmarks: an artifact against PyTorch and its rivals, each in a process of its own.

`workloads` says what runs on which inputs, `runner` and `baselines` how, `worker` runs one of them
in its own process, `timing` gives them turns, `statistics` reads the times, `report`, `page` and
`store` show, save and compare them; `api.bench` is the whole.
"""
