"""The construction of ``build`` as steps over shards, for corpora that one machine is too small for.

``files``: a shard on disk; ``search``: pairs of like posts across shards; ``steps``: what each task does;
``trove``: the steps on datatrove's executors. The items, splits and report are those of ``build``.
"""
