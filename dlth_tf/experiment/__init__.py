"""The program: from flags to a table of results."""

import importlib.util

if importlib.util.find_spec("official.nlp"):
    raise ImportError(
        "tf-models-official is installed, and its package `official` is in the way of "
        "dlth_tf's. The two can't share an environment: use another one for dlth_tf."
    )
