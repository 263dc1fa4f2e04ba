"""Every test runs with the shapes and types of ``hoi_lib`` checked, with few threads and without a network."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import jaxtyping

jaxtyping.install_import_hook("hoi_lib", "beartype.beartype")
