"""Models of all kinds: loaded, made, checked and played."""

from __future__ import annotations

from transformers.utils import logging

logging.disable_progress_bar()  # hundreds of trials load, and studies write, models of a few megabytes
